"""What kind of kernel a file is, and what it says of its version.

Source: kernel Documentation/arch/x86/boot.rst, Documentation/arch/arm64/booting.rst, and
drivers/firmware/efi/libstub/zboot-header.S.
"""

from __future__ import annotations

from struct import unpack_from

from kitbuild.reading.decompression import Decompressed, compression_of
from kitbuild.reading.uimage import payload
from kitbuild.reading.window import Window

_HEAD_BYTES = 0x300
_VERSION_BYTES = 256
_SEARCHED_BYTES = 64 << 20
_BANNER = b"Linux version "


def describe(window: Window) -> str | None:
    """A kernel in a few words, or None if it is none: ``kernel (x86 bzImage, EFI, 6.12.59-linuxkit)``."""
    head = window.read(0, _HEAD_BYTES)
    kind = _kind(head)
    if kind:
        return f"kernel ({', '.join(part for part in (kind, _efi(head), _version(window, head)) if part)})"
    loaded = payload(window)
    if loaded is not None and loaded.kind == "kernel":
        return f"kernel (uImage, {loaded.name}, {loaded.compression})"
    compression = compression_of(head)
    if compression in ("gzip", "zstd", "xz"):
        inner = Decompressed(window, 0, compression)
        kind = _kind(inner.read(0, _HEAD_BYTES))
        if kind:
            version = _banner(inner)
            return f"kernel ({', '.join(part for part in (kind, compression, version) if part)})"
    return None


def _kind(head: bytes) -> str:
    if head[0x202:0x206] == b"HdrS":
        return "x86 bzImage"
    if head[56:60] == b"ARM\x64":
        return "arm64 Image"
    if head[4:8] == b"zimg":
        return "EFI zboot"
    if head[56:60] == b"RSC\x05":
        return "riscv64 Image"
    if head[:4] == b"\x7fELF":
        return "ELF"
    if head[:2] == b"MZ" and len(head) >= 0x40 and unpack_from("<I", head, 0x3C)[0] < 1 << 16:
        return "EFI program"
    return ""


def _efi(head: bytes) -> str:
    return "EFI" if head[:2] == b"MZ" and _kind(head) != "EFI program" else ""


def _version(window: Window, head: bytes) -> str:
    if head[0x202:0x206] == b"HdrS":
        (place,) = unpack_from("<H", head, 0x20E)
        if not place:
            return ""
        return _first_word(window.read(place + 0x200, _VERSION_BYTES))
    return _banner(window)


def _banner(window: Window) -> str:
    """The version in what the kernel says first, which stands in it somewhere."""
    size = 1 << 20
    for offset in range(0, _SEARCHED_BYTES, size):
        content = window.read(offset, size + _VERSION_BYTES)
        place = content.find(_BANNER)
        # The text is there more than once, and once with a place for the version.
        while place >= 0:
            word = _first_word(content[place + len(_BANNER) :])
            if word[:1].isdigit():
                return word
            place = content.find(_BANNER, place + 1)
        if len(content) <= size:
            break
    return ""


def _first_word(content: bytes) -> str:
    words = content.split(b"\0")[0][:_VERSION_BYTES].split()
    return words[0].decode("ascii", "replace") if words else ""
