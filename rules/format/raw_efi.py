"""A disk for EFI firmware, as small as its content allows."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.efi_disk import efi_disk
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {"-efi.img": efi_disk(system)}


FORMAT = Format(
    "raw-efi",
    "raw disk for EFI, started by systemd-boot",
    _outputs,
    loaders={"amd64": ("systemd-boot",), "arm64": ("systemd-boot",)},
    boots=True,
)
