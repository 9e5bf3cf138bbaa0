"""The archive that comes before everything: what a kernel needs to reach a root file system on a disk or a CD.

Debian's kernel has the drivers of disks and file systems as modules, and these lie on the very disk it cannot read.
So the boot loader brings them: as an initrd, or in front of one (`ucode: early.cpio` in a config puts it there).
All of it but /init is below /early, where no other initrd has anything.
Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from pathlib import Path

from oci import Member

FOLDER = Path(__file__).parent / "early"
# What makes a disk, a CD or a file system readable; the rest of the kit's modules are on it.
MODULES = (
    "virtio_pci",
    "virtio_mmio",
    "virtio_blk",
    "virtio_scsi",
    "ata_piix",
    "sd_mod",
    "sr_mod",
    "isofs",
    "squashfs",
    "erofs",
)
COMMANDS = "cat dd echo findfs grep insmod mkdir mount sh sleep switch_root tr umount wc"
_BLOCK = 512


def archive(modules: Iterable[bytes], busybox: bytes) -> bytes:
    """The archive, a newc cpio; `modules` are kernel modules in the order in which they can be loaded."""
    members = [
        Member("dev", mode=0o755, directory=True),
        Member("early", mode=0o755, directory=True),
        Member("early/busybox", busybox, 0o755),
        *(Member(f"early/{command}", target="busybox") for command in COMMANDS.split()),
        Member("early/modules", mode=0o755, directory=True),
        *(Member(f"early/modules/{number:02}.ko", data) for number, data in enumerate(modules)),
        Member("init", (FOLDER / "init").read_bytes(), 0o755),
    ]
    return cpio(members)


def cpio(members: Iterable[Member]) -> bytes:
    """A newc archive of `members` in their order, padded to whole blocks; owners and times are 0."""
    parts: list[bytes] = []
    for number, member in enumerate([*members, Member("TRAILER!!!", mode=0)], 1):
        name = f"{member.path}\0".encode()
        data = member.target.encode() or member.data
        links = 2 if member.directory else 1
        fields = (number, _mode(member), 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name
        parts += [header, bytes(-len(header) % 4), data, bytes(-len(data) % 4)]
    parts.append(bytes(-sum(map(len, parts)) % _BLOCK))
    return b"".join(parts)


def _mode(member: Member) -> int:
    if member.target:
        return stat.S_IFLNK | 0o777
    if member.directory:
        return stat.S_IFDIR | member.mode
    return stat.S_IFREG | member.mode if member.mode else 0
