"""Kernel and initrd: what QEMU, firmware and boot loaders start directly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, padding
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format import segment
from kitbuild.rules.format.members import JOIN, JoinOptions
from kitbuild.system import Format, Part, System


class FileOptions(NamedTuple):
    """The path of a file in the tree, and what its length is padded to (bytes)."""

    path: str
    alignment: int = 1


def _file(work: Work[FileOptions]) -> Extents:
    for entry in work.entries(work.artifact("tree")):
        if entry.path == work.options.path:
            content = [entry.content] if entry.content else []
            return Extents.of([*content, padding(entry.size, work.options.alignment)])
    raise RuleError(f"no `{work.options.path}` in the tree")


FILE: Rule[Any] = Rule(
    name="format/file",
    version=1,
    summary="take one file out of a tree",
    options=FileOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=_file,
)


class TextOptions(NamedTuple):
    """The whole text of the file."""

    text: str


def _text(work: Work[TextOptions]) -> Extents:
    return Extents.of([Literal(work.options.text.encode("utf-8", "surrogateescape"))])


TEXT: Rule[Any] = Rule(
    name="format/text",
    version=1,
    summary="write a short text",
    options=TextOptions,
    output="extents",
    run=_text,
)


def initrd(system: System) -> Node:
    """The initrd without microcode: a segment for every part."""
    pieces = tuple(_segment(system, part) for part in system.parts if part.in_initrd)
    return system.once("initrd", lambda: Node("initrd", JOIN, JoinOptions(), {"pieces": pieces}))


def initrd_with_microcode(system: System) -> Node:
    """The initrd with the microcode the kernel wants to find first and uncompressed, if the config has any."""
    if not system.microcode:
        return initrd(system)
    name = "initrd with microcode"
    # An uncompressed segment behind it must start on four bytes.
    pieces = (_boot_file(system, "ucode.cpio", alignment=4), initrd(system))
    return system.once(name, lambda: Node(name, JOIN, JoinOptions(), {"pieces": pieces}))


def boot_files(system: System) -> Mapping[str, Node]:
    """`kernel`, the text of its command line as `cmdline`, and `ucode.cpio`; each only if there is one."""
    files = {}
    if system.kernel is not None:
        files["kernel"] = _boot_file(system, "kernel")
        if system.cmdline:
            options = TextOptions(system.cmdline)
            files["cmdline"] = system.once("cmdline", lambda: Node("cmdline", TEXT, options))
        if system.microcode:
            files["ucode.cpio"] = _boot_file(system, "ucode.cpio")
    return files


def _segment(system: System, part: Part) -> Node:
    options = segment.SegmentOptions(system.compression, part.keeps_boot)
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


def _outputs(system: System) -> Mapping[str, Node]:
    files = boot_files(system)
    outputs = {f"-{name}": files[name] for name in ("kernel", "cmdline") if name in files}
    return {**outputs, "-initrd.img": initrd_with_microcode(system)}


FORMATS = (Format("kernel+initrd", "kernel, initrd and command line as three files", _outputs),)
