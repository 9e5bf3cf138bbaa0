"""What compressed streams hold, as windows; and what blocks of file systems and disks hold, as bytes.

A stream is read forwards. Going back in it starts it over; who does so more than a few times gets what comes out
kept, large amounts in a temporary file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any

from kitbuild.errors import KitbuildError
from kitbuild.reading.window import Window

_MAGICS = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\x00": "xz",
    b"\x02\x21\x4c\x18": "lz4",
    b"BZh": "bzip2",
    b"\x5d\x00\x00": "lzma",
}
_MAGIC_BYTES = max(map(len, _MAGICS))
# What a decompressor gets at once, and gives at once where it can be told; a byte of zstd can become 32,000.
_INPUT_BYTES = 1 << 16
_ZSTD_INPUT_BYTES = 1 << 10
_OUTPUT_BYTES = 1 << 18
_MEMORY_BYTES = 256 << 20
_ZSTD_WINDOW_BYTES = 1 << 27
_MOST_RESTARTS = 4
_KEPT_IN_MEMORY_BYTES = 1 << 20
_ZEROS = bytes(1 << 20)


def compression_of(head: bytes) -> str:
    """How what begins so is compressed: gzip, zstd, xz, lz4, bzip2, lzma; or nothing."""
    for magic, name in _MAGICS.items():
        if head.startswith(magic):
            return name
    return ""


class Decompressed(Window):
    """What the one compressed stream at `offset` of `source` holds; if it `joins`, those right behind it too.

    gzip(1) and zstd(1) take streams behind each other for one; some tools write a layer with a stream for each file.
    """

    def __init__(
        self, source: Window, offset: int, compression: str, name: str = "", *, joins: bool = False
    ) -> None:
        super().__init__(f"{source.name}: {name}" if name else source.name, -1)
        self._source, self._compression, self._joins = source, compression, joins
        self._error = _decompressor(compression, self)[1]
        self._offset = self._end = offset
        self._restarts = 0
        self._kept: IO[bytes] | None = None
        self._kept_size = 0
        self._buffer, self._buffer_at = b"", 0
        self._start()

    def __del__(self) -> None:
        kept = getattr(self, "_kept", None)
        if kept is not None:
            kept.close()

    @property
    def size(self) -> int:
        if self._size < 0:
            self.end()
        return self._size

    @property
    def is_stream(self) -> bool:
        return True

    def end(self) -> int:
        """Where the stream ends in its source."""
        while self._size < 0:
            self._buffer_at += len(self._buffer)
            self._buffer = b""
            self._fill()
        return self._end

    def _start(self) -> None:
        self._place = self._offset
        self._decompressor = _decompressor(self._compression, self)[0]
        self._is_done = False
        self._waiting = self._buffer = b""
        self._buffer_at = 0

    def _read(self, offset: int, size: int) -> bytes:
        if self._size >= 0:
            size = min(size, self._size - offset)
            if size <= 0:
                return b""
        if offset + size <= self._kept_size and self._kept:
            self._kept.seek(offset)
            # Zeros are not written, and at the end they are missing.
            return self._kept.read(size).ljust(size, b"\0")
        if offset < self._buffer_at:
            self._go_back()
        content = bytearray()
        while len(content) < size:
            skipped = offset + len(content) - self._buffer_at
            if skipped < len(self._buffer):
                content += self._buffer[skipped : skipped + size - len(content)]
            elif self._is_done:
                break
            else:
                self._buffer_at += len(self._buffer)
                self._buffer = b""
                self._fill()
        return bytes(content)

    def _go_back(self) -> None:
        self._restarts += 1
        if self._restarts > _MOST_RESTARTS and self._kept is None:
            from tempfile import SpooledTemporaryFile

            self._kept = SpooledTemporaryFile(_KEPT_IN_MEMORY_BYTES)  # noqa: SIM115 - it lives as long as we do
        self._start()

    def _fill(self) -> None:
        """Gives the buffer, which is empty, what comes next."""
        while not self._buffer and not self._is_done:
            if not self._waiting:
                size = _ZSTD_INPUT_BYTES if self._compression == "zstd" else _INPUT_BYTES
                self._waiting = self._source.read(self._place, size)
                self._place += len(self._waiting)
                if not self._waiting:
                    raise self.broken(
                        self._buffer_at, f"expected more of a {self._compression} stream, got its end"
                    )
            self._feed()
        if self._kept and self._buffer and self._buffer_at == self._kept_size:
            self._keep(self._kept)

    def _feed(self) -> None:
        decompressor = self._decompressor
        try:
            if self._compression == "zstd":
                self._buffer = decompressor.decompress(self._waiting)
                self._waiting = b""
            elif self._compression == "gzip":
                self._buffer = decompressor.decompress(self._waiting, _OUTPUT_BYTES)
                self._waiting = decompressor.unconsumed_tail
            else:
                given = self._waiting if decompressor.needs_input else b""
                self._buffer = decompressor.decompress(given, _OUTPUT_BYTES)
                # They keep what they have no room for; only an empty `waiting` asks for more.
                self._waiting = b"" if decompressor.needs_input or decompressor.eof else self._waiting
        except self._error as error:
            raise self.broken(self._buffer_at, f"not a whole {self._compression} stream: {error}") from None
        if decompressor.eof and not (self._joins and self._goes_on(decompressor.unused_data)):
            self._is_done = True
            self._end = self._place - len(decompressor.unused_data)
            self._size = self._buffer_at + len(self._buffer)

    def _goes_on(self, rest: bytes) -> bool:
        """Begins with the next stream, if there is one where this one ended; `rest` is what was read of it."""
        place = self._place - len(rest)
        head = rest if len(rest) >= _MAGIC_BYTES else self._source.read(place, _MAGIC_BYTES)
        if compression_of(head) != self._compression:
            return False
        self._decompressor = _decompressor(self._compression, self)[0]
        self._waiting, self._place = head, place + len(head)
        return True

    def _keep(self, kept: IO[bytes]) -> None:
        try:
            if not _ZEROS.startswith(self._buffer):
                kept.seek(self._kept_size)
                kept.write(self._buffer)
        except OSError as error:
            raise KitbuildError(f"cannot write to a temporary file: {error.strerror}") from None
        self._kept_size += len(self._buffer)


def _decompressor(compression: str, window: Window) -> tuple[Any, type[Exception]]:
    if compression == "gzip":
        import zlib

        return zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error
    if compression == "zstd":
        import zstandard

        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        return decompressor.decompressobj(), zstandard.ZstdError
    if compression in ("xz", "lzma"):
        import lzma

        kind = lzma.FORMAT_XZ if compression == "xz" else lzma.FORMAT_ALONE
        return lzma.LZMADecompressor(kind, memlimit=_MEMORY_BYTES), lzma.LZMAError
    raise window.broken(0, f"compressed with {compression}, which is not read here")


def block_decompressor(compression: str, window: Window) -> Callable[[bytes, int], bytes]:
    """What turns a block of a file system or disk into at most so many bytes; it raises ValueError."""
    if compression in ("gzip", "deflate"):
        return _inflate_block if compression == "gzip" else _raw_inflate_block
    if compression == "zstd":
        return _zstd_block
    if compression in ("xz", "lzma"):
        return _lzma_block
    if compression == "lz4":
        return _lz4_block
    raise window.broken(0, f"compressed with {compression}, which is not read here")


def _inflate_block(content: bytes, most: int) -> bytes:
    return _inflated(content, most, 15)


def _raw_inflate_block(content: bytes, most: int) -> bytes:
    return _inflated(content, most, -15)


def _inflated(content: bytes, most: int, bits: int) -> bytes:
    import zlib

    try:
        return zlib.decompressobj(bits).decompress(content, most)
    except zlib.error as error:
        raise ValueError(str(error)) from None


def _zstd_block(content: bytes, most: int) -> bytes:
    import io

    import zstandard

    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        with decompressor.stream_reader(io.BytesIO(content)) as reader:
            return reader.read(most)
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from None


def _lzma_block(content: bytes, most: int) -> bytes:
    import lzma

    try:
        return lzma.LZMADecompressor(memlimit=_MEMORY_BYTES).decompress(content, most)
    except (lzma.LZMAError, EOFError) as error:
        raise ValueError(str(error)) from None


def _lz4_block(content: bytes, most: int) -> bytes:
    """One LZ4 block. Source: lz4_Block_format.md, "Compressed block format"."""
    made = bytearray()
    place, end = 0, len(content)
    try:
        while place < end:
            token = content[place]
            place += 1
            length, place = _lz4_length(content, place, token >> 4)
            if place + length > end:
                raise ValueError("literals behind the end")
            made += content[place : place + length]
            place += length
            if len(made) > most:
                break
            if place >= end:
                return bytes(made)
            distance = content[place] | content[place + 1] << 8
            length, place = _lz4_length(content, place + 2, token & 15)
            if not 0 < distance <= len(made):
                raise ValueError("a match before the start")
            _copy_match(made, distance, min(length + 4, most + 1 - len(made)))
    except IndexError:
        raise ValueError("a sequence that is cut off") from None
    if len(made) > most:
        raise ValueError(f"expected at most {most} bytes")
    return bytes(made)


def _lz4_length(content: bytes, place: int, length: int) -> tuple[int, int]:
    if length == 15:
        more = 255
        while more == 255:
            more = content[place]
            place += 1
            length += more
    return length, place


def _copy_match(made: bytearray, distance: int, length: int) -> None:
    start = len(made) - distance
    if distance >= length:
        made += made[start : start + length]
    else:
        pattern = bytes(made[start:])
        made += (pattern * (length // distance + 1))[:length]
