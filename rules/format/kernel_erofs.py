"""Kernel, command line and an EROFS image that the kernel mounts as its root."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.boot import kernel_and_cmdline
from kitbuild.rules.format.erofs import erofs
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    kernel = kernel_and_cmdline(system) if system.kernel is not None else {}
    return {**kernel, "-erofs.img": erofs(system)}


FORMAT = Format("kernel+erofs", "kernel, command line and an uncompressed EROFS root", _outputs)
