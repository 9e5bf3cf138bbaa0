"""Inodes, in their short forms and in the extended ones for what those have no field for.

Source: squashfs.rst, 3.2; format.adoc, "Inode Table".
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from kitbuild.errors import RuleError
from kitbuild.rules.layout.squashfs.directory import Listing
from kitbuild.tree import Entry

# "None" where an inode names a fragment or attributes.
NOTHING = 0xFFFFFFFF
# As directories have them; those of the extended inodes are larger by seven.
TYPES = {"directory": 1, "file": 2, "hardlink": 2, "symlink": 3, "block": 4, "char": 5, "fifo": 6}
_EXTENDED = 7
_NANO = 1_000_000_000
_MAX_NUMBER = (1 << 32) - 1
# The kernel takes no longer ones (PATH_MAX without the NUL).
_MAX_TARGET_BYTES = 4095

_HEADER = Struct("<HHHHII")
_DIRECTORY = Struct("<IIHHI")
_EXTENDED_DIRECTORY = Struct("<IIIIHHI")
_INDEX = Struct("<III")
_FILE = Struct("<IIII")
_EXTENDED_FILE = Struct("<QQQIIII")
_TWO = Struct("<II")
_ONE = Struct("<I")


class Common(NamedTuple):
    """What every inode has: its number (from 1), where its owners are in the table of ids, its attributes' number."""

    number: int
    uid: int
    gid: int
    xattrs: int = NOTHING


class Content(NamedTuple):
    """Where a file's content is: its blocks' position in the image, or a fragment and the offset in it."""

    start: int = 0
    words: bytes = b""
    fragment: int = NOTHING
    offset: int = 0
    sparse: int = 0


def file(entry: Entry, common: Common, content: Content, *, links: int) -> bytes:
    """The inode of a file."""
    is_large = content.start > _MAX_NUMBER or entry.size > _MAX_NUMBER
    if links == 1 and not content.sparse and common.xattrs == NOTHING and not is_large:
        fields = _FILE.pack(content.start, content.fragment, content.offset, entry.size)
        return _header(entry, common) + fields + content.words
    # A file of nothing but holes would have no blocks at all, which mksquashfs avoids.
    sparse = min(content.sparse, entry.size - 1) if content.sparse else 0
    fields = _EXTENDED_FILE.pack(
        content.start, entry.size, sparse, links, content.fragment, content.offset, common.xattrs
    )
    return _header(entry, common, is_extended=True) + fields + content.words


def directory(entry: Entry, common: Common, listing: Listing, *, parent: int) -> bytes:
    """The inode of a directory; `parent` is the number of that of the directory it is in."""
    # The kernel counts `.` and `..` as the first three bytes.
    size = listing.size + 3
    links = 2 + listing.directories
    if size <= 0xFFFF and not listing.places and common.xattrs == NOTHING:
        fields = _DIRECTORY.pack(listing.start, links, size, listing.offset, parent)
        return _header(entry, common) + fields
    fields = _EXTENDED_DIRECTORY.pack(
        links, size, listing.start, parent, len(listing.places), listing.offset, common.xattrs
    )
    index = (
        _INDEX.pack(place.position, place.start, len(place.name) - 1) + place.name for place in listing.places
    )
    return _header(entry, common, is_extended=True) + fields + b"".join(index)


def other(entry: Entry, common: Common) -> bytes:
    """The inode of a symlink, a device or a fifo, each with one name."""
    if entry.kind == "symlink":
        target = entry.target.encode("utf-8", "surrogateescape")
        if len(target) > _MAX_TARGET_BYTES:
            raise RuleError(
                f"a symlink of at most {_MAX_TARGET_BYTES} bytes, got {len(target)}: `{entry.path}`",
                hint="shorten the link in the image, or leave the image out",
            )
        fields = _TWO.pack(1, len(target)) + target
    elif entry.kind == "fifo":
        fields = _ONE.pack(1)
    else:
        fields = _TWO.pack(1, _device(entry))
    if common.xattrs == NOTHING:
        return _header(entry, common) + fields
    return _header(entry, common, is_extended=True) + fields + _ONE.pack(common.xattrs)


def _device(entry: Entry) -> int:
    major, minor = entry.device
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise RuleError(
            f"a device of numbers below 4096 and 1048576, got {major} and {minor}: `{entry.path}`",
            hint="correct the device in the image, or leave the image out",
        )
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


def _header(entry: Entry, common: Common, *, is_extended: bool = False) -> bytes:
    kind = TYPES[entry.kind] + (_EXTENDED if is_extended else 0)
    # Times before 1970 and after 2106 have no place in an unsigned number of seconds.
    mtime = min(max(entry.mtime // _NANO, 0), _MAX_NUMBER)
    return _HEADER.pack(kind, entry.mode & 0o7777, common.uid, common.gid, mtime, common.number)


def ids(numbers: Iterable[int]) -> bytes:
    """The table of user and group ids."""
    return b"".join(map(_ONE.pack, numbers))
