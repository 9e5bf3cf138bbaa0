"""A disk for firmware without EFI as dynamic VHD, which is as large as what it holds."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.rules.format.disk_image import as_vhd
from kitbuild.system import Format, System

# As LinuxKit's, if nobody asks for another size.
_BYTES = 25 << 30


def _outputs(system: System) -> Mapping[str, Node]:
    return {".vhd": as_vhd(system, bios_disk(system, default_bytes=_BYTES), is_dynamic=True)}


FORMAT = Format(
    "dynamic-vhd",
    "dynamic VHD for Hyper-V, BIOS",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
