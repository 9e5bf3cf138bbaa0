"""Compressors: the same bytes for the same input everywhere.

zlib is not among them: its bytes differ from one system to the next (zlib, zlib-ng, zlib-rs), and nobody could say
which one a shared cache holds.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from kitbuild.system import Compression

if TYPE_CHECKING:
    from kitbuild.rules.layout.deflate import Deflate

# isal's second level is as fast as its first and smaller. Its third halves the speed for one part in a hundred, and
# gives other bytes on processors with and without AVX2; the others are the same on all that have SSE 4.2.
_ISAL_LEVEL = 2
# The level at which zstd still outruns the disk; its window stays far below the 8 MiB the kernel accepts.
_ZSTD_LEVEL = 3
# The window of zlib's streams, as powers of two.
_ZLIB_WINDOW = 15


class Compressor(Protocol):
    """Compresses one stream piece by piece."""

    def compress(self, piece: bytes) -> bytes:
        """Takes the next piece, gives what is ready of the output."""

    def flush(self) -> bytes:
        """Ends the stream and gives the rest of the output."""


def compressor(compression: Compression) -> Compressor:
    """A new compressor; `none` has none."""
    if compression == "gzip":
        return _Gzip()
    assert compression == "zstd"
    import zstandard

    # One thread: the output of several differs from that of one. No content size: a stream has none to tell.
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False).compressobj()


def tools(compression: Compression) -> Mapping[str, str]:
    """What shapes the compressed bytes besides the input: library, version, level."""
    if compression == "gzip":
        import isal

        # Each architecture has matching code of its own.
        return {"isal": f"{isal.ISAL_VERSION} level {_ISAL_LEVEL} {os.uname().machine}"}
    if compression == "zstd":
        import zstandard

        version = ".".join(map(str, zstandard.ZSTD_VERSION))
        return {"zstd": f"{version} level {_ZSTD_LEVEL}"}
    return {}


def block_compressor(compression: Compression) -> Callable[[bytes], bytes]:
    """Makes one zlib stream or zstd frame of a block that is read by itself; `none` has no compressor."""
    if compression == "gzip":
        return _zlib_stream
    assert compression == "zstd"
    import zstandard

    # A frame says how long its content is, so that its window is no longer: the kernel has memory for one block.
    frames = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=False, write_content_size=True)
    return frames.compress


def _zlib_stream(block: bytes) -> bytes:
    # Not isal_zlib.compress, which now and then gives other bytes in a thread that has just been started.
    from isal import isal_zlib

    compressing = isal_zlib.compressobj(level=_ISAL_LEVEL, wbits=_ZLIB_WINDOW)
    return bytes(compressing.compress(block) + compressing.flush())


def deflate() -> Deflate:
    """isal's deflate and checksums, for formats that know no other compression."""
    from isal import isal_zlib

    from kitbuild.rules.layout.deflate import Deflate

    def blocks(content: bytes) -> bytes:
        compressing = isal_zlib.compressobj(level=_ISAL_LEVEL, wbits=-_ZLIB_WINDOW)
        return bytes(compressing.compress(content) + compressing.flush(isal_zlib.Z_FULL_FLUSH))

    return Deflate(blocks, isal_zlib.crc32, isal_zlib.adler32)


class _Gzip:
    """One gzip member around isal's deflate. Source: RFC 1952.

    The header is our own: no name, no time, system unknown. The kernel reads past a name but no other extra field.
    """

    def __init__(self) -> None:
        from isal import isal_zlib

        self._crc32 = isal_zlib.crc32
        self._deflate = isal_zlib.compressobj(level=_ISAL_LEVEL, wbits=-_ZLIB_WINDOW)
        self._ready = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
        self._crc = 0
        self._size = 0

    def compress(self, piece: bytes) -> bytes:
        self._crc = self._crc32(piece, self._crc)
        self._size += len(piece)
        ready, self._ready = self._ready, b""
        return ready + bytes(self._deflate.compress(piece))

    def flush(self) -> bytes:
        ready, self._ready = self._ready, b""
        return ready + bytes(self._deflate.flush()) + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
