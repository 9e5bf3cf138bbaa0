"""A kernel without its compression: what some hypervisors and debuggers want in place of what boot loaders take.

Sources: the kernel's Documentation/arch/x86/boot.rst (bzImage), drivers/firmware/efi/libstub/zboot-header.S (EFI
zboot); RFC 1952 (gzip), RFC 8878 (zstd), the .xz file format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import unpack_from
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Work
from kitbuild.rules.layout import decompression
from kitbuild.rules.layout.decompression import BITE_BYTES, Stream

# Kernels with everything built in stay below 200 MiB; past this limit it is a bomb.
_MAX_BYTES = 1 << 30

_HEAD_BYTES = 0x250
_HINT = "build without `--decompress-kernel`"


class _Kind(NamedTuple):
    magic: bytes
    name: str
    opened: Callable[[], Stream] | None = None


_KINDS = (
    _Kind(b"\x1f\x8b", "gzip", decompression.gzip),
    _Kind(b"\xfd7zXZ\0", "xz", decompression.xz),
    _Kind(b"\x28\xb5\x2f\xfd", "zstd", decompression.zstd),
    _Kind(b"BZh", "bzip2"),
    _Kind(b"\x5d\0\0", "lzma"),
    _Kind(b"\x89LZO", "lzo"),
    _Kind(b"\x02\x21\x4c\x18", "lz4"),
)


def decompressed(kernel: Slice | None, work: Work[Any]) -> Slice:
    """The kernel itself, out of a compressed file, a bzImage or an EFI zboot image, as a blob of its own.

    Raises RuleError for what is none of these, is packed in a way nobody unpacks here, or is broken.
    """
    if kernel is None:
        raise RuleError("expected a compressed kernel, got an empty file", hint=_HINT)
    payload = _payload(kernel, work)
    kind = _kind(payload, work)
    if kind is None or kind.opened is None:
        raise RuleError(_refusal(kernel, payload, kind), hint=_HINT)
    with work.writer() as writer:
        for piece in _plain(kind.opened(), kind.name, _bites(payload, work)):
            writer.write(piece)
            if writer.size > _MAX_BYTES:
                raise RuleError(f"expected a kernel of at most {_MAX_BYTES} bytes, got more", hint=_HINT)
        blob = writer.commit()
    return Slice(blob, 0, blob.size)


def _payload(kernel: Slice, work: Work[Any]) -> Slice:
    """The compressed part of the file: all of it, unless a header says where it lies."""
    head = work.read(kernel._replace(size=min(kernel.size, _HEAD_BYTES)))
    if len(head) >= 16 and head[:2] == b"MZ" and head[4:8] == b"zimg":
        offset, size = unpack_from("<II", head, 8)
    elif len(head) == _HEAD_BYTES and head[0x1FE:0x200] == b"\x55\xaa" and head[0x202:0x206] == b"HdrS":
        # A bzImage begins with its boot sector and as many sectors of set-up code as that says; 0 means 4.
        start = ((head[0x1F1] or 4) + 1) * 512
        offset, size = unpack_from("<II", head, 0x248)
        offset += start
    else:
        return kernel
    if not size or offset + size > kernel.size:
        raise RuleError(
            f"expected the kernel's payload inside its {kernel.size} bytes, got {size} at {offset}",
            hint="the file is broken or cut off: take another kernel image",
        )
    return Slice(kernel.blob, kernel.offset + offset, size)


def _kind(payload: Slice, work: Work[Any]) -> _Kind | None:
    magic = work.read(payload._replace(size=min(payload.size, 8)))
    return next((kind for kind in _KINDS if magic.startswith(kind.magic)), None)


def _refusal(kernel: Slice, payload: Slice, kind: _Kind | None) -> str:
    if payload is kernel and kind is None:
        return "expected a bzImage or a kernel packed by gzip, xz or zstd, got something else"
    place = "" if payload is kernel else f" at byte {payload.offset - kernel.offset}"
    return f"expected a kernel packed by gzip, xz or zstd{place}, got {kind.name if kind else 'no known packing'}"


def _bites(payload: Slice, work: Work[Any]) -> Iterator[bytes]:
    for piece in work.pieces(payload):
        for start in range(0, len(piece), BITE_BYTES):
            yield piece[start : start + BITE_BYTES]


def _plain(stream: Stream, name: str, bites: Iterator[bytes]) -> Iterator[bytes]:
    """What comes out of the first stream of the payload; the kernel's makefiles put its length behind it."""
    for bite in bites:
        try:
            plain = stream.decompressor.decompress(bite)
        except stream.error as error:
            raise RuleError(f"the kernel is broken {name}: {error}", hint=_HINT) from error
        if plain:
            yield plain
        if stream.decompressor.eof:
            return
    raise RuleError(f"the kernel ends in the middle of its {name} stream", hint=_HINT)
