"""A disk for firmware without EFI as VHDX."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.rules.format.disk_image import DISK_BYTES, as_vhdx
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {".vhdx": as_vhdx(system, bios_disk(system, default_bytes=DISK_BYTES))}


FORMAT = Format(
    "vhdx",
    "dynamic VHDX for Hyper-V, BIOS",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
