"""A disk for firmware without EFI as fixed VHD, the one kind that Azure takes."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.rules.format.disk_image import DISK_BYTES, as_vhd
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {".vhd": as_vhd(system, bios_disk(system, default_bytes=DISK_BYTES), is_dynamic=False)}


FORMAT = Format(
    "vhd",
    "fixed VHD for Azure and Hyper-V, BIOS",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
