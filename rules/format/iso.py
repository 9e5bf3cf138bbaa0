"""One ISO for all: BIOS and EFI, on a CD and written to a USB stick."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.iso_image import initrd_iso
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {"-hybrid.iso": initrd_iso(system, disk="both")}


FORMAT = Format(
    "iso",
    "ISO with kernel and initrd, for BIOS and EFI, CD and USB stick",
    _outputs,
    loaders={"amd64": ("grub", "syslinux"), "arm64": ("grub",)},
    boots=True,
)
