"""A disk for firmware without EFI, as small as its content allows."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {"-bios.img": bios_disk(system)}


FORMAT = Format(
    "raw-bios",
    "raw disk for BIOS, started by SYSLINUX",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
