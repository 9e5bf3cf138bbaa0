"""What the system takes from a kernel image: the kernel and its microcode, and the modules in its tar."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Artifact, Input, Rule, Work
from kitbuild.rules.assemble.decompress import decompressed
from kitbuild.rules.assemble.root import directory
from kitbuild.rules.unpack.index import index
from kitbuild.suggest import did_you_mean
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree


class BootOptions(NamedTuple):
    """Paths in the kernel image; `microcode` is empty if none is wanted. `decompress` takes the kernel out of its
    own compression.
    """

    binary: str = "kernel"
    microcode: str = ""
    decompress: bool = False


def _boot(work: Work[BootOptions]) -> Tree:
    image = work.artifact("image")
    kernel = _moved(_file(image, work.options.binary, work), "boot/kernel")
    if work.options.decompress:
        kernel = kernel._replace(content=_decompressed(kernel, work))
    entries = [directory("boot"), kernel]
    if work.options.microcode:
        entries.append(_moved(_file(image, work.options.microcode, work), "boot/ucode.cpio"))
    return Tree.of(entries)


def _decompressed(kernel: Entry, work: Work[BootOptions]) -> Slice:
    try:
        return decompressed(kernel.content, work)
    except RuleError as error:
        raise RuleError(
            f"`{work.options.binary}` in the kernel image: {error.message}", hint=error.hint
        ) from error


def _moved(entry: Entry, path: str) -> Entry:
    return Entry(path, "file", entry.mode, mtime=MTIME, content=entry.content)


def _file(image: Artifact, path: str, work: Work[Any]) -> Entry:
    tree = work.tree(image).by_path()
    entry = tree.get(path.lstrip("/"))
    if entry is not None and entry.kind == "hardlink":
        entry = tree[entry.target]
    if entry is None or entry.kind != "file":
        files = sorted(name for name, found in tree.items() if found.kind in ("file", "hardlink"))
        names = ", ".join(files[:8]) + (", ..." if len(files) > 8 else "")
        raise RuleError(
            f"expected a file `{path}` in the kernel image, got none",
            hint=did_you_mean(path, files)
            or (
                f"name one of its files in the kernel section: {names}"
                if files
                else "choose an image with one"
            ),
        )
    return entry


BOOT: Rule[Any] = Rule(
    name="assemble/boot",
    version=1,
    summary="take kernel and microcode out of a kernel image",
    options=BootOptions,
    inputs={"image": Input("tree")},
    output="tree",
    run=_boot,
)


class ModulesOptions(NamedTuple):
    """The path of the tar in the kernel image."""

    tar: str = "kernel.tar"


def _modules(work: Work[ModulesOptions]) -> Tree:
    """The tar's entries as they are: their contents stay slices of the layer the tar lies in."""
    entry = _file(work.artifact("image"), work.options.tar, work)
    try:
        return index(entry.content, work, complete=True) if entry.content else Tree.of([])
    except RuleError as error:
        raise RuleError(
            f"`{work.options.tar}` in the kernel image: {error.message}",
            hint=error.hint or "name a tar of modules with `tar:`, or write `tar: none`",
        ) from error


MODULES: Rule[Any] = Rule(
    name="assemble/modules",
    version=1,
    summary="index the tar in a kernel image",
    options=ModulesOptions,
    inputs={"image": Input("tree")},
    output="tree",
    run=_modules,
)


class CmdlineOptions(NamedTuple):
    """The kernel command line."""

    text: str


def _cmdline(work: Work[CmdlineOptions]) -> Tree:
    blob = work.put(work.options.text.encode("utf-8", "surrogateescape"))
    content = Slice(blob, 0, blob.size) if blob.size else None
    return Tree.of([Entry("boot/cmdline", "file", 0o644, mtime=MTIME, content=content)])


CMDLINE: Rule[Any] = Rule(
    name="assemble/cmdline",
    version=1,
    summary="write boot/cmdline",
    options=CmdlineOptions,
    output="tree",
    run=_cmdline,
)
