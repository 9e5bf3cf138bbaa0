"""Kernel, command line and an ISO that the kernel mounts as its root."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.boot import kernel_and_cmdline
from kitbuild.rules.format.iso_image import plain_iso
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {**kernel_and_cmdline(system), ".iso": plain_iso(system)}


FORMAT = Format(
    "kernel+iso",
    "kernel, command line and an ISO 9660 root",
    _outputs,
)
