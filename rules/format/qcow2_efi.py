"""A disk for EFI as qcow2, as small as its content allows."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.disk_image import as_qcow2
from kitbuild.rules.format.efi_disk import grub_disk
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {"-efi.qcow2": as_qcow2(system, grub_disk(system))}


FORMAT = Format(
    "qcow2-efi",
    "qcow2 disk for EFI, started by GRUB",
    _outputs,
    loaders={"amd64": ("grub",), "arm64": ("grub",)},
    boots=True,
)
