"""Disks for BIOS: what the installer of SYSLINUX would have made of them, and that they start whatever their size."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.rules.layout import fat, syslinux
from tests.support.boot import EXAMPLES, booted_format, built
from tests.support.fat import write
from tests.support.loaders import loader_settings
from tests.support.registry import tool

pytestmark = pytest.mark.integration

MEBIBYTE, GIBIBYTE = 1 << 20, 1 << 30
HELLO = "hello from an onboot container"


def run(*command: str | Path) -> bytes:
    """What a program says; it must end well."""
    tool(str(command[0]))
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("size", [3 * MEBIBYTE, 40 * MEBIBYTE, 400 * MEBIBYTE, 700 * MEBIBYTE, 5 * GIBIBYTE])
def test_the_loader_is_patched_as_its_installer_does_it(tmp_path: Path, size: int) -> None:
    loader = syslinux.loader(Path(tool("syslinux")).read_bytes())
    files = {
        "ldlinux.sys": Extents.of([Zeros(len(loader.system))]),
        "ldlinux.c32": Extents.of([Literal(loader.module)]),
        "kernel": Extents.of([Literal(b"kernel" * 1000)]),
    }
    made = fat.file_system(files, size=size, boot_sector=loader.boot_sector)
    image = write(made.extents, tmp_path / "volume")

    run("syslinux", "--install", image)

    with image.open("rb") as stream:
        found = stream.read(64 * MEBIBYTE)
    installed = run("mtype", "-i", image, "::/ldlinux.sys")
    # The installer may have put the file at another place.
    ours = syslinux.installed(loader, place=found.index(installed))
    assert ours.system == installed
    assert (ours.boot_sector[:11], ours.boot_sector[90:]) == (found[:11], found[90:512])
    assert ours.module == run("mtype", "-i", image, "::/ldlinux.c32")
    attributes = run("mattrib", "-i", image, "::/ldlinux.sys", "::/ldlinux.c32").decode()
    assert [["A", "SHR"]] * 2 == [line.split()[:2] for line in attributes.splitlines()]


def disk(folder: Path, *options: str) -> Path:
    """The prefix of a raw-bios build of the smallest example."""
    arguments = ("--format", "raw-bios,kernel+initrd", *options)
    for setting in loader_settings("amd64").split(","):
        arguments += ("--boot-loader", setting)
    return built(folder, EXAMPLES / "minimal.yml", options=arguments)


def test_kernel_and_initrd_are_those_of_the_other_format_and_the_volume_is_sound(tmp_path: Path) -> None:
    prefix = disk(tmp_path)

    image = f"{prefix}-bios.img@@1M"
    for inner, suffix in (("kernel", "-kernel"), ("initrd.img", "-initrd.img")):
        assert run("mtype", "-i", image, f"::/{inner}") == Path(f"{prefix}{suffix}").read_bytes()
    assert b"APPEND console=ttyS0\n" in run("mtype", "-i", image, "::/syslinux.cfg")
    volume = tmp_path / "volume"
    with Path(f"{prefix}-bios.img").open("rb") as source, volume.open("wb") as target:
        source.seek(MEBIBYTE)
        shutil.copyfileobj(source, target)
        os.truncate(volume, target.tell() - 3 * MEBIBYTE)
    run("fsck.fat", "-n", volume)


@pytest.mark.boot
@pytest.mark.parametrize(
    ("size", "interface"),
    [
        pytest.param("300M", "ide", id="FAT16, 8 KiB"),
        pytest.param("700M", "virtio", id="FAT32, 8 KiB"),
        pytest.param("3G", "ide", id="FAT32, 32 KiB"),
    ],
)
def test_it_starts_from_every_kind_of_file_system_and_size_of_clusters(
    tmp_path: Path, size: str, interface: str
) -> None:
    prefix = disk(tmp_path, "--size", size)

    assert HELLO in booted_format(prefix, "raw-bios", HELLO, interface=interface)
