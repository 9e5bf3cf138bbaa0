"""Kernel, command line and a squashfs that the kernel mounts as its root."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.boot import kernel_and_cmdline
from kitbuild.rules.format.squashfs import squashfs
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    return {**kernel_and_cmdline(system), "-squashfs.img": squashfs(system)}


FORMAT = Format("kernel+squashfs", "kernel, command line and a compressed squashfs root", _outputs)
