"""Disks that EFI firmware starts: a GUID partition table with one partition, in it a boot loader and what it starts.

Source: UAPI Group Specifications, "Boot Loader Specification", type 2 entries; GRUB manual, "Embedding a
configuration file into GRUB" for the prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.extents import Extents
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format import boot
from kitbuild.rules.format.disk_size import MEBIBYTE, disk_size, round_up, title
from kitbuild.rules.format.reading import head
from kitbuild.rules.format.uki import uki
from kitbuild.rules.layout import boot_config, efi_kernel, fat, gpt
from kitbuild.system import System

# How much larger than its files LinuxKit makes the partition with GRUB, and how much larger than that any disk.
_ROOM_BYTES, _AROUND_BYTES = 1 * MEBIBYTE, 4 * MEBIBYTE
# The table at the front, and its copy at the back.
_TABLES_BYTES = 2 * MEBIBYTE


class EfiDiskOptions(NamedTuple):
    """The paths of the files, and the size of the disk in bytes: as asked for, and what it is without that.

    A default of 0 stands for a disk as small as LinuxKit makes it. The file `kernel`, if there is one, must be for
    `architecture` (in Go's name), and one that GRUB can start.
    """

    paths: tuple[str, ...]
    architecture: str
    disk_bytes: int = 0
    default_bytes: int = 0


def run(work: Work[EfiDiskOptions]) -> Extents:
    """The disk; its files are slices that start at multiples of 4 KiB."""
    options = work.options
    contents = [work.extents(file) for file in work.artifacts("files")]
    files = dict(zip(options.paths, contents, strict=True))
    if "kernel" in files:
        efi_kernel.check_for_grub(head(files["kernel"], efi_kernel.HEAD_BYTES, work), options.architecture)
    volume, disk = _sizes({path: content.size for path, content in files.items()}, options)
    file_system = fat.file_system(files, size=volume, hidden_sectors=gpt.FIRST_SECTOR)
    return gpt.disk(file_system.extents, size=disk)


def _sizes(sizes: Mapping[str, int], options: EfiDiskOptions) -> tuple[int, int]:
    """The size of the file system and of the disk around it, in bytes."""
    least = round_up(fat.size_for(sizes), MEBIBYTE)
    disk = disk_size(least + _TABLES_BYTES, asked=options.disk_bytes, default=options.default_bytes)
    if disk:
        return (disk - _TABLES_BYTES) // MEBIBYTE * MEBIBYTE, disk
    volume = max(round_up(_usual_bytes(sizes), MEBIBYTE), least)
    return volume, volume + _AROUND_BYTES


def _usual_bytes(sizes: Mapping[str, int]) -> int:
    """How large LinuxKit makes the partition: with GRUB in one step, else after FAT32 with clusters of 4 KiB."""
    if "kernel" in sizes:
        return sum(size for path, size in sizes.items() if path not in boot_config.GRUB_CONFIGS) + _ROOM_BYTES
    data = sum(sizes.values())
    table_sectors = (data // gpt.SECTOR // 8 + 2) * 4 // gpt.SECTOR
    return data + (32 + 2 * table_sectors) * gpt.SECTOR


RULE: Rule[Any] = Rule(
    name="format/efi-disk",
    version=1,
    summary="lay out a disk for EFI: FAT, boot loader, kernel and initrd",
    options=EfiDiskOptions,
    inputs={"files": Input("extents", many=True)},
    output="extents",
    run=run,
)


def efi_disk(system: System, *, default_bytes: int = 0) -> Node:
    """The raw disk with systemd-boot, which starts a unified kernel image.

    `default_bytes` is its size if none was asked for, 0 for as small as LinuxKit's raw-efi.
    """
    files = {
        boot_config.EFI_PROGRAMS[system.target.architecture]: boot.loader_file(
            system, "systemd-boot", "systemd-boot.efi"
        ),
        "EFI/Linux/linuxkit.efi": uki(system),
        "loader/loader.conf": boot.text(system, "systemd-boot: config", "timeout 0\n"),
    }
    return _disk(system, "EFI disk", files, default_bytes=default_bytes)


def grub_disk(system: System, *, default_bytes: int = 0) -> Node:
    """The raw disk with GRUB, which starts kernel and initrd.

    `default_bytes` is its size if none was asked for, 0 for as small as LinuxKit's qcow2-efi.
    """
    content = boot_config.grub(kernel="/kernel", cmdline=boot.cmdline(system), initrd="/initrd.img")
    config = boot.text(system, "GRUB: config of a disk", content.decode("utf-8", "surrogateescape"))
    files = {
        _program(system): boot.loader_file(system, "grub", "grub.efi"),
        **dict.fromkeys(boot_config.GRUB_CONFIGS, config),
        "kernel": boot.kernel(system),
        "initrd.img": boot.initrd_with_microcode(system),
    }
    return _disk(system, "GRUB disk", files, default_bytes=default_bytes)


def _program(system: System) -> str:
    return boot_config.EFI_PROGRAMS[system.target.architecture]


def _disk(system: System, name: str, files: Mapping[str, Node], *, default_bytes: int) -> Node:
    name = title(name, asked=system.target.disk_bytes, default=default_bytes)
    options = EfiDiskOptions(
        tuple(files), system.target.architecture, system.target.disk_bytes, default_bytes
    )
    return system.once(name, lambda: Node(name, RULE, options, {"files": tuple(files.values())}))
