"""Every output format boots, and what is in its root file system is what the images brought: seen from inside.

The formats are built together, in as few calls as their file names allow, and each boots as it is meant to; in the
slow part also from other drives and mainboards, and for arm64.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.support import images
from tests.support.boot import EXAMPLES, FORMATS, KIT, booted_format, built, kit_images
from tests.support.command import PROGRAM

pytestmark = [pytest.mark.integration, pytest.mark.boot]

CONFIGS = Path(__file__).parents[1] / "golden" / "boot"
OVER = "\nchecks are over\n"
HELLO = "hello from an onboot container"
CHECK = re.compile(r"^\s*(?:is|can|cannot) '([^']+)'", re.MULTILINE)
VERDICT = re.compile(r"^(not ok|ok) (.*)$", re.MULTILINE)

# Formats that are not booted here, and why.
NOT_BOOTED = {
    "docker": "a root file system for Docker",
    "oci": "a root file system as an OCI image",
    "tar": "a root file system alone",
    "tar-kernel-initrd": "the files of kernel+initrd in a tar",
    "rpi3": "for a board of its own: test_rpi3.py boots it",
}
# The checks that fail on a format. Linux makes the number of a file on a CD from the place of its directory entry, of
# which every hard link has one; what they lead to is the same (fs/isofs/inode.c).
LIMITS = {name: {"hard links: one file"} for name in ("iso-bios", "iso-efi", "kernel+iso")}


class Way(NamedTuple):
    """A format, and how it is booted if not in its usual way."""

    name: str
    settings: Mapping[str, Any] = {}

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.settings.items())])


USUAL = [Way(name) for name in FORMATS]
# One image for all: from CD, which is its usual way, and from disk, by BIOS and by UEFI.
HYBRID = [
    Way("iso", {"cd": False}),
    Way("iso", {"firmware": "bios"}),
    Way("iso", {"firmware": "bios", "cd": False}),
]
OTHER = [
    *(
        Way(name, {"interface": interface})
        for name in ("raw-bios", "raw-efi")
        for interface in ("ide", "sata", "scsi", "nvme", "usb")
    ),
    *(Way(name, {"board": "q35"}) for name in ("raw-bios", "raw-efi", "qcow2-efi", "vhd")),
    *(
        Way("iso", {"firmware": firmware, "cd": cd, "interface": interface})
        for firmware in ("bios", "efi")
        for cd in (True, False)
        for interface in ("sata", "usb")
    ),
    *(Way(name, {"interface": "ide"}) for name in ("kernel+squashfs", "kernel+erofs", "vhd", "vmdk")),
    Way("ova", {"interface": "sata"}),
    *(Way(name, {"interface": "scsi"}) for name in ("kernel+squashfs", "kernel+iso", "vhdx", "vmdk", "gcp")),
    *(Way(name, {"interface": "nvme"}) for name in ("kernel+squashfs", "kernel+erofs", "aws", "gcp")),
]
FOR_ARM64 = [
    *("kernel+initrd", "kernel+squashfs", "kernel+erofs", "raw-efi", "qcow2-efi", "aws", "gcp"),
    *("kernel+iso", "iso-efi", "iso-efi-initrd", "iso", "uki"),
]


def payload() -> images.MadeImage:
    """An image with every kind of entry; what is in it stands in the checks of payload.yml."""
    content = random.Random(1)
    folders = ["", "many/", *("/".join(map(str, range(1, depth + 1))) + "/" for depth in range(1, 13))]
    entries: dict[str, images.Content] = {f"payload/{path}": images.directory() for path in folders}
    entries.update(
        {
            "payload/file": images.file("some text", mode=0o640, uid=12, gid=345, mtime=1234567890),
            "payload/set-uid": images.file("text", mode=0o4755),
            "payload/folder/": images.directory(mode=0o3775, uid=7, gid=8),
            "payload/empty": images.file(mode=0o600),
            "payload/none": images.file(mode=0),
            "payload/link": images.symlink("../etc/hosts", uid=5, gid=6),
            "payload/long-link": images.symlink("/".join(["nine-more"] * 90)),
            "payload/first": "linked",
            "payload/folder/second": images.hardlink("payload/first"),
            "payload/character": images.device("char", 0x11, 0xE9, mode=0o660, gid=5),
            "payload/block": images.device("block", 0xFD, 0xFFFFF, mode=0o600),
            "payload/pipe": images.device("fifo", mode=0o622),
            "payload/large-owner": images.file(uid=4_000_000_000, gid=3_000_000_000),
            "payload/large": images.file(content.randbytes(3 << 20)),
            "payload/odd": images.file(content.randbytes(123_457)),
            "payload/a name; with 'signs' & blanks": "1",
            "payload/ümläut-名前": "2",
            "payload/case": "3",
            "payload/CASE": "4",
            f"payload/{'x' * 200}": "5",
            **{f"payload/many/file-{number}": f"{number}\n" for number in range(600)},
            f"payload/{folders[-1]}file": "bottom",
        }
    )
    return images.image(entries)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives the prefix of the build that has a format; formats whose files have other names are built with it."""
    folder = tmp_path_factory.mktemp("formats")
    images.layout(folder / "images", {"test/payload:v1": payload()})
    options = ("--images", str(folder / "images"), "--cache-dir", str(folder / "cache"))
    prefixes: dict[str, Path] = {}

    def prefix(name: str) -> Path:
        if name not in prefixes:
            together = built_with(name)
            place = folder / str(len(prefixes))
            place.mkdir()
            made = built(
                place,
                CONFIGS / "system.yml",
                CONFIGS / "payload.yml",
                options=(*options, "--format", ",".join(together)),
            )
            prefixes.update(dict.fromkeys(together, made))
        return prefixes[name]

    return prefix


