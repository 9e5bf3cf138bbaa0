"""Boot loader configs are LinuxKit's, byte for byte, and say what the config says."""

from __future__ import annotations

import pytest

from kitbuild.rules.layout import boot_config


def test_syslinux_config_with_and_without_an_initrd() -> None:
    with_initrd = boot_config.syslinux(kernel="/kernel", cmdline="console=ttyS0 %d \\n", initrd="/initrd.img")

    assert (
        b"DEFAULT linux\nLABEL linux\n    KERNEL /kernel\n    INITRD /initrd.img\n    APPEND console=ttyS0 %d \\n\n"
        == with_initrd
    )
    assert b"INITRD" not in boot_config.syslinux(kernel="/boot/kernel", cmdline="quiet")


def test_grub_config_with_and_without_an_initrd() -> None:
    with_initrd = boot_config.grub(kernel="/kernel", cmdline="console=ttyS0", initrd="/initrd.img")

    assert (
        b"set timeout=0\nset gfxpayload=text\nmenuentry 'LinuxKit ISO Image' {\n"
        b"\tlinux /kernel console=ttyS0 text\n\tinitrd /initrd.img\n}\n" == with_initrd
    )
    assert b"initrd" not in boot_config.grub(kernel="/boot/kernel", cmdline="quiet")


@pytest.mark.parametrize(
    ("cmdline", "written"),
    [
        ("a=$b", "'a=$b'"),
        ("a;b  c", "'a;b'  c"),
        ("a={b}", "'a={b}'"),
        ("#a &&b", "'#a' '&&b'"),
        ('a="b c" d', 'a="b c" d'),
        ('dyndbg="file a.c +p; file b.c +p" x', "'dyndbg=file a.c +p; file b.c +p' x"),
        ('"a=$b c"', "'a=$b c'"),
    ],
)
def test_what_means_something_in_grubs_scripts_is_quoted(cmdline: str, written: str) -> None:
    assert f"\tlinux /kernel {written} text\n".encode() in boot_config.grub(kernel="/kernel", cmdline=cmdline)
