"""Dense forms: a file told with blobs that hold nothing but what it uses of them.

A kernel of 10 MB may be a slice of a layer of 300 MB. Whoever wants that file from elsewhere shall not fetch the
layer: each blob of which a part goes unused is replaced by a new one, its used ranges one after another.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from kitbuild.digest import Digest, Hasher
from kitbuild.errors import MissingBlobError
from kitbuild.extents import Extents, Part, Slice

# A dense form costs its maker an upload: it has to spare others more than this part of the file, and a page.
_LEAST_SAVING = 0.015
_LEAST_SAVED_BYTES = 4096
# A blob is replaced if more than this part of it goes unused.
_LEAST_UNUSED = 0.005
_PIECE_BYTES = 1 << 20


class Source(NamedTuple):
    """Where a dense blob comes from: ranges of `blob` in order, none touching the next."""

    blob: Digest
    ranges: tuple[range, ...]

    @property
    def size(self) -> int:
        """The bytes of the ranges together."""
        return sum(map(len, self.ranges))

    def pieces(self, path: Path) -> Iterator[bytes]:
        """The ranges' bytes from the file of the blob, in pieces of a mebibyte; raises MissingBlobError, OSError."""
        piece = bytearray()
        with path.open("rb") as file:
            for used in self.ranges:
                for offset in range(used.start, used.stop, _PIECE_BYTES):
                    size = min(_PIECE_BYTES, used.stop - offset)
                    piece += os.pread(file.fileno(), size, offset)
                    if len(piece) >= _PIECE_BYTES:
                        yield bytes(piece[:_PIECE_BYTES])
                        del piece[:_PIECE_BYTES]
        if piece:
            yield bytes(piece)


def dense(extents: Extents, path_of: Callable[[Digest], Path]) -> tuple[Extents, dict[Digest, Source]] | None:
    """The same file over dense blobs and where each of those comes from; None if that would spare next to nothing.

    `path_of` gives the file of a blob. Raises what it raises (MissingBlobError), and OSError.
    """
    sources = sources_of(extents)
    used = sum(source.size for source in sources)
    spared = sum(source.blob.size for source in sources) - used
    if spared < max(_LEAST_SAVED_BYTES, _LEAST_SAVING * used):
        return None
    sparse = [source for source in sources if source.size < (1 - _LEAST_UNUSED) * source.blob.size]
    made = {source.blob: (_digest(source, path_of(source.blob)), source) for source in sparse}
    parts = list(_moved(extents.parts, made))
    return Extents.of(parts), dict(made.values())


def sources_of(extents: Extents) -> list[Source]:
    """What the file uses of each blob."""
    slices: dict[Digest, list[Slice]] = {}
    for part in extents.parts:
        if isinstance(part, Slice):
            slices.setdefault(part.blob, []).append(part)
    return [Source(blob, tuple(_merged(parts))) for blob, parts in slices.items()]


def _merged(slices: Iterable[Slice]) -> Iterator[range]:
    last = range(0)
    for part in sorted(slices, key=lambda part: part.offset):
        if part.offset > last.stop:
            if last:
                yield last
            last = range(part.offset, part.offset + part.size)
        else:
            last = range(last.start, max(last.stop, part.offset + part.size))
    if last:
        yield last


def _digest(source: Source, path: Path) -> Digest:
    hasher = Hasher()
    for piece in source.pieces(path):
        hasher.update(piece)
    digest = hasher.digest()
    if digest.size != source.size:
        raise MissingBlobError(f"{source.blob} is shorter than it was")
    return digest


def _moved(parts: Iterable[Part], made: dict[Digest, tuple[Digest, Source]]) -> Iterator[Part]:
    starts = {blob: [used.start for used in source.ranges] for blob, (_, source) in made.items()}
    places = {
        blob: list(accumulate(map(len, source.ranges), initial=0)) for blob, (_, source) in made.items()
    }
    for part in parts:
        if isinstance(part, Slice) and part.blob in made:
            number = bisect_right(starts[part.blob], part.offset) - 1
            offset = places[part.blob][number] + part.offset - starts[part.blob][number]
            yield Slice(made[part.blob][0], offset, part.size)
        else:
            yield part
