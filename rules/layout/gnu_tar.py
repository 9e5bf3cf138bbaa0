"""A tar of one file in GNU's old format, which Google Compute Engine asks for.

Source: GNU tar manual, "Basic Tar Format" (`OLDGNU_MAGIC`, `GNU_FORMAT`) and "Extensions".
"""

from __future__ import annotations

from kitbuild.extents import Extents, Literal, Zeros, padding

_BLOCK = 512
# GNU tar writes records of twenty blocks.
_RECORD = 20 * _BLOCK
_MAX_OCTAL = 1 << 33


def single(name: str, content: Extents, *, seconds: int) -> Extents:
    """The tar of one file with mode 0644, owned by root, changed at `seconds` since 1970; `name` is short ASCII."""
    parts = [
        Literal(_header(name.encode(), content.size, seconds)),
        *content.parts,
        padding(content.size, _BLOCK),
    ]
    size = sum(part.size for part in parts) + 2 * _BLOCK
    return Extents.of([*parts, Zeros(2 * _BLOCK), padding(size, _RECORD)])


def _header(name: bytes, size: int, seconds: int) -> bytes:
    # More than eleven octal digits are written in base 256, marked by the top bit.
    digits = b"%011o\0" % size if size < _MAX_OCTAL else b"\x80" + size.to_bytes(11, "big")
    front = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0" % (0o644, 0, 0) + digits + b"%011o\0" % seconds
    back = (b"0" + bytes(100) + b"ustar  \0").ljust(_BLOCK - len(front) - 8, b"\0")
    total = sum(front) + sum(back) + 8 * ord(" ")
    return front + b"%06o\0 " % total + back
