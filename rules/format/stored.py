"""Files made of headers and slices: the headers of all go into one blob, the slices stay where they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kitbuild.extents import Extents, Part, Slice
from kitbuild.rule import Work


def stored(pieces: Iterator[bytes | Slice], work: Work[Any]) -> Extents:
    """Pieces as extents: the slices stay slices, all bytes between them go into one blob."""
    places: list[Slice | tuple[int, int]] = []
    with work.writer() as writer:
        for piece in pieces:
            if isinstance(piece, bytes):
                places.append((writer.size, len(piece)))
                writer.write(piece)
            else:
                places.append(piece)
        blob = writer.commit()
    parts: Iterator[Part] = (
        place if isinstance(place, Slice) else Slice(blob, place[0], place[1]) for place in places
    )
    return Extents.of(parts)
