"""An ISO that is the root file system, started by BIOS from a CD or a USB stick."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.iso_image import root_iso
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {".iso": root_iso(system, efi=False)}


FORMAT = Format(
    "iso-bios",
    "ISO that is the root, for BIOS, started by ISOLINUX",
    _outputs,
    loaders={"amd64": ("syslinux",)},
    boots=True,
)
