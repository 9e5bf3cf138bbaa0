"""A file compressed as one stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.extents import Extents, Literal, Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.compression import compressor, tools
from kitbuild.system import Compression

# Small pieces are gathered to this size: a call for each would cost more than the work.
_GATHERED_BYTES = 1 << 18
_ZERO_BYTES = 1 << 20


class CompressOptions(NamedTuple):
    """How; `none` leaves the file as it is."""

    compression: Compression = "gzip"


def run(work: Work[CompressOptions]) -> Extents:
    """The compressed file: a blob from its first byte to its last, whose digest is therefore the file's own."""
    extents = work.extents(work.artifact("file"))
    if work.options.compression == "none":
        return extents
    pieces = work.passing(read(extents, work), extents.size)
    return Extents.whole(compressed(pieces, work, work.options.compression))


def compressed(pieces: Iterator[bytes], work: Work[Any], compression: Compression) -> Digest:
    """The blob of what the pieces are compressed to."""
    compressing = compressor(compression)
    with work.writer() as writer:
        for piece in pieces:
            writer.write(compressing.compress(piece))
        writer.write(compressing.flush())
        return writer.commit()


def read(extents: Extents, work: Work[Any]) -> Iterator[bytes]:
    """The bytes of a file in pieces neither tiny nor large."""
    gathered = bytearray()
    for piece in _pieces(extents, work):
        if not gathered and len(piece) >= _GATHERED_BYTES:
            yield piece
            continue
        gathered += piece
        if len(gathered) >= _GATHERED_BYTES:
            yield bytes(gathered)
            gathered.clear()
    yield bytes(gathered)


def _pieces(extents: Extents, work: Work[Any]) -> Iterator[bytes]:
    for part in extents.parts:
        if isinstance(part, Slice):
            yield from work.pieces(part)
        elif isinstance(part, Literal):
            yield part.content
        else:
            yield from (bytes(min(_ZERO_BYTES, part.size - at)) for at in range(0, part.size, _ZERO_BYTES))


def _tools(options: CompressOptions) -> Mapping[str, str]:
    return tools(options.compression)


RULE: Rule[Any] = Rule(
    name="format/compress",
    version=1,
    summary="compress a file",
    options=CompressOptions,
    inputs={"file": Input("extents")},
    output="extents",
    run=run,
    tools=_tools,
)
