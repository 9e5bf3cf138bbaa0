"""The root file system as a squashfs: its metadata, over what the files of every part were compressed to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from kitbuild.extents import Extents, Literal, Slice, padding
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format import boot
from kitbuild.rules.format.compression import block_compressor, tools
from kitbuild.rules.format.squashfs_data import squashfs_data
from kitbuild.system import MTIME, Compression, System
from kitbuild.tree import Tree

if TYPE_CHECKING:
    # A build with nothing to do needs none of it.
    from kitbuild.rules.layout.squashfs.content import Contents
    from kitbuild.rules.layout.squashfs.image import Compressor


class SquashfsOptions(NamedTuple):
    """How files and metadata are compressed; `none` takes the files from the layers and has no data."""

    compression: Compression = "gzip"


def run(work: Work[SquashfsOptions]) -> Extents:
    """The image, padded to 4 KiB; what no file of the tree uses of the data is not in it."""
    from kitbuild.rules.layout.squashfs import image as layout

    tree = work.tree(work.artifact("tree"))
    _warn(tree, work)
    contents = _contents(work)
    image = layout.image(tree, contents, _compressor(work.options.compression), seconds=MTIME // 10**9)
    tables = work.put(image.tables)
    return Extents.of(
        [
            Literal(image.superblock),
            *image.data.parts,
            Slice(tables, 0, tables.size),
            padding(image.size, layout.ALIGNMENT),
        ]
    )


def _contents(work: Work[SquashfsOptions]) -> Contents:
    from kitbuild.rules.layout.squashfs.content import Indexed, Stored

    if work.options.compression == "none":
        return Stored()
    contents = Indexed()
    for artifact in work.artifacts("data"):
        index, *data = work.extents(artifact).parts
        assert isinstance(index, Slice)
        assert all(isinstance(part, Slice) for part in data)
        with work.open(index.blob) as lines:
            contents.read(lines, data[0] if data else None)  # type: ignore[arg-type]
    return contents


def _compressor(compression: Compression) -> Compressor:
    from kitbuild.rules.layout.squashfs import image as layout

    if compression == "none":
        return layout.Compressor(layout.GZIP_NUMBER, None)
    number = layout.GZIP_NUMBER if compression == "gzip" else layout.ZSTD_NUMBER
    return layout.Compressor(number, block_compressor(compression))


def _warn(tree: Tree, work: Work[Any]) -> None:
    from kitbuild.rules.layout.squashfs.xattr import has_place_for

    left_out = [(entry.path, name) for entry in tree for name, _ in entry.xattrs if not has_place_for(name)]
    if left_out:
        path, name = left_out[0]
        work.warn(
            f"squashfs has no place for {len(left_out)} extended attributes, such as `{name}` of `{path}`"
        )


def _tools(options: SquashfsOptions) -> Mapping[str, str]:
    return tools(options.compression)


RULE: Rule[Any] = Rule(
    name="format/squashfs",
    version=2,
    summary="lay the root file system out as squashfs",
    options=SquashfsOptions,
    inputs={"tree": Input("tree"), "data": Input("extents", many=True)},
    output="extents",
    run=run,
    tools=_tools,
)


def squashfs(system: System) -> Node:
    """The root file system without `boot/` as a squashfs."""
    options = SquashfsOptions(system.target.compression)
    parts = [part for part in system.parts if part.in_initrd and options.compression != "none"]
    inputs = {
        "tree": (boot.root(system, with_boot=False),),
        "data": tuple(squashfs_data(system, part) for part in parts),
    }
    return system.once("squashfs", lambda: Node("squashfs", RULE, options, inputs))
