"""Kernel and initrd: what QEMU, firmware and boot loaders start directly."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format.boot import boot_files, initrd_with_microcode
from kitbuild.system import Format, System


def _outputs(system: System) -> Mapping[str, Node]:
    files = boot_files(system)
    outputs = {f"-{name}": files[name] for name in ("kernel", "cmdline") if name in files}
    return {**outputs, "-initrd.img": initrd_with_microcode(system)}


FORMAT = Format("kernel+initrd", "kernel, initrd and command line as three files", _outputs)
