"""What the files of one part hold, cut into the blocks of a squashfs: all the compressing, for one part alone.

The extents are an index (see layout/squashfs/content.py) as one blob, then the blocks as another.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kitbuild.extents import Extents, Slice
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.compression import block_compressor, tools
from kitbuild.system import Compression, Part, System


class DataOptions(NamedTuple):
    """How to compress, and whether the files below `boot/` are wanted."""

    compression: Compression = "gzip"
    keeps_boot: bool = False


def run(work: Work[DataOptions]) -> Extents:
    """The index and the blocks."""
    # A build with nothing to do needs none of it.
    from kitbuild.rules.layout.squashfs.content import cut

    compress = block_compressor(work.options.compression)
    with work.writer() as writer:
        index = cut(_contents(work), work.read, writer.write, compress=compress)
        data = writer.commit()
    digest = work.put(index)
    return Extents.of([Slice(digest, 0, digest.size), Slice(data, 0, data.size)])


def _contents(work: Work[DataOptions]) -> Iterator[Slice]:
    """The contents of all files wanted, and of those in `boot/` that have a second name elsewhere."""
    left_out: dict[str, Slice] = {}
    for entry in work.entries(work.artifact("tree")):
        is_wanted = work.options.keeps_boot or not entry.path.startswith("boot/")
        if entry.content and is_wanted:
            yield entry.content
        elif entry.content:
            left_out[entry.path] = entry.content
        elif is_wanted and entry.target in left_out:
            yield left_out.pop(entry.target)


def _tools(options: DataOptions) -> Mapping[str, str]:
    return tools(options.compression)


RULE: Rule[Any] = Rule(
    name="format/squashfs-data",
    version=2,
    summary="compress a part's files for a squashfs",
    options=DataOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=run,
    tools=_tools,
)


def squashfs_data(system: System, part: Part) -> Node:
    """The files of one part."""
    options = DataOptions(system.target.compression, part.keeps_boot)
    name = f"{part.name}: squashfs data"
    return system.once(name, lambda: Node(name, RULE, options, {"tree": (part.tree,)}, part.tree.section))
