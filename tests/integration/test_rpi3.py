"""The Raspberry Pi 3 format: U-Boot's own tools read its images, and U-Boot starts Linux from its files.

QEMU has the board but not its GPU, whose firmware is therefore not run: it is given u-boot.bin to start with.
"""

from __future__ import annotations

import gzip
import os
import selectors
import subprocess
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from examples.kit import packages
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rules.layout import fat, mbr
from tests.support import images
from tests.support.boot import KIT
from tests.support.command import executable
from tests.support.formats import CONFIG, FormatSite
from tests.support.kernels import kernel
from tests.support.registry import tool

pytestmark = pytest.mark.integration

TREE = "dtb/broadcom/bcm2837-rpi-3-b.dtb"
MARKER = b"hello from a Raspberry Pi\r\n"
# Of an emulated 3 GHz processor; a kernel of 33 MB is unpacked and 12 MB are read from a slow card.
BOOT_SECONDS = 240


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of a card as the installed program makes them."""
    folder = tmp_path_factory.mktemp("rpi3")
    site = FormatSite(folder / "site", config=CONFIG, architecture="arm64")
    site.run("build", "--arch", "arm64", "--format", "rpi3", "linuxkit.yml")
    site.run("build", "--arch", "arm64", "--format", "kernel+initrd", "linuxkit.yml")
    return unpacked(site.folder / "linuxkit.tar", site.folder / "card")


def unpacked(archive: Path, folder: Path) -> Path:
    folder.mkdir()
    subprocess.run(["tar", "xf", archive, "-C", folder], check=True)
    return folder


def listed(image: Path) -> dict[str, str]:
    """What U-Boot's own tool says of an image; it checks the header's checksum."""
    shown = subprocess.run(
        [tool("dumpimage"), "-l", image], check=True, capture_output=True, text=True
    ).stdout
    return {name: value.strip() for name, _, value in (line.partition(":") for line in shown.splitlines())}


def content_of(image: Path, kind: str, into: Path) -> bytes:
    """The content of an image as U-Boot's own tool takes it out, checked against its checksum."""
    subprocess.run(
        [tool("dumpimage"), "-T", kind, "-p", "0", "-o", into, image], check=True, capture_output=True
    )
    return into.read_bytes()


def test_u_boot_knows_the_kernel(card: Path, tmp_path: Path) -> None:
    image = card / "kernel.uimg"

    shown = listed(image)

    assert "AArch64 Linux Kernel Image (gzip compressed)" == shown["Image Type"]
    assert ("00200000", "00200000") == (shown["Load Address"], shown["Entry Point"])
    assert kernel("arm64") == gzip.decompress(content_of(image, "kernel", tmp_path / "out"))


def test_u_boot_knows_the_initrd(card: Path, tmp_path: Path) -> None:
    image = card / "initrd.uimg"

    assert "AArch64 Linux RAMDisk Image (uncompressed)" == listed(image)["Image Type"]
    assert (card.parent / "linuxkit-initrd.img").read_bytes() in content_of(
        image, "ramdisk", tmp_path / "out"
    )


def test_u_boot_knows_the_script(card: Path) -> None:
    assert "AArch64 Linux Script (uncompressed)" == listed(card / "boot.scr")["Image Type"]
    assert (card / "boot.scr").read_bytes().endswith((card / "boot.script").read_bytes())


def test_script_is_that_of_u_boots_own_tool(card: Path, tmp_path: Path) -> None:
    command = [
        tool("mkimage"),
        "-A",
        "arm64",
        "-O",
        "linux",
        "-T",
        "script",
        "-C",
        "none",
        "-n",
        "boot script",
    ]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1492533000"}

    subprocess.run(
        [*command, "-d", card / "boot.script", tmp_path / "made"],
        check=True,
        capture_output=True,
        env=environment,
    )

    assert (tmp_path / "made").read_bytes() == (card / "boot.scr").read_bytes()


