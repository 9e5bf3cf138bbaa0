"""An ISO that is the root file system, started by EFI firmware."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.iso_image import root_iso
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {"-efi.iso": root_iso(system, efi=True)}


FORMAT = Format(
    "iso-efi",
    "ISO that is the root, for EFI, started by GRUB",
    _outputs,
    loaders={"amd64": ("grub",), "arm64": ("grub",)},
    boots=True,
)
