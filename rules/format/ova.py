"""A virtual machine with a disk for firmware without EFI, to import."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.rules.format.disk_image import DISK_BYTES, as_ova
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {".ova": as_ova(system, bios_disk(system, default_bytes=DISK_BYTES))}


FORMAT = Format(
    "ova",
    "virtual machine for VMware and VirtualBox, BIOS",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