def test_card_has_firmware_settings_and_device_tree(card: Path) -> None:
    names = {str(path.relative_to(card)) for path in card.rglob("*") if path.is_file()}

    assert {
        "bootcode.bin",
        "start.elf",
        "fixup.dat",
        "LICENCE.broadcom",
        "u-boot.bin",
        "config.txt",
        TREE,
    } <= names
    assert b"device tree" == (card / TREE).read_bytes()


@pytest.mark.boot
@pytest.mark.slow
def test_u_boot_starts_linux_from_the_card(tmp_path: Path) -> None:
    site = FormatSite(tmp_path / "site", config=BOOT_CONFIG, architecture="arm64")
    images.layout(site.folder / "images", linux())
    site.run("build", "--arch", "arm64", "--format", "rpi3", "linuxkit.yml")
    card = unpacked(site.folder / "linuxkit.tar", site.folder / "card")
    write_disk(card, tmp_path / "disk")

    console = boot(card, tmp_path / "disk")

    assert MARKER in console, console.decode("utf-8", "replace")
    # The command line, as the kernel got it.
    assert b"root=/dev/ram0 rw console=ttyAMA0 test='a $b; c\\d'" in console


BOOT_CONFIG = """\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyAMA0 test='a $b; c\\d'
init:
  - t/init:v1
"""


def linux() -> dict[str, images.MadeImage]:
    """Debian's kernel for all boards, and BusyBox with an init that says the marker."""
    tool("apt-get")
    folder = KIT / ".work" / "rpi3"
    debs = packages.fetched(("busybox-static", "linux-image-arm64"), folder, architecture="arm64")
    wanted = {"boot/vmlinuz-*": b"", "bin/busybox": b"", f"*/{TREE.removeprefix('dtb/')}": b""}
    for deb in debs:
        for file in packages.files(deb):
            wanted.update((name, file.data) for name in wanted if fnmatchcase(file.path, name))
    image, busybox, tree = wanted.values()
    modules = images.layer_tar({f"boot/{TREE}": tree})
    init = "#!/bin/busybox sh\n/bin/busybox echo hello from a Raspberry Pi\n/bin/busybox sleep 1000\n"
    return {
        "t/kernel:v1": images.image({"kernel": image, "kernel.tar": modules}),
        "t/init:v1": images.image({"bin/busybox": executable(busybox), "init": executable(init)}),
    }


def write_disk(card: Path, disk: Path) -> None:
    """A card of 128 MiB: QEMU takes powers of two only."""
    files = {
        str(path.relative_to(card)): Extents.of([Literal(path.read_bytes())])
        for path in sorted(card.rglob("*"))
        if path.is_file()
    }
    size = 128 << 20
    volume = fat.file_system(files, size=size - (1 << 20), hidden_sectors=2048)
    with disk.open("wb") as stream:
        for part in mbr.disk(volume.extents, boot_code=b"", kind=0x0C, size=size).parts:
            assert not isinstance(part, Slice)
            stream.write(bytes(part.size) if isinstance(part, Zeros) else part.content)


def boot(card: Path, disk: Path) -> bytes:
    """What both serial ports say until the marker or the time is over: U-Boot has one, Linux the other."""
    command = [tool("qemu-system-aarch64"), "-M", "raspi3b", "-display", "none", "-monitor", "none"]
    command += ["-kernel", str(card / "u-boot.bin"), "-dtb", str(card / TREE)]
    command += ["-drive", f"if=sd,format=raw,file={disk}", "-serial", "stdio", "-serial", f"file:{disk}.log"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        try:
            console = b""
            for piece in pieces(machine, time.monotonic() + BOOT_SECONDS):
                console += piece
                if MARKER in console:
                    break
        finally:
            machine.kill()
    return Path(f"{disk}.log").read_bytes() + console


def pieces(machine: subprocess.Popen[bytes], end: float) -> Iterator[bytes]:
    """What it writes, until it ends or the time is over."""
    assert machine.stdout
    with selectors.DefaultSelector() as selector:
        selector.register(machine.stdout, selectors.EVENT_READ)
        while selector.select(end - time.monotonic()):
            piece = os.read(machine.stdout.fileno(), 1 << 16)
            if not piece:
                return
            yield piece
