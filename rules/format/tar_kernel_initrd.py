"""Kernel, initrd and command line in one tar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.extents import Extents
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.archive import archive
from kitbuild.rules.format.boot import boot_files, initrd
from kitbuild.system import Format, System


class ArchiveOptions(NamedTuple):
    """The names of the members, in the order of the files given."""

    names: tuple[str, ...]


def _run(work: Work[ArchiveOptions]) -> Extents:
    contents = [work.extents(file) for file in work.artifacts("files")]
    return archive(dict(zip(work.options.names, contents, strict=True)))


RULE: Rule[Any] = Rule(
    name="format/kernel-initrd-tar",
    version=1,
    summary="put files into one tar",
    options=ArchiveOptions,
    inputs={"files": Input("extents", many=True)},
    output="extents",
    run=_run,
)


def _outputs(system: System) -> Mapping[str, Node]:
    files = {**boot_files(system), "initrd.img": initrd(system)}
    order = [name for name in ("kernel", "initrd.img", "cmdline", "ucode.cpio") if name in files]
    inputs = {"files": tuple(files[name] for name in order)}
    return {"-initrd.tar": Node("kernel-initrd tar", RULE, ArchiveOptions(tuple(order)), inputs)}


FORMAT = Format("tar-kernel-initrd", "kernel, initrd and command line in one tar", _outputs)
