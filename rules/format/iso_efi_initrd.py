"""An ISO with kernel and initrd, started by EFI firmware."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.iso_image import initrd_iso
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {"-efi-initrd.iso": initrd_iso(system)}


FORMAT = Format(
    "iso-efi-initrd",
    "ISO with kernel and initrd, for EFI, started by GRUB",
    _outputs,
    loaders={"amd64": ("grub",), "arm64": ("grub",)},
    boots=True,
)
