from __future__ import annotations

import pytest

from kitbuild.reading.boot import boot_of
from kitbuild.reading.entries import Listing, OutputEntry
from kitbuild.reading.window import BytesWindow
from kitbuild.rules.format.rpi3 import boot_script
from kitbuild.rules.layout import boot_config
from tests.support.reading import newc

CMDLINES = ["console=ttyS0 root=/dev/sda", "a=b;c $x 'q'", 'text="two words" b', "percent=%d"]


def medium(**files: bytes) -> Listing:
    listing = Listing(BytesWindow("medium", b""))
    for path, content in files.items():
        listing.put(OutputEntry(path, size=len(content)), BytesWindow(path, content))
    return listing


@pytest.mark.parametrize("cmdline", CMDLINES)
def test_syslinux_config_says_what_starts(cmdline: str) -> None:
    config = boot_config.syslinux(kernel="/kernel", cmdline=cmdline, initrd="/initrd.img")

    boot = boot_of(medium(**{"syslinux.cfg": config, "kernel": b"", "initrd.img": newc({"init": b""})}))

    assert cmdline == boot.cmdline
    assert {"init"} == set(boot.system()[0].found)


@pytest.mark.parametrize("cmdline", ["console=ttyS0 root=/dev/sda", "a=b;c $x", "glob=[a]*"])
def test_grub_config_says_what_starts(cmdline: str) -> None:
    config = boot_config.grub(kernel="/kernel", cmdline=cmdline, initrd="/initrd.img")

    boot = boot_of(medium(**{"EFI/BOOT/grub.cfg": config, "initrd.img": newc({"init": b""})}))

    assert f"{cmdline} text" == boot.cmdline
    assert {"init"} == set(boot.system()[0].found)


@pytest.mark.parametrize("cmdline", CMDLINES)
def test_boot_script_says_what_starts(cmdline: str) -> None:
    boot = boot_of(medium(**{"boot.script": boot_script(cmdline), "initrd.uimg": newc({"init": b""})}))

    assert boot.cmdline is not None
    assert boot.cmdline.endswith(f"rw {cmdline}")


def test_entry_of_systemd_boot_says_what_starts() -> None:
    entry = b"title x\nlinux /vmlinuz\ninitrd /ucode.img\ninitrd /initrd.img\noptions a=b\noptions quiet\n"
    files = {
        "loader/entries/x.conf": entry,
        "ucode.img": newc({"one": b""}),
        "initrd.img": newc({"two": b""}),
    }

    boot = boot_of(medium(**files))

    assert "a=b quiet" == boot.cmdline
    assert {"one", "two"} == set(boot.system()[0].found)


def test_medium_with_a_root_file_system_is_the_system() -> None:
    files = medium(
        **{"isolinux/isolinux.cfg": b"KERNEL /boot/kernel\nINITRD /boot/ucode.cpio\nAPPEND root=/dev/sr0\n"}
    )
    for name in ("bin", "etc", "usr"):
        files.put(OutputEntry(name, "directory"))

    boot = boot_of(files)

    assert "root=/dev/sr0" == boot.cmdline
    assert files is boot.system()[0]


def test_second_partition_is_the_one_that_boots_if_the_first_has_no_loader() -> None:
    listing = medium(**{"p1/readme": b"", "p2/initrd.img": newc({"init": b""}), "p2/cmdline": b"quiet\n"})
    for name in ("p1", "p2"):
        listing.put(OutputEntry(name, "directory"))

    boot = boot_of(listing)

    assert "quiet" == boot.cmdline
    assert {"init"} == set(boot.system()[0].found)


def test_medium_without_anything_to_start_has_no_command_line() -> None:
    assert boot_of(medium(readme=b"")).cmdline is None
