"""A disk for firmware without EFI as qcow2."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.rules.format.disk_image import DISK_BYTES, as_qcow2
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {".qcow2": as_qcow2(system, bios_disk(system, default_bytes=DISK_BYTES))}


FORMAT = Format(
    "qcow2-bios",
    "qcow2 disk for BIOS, started by SYSLINUX",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
