"""What files hold: blocks of 128 KiB, and fragments that small files share; and an index of them.

Contents are found again by their slice: a part of the system is cut and compressed by itself, and its index says
where the bytes of each slice went. Index, one line each, ASCII, in the order of the data it describes:

    kitbuild-squashfs 1
    B <sha256 hex> <size in bytes>                a blob, numbered from 0
    C <blob number> <offset> <size> <word>...     a content in blocks of its own
    F <word>                                      a fragment, and what is in it one after another:
    T <blob number> <offset> <size>

A word is that of a block list: the size of the block as stored, with bit 24 if it is not compressed, and 0 for a
block of zeros, which is not there at all. Source: squashfs.rst, 3.4 and 3.5; format.adoc, "Data and Fragment Blocks".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.extents import Slice
from kitbuild.rules.layout.squashfs.metadata import Compress

BLOCK = 1 << 17
# The bit of a word that says the block is stored as it is.
_STORED = 1 << 24
_MAGIC = b"kitbuild-squashfs 1"
_ZEROS = bytes(BLOCK)


class Blocks(NamedTuple):
    """A content in blocks of its own.

    `data` are its bytes as stored, None if it is all zeros. `words` is the block list as an inode has it. `sparse` is
    the number of bytes in blocks that are not there.
    """

    data: Slice | None
    words: bytes
    sparse: int = 0


class Tail(NamedTuple):
    """A small content: the number of its fragment, and the offset in that before compression."""

    fragment: int
    offset: int


class Fragment(NamedTuple):
    """Small contents compressed together: the bytes as stored, and the word for them."""

    data: Slice
    word: int


class Contents(Protocol):
    """Finds what became of a content."""

    def place(self, content: Slice) -> Blocks | Tail:
        """Where it is."""

    def fragment(self, number: int) -> Fragment:
        """The fragment a Tail names."""


class Stored:
    """Contents as they are: every block is a piece of the slice itself, nothing was read or written for it."""

    def place(self, content: Slice) -> Blocks:
        whole, rest = divmod(content.size, BLOCK)
        words = struct.pack("<I", BLOCK | _STORED) * whole
        return Blocks(content, words + struct.pack("<I", rest | _STORED) if rest else words)

    def fragment(self, number: int) -> Fragment:
        raise AssertionError("what is stored as it is has no fragments")


class Indexed:
    """Contents that were compressed part by part. The first part that has a content is the one it is taken from."""

    def __init__(self) -> None:
        self._places: dict[Slice, Blocks | Tail] = {}
        self._fragments: list[Fragment] = []

    def read(self, index: Iterable[bytes], data: Slice | None) -> None:
        """Adds a part: its index, line by line, and its data; raises ValueError on anything else."""
        lines = iter(index)
        if next(lines, b"").rstrip(b"\n") != _MAGIC:
            raise ValueError("not an index of squashfs data")
        blobs: list[Digest] = []
        position = offset = 0
        for line in lines:
            mark, *fields = line.split()
            if mark == b"B":
                blobs.append(Digest.parse(fields[0].decode(), int(fields[1])))
                continue
            numbers = [int(field) for field in fields]
            if mark == b"T":
                number, start, size = numbers
                tail = Tail(len(self._fragments) - 1, offset)
                self._places.setdefault(Slice(blobs[number], start, size), tail)
                offset += size
            elif mark == b"F":
                (word,) = numbers
                stored = _part(data, position, word & ~_STORED)
                assert stored is not None, "a fragment holds something"
                self._fragments.append(Fragment(stored, word))
                position += stored.size
                offset = 0
            elif mark == b"C":
                number, start, size, *words = numbers
                blocks = _blocks(words, size, data, position)
                self._places.setdefault(Slice(blobs[number], start, size), blocks)
                position += blocks.data.size if blocks.data else 0
            else:
                raise ValueError(f"unknown line {mark!r} in an index of squashfs data")

    def place(self, content: Slice) -> Blocks | Tail:
        assert content in self._places, f"no part has the content {content}"
        return self._places[content]

    def fragment(self, number: int) -> Fragment:
        return self._fragments[number]


def _part(data: Slice | None, position: int, size: int) -> Slice | None:
    if not size:
        return None
    if data is None or position + size > data.size:
        raise ValueError("an index of squashfs data that is longer than the data")
    return Slice(data.blob, data.offset + position, size)


def _blocks(words: list[int], size: int, data: Slice | None, position: int) -> Blocks:
    stored = _part(data, position, sum(word & ~_STORED for word in words))
    sizes = (min(BLOCK, size - offset) for offset in range(0, size, BLOCK))
    sparse = sum(whole for word, whole in zip(words, sizes, strict=True) if not word)
    return Blocks(stored, struct.pack(f"<{len(words)}I", *words), sparse)


def cut(
    contents: Iterable[Slice],
    read: Callable[[Slice], bytes],
    write: Callable[[bytes], object],
    *,
    compress: Compress,
) -> bytes:
    """Reads the contents block by block, writes them compressed, and gives the index.

    They are taken in the order of their blobs and where they lie in them, and what a large blob holds shares
    fragments with nothing else: so the parts that have the same layer of an image have the same fragments of it.
    """
    distinct = sorted(set(contents), key=lambda content: (content.blob.size >= BLOCK, content))
    numbers = {
        blob: number for number, blob in enumerate(dict.fromkeys(content.blob for content in distinct))
    }
    cutting = _Cutting(read, write, compress)
    cutting.index += b"".join(b"B %s %d\n" % (blob.hex.encode(), blob.size) for blob in numbers)
    for content in distinct:
        cutting.add(content, numbers[content.blob])
    cutting.end_fragment()
    return bytes(cutting.index)


class _Cutting:
    def __init__(
        self, read: Callable[[Slice], bytes], write: Callable[[bytes], object], compress: Compress
    ) -> None:
        self._read, self._write, self._compress = read, write, compress
        self.index = bytearray(_MAGIC + b"\n")
        self._fragment = bytearray()
        self._tails = bytearray()
        # The large blob that all of the fragment is from.
        self._layer: Digest | None = None

    def add(self, content: Slice, number: int) -> None:
        """Files below one block go into fragments; the ends of larger ones do not, as with mksquashfs."""
        name = b"%d %d %d" % (number, content.offset, content.size)
        if content.size >= BLOCK:
            words = [self._block(self._read(piece)) for piece in _pieces(content)]
            self.index += b"C %s %s\n" % (name, b" ".join(b"%d" % word for word in words))
            return
        layer = content.blob if content.blob.size >= BLOCK else None
        if layer != self._layer or len(self._fragment) + content.size > BLOCK:
            self.end_fragment()
        self._layer = layer
        self._fragment += self._read(content)
        self._tails += b"T %s\n" % name

    def end_fragment(self) -> None:
        """Writes the fragment there is, if any."""
        if self._fragment:
            self.index += b"F %d\n" % self._stored(bytes(self._fragment))
            self.index += self._tails
            self._fragment.clear()
            self._tails.clear()

    def _block(self, content: bytes) -> int:
        return 0 if _ZEROS.startswith(content) else self._stored(content)

    def _stored(self, content: bytes) -> int:
        compressed = self._compress(content)
        if len(compressed) < len(content):
            self._write(compressed)
            return len(compressed)
        self._write(content)
        return len(content) | _STORED


def _pieces(content: Slice) -> Iterator[Slice]:
    for offset in range(0, content.size, BLOCK):
        yield Slice(content.blob, content.offset + offset, min(BLOCK, content.size - offset))
