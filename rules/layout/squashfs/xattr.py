"""Extended attributes: a list for every set of them, which inodes name by number.

Source: squashfs.rst, 3.8; format.adoc, "Extended Attribute Table".
"""

from __future__ import annotations

from struct import Struct

from kitbuild.rules.layout.squashfs.inode import NOTHING
from kitbuild.rules.layout.squashfs.metadata import Compress, Metadata, lookup_table
from kitbuild.tree import Entry

_TYPES = {"user": 0, "trusted": 1, "security": 2}
_NAME = Struct("<HH")
_VALUE = Struct("<I")
_ENTRY = Struct("<QII")
_HEAD = Struct("<QII")


def has_place_for(name: str) -> bool:
    """Whether squashfs can hold an attribute of this name; access control lists (`system.`) are what it cannot."""
    prefix, _, rest = name.partition(".")
    return prefix in _TYPES and rest != ""


class Xattrs:
    """The lists so far; equal ones are kept once."""

    def __init__(self, compress: Compress | None) -> None:
        self._compress = compress
        self._numbers: dict[tuple[tuple[str, bytes], ...], int] = {}
        self._lists = Metadata(compress)
        self._entries = bytearray()

    def number(self, entry: Entry) -> int:
        """The number of an entry's attributes; NOTHING if it has none, or none that squashfs could hold."""
        xattrs = tuple((name, value) for name, value in entry.xattrs if has_place_for(name))
        if not xattrs:
            return NOTHING
        if xattrs not in self._numbers:
            self._numbers[xattrs] = len(self._numbers)
            content = b"".join(_pair(name, value) for name, value in xattrs)
            self._entries += _ENTRY.pack(self._lists.reference, len(xattrs), len(content))
            self._lists.append(content)
        return self._numbers[xattrs]

    def table(self, position: int) -> tuple[bytes, int] | None:
        """The table at `position` of the image, and what the superblock names; None if there are no attributes."""
        if not self._numbers:
            return None
        lists = self._lists.finish()
        head = _HEAD.pack(position, len(self._numbers), 0)
        table, start = lookup_table(bytes(self._entries), position + len(lists), self._compress, head)
        return lists + table, start


def _pair(name: str, value: bytes) -> bytes:
    prefix, _, rest = name.partition(".")
    text = rest.encode("utf-8", "surrogateescape")
    return _NAME.pack(_TYPES[prefix], len(text)) + text + _VALUE.pack(len(value)) + value