def built_with(name: str) -> list[str]:
    """The formats that are built in one call with this one: of those with the same file, the first or the last."""
    first = {form.ending: other for other, form in reversed([*FORMATS.items()])}
    last = {form.ending: other for other, form in FORMATS.items()}
    chosen = first if name in first.values() else last
    return sorted(({*chosen.values()} & known_formats()) | {name})


def known_formats() -> set[str]:
    """The names that the program lists."""
    listed = subprocess.run([PROGRAM, "formats"], capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


@pytest.mark.parametrize("way", [*USUAL, *HYBRID], ids=str)
def test_the_system_is_whole_whatever_it_boots_from(
    way: Way, system: Callable[[str], Path], tmp_path: Path
) -> None:
    console = booted_format(system(way.name), way.name, OVER, **way.settings)

    assert expected(way.name) == verdicts(console), failures(console)


@pytest.mark.slow
@pytest.mark.parametrize("way", OTHER, ids=str)
def test_the_system_is_whole_on_other_machines(
    way: Way, system: Callable[[str], Path], tmp_path: Path
) -> None:
    console = booted_format(system(way.name), way.name, OVER, **way.settings)

    assert expected(way.name) == verdicts(console), failures(console)


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["zstd", "none"])
@pytest.mark.parametrize("name", ["raw-bios", "raw-efi", "iso", "qcow2-efi"])
def test_boot_loaders_pass_every_compression_on(name: str, compression: str, tmp_path: Path) -> None:
    options = ("--compression", compression, "--format", name)
    prefix = built(tmp_path, EXAMPLES / "minimal.yml", options=options)

    assert HELLO in booted_format(prefix, name, HELLO)


@pytest.mark.parametrize("name", ["iso-bios", "kernel+squashfs"])
def test_live_runs_from_its_image_and_writes_to_memory(name: str, tmp_path: Path) -> None:
    prefix = built(tmp_path, EXAMPLES / "live.yml", options=("--format", name))

    console = booted_format(prefix, name, "a note in memory")

    assert f"\n{HELLO}\n" in console


def test_a_root_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    config = tmp_path / "elsewhere.yml"
    config.write_text("kernel: {cmdline: console=ttyS0 root=/dev/vdb rootwait=1}")
    prefix = built(tmp_path, EXAMPLES / "live.yml", config, options=("--format", "kernel+erofs"))
    way = Way("kernel+erofs")

    console = booted_format(prefix, way.name, "early: hint: name one of: vda", **way.settings)

    assert "early: error: expected the device `/dev/vdb` within 1 s, found none\n" in console


@pytest.mark.slow
def test_live_runs_from_a_stick_that_is_named_by_its_label(tmp_path: Path) -> None:
    config = tmp_path / "stick.yml"
    config.write_text("kernel: {cmdline: console=ttyS0 root=LABEL=LinuxKit}")
    prefix = built(tmp_path, EXAMPLES / "live.yml", config, options=("--format", "iso-bios"))

    assert HELLO in booted_format(prefix, "iso-bios", HELLO, cd=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", FOR_ARM64)
def test_formats_boot_on_arm64(name: str, tmp_path: Path) -> None:
    layout = kit_images("arm64", tmp_path / "images")
    options = ("--arch", "arm64", "--format", name)
    configs = (EXAMPLES / "live.yml", KIT / "arm64.yml")
    prefix = built(tmp_path, *configs, options=options, images=layout)

    assert HELLO in booted_format(prefix, name, HELLO, architecture="aarch64")


def test_every_format_is_booted_or_says_why_not() -> None:
    known = known_formats()

    assert known == {*FORMATS, *NOT_BOOTED}


def expected(name: str) -> dict[str, str]:
    """The verdict that each check of payload.yml should come to on a format."""
    names = CHECK.findall((CONFIGS / "payload.yml").read_text())
    assert len(names) == len(set(names)) > 20
    return {check: "not ok" if check in LIMITS.get(name, ()) else "ok" for check in names}


def verdicts(console: str) -> dict[str, str]:
    """What the checks came to, by name."""
    return {said.partition(": expected [")[0]: verdict for verdict, said in VERDICT.findall(console)}


def failures(console: str) -> str:
    """What a person needs to see why a check failed: the console without the checks that held."""
    return "\n".join(line for line in console.splitlines() if not line.startswith("ok "))
