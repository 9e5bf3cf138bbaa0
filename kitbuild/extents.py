"""Extents are a file described as a list of pieces, so that nobody has to hold or copy its bytes.

Canonical form, one line each, ASCII:

    kitbuild-extents 1
    B <sha256 hex> <size in bytes>       a blob, numbered from 0 in order of first use
    S <blob number> <offset> <size>      a slice of that blob
    Z <size>                             zeros
    L <base64>                           literal bytes
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kitbuild.digest import Digest

_MAGIC = b"kitbuild-extents 1"


class Slice(NamedTuple):
    """`size` bytes of `blob` from `offset` on; always inside the blob."""

    blob: Digest
    offset: int
    size: int


class Literal(NamedTuple):
    """Bytes that stand in the recipe itself; for headers and tables, not for payloads."""

    content: bytes

    @property
    def size(self) -> int:
        """Its length in bytes."""
        return len(self.content)


class Zeros(NamedTuple):
    """A run of zero bytes."""

    size: int


Part = Slice | Literal | Zeros


class Extents(NamedTuple):
    """A file as parts in order, as few as can be. Made by `Extents.of`."""

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, parts: Iterable[Part]) -> Extents:
        """Joins neighbours, drops empty parts; raises ValueError for a slice outside its blob or a negative size."""
        return cls(tuple(_joined(parts)))

    @classmethod
    def whole(cls, blob: Digest) -> Extents:
        """One blob from its first byte to its last."""
        return cls.of([Slice(blob, 0, blob.size)])

    @property
    def size(self) -> int:
        """The length of the file in bytes."""
        return sum(part.size for part in self.parts)

    def blobs(self) -> tuple[Digest, ...]:
        """The blobs it slices, once each, in order of first use."""
        return tuple(dict.fromkeys(part.blob for part in self.parts if isinstance(part, Slice)))

    def encode(self) -> bytes:
        """The canonical bytes."""
        numbers = {blob: number for number, blob in enumerate(self.blobs())}
        lines = [_MAGIC, *(f"B {blob.hex} {blob.size}".encode() for blob in numbers)]
        for part in self.parts:
            if isinstance(part, Slice):
                lines.append(b"S %d %d %d" % (numbers[part.blob], part.offset, part.size))
            elif isinstance(part, Zeros):
                lines.append(b"Z %d" % part.size)
            else:
                lines.append(b"L " + base64.b64encode(part.content))
        return b"\n".join(lines) + b"\n"

    @classmethod
    def decode(cls, lines: Iterable[bytes]) -> Extents:
        """Reads what `encode` wrote, line by line; raises ValueError on anything else."""
        stream = iter(lines)
        if next(stream, b"").rstrip(b"\n") != _MAGIC:
            raise ValueError("not an extents file")
        blobs: list[Digest] = []
        try:
            return cls.of(_decoded(stream, blobs))
        except IndexError as error:
            raise ValueError(f"malformed extents: {error}") from error


def _decoded(lines: Iterable[bytes], blobs: list[Digest]) -> Iterator[Part]:
    for line in lines:
        mark, *fields = line.split()
        if mark == b"S":
            number, offset, size = map(int, fields)
            if number < 0:
                raise ValueError(f"blob number {number}")
            yield Slice(blobs[number], offset, size)
        elif mark == b"Z":
            yield Zeros(int(fields[0]))
        elif mark == b"L":
            yield Literal(base64.b64decode(fields[0], validate=True))
        elif mark == b"B":
            blobs.append(Digest.parse(fields[0].decode(), int(fields[1])))
        else:
            raise ValueError(f"unknown extents line {mark!r}")


def concat(pieces: Iterable[Extents]) -> Extents:
    """The pieces one after another."""
    return Extents.of(part for piece in pieces for part in piece.parts)


def padding(size: int, alignment: int) -> Zeros:
    """The zeros that bring `size` to the next multiple of `alignment`."""
    return Zeros(-size % alignment)


def _joined(parts: Iterable[Part]) -> Iterator[Part]:
    last: Part | None = None
    for part in parts:
        if isinstance(part, Slice) and not 0 <= part.offset <= part.offset + part.size <= part.blob.size:
            raise ValueError(
                f"slice {part.offset}+{part.size} lies outside its blob of {part.blob.size} bytes"
            )
        if part.size < 0:
            raise ValueError(f"a part of {part.size} bytes")
        if part.size == 0:
            continue
        if last is None:
            last = part
            continue
        both = _join(last, part)
        if both is None:
            yield last
            last = part
        else:
            last = both
    if last is not None:
        yield last


def _join(left: Part, right: Part) -> Part | None:
    if isinstance(left, Slice) and isinstance(right, Slice):
        if left.blob == right.blob and left.offset + left.size == right.offset:
            return Slice(left.blob, left.offset, left.size + right.size)
    elif isinstance(left, Zeros) and isinstance(right, Zeros):
        return Zeros(left.size + right.size)
    elif isinstance(left, Literal) and isinstance(right, Literal):
        return Literal(left.content + right.content)
    return None
