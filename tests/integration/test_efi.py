"""Unified kernel images and disks for EFI, read back by binutils, gdisk, dosfstools and mtools."""

from __future__ import annotations

import gzip
import hashlib
import re
import struct
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support import images
from tests.support.boot import EXAMPLES, KIT, booted_format, kernel_files, kit_images
from tests.support.boot import built as built_system
from tests.support.command import small_images
from tests.support.formats import FormatSite
from tests.support.kernels import kernel
from tests.support.pe import Program
from tests.support.registry import tool

pytestmark = pytest.mark.integration

PARTITION = 1 << 20
LOADER = {"amd64": "EFI/BOOT/BOOTX64.EFI", "arm64": "EFI/BOOT/BOOTAA64.EFI"}
CONFIG = """\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyS0 $x
init:
  - t/init:v1
onboot:
  - name: hello
    image: t/hello:v1
"""


class Built(NamedTuple):
    """What was built of CONFIG, all below the same prefix: kernel, initrd, image, and the raw disks by name."""

    architecture: str
    kernel: bytes
    initrd: bytes
    image: Path
    disks: dict[str, Path]


def run(*command: str | Path) -> bytes:
    tool(str(command[0]))
    return subprocess.run(command, check=True, capture_output=True).stdout


@pytest.fixture(scope="module", params=["amd64", "arm64"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("efi")
    site = FormatSite(folder / "site", config=CONFIG, architecture=request.param)
    formats = "kernel+initrd,uki,raw-efi,qcow2-efi"
    site.run("build", "--arch", request.param, "--format", formats, "--name", "s", "linuxkit.yml")
    grub = site.folder / "grub.img"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", site.folder / "s-efi.qcow2", grub)
    return Built(
        request.param,
        (site.folder / "s-kernel").read_bytes(),
        (site.folder / "s-initrd.img").read_bytes(),
        site.folder / "s.efi",
        {"systemd-boot": site.folder / "s-efi.img", "grub": grub},
    )


@pytest.fixture(params=["systemd-boot", "grub"])
def disk(request: pytest.FixtureRequest, built: Built) -> Path:
    return built.disks[request.param]


def file_of(disk: Path, path: str) -> bytes:
    return run("mtype", "-i", f"{disk}@@{PARTITION}", f"::/{path}")


def section(image: Path, name: str, folder: Path) -> bytes:
    """What objcopy takes out of an image; its size in memory, as objdump says, cut off behind it."""
    (line,) = re.findall(
        rf"^ *\d+ {re.escape(name)} +([0-9a-f]+)", run("objdump", "-h", image).decode(), re.MULTILINE
    )
    run("objcopy", "-O", "binary", "--only-section", name, image, folder / "content")
    content = (folder / "content").read_bytes()
    assert len(content) == int(line, 16)
    return content


# binutils reads programs for no other architecture than its own.
@pytest.mark.parametrize("built", ["amd64"], indirect=True)
def test_sections_hold_what_the_other_outputs_are(built: Built, tmp_path: Path) -> None:
    found = {
        name: section(built.image, name, tmp_path) for name in (".osrel", ".cmdline", ".initrd", ".linux")
    }

    # Of a kernel that asks for more memory than it has bytes, objcopy gives the padding in the file too.
    assert built.kernel == found[".linux"][: len(built.kernel)]
    assert not found[".linux"][len(built.kernel) :].strip(b"\0")
    assert built.initrd == found[".initrd"]
    assert b"console=ttyS0 $x text" == found[".cmdline"]
    assert b'NAME="LinuxKit"' == found[".osrel"]


def test_image_is_the_stub_with_four_more_sections(built: Built) -> None:
    found = Program.read(built.image.read_bytes())

    assert [".osrel", ".cmdline", ".initrd", ".linux"] == [section.name for section in found.sections[-4:]]
    assert built.initrd == found.section(".initrd").content
    assert built.kernel == found.section(".linux").content
    assert found.overlaps == []
    assert found.gaps == []
    assert {0} == {found.section(name).offset % 4096 for name in (".initrd", ".linux")}


def test_disk_has_one_partition_that_the_tools_find_sound(disk: Path, tmp_path: Path) -> None:
    assert b"No problems found" in run("sgdisk", "-v", disk)
    described = run("sgdisk", "-i", "1", disk).decode()
    assert "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" in described
    assert "First sector: 2048 " in described
    last = int(re.findall(r"Last sector: (\d+)", described)[0])

    file_system = tmp_path / "partition"
    file_system.write_bytes(disk.read_bytes()[PARTITION : (last + 1) * 512])
    run("fsck.vfat", "-n", file_system)


def test_disk_with_systemd_boot_holds_the_image(built: Built) -> None:
    disk = built.disks["systemd-boot"]

    assert built.image.read_bytes() == file_of(disk, "EFI/Linux/linuxkit.efi")
    assert b"timeout 0\n" == file_of(disk, "loader/loader.conf")
    assert b"systemd-boot" in file_of(disk, LOADER[built.architecture])


def test_disk_with_grub_holds_kernel_and_initrd(built: Built) -> None:
    disk = built.disks["grub"]

    assert built.kernel == file_of(disk, "kernel")
    assert built.initrd == file_of(disk, "initrd.img")
    assert b"linux /kernel console=ttyS0 '$x' text\n" in file_of(disk, "EFI/BOOT/grub.cfg")
    assert file_of(disk, "boot/grub/grub.cfg") == file_of(disk, "EFI/BOOT/grub.cfg")
    assert b"GRUB" in file_of(disk, LOADER[built.architecture])


def test_microcode_comes_first_in_every_initrd(tmp_path: Path) -> None:
    site = FormatSite(tmp_path / "site")
    site.run("build", "--format", "kernel+initrd,uki,qcow2-efi", "--name", "s", "linuxkit.yml")
    initrd = (site.folder / "s-initrd.img").read_bytes()

    assert initrd.startswith(b"\x99" * 99)
    assert initrd == Program.read((site.folder / "s.efi").read_bytes()).section(".initrd").content


@pytest.mark.parametrize("name", ["raw-efi", "qcow2-efi"])
def test_size_goes_to_the_disk(name: str, tmp_path: Path) -> None:
    site = FormatSite(tmp_path / "site")

    site.run("build", "--format", name, "--size", "100M", "--name", "s", "linuxkit.yml")

    (made,) = site.folder.glob("s-efi.*")
    assert b"104857600 bytes" in run("qemu-img", "info", made)


def test_disk_that_is_too_small_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    site = FormatSite(tmp_path / "site")

    finished = site.run("build", "--format", "raw-efi", "--size", "2M", "linuxkit.yml", status=1)

    assert "expected a disk of at least" in finished.stderr
    assert "give `--size 3M` or more" in finished.stderr
    assert [] == list(site.folder.glob("linuxkit-*"))


@pytest.mark.parametrize(
    ("content", "architecture", "got", "hint"),
    [
        pytest.param(kernel("amd64", stub=False), "amd64", "one without", "CONFIG_EFI_STUB", id="amd64"),
        pytest.param(kernel("arm64", stub=False), "arm64", "one without", "CONFIG_EFI_STUB", id="arm64"),
        pytest.param(
            gzip.compress(kernel("arm64")), "arm64", "a compressed one", "--decompress-kernel", id="gzip"
        ),
        pytest.param(kernel("arm64"), "amd64", "one for arm64", "for that architecture", id="other"),
    ],
)
def test_kernel_that_firmware_cannot_start_is_refused(
    content: bytes, architecture: str, got: str, hint: str, tmp_path: Path
) -> None:
    site = FormatSite(tmp_path / "site", config=CONFIG, architecture=architecture)
    image = images.image({"kernel": content, "kernel.tar": images.layer_tar({"a": b""})})
    images.layout(site.folder / "images", {**small_images(), "t/kernel:v1": image})

    finished = site.run("build", "--arch", architecture, "--format", "raw-efi", "linuxkit.yml", status=1)

    assert f"expected a kernel with an EFI stub for {architecture}, got {got}" in finished.stderr
    assert hint in finished.stderr
    assert [] == list(site.folder.glob("linuxkit-*"))


def test_disks_of_other_content_have_other_identifiers(built: Built) -> None:
    described = {name: run("sgdisk", "-p", disk).decode() for name, disk in built.disks.items()}

    found = {re.findall(r"GUID\): ([0-9A-F-]+)", text)[0] for text in described.values()}
    assert 2 == len(found)
    assert 2 == len({hashlib.sha256(disk.read_bytes()).hexdigest() for disk in built.disks.values()})


def without_stub(kernel: bytes) -> bytes:
    """An x86 kernel as it would be without CONFIG_EFI_STUB: no EFI program, no entry for EFI boot loaders."""
    made = bytearray(kernel)
    made[:2] = b"\xeb\xfe"
    (flags,) = struct.unpack_from("<H", made, 0x236)
    struct.pack_into("<H", made, 0x236, flags & ~0b1100)
    struct.pack_into("<I", made, 0x264, 0)
    return bytes(made)


@pytest.mark.slow
@pytest.mark.boot
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_grub_starts_what_firmware_cannot(architecture: str, tmp_path: Path) -> None:
    kit = kit_images("arm64", tmp_path / "kit") if architecture == "arm64" else kit_images()
    files = kernel_files(kit)
    kernel = gzip.compress(files["kernel"], 1) if architecture == "arm64" else without_stub(files["kernel"])
    images.layout(tmp_path / "images", {"t/kernel:v1": images.image({**files, "kernel": kernel})})
    config = tmp_path / "kernel.yml"
    config.write_text("kernel:\n  image: t/kernel:v1\n")
    configs = [EXAMPLES / "minimal.yml", *([KIT / "arm64.yml"] if architecture == "arm64" else []), config]
    options = ("--images", str(tmp_path / "images"), "--arch", architecture, "--format", "qcow2-efi")

    prefix = built_system(tmp_path, *configs, options=options, images=kit)

    machine = "aarch64" if architecture == "arm64" else "x86_64"
    hello = "hello from an onboot container"
    assert hello in booted_format(prefix, "qcow2-efi", hello, architecture=machine)
