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
import hashlib
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

    def cut(self, offset: int, size: int) -> Extents:
        """`size` bytes from `offset` on; both must lie inside."""
        parts = []
        end, position = offset + size, 0
        for part in self.parts:
            first, last = max(offset, position), min(end, position + part.size)
            if first < last:
                parts.append(_cut(part, first - position, last - first))
            position += part.size
            if position >= end:
                break
        return Extents.of(parts)

    def chunks(self, size: int) -> Iterator[Extents]:
        """The file in pieces of `size` bytes, the last one perhaps shorter."""
        chunk: list[Part] = []
        room = size
        for part in self.parts:
            offset = 0
            while offset < part.size:
                step = min(room, part.size - offset)
                chunk.append(_cut(part, offset, step))
                offset += step
                room -= step
                if not room:
                    yield Extents.of(chunk)
                    chunk, room = [], size
        if chunk:
            yield Extents.of(chunk)

    def used(self, size: int) -> list[range]:
        """Which blocks of `size` bytes hold anything but zeros: ranges of their numbers, in order, none touching."""
        ranges: list[range] = []
        position = 0
        for part in self.parts:
            if not isinstance(part, Zeros):
                first, last = position // size, -(-(position + part.size) // size)
                if ranges and ranges[-1].stop >= first:
                    ranges[-1] = range(ranges[-1].start, last)
                else:
                    ranges.append(range(first, last))
            position += part.size
        return ranges

    def identity(self, purpose: str) -> bytes:
        """32 bytes that stand for this content and `purpose`, where a format wants a random identifier."""
        return hashlib.sha256(purpose.encode() + b"\0" + self.encode()).digest()

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


def _cut(part: Part, offset: int, size: int) -> Part:
    if isinstance(part, Slice):
        return Slice(part.blob, part.offset + offset, size)
    if isinstance(part, Zeros):
        return Zeros(size)
    return Literal(part.content[offset : offset + size])


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
