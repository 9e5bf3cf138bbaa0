"""Kernel, initrd and command line in one tar."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kitbuild.extents import Extents, Literal, Part, padding
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.boot import boot_files, initrd
from kitbuild.rules.layout.ustar import BLOCK, TRAILER, header
from kitbuild.system import MTIME, Format, System
from kitbuild.tree import Entry


class MembersOptions(NamedTuple):
    """The names of the members, in the order of the files given."""

    names: tuple[str, ...]


def _run(work: Work[MembersOptions]) -> Extents:
    return Extents.of(_parts(work))


def _parts(work: Work[MembersOptions]) -> Iterator[Part]:
    for name, file in zip(work.options.names, work.artifacts("files"), strict=True):
        extents = work.extents(file)
        yield Literal(header(Entry(name, "file", 0o644, mtime=MTIME), {}, size=extents.size))
        yield from extents.parts
        yield padding(extents.size, BLOCK)
    yield Literal(TRAILER)


RULE: Rule[Any] = Rule(
    name="format/kernel-initrd-tar",
    version=1,
    summary="put files into one tar",
    options=MembersOptions,
    inputs={"files": Input("extents", many=True)},
    output="extents",
    run=_run,
)


def _outputs(system: System) -> Mapping[str, Node]:
    files = {**boot_files(system), "initrd.img": initrd(system)}
    order = [name for name in ("kernel", "initrd.img", "cmdline", "ucode.cpio") if name in files]
    inputs = {"files": tuple(files[name] for name in order)}
    return {"-initrd.tar": Node("kernel-initrd tar", RULE, MembersOptions(tuple(order)), inputs)}


FORMAT = Format("tar-kernel-initrd", "kernel, initrd and command line in one tar", _outputs)
