"""The sections of EFI programs: a UKI has kernel, initrd and command line in them.

Source: Microsoft, "PE Format"; UAPI Group Specifications, "Unified Kernel Image".
"""

from __future__ import annotations

from struct import Struct, error, unpack_from

from kitbuild.reading.window import Window

_SECTION = Struct("<8sIIIIIIHHI")
_MOST_SECTIONS = 96


def sections(window: Window) -> dict[str, Window]:
    """What an EFI program holds, by name; empty for anything else."""
    if window.read(0, 2) != b"MZ":
        return {}
    try:
        (start,) = unpack_from("<I", window.read(0, 64), 0x3C)
        header = window.read(start, 24)
        signature, _, count, optional = unpack_from("<4sHH12xH", header)
    except error:
        return {}
    if signature != b"PE\0\0" or count > _MOST_SECTIONS:
        return {}
    table = window.read(start + 24 + optional, count * _SECTION.size)
    found: dict[str, Window] = {}
    for place in range(0, len(table) - _SECTION.size + 1, _SECTION.size):
        name, memory, _, size, offset, *_ = _SECTION.unpack_from(table, place)
        text = name.rstrip(b"\0").decode("ascii", "replace")
        # What fills it up to the alignment of the file is none of it.
        found.setdefault(text, window.part(offset, min(memory, size) or size, text))
    return found
