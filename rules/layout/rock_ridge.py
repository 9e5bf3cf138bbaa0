"""Rock Ridge: what a POSIX file system says of a file, as records behind its name in an ISO 9660 directory.

pycdlib makes these records and reserves their room. What it cannot be told is filled in here; what it cannot write,
or writes wrong (device numbers, symlinks with many parts), stands in the room of a placeholder.

Source: SUSP 1.12 and RRIP 1.12 (IEEE P1281, P1282); Linux fs/isofs/rock.c for what Linux makes of them.
"""

from __future__ import annotations

import struct
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.tree import Entry, parent_of

# Behind the fixed part of a directory record (33), the identifier (at most 33 as a rule) and the record NM's head
# (5) is this much room for a name and a special record, if PX (44) and TF (26) shall follow.
_ROOM = 254 - 33 - 33 - 5 - 44 - 26
# With an identifier and a name of this length together, a directory record with a CE (28) is full.
_FULL = 254 - 33 - 28 - 5 + 2
# The parts of one SL record: it has 255 bytes, its head 5.
_SYMLINK_AREA = 250
# What a continuation area of one sector holds beside a name of 255 bytes and the other records.
_MAX_SYMLINK = 1600
_NANO = 1_000_000_000
# Years are counted from 1900 in one byte; a time before 1970 no reader can be trusted with.
_FIRST_SECOND, _LAST_SECOND = 0, 5_869_583_999
_TYPES = {
    "directory": 0o040000,
    "file": 0o100000,
    "symlink": 0o120000,
    "char": 0o020000,
    "block": 0o060000,
    "fifo": 0o010000,
}


class Packed(NamedTuple):
    """A record, or a time in one, that stands where pycdlib has an object of its own."""

    packed: bytes

    def record(self) -> bytes:
        """Its bytes."""
        return self.packed


def crowded(entries: Mapping[str, Entry]) -> dict[str, int]:
    """The paths whose special record does not fit into the directory record, and the length their identifier needs.

    With such a long one the directory record is full, and the whole special record goes into the continuation area.
    """
    return {
        entry.path: _FULL - _name_length(entry)
        for entry in entries.values()
        if (special := _special(entry)) and _name_length(entry) + len(b"".join(special)) > _ROOM
    }


def placeholder(entry: Entry, *, is_crowded: bool) -> str:
    """The target of a symlink that makes pycdlib reserve room for the special record of `entry`.

    In a directory record the room must be exact; in a continuation area more is filled up later.
    """
    size = len(b"".join(_special(entry)))
    if is_crowded:
        return "x" * size
    # A record of one part has 7 bytes beside its name; `.` is a part without one.
    return "x" * (size - 7) or "."


def date(nanoseconds: int) -> Packed:
    """Years since 1900, month, day, hour, minute, second, and quarters of an hour from UTC: none."""
    moment = time.gmtime(min(max(nanoseconds // _NANO, _FIRST_SECOND), _LAST_SECOND))
    return Packed(bytes([moment.tm_year - 1900, *moment[1:6], 0]))


class Attributes:
    """What the records of all entries say beyond what pycdlib was told."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = entries
        self._names = Counter(entry.target for entry in entries.values() if entry.kind == "hardlink")
        self._directories = Counter(
            parent_of(entry.path) for entry in entries.values() if entry.kind == "directory" and entry.path
        )
        self._serials = {path: number for number, path in enumerate(entries, 1)}
        self._dates: dict[int, Packed] = {}

    def file(self, entry: Entry) -> Entry:
        """The entry that says what the file is like: another one's for a hard link."""
        return self._entries[entry.target] if entry.kind == "hardlink" else entry

    def date(self, nanoseconds: int) -> Packed:
        """A time, made once."""
        if nanoseconds not in self._dates:
            self._dates[nanoseconds] = date(nanoseconds)
        return self._dates[nanoseconds]

    def put(self, rock_ridge: Any, file: Entry) -> None:
        """Fills in owner, mode, links, serial number and times, and puts the special record into its room."""
        here, continued = rock_ridge.dr_entries, rock_ridge.ce_entries
        posix = here.px_record or continued.px_record
        posix.posix_file_mode = _TYPES[file.kind] | file.mode
        posix.posix_file_links = (
            2 + self._directories[file.path] if file.kind == "directory" else 1 + self._names[file.path]
        )
        posix.posix_user_id, posix.posix_group_id = file.uid, file.gid
        # Names of one file have one number.
        posix.posix_serial_number = self._serials[file.path]
        times = here.tf_record or continued.tf_record
        times.access_time = times.modification_time = times.attribute_change_time = self.date(file.mtime)
        if special := _special(file):
            _replace(here if here.sl_records else continued, special)


def _replace(place: Any, special: list[bytes]) -> None:
    room = sum(len(record.record()) for record in place.sl_records) - len(b"".join(special))
    assert room == 0 or room >= 4, f"{room} bytes too many for a special record"
    place.sl_records[:] = map(Packed, special)
    if room:
        # PD is padding by its definition.
        place.pd_records.append(Packed(b"PD" + bytes([room, 1]) + bytes(room - 4)))


def _special(entry: Entry) -> list[bytes]:
    """The records that entries of this kind have beside the common ones."""
    if entry.kind == "symlink":
        return _symlink(entry)
    return [_device(entry.device)] if entry.kind in ("char", "block") else []


def _device(device: tuple[int, int]) -> bytes:
    """PN, the number of a device."""
    major, minor = device
    # Linux takes two small numbers out of the low word, as other readers do; else the words are the two numbers.
    words = (0, major << 8 | minor) if minor < 256 else device
    return b"PN\x14\x01" + b"".join(struct.pack("<I", word) + struct.pack(">I", word) for word in words)


def _symlink(entry: Entry) -> list[bytes]:
    """SL, as many as the target needs; all but the last say that another follows."""
    areas = [bytearray()]
    target = entry.target.encode("utf-8", "surrogateescape")
    for number, part in enumerate(target.split(b"/")):
        flags = {b".": 2, b"..": 4, b"": 0 if number else 8}.get(part, 0)
        rest = b"" if flags else part
        while 2 + len(rest) > (room := _SYMLINK_AREA - len(areas[-1])):
            # The beginning of the part, if there is room for some of it; it goes on in the next record.
            if rest and room > 2:
                areas[-1] += bytes([1, room - 2]) + rest[: room - 2]
                rest = rest[room - 2 :]
            areas.append(bytearray())
        areas[-1] += bytes([flags, len(rest)]) + rest
    records = [b"SL" + bytes([5 + len(area), 1, area is not areas[-1]]) + bytes(area) for area in areas]
    if len(b"".join(records)) > _MAX_SYMLINK:
        raise RuleError(
            f"`{entry.path}` is a symlink to {len(target)} bytes, too many for an ISO",
            hint="shorten the symlink's target in the image, or leave the image out",
        )
    return records


def _name_length(entry: Entry) -> int:
    return len(entry.path.rpartition("/")[2].encode("utf-8", "surrogateescape"))
