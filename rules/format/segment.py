"""A segment: one part of the root file system as a cpio archive of its own, compressed on its own.

The kernel takes any number of them one after another, so an initrd is the list of its segments, and changing one
part compresses one segment. Rules for that: every segment holds whole records with a trailer, ends on 512 bytes
before it is compressed, and starts on 4 bytes in the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kitbuild.draft import Draft
from kitbuild.extents import Extents, Slice, padding
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.compression import compressor, tools
from kitbuild.rules.format.stored import stored
from kitbuild.rules.layout.cpio import archive
from kitbuild.system import Compression

_ALIGNMENT = 4
# Small files are gathered to this size before they are compressed: a call for each would cost more than the work.
_GATHERED_BYTES = 1 << 18


class SegmentOptions(NamedTuple):
    """How to compress, and whether entries below `boot/` stay: they are for boot loaders, not for the system."""

    compression: Compression = "gzip"
    keeps_boot: bool = False


def run(work: Work[SegmentOptions]) -> Extents:
    """The segment; nothing at all for a tree without entries."""
    tree = work.tree(work.artifact("tree"))
    if not work.options.keeps_boot and any(entry.path.startswith("boot/") for entry in tree):
        draft = Draft(tree)
        draft.empty("boot")
        tree = draft.tree()
    if not tree.entries:
        return Extents.of([])
    if work.options.compression == "none":
        return stored(archive(tree), work)
    compressing = compressor(work.options.compression)
    size = sum(entry.content.size for entry in tree if entry.content is not None)
    with work.writer() as writer:
        for piece in work.passing(_gathered(archive(tree), work), size):
            writer.write(compressing.compress(piece))
        writer.write(compressing.flush())
        blob = writer.commit()
    return Extents.of([Slice(blob, 0, blob.size), padding(blob.size, _ALIGNMENT)])


def _gathered(pieces: Iterator[bytes | Slice], work: Work[Any]) -> Iterator[bytes]:
    gathered = bytearray()
    for piece in pieces:
        if isinstance(piece, bytes):
            gathered += piece
        elif piece.size <= _GATHERED_BYTES:
            gathered += work.read(piece)
        else:
            yield bytes(gathered)
            gathered.clear()
            yield from work.pieces(piece)
        if len(gathered) >= _GATHERED_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _tools(options: SegmentOptions) -> Mapping[str, str]:
    return tools(options.compression)


RULE: Rule[Any] = Rule(
    name="format/segment",
    version=1,
    summary="pack a part as a compressed cpio archive",
    options=SegmentOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=run,
    tools=_tools,
)
