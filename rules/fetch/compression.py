"""Layers are stored compressed in several ways; here they become plain again, as a stream.

The first bytes decide, not the media type: registries and archives are full of layers whose type is wrong, and
the digest of what comes out is checked anyway. Sources: RFC 1952 (gzip), RFC 8878 (zstd).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kitbuild.errors import ImageError

# Pieces that go out. Large enough that Python's cost a piece vanishes, small enough to stay in the CPU's cache.
_PIECE_BYTES = 1 << 20
# zstandard gives all that comes out of what goes in, without a limit: 4 bytes can be a block of 128 KiB. So a
# bomb costs 128 MiB of memory at most for a moment.
_ZSTD_INPUT_BYTES = 4 << 10

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # after one byte 0x50 to 0x5f


def decompressed(pieces: Iterable[bytes], media_type: str) -> Iterator[bytes]:
    """The plain content of a gzip, zstd or plain stream, in pieces of about 1 MiB.

    Several gzip members or zstd frames one after another are one content (eStargz, zstd:chunked, pigz), and
    zeros after a gzip member are padding. `media_type` is for messages. Raises ImageError for a stream that is
    broken, is cut off, or goes on with something else.
    """
    stream = iter(pieces)
    head = b""
    for piece in stream:
        head += piece
        if len(head) >= len(_ZSTD):
            break
    if head.startswith(_GZIP):
        return _gunzipped(head, stream, media_type)
    if _is_zstd(head):
        return _unzstded(head, stream, media_type)
    return _plain(head, stream)


def _plain(head: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    if head:
        yield head
    yield from stream


def _is_zstd(head: bytes) -> bool:
    return head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and 0x50 <= head[0] <= 0x5F)


def _gunzipped(head: bytes, stream: Iterator[bytes], media_type: str) -> Iterator[bytes]:
    from isal import igzip_lib

    rest = head
    while rest:
        if not rest.startswith(_GZIP):
            raise ImageError(
                f"expected a gzip member or the end of the layer ({media_type}), got other bytes"
            )
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        yield from _one_member(member, rest, stream, media_type=media_type)
        if not member.eof:
            raise ImageError(f"the layer ends in the middle of its gzip stream ({media_type})")
        rest = _after_padding(member.unused_data, stream)


def _one_member(member: Any, content: bytes, stream: Iterator[bytes], *, media_type: str) -> Iterator[bytes]:
    from isal import igzip_lib

    igzip: Any = igzip_lib  # its type information takes its exception for an object
    while True:
        try:
            plain = member.decompress(content, _PIECE_BYTES)
        except igzip.IsalError as error:
            raise ImageError(f"the layer is broken gzip ({media_type}): {error}") from error
        content = b""
        if plain:
            yield plain
        if member.eof:
            return
        if member.needs_input:
            content = next(stream, b"")
            if not content:
                return


def _after_padding(rest: bytes, stream: Iterator[bytes]) -> bytes:
    """What follows a member and its zeros; at least two bytes of it unless the stream ends there."""
    rest = rest.lstrip(b"\0")
    while len(rest) < len(_GZIP):
        piece = next(stream, b"")
        if not piece:
            break
        rest = (rest + piece).lstrip(b"\0")
    return rest


def _unzstded(head: bytes, stream: Iterator[bytes], media_type: str) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    inside = False  # a frame has begun and not ended
    for content in _sliced(head, stream):
        rest = content
        while rest:
            try:
                plain = frame.decompress(rest)
            except zstandard.ZstdError as error:
                raise ImageError(f"the layer is broken zstd ({media_type}): {error}") from error
            yield from _split(plain)
            rest, inside = (frame.unused_data, False) if frame.eof else (b"", True)
            if not inside:
                frame = decompressor.decompressobj()
    if inside:
        raise ImageError(f"the layer ends in the middle of its zstd stream ({media_type})")


def _sliced(head: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    for piece in _plain(head, stream):
        for start in range(0, len(piece), _ZSTD_INPUT_BYTES):
            yield piece[start : start + _ZSTD_INPUT_BYTES]


def _split(plain: bytes) -> Iterator[bytes]:
    for start in range(0, len(plain), _PIECE_BYTES):
        yield plain[start : start + _PIECE_BYTES]
