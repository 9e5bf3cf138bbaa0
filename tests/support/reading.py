"""A system with everything a file system can hold, in every format; and how listings are compared.

site = RichSite(tmp_path / "site")
path = site.build("raw-efi")["linuxkit-efi.img"]
"""

from __future__ import annotations

import hashlib
import random
import tarfile
from collections.abc import Mapping
from pathlib import Path

from kitbuild.reading import Output, OutputEntry
from tests.support import formats, images, kernels
from tests.support.command import small_images
from tests.support.formats import FormatSite

_SEED = random.Random(7)
# More than a block of any file system, of what shrinks, what does not, and zeros in between.
LARGE = _SEED.randbytes(300_001) + bytes(400_000) + b"a line that is repeated\n" * 20_000
LONG_NAME = "n" * 200
RICH: dict[str, images.Content] = {
    "rich/": images.directory(mode=0o751, uid=12, gid=34, mtime=1_000_000_000),
    "rich/empty": images.file(b"", mtime=1_100_000_000),
    "rich/large": images.file(LARGE, mode=0o640, uid=1000, gid=100_000, mtime=1_200_000_000),
    "rich/setuid": images.file(b"#!/bin/true\n", mode=0o4755, mtime=1_000_000_001),
    "rich/sticky/": images.directory(mode=0o1777, mtime=1_000_000_002),
    "rich/first": images.file(b"shared content", mode=0o600, mtime=1_000_000_003),
    "rich/second": images.hardlink("rich/first", mtime=1_000_000_003),
    "rich/sticky/third": images.hardlink("rich/first", mtime=1_000_000_003),
    "rich/zero": images.device("char", 1, 5, mode=0o666, mtime=1_000_000_004),
    "rich/disk": images.device("block", 259, 300, mode=0o660, uid=0, gid=6, mtime=1_000_000_005),
    "rich/pipe": images.device("fifo", mode=0o644, mtime=1_000_000_006),
    "rich/link": images.symlink("../etc/note", mtime=1_000_000_007),
    "rich/absolute": images.symlink("/rich/large", mtime=1_000_000_008),
    "rich/loop": images.symlink("loop", mtime=1_000_000_009),
    f"rich/{LONG_NAME}": images.file(b"long", mtime=1_000_000_010),
    "rich/\u00fcml\u00e4ut \u65e5\u672c": images.file(b"name", mtime=1_000_000_011),
    "rich/attributes": images.file(
        b"attributes",
        mtime=1_000_000_012,
        pax={"SCHILY.xattr.user.color": "blue", "SCHILY.xattr.trusted.x": "1"},
    ),
    **{f"rich/many/{number:03}": f"{number}\n" * number for number in range(200)},
    "rich/a/b/c/d/e/f/g/h/i/deep": images.file(b"deep", mtime=1_000_000_013),
}
CONFIG = formats.CONFIG.replace("  - t/tools:v1\n", "  - t/tools:v1\n  - t/rich:v1\n")


def newc(files: Mapping[str, bytes], *, links: int = 1) -> bytes:
    """An uncompressed cpio archive."""
    made = []
    for number, (name, content) in enumerate([*files.items(), ("TRAILER!!!", b"")], 1):
        mode = 0o100644 if name != "TRAILER!!!" else 0
        numbers = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(name.encode()) + 1, 0)
        head = b"070701" + b"".join(b"%08x" % each for each in numbers) + name.encode() + b"\0"
        made += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(made)


MICROCODE = newc({"early-microcode": b"\x99" * 99})


class RichSite(FormatSite):
    """A folder to build the rich system in."""

    def __init__(self, folder: Path, *, architecture: str = "amd64", compression: str = "gzip") -> None:
        super().__init__(folder, config=CONFIG, architecture=architecture)
        self.environment["KITBUILD_COMPRESSION"] = compression
        kernel = images.image(
            {
                "kernel": kernels.kernel("amd64" if architecture == "amd64" else "arm64"),
                "kernel.tar": images.layer_tar(
                    {"lib/modules/a.ko": b"module", "boot/dtb/broadcom/bcm2837-rpi-3-b.dtb": b"device tree"}
                ),
                "ucode.cpio": MICROCODE,
            }
        )
        everything = {**small_images(), "t/kernel:v1": kernel, "t/rich:v1": images.image(RICH)}
        images.layout(self.folder / "images", everything)

    def build(self, chosen: str) -> dict[str, Path]:
        """The files of some formats by name."""
        folder = self.folder / f"out-{chosen.split(',')[0]}"
        if not folder.exists():
            folder.mkdir()
            self.run("build", *self.options(chosen), "--dir", folder.name, "linuxkit.yml")
        return {path.name: path for path in sorted(folder.iterdir())}


def system_of(output: Output) -> dict[str, OutputEntry]:
    """The entries of the system by path."""
    return {entry.path: entry for entry in output.system()}


def digests_of(output: Output, entries: Mapping[str, OutputEntry]) -> dict[str, str]:
    """The sha256 of every file."""
    found = {}
    for path, entry in entries.items():
        if entry.kind in ("file", "hardlink"):
            with output.open(entry) as stream:
                found[path] = hashlib.sha256(stream.read()).hexdigest()
    return found


def told_by_tarfile(path: Path) -> dict[str, tuple[str, int, int, int, int, int]]:
    """What Python's tarfile says of a tar: type, mode, owners, size, seconds."""
    with tarfile.open(path) as tar:
        return {
            member.name.removeprefix("./"): (
                member.type.decode(),
                *(member.mode, member.uid, member.gid, member.size, int(member.mtime)),
            )
            for member in tar
            if member.name.strip("./")
        }
