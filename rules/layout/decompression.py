"""Decompressors for what comes from outside, with limits on the memory they may take; each for one stream."""

from __future__ import annotations

from typing import Any, NamedTuple

# Decompressors give all that comes out of what goes in, and a byte of zstd can be 32,000: to be given in small bites.
BITE_BYTES = 256
# `xz -9` wants 64 MiB, and so do the kernel's and dpkg's; others up to four times as much.
_XZ_MEMORY_BYTES = 256 << 20
_ZSTD_WINDOW_BYTES = 1 << 27


class Stream(NamedTuple):
    """A decompressor (`decompress`, `eof`, `unused_data`) and what it raises for broken input."""

    decompressor: Any
    error: type[Exception]


def gzip() -> Stream:
    """One gzip member."""
    import zlib

    return Stream(zlib.decompressobj(16 + zlib.MAX_WBITS), zlib.error)


def xz() -> Stream:
    """One xz stream."""
    import lzma

    return Stream(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES), lzma.LZMAError)


def zstd() -> Stream:
    """One zstd frame."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    return Stream(decompressor.decompressobj(), zstandard.ZstdError)
