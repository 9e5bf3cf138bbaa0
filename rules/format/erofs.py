"""The root file system as an EROFS image: files stay slices, inodes and directories become one blob."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.extents import Extents, Literal
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format import boot
from kitbuild.rules.format.stored import stored
from kitbuild.rules.layout.erofs import FileSystem, has_place_for
from kitbuild.system import MTIME, System
from kitbuild.tree import Tree


class ErofsOptions(NamedTuple):
    """The label of the file system, at most sixteen bytes."""

    label: str = "kitbuild"


def run(work: Work[ErofsOptions]) -> Extents:
    """The image, uncompressed; extended attributes that EROFS cannot name are left out."""
    tree = work.tree(work.artifact("tree"))
    _warn(tree, work)
    file_system = FileSystem(tree, mtime=MTIME, label=work.options.label)
    body = stored(file_system.pieces(), work)
    uuid = bytearray(body.identity("erofs")[:16])
    # Version 8, "made in a way of one's own", and the variant. Source: RFC 9562, 5.8.
    uuid[6] = uuid[6] & 0x0F | 0x80
    uuid[8] = uuid[8] & 0x3F | 0x80
    return Extents.of([Literal(file_system.superblock(bytes(uuid))), *body.parts])


def _warn(tree: Tree, work: Work[Any]) -> None:
    left_out = [(entry.path, name) for entry in tree for name, _ in entry.xattrs if not has_place_for(name)]
    if left_out:
        path, name = left_out[0]
        work.warn(f"EROFS has no place for {len(left_out)} extended attributes, such as `{name}` of `{path}`")


RULE: Rule[Any] = Rule(
    name="format/erofs",
    version=1,
    summary="lay the root file system out as EROFS",
    options=ErofsOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=run,
)


def erofs(system: System) -> Node:
    """The root file system without `boot/` as an EROFS image."""
    inputs = {"tree": (boot.root(system, with_boot=False),)}
    return system.once("erofs", lambda: Node("erofs", RULE, ErofsOptions(), inputs))
