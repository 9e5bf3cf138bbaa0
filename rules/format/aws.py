"""A raw disk to import into AWS: for firmware without EFI, but for EFI on arm64, where there is no other."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.bios_disk import bios_disk
from kitbuild.rules.format.disk_image import DISK_BYTES
from kitbuild.rules.format.efi_disk import efi_disk
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    disk = bios_disk if system.target.architecture == "amd64" else efi_disk
    return {".raw": disk(system, default_bytes=DISK_BYTES)}


FORMAT = Format(
    "aws",
    "raw disk for AWS: BIOS, or EFI on arm64",
    _outputs,
    loaders={"amd64": ("syslinux",), "arm64": ("systemd-boot",)},
    boots=True,
)
