"""A disk that firmware without EFI starts: a DOS partition with a FAT file system, SYSLINUX, kernel and initrd."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.extents import Extents, Literal, Zeros
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format import boot
from kitbuild.rules.format.disk_size import MEBIBYTE, disk_size, round_up, title
from kitbuild.rules.format.reading import loader_content
from kitbuild.rules.layout import boot_config, fat, mbr, syslinux
from kitbuild.rules.layout.fat_directory import ARCHIVE, HIDDEN, READ_ONLY, SYSTEM
from kitbuild.system import System

# SYSLINUX's own altmbr.bin is one byte shorter than a boot record's code: that byte says which partition to start.
_ALTERNATIVE_CODE_BYTES = 439
# How much LinuxKit's images have beyond kernel and initrd in the file system, and beyond that on the disk.
_ROOM_BYTES, _AROUND_BYTES = 1 * MEBIBYTE, 4 * MEBIBYTE
_LOADER_ATTRIBUTES = READ_ONLY | HIDDEN | SYSTEM | ARCHIVE


class BiosDiskOptions(NamedTuple):
    """The command line, and the size of the disk in bytes: as asked for, and what it is without that.

    A default of 0 stands for a disk as small as LinuxKit makes it.
    """

    cmdline: str
    disk_bytes: int = 0
    default_bytes: int = 0


def run(work: Work[BiosDiskOptions]) -> Extents:
    """The disk; kernel and initrd are slices of it that start at multiples of 4 KiB."""
    options = work.options
    loader = syslinux.loader(loader_content(work.extents(work.artifact("loader")), work))
    config = boot_config.syslinux(kernel="/kernel", cmdline=options.cmdline, initrd="/initrd.img")
    files = {
        "ldlinux.sys": Extents.of([Zeros(len(loader.system))]),
        "ldlinux.c32": Extents.of([Literal(loader.module)]),
        "syslinux.cfg": Extents.of([Literal(config)]),
        "kernel": work.extents(work.artifact("kernel")),
        "initrd.img": work.extents(work.artifact("initrd")),
    }
    disk, volume = _sizes({path: content.size for path, content in files.items()}, options)
    # Where ldlinux.sys lies must be known before it can be written; its content moves nothing.
    place = fat.file_system(files, size=volume, hidden_sectors=mbr.FIRST_SECTOR).places["ldlinux.sys"]
    loader = syslinux.installed(loader, place=place)
    files["ldlinux.sys"] = Extents.of([Literal(loader.system)])
    file_system = fat.file_system(
        files,
        size=volume,
        hidden_sectors=mbr.FIRST_SECTOR,
        boot_sector=loader.boot_sector,
        attributes={"ldlinux.sys": _LOADER_ATTRIBUTES, "ldlinux.c32": _LOADER_ATTRIBUTES},
    )
    code = loader_content(work.extents(work.artifact("boot_code")), work)
    if len(code) == _ALTERNATIVE_CODE_BYTES:
        code += b"\x01"
    # 0x0C would be the word for FAT32, 0x83 is what LinuxKit's disks say: nothing on the way from the boot record to
    # the kernel looks at it.
    return mbr.disk(file_system.extents, boot_code=code, kind=mbr.LINUX, size=disk)


def _sizes(sizes: dict[str, int], options: BiosDiskOptions) -> tuple[int, int]:
    """The size of the disk and of the file system on it, in bytes."""
    start = mbr.FIRST_SECTOR * mbr.SECTOR
    least = fat.size_for(sizes)
    disk = disk_size(start + least, asked=options.disk_bytes, default=options.default_bytes)
    if disk:
        return disk, (disk - start) // mbr.SECTOR * mbr.SECTOR
    usual = round_up(sizes["kernel"] + sizes["initrd.img"] + _ROOM_BYTES, MEBIBYTE)
    volume = max(usual, round_up(least, MEBIBYTE))
    return volume + _AROUND_BYTES, volume


RULE: Rule[Any] = Rule(
    name="format/bios-disk",
    version=1,
    summary="lay out a disk for BIOS: FAT, SYSLINUX, kernel and initrd",
    options=BiosDiskOptions,
    inputs={
        "kernel": Input("extents"),
        "initrd": Input("extents"),
        "loader": Input("extents"),
        "boot_code": Input("extents"),
    },
    output="extents",
    run=run,
)


def bios_disk(system: System, *, default_bytes: int = 0) -> Node:
    """The raw disk; `default_bytes` is its size if none was asked for, 0 for as small as LinuxKit's raw-bios."""
    name = title("BIOS disk", asked=system.target.disk_bytes, default=default_bytes)
    options = BiosDiskOptions(boot.cmdline(system), system.target.disk_bytes, default_bytes)
    # As LinuxKit: the code that is told its partition for raw-bios, the one that looks for the active one else.
    code = "mbr.bin" if default_bytes else "altmbr.bin"
    inputs = {
        "kernel": (boot.kernel(system),),
        "initrd": (boot.initrd_with_microcode(system),),
        "loader": (boot.loader_file(system, "syslinux", "syslinux"),),
        "boot_code": (boot.loader_file(system, "syslinux", code),),
    }
    return system.once(name, lambda: Node(name, RULE, options, inputs))
