"""The nodes behind what boots: kernel, initrd, command line, root file system, boot loaders; each made once."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.node import Node
from kitbuild.rules.format import root as whole
from kitbuild.rules.format import segment
from kitbuild.rules.format.file import FILE, TEXT, FileOptions, TextOptions
from kitbuild.rules.format.members import JOIN, JoinOptions
from kitbuild.system import Part, System


def initrd(system: System) -> Node:
    """The initrd without microcode: a segment for every part."""
    pieces = tuple(_segment(system, part) for part in system.parts if part.in_initrd)
    return system.once("initrd", lambda: Node("initrd", JOIN, JoinOptions(aligned=True), {"pieces": pieces}))


def initrd_with_microcode(system: System) -> Node:
    """The initrd with the microcode the kernel wants to find first and uncompressed, if the config has any."""
    if not system.microcode:
        return initrd(system)
    name = "initrd with microcode"
    # An uncompressed segment behind it must start on four bytes.
    pieces = (_boot_file(system, "ucode.cpio", alignment=4), initrd(system))
    return system.once(name, lambda: Node(name, JOIN, JoinOptions(aligned=True), {"pieces": pieces}))


def boot_files(system: System) -> Mapping[str, Node]:
    """`kernel`, the text of its command line as `cmdline`, and `ucode.cpio`; each only if there is one."""
    files = {}
    if system.kernel is not None:
        files["kernel"] = _boot_file(system, "kernel")
        if system.cmdline:
            files["cmdline"] = text(system, "cmdline", system.cmdline)
        if system.microcode:
            files["ucode.cpio"] = _boot_file(system, "ucode.cpio")
    return files


def _segment(system: System, part: Part) -> Node:
    options = segment.SegmentOptions(system.target.compression, part.keeps_boot)
    name = f"{part.name}: segment"
    return system.once(
        name, lambda: Node(name, segment.RULE, options, {"tree": (part.tree,)}, part.tree.section)
    )


def _boot_file(system: System, name: str, *, alignment: int = 1) -> Node:
    kernel = system.kernel
    assert kernel is not None
    title = f"kernel: {name}" if alignment == 1 else f"kernel: {name} padded"
    options = FileOptions(f"boot/{name}", alignment)
    return system.once(title, lambda: Node(title, FILE, options, {"tree": (kernel,)}, kernel.section))


def kernel(system: System) -> Node:
    """The kernel, which a format that `boots` may count on."""
    return _boot_file(system, "kernel")


def cmdline(system: System) -> str:
    """The command line as a boot loader gets it: one line, without its end."""
    return system.cmdline.rstrip("\n")


def kernel_and_cmdline(system: System) -> Mapping[str, Node]:
    """The files `-kernel` and `-cmdline` beside a root file system, the latter even if it is empty.

    `-ucode.cpio` only if there is microcode, and none of them for a config without a kernel.
    """
    if system.kernel is None:
        return {}
    files = {f"-{name}": node for name, node in boot_files(system).items()}
    if "-cmdline" not in files:
        files["-cmdline"] = text(system, "cmdline", "")
    return files


def text(system: System, name: str, content: str) -> Node:
    """A short file; `name` is that of its node."""
    return system.once(name, lambda: Node(name, TEXT, TextOptions(content)))


def loader_file(system: System, loader: str, file: str) -> Node:
    """One file of a boot loader, by the name that kitbuild knows it under."""
    name = f"{loader}: {file}"
    inputs = {"tree": (system.target.loaders[loader],)}
    return system.once(name, lambda: Node(name, FILE, FileOptions(file), inputs))


def root(system: System, *, with_boot: bool) -> Node:
    """The root file system as one tree.

    `with_boot`: as LinuxKit's ISOs hold it, with all of `boot/` but `boot/cmdline`; else `boot` is empty but for what
    the kernel's own tar brings there.
    """
    name = "root with boot" if with_boot else "root"
    parts = [part for part in system.parts if part.in_initrd]
    options = whole.RootOptions(tuple(with_boot or part.keeps_boot for part in parts))
    inputs = {"parts": tuple(part.tree for part in parts)}
    return system.once(name, lambda: Node(name, whole.RULE, options, inputs))
