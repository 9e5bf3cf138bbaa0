"""Window: a region of bytes that is read where it is asked for, whatever it lies in.

A file, a partition of it, a file on that partition, what that one holds when it is decompressed: each is a window
into another. Nothing is read before it is asked for, and never more than MOST_AT_ONCE.
"""

from __future__ import annotations

import io
import os
import struct
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from kitbuild.errors import KitbuildError

# No structure of any format is larger; what claims to be is damaged, or wants our memory.
MOST_AT_ONCE = 1 << 26
_BLOCKS_KEPT = 64
# Blocks of disks may have 16 MiB.
_BLOCK_BYTES_KEPT = 1 << 25
# What Python says to numbers that no sound file has, where nothing has looked at them before.
DAMAGE = (struct.error, IndexError, OverflowError, UnicodeError, RecursionError)


class Window:
    """Bytes from 0 to `size`; `name` says where they are from, for errors: ``linuxkit.img: p1: initrd.img``."""

    def __init__(self, name: str, size: int) -> None:
        self.name = name
        self._size = size

    @property
    def size(self) -> int:
        """How many bytes there are; of a compressed stream it takes decompressing all of it to know."""
        return self._size

    @property
    def is_stream(self) -> bool:
        """Whether its end is only to be had by decompressing all that is before it."""
        return False

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset` on, fewer at the end. Raises KitbuildError for what is damaged."""
        if size > MOST_AT_ONCE:
            raise self.broken(offset, f"expected a structure of at most {MOST_AT_ONCE} bytes, got {size}")
        if offset < 0:
            raise self.broken(offset, "expected a place in it")
        if size <= 0:
            return b""
        try:
            return self._read(offset, size)
        except DAMAGE as error:
            raise self.broken(offset, f"damaged: {error}") from None

    def _read(self, offset: int, size: int) -> bytes:
        raise NotImplementedError

    def exactly(self, offset: int, size: int, what: str) -> bytes:
        """All of `size` bytes, or a KitbuildError that says that `what` is cut off."""
        content = self.read(offset, size)
        if len(content) != size:
            raise self.broken(offset, f"expected {size} bytes of {what}, got {len(content)}")
        return content

    def broken(self, offset: int, message: str) -> KitbuildError:
        """The error for what is wrong at `offset`."""
        return KitbuildError(
            f"`{self.name}`: byte {offset}: {message}", hint="make the file again, or copy it again"
        )

    def part(self, offset: int, size: int, name: str = "") -> Window:
        """The window of `size` bytes from `offset` on; `name` is what it is called inside this one."""
        return Pieces(f"{self.name}: {name}" if name else self.name, [Piece(0, size, self, offset)], size)

    def chunks(self, size: int = 1 << 20) -> Iterator[bytes]:
        """All bytes, in pieces of `size`; raises KitbuildError if there are fewer than there should be."""
        offset = 0
        while offset < self.size:
            wanted = min(size, self.size - offset)
            yield self.exactly(offset, wanted, "content")
            offset += wanted

    def open(self) -> BinaryIO:
        """A binary stream with seeking."""
        return io.BufferedReader(_Stream(self), 1 << 16)


class FileWindow(Window):
    """A whole file. `close` closes it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            size = os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError:
            os.close(self._descriptor)
            raise
        super().__init__(os.fspath(path), size)

    def _read(self, offset: int, size: int) -> bytes:
        if offset >= self._size:
            return b""
        content = os.pread(self._descriptor, size, offset)
        while len(content) < min(size, self._size - offset):
            more = os.pread(self._descriptor, size - len(content), offset + len(content))
            if not more:
                break
            content += more
        return content

    def close(self) -> None:
        """Closes the file."""
        os.close(self._descriptor)


class BytesWindow(Window):
    """Bytes that are in memory already."""

    def __init__(self, name: str, content: bytes) -> None:
        super().__init__(name, len(content))
        self._content = content

    def _read(self, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]


class Piece(NamedTuple):
    """`size` bytes at `start` of a window: those of `source` from `offset` on, or zeros without a source."""

    start: int
    size: int
    source: Window | None
    offset: int


class Pieces(Window):
    """Pieces of other windows behind each other, in the order of their starts; zeros between them."""

    def __init__(self, name: str, pieces: Iterable[Piece], size: int) -> None:
        super().__init__(name, size)
        self._pieces = [piece for piece in pieces if piece.size]
        self._starts = [piece.start for piece in self._pieces]

    @property
    def is_stream(self) -> bool:
        source = self._pieces[0].source if self._pieces else None
        return source is not None and source.is_stream

    def _read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self._size)
        if len(self._pieces) == 1:
            # Most windows: a part of another one.
            start, length, source, place = self._pieces[0]
            if source is not None and start == 0 and end <= length:
                return source.read(place + offset, end - offset) if end > offset else b""
        content = bytearray()
        number = max(0, bisect_right(self._starts, offset) - 1)
        position = offset
        for piece in self._pieces[number:]:
            if piece.start >= end:
                break
            if piece.start > position:
                content += bytes(piece.start - position)
                position = piece.start
            skipped = position - piece.start
            wanted = min(piece.size - skipped, end - position)
            if wanted <= 0:
                continue
            if piece.source is None:
                content += bytes(wanted)
            else:
                found = piece.source.read(piece.offset + skipped, wanted)
                content += found
                if len(found) < wanted:
                    return bytes(content)
            position += wanted
        return bytes(content) + bytes(max(0, end - position))


class Blocks(Window):
    """Blocks of one size that are looked up one by one: disks of virtual machines."""

    def __init__(self, name: str, size: int, block_size: int) -> None:
        super().__init__(name, size)
        self._block_size = block_size
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._most_kept = max(1, min(_BLOCKS_KEPT, _BLOCK_BYTES_KEPT // block_size))

    def block(self, number: int) -> bytes | tuple[Window, int] | None:
        """A block: its bytes, or the window and the place there that it is stored at, or None for zeros."""
        raise NotImplementedError

    def _read(self, offset: int, size: int) -> bytes:
        end = min(offset + size, self._size)
        content = bytearray()
        while offset < end:
            number, skipped = divmod(offset, self._block_size)
            wanted = min(self._block_size - skipped, end - offset)
            found = self._kept.get(number) or self.block(number)
            if found is None:
                content += bytes(wanted)
            elif isinstance(found, tuple):
                content += found[0].exactly(found[1] + skipped, wanted, "a block")
            else:
                content += found[skipped : skipped + wanted].ljust(wanted, b"\0")
                self._keep(number, found)
            offset += wanted
        return bytes(content)

    def _keep(self, number: int, content: bytes) -> None:
        self._kept[number] = content
        self._kept.move_to_end(number)
        if len(self._kept) > self._most_kept:
            self._kept.popitem(last=False)


class _Stream(io.RawIOBase):
    def __init__(self, window: Window) -> None:
        self._window = window
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = (self._window.size if origin is None else origin) + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        content = self._window.read(self._position, min(len(buffer), MOST_AT_ONCE))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
