"""Tar headers as LinuxKit's tars have them: ustar, each preceded by a pax header when it carries records.

Source: POSIX.1-2024, pax, "ustar Interchange Format" and "pax Extended Header"; the choice among what that allows
(names of the extra headers, their empty fields, order of records) is that of Go's archive/tar.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from kitbuild.extents import Slice
from kitbuild.tree import Entry, Kind

BLOCK = 512
# What ends an archive.
TRAILER = bytes(2 * BLOCK)

_TYPES: Mapping[Kind, bytes] = {
    "file": b"0",
    "hardlink": b"1",
    "symlink": b"2",
    "char": b"3",
    "block": b"4",
    "directory": b"5",
    "fifo": b"6",
}
_NANO = 1_000_000_000
# Seven and eleven octal digits; what is larger or negative goes into a record.
_MAX_ID = (1 << 21) - 1
_MAX_LONG = (1 << 33) - 1
_NAME_BYTES = 100


class _Fields(NamedTuple):
    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    type: bytes
    link: bytes
    device: tuple[int, int] | None


def pieces(entries: Iterable[tuple[Entry, Mapping[str, str]]]) -> Iterator[bytes | Slice]:
    """Members for entries, each with records of its own; no trailer. Bytes to take as they are, slices between."""
    padding = b""
    for entry, records in entries:
        yield padding + header(entry, records)
        if entry.content:
            yield entry.content
        padding = bytes(-entry.size % BLOCK)
    if padding:
        yield padding


def header(entry: Entry, records: Mapping[str, str], *, size: int | None = None) -> bytes:
    """The header of an entry, after a pax header if it has records or a field does not fit. The root is `./`.

    `size` is the length of a content that the entry does not name.
    """
    size = entry.size if size is None else size
    name = (entry.path or "./").encode("utf-8", "surrogateescape")
    link = entry.target.encode("utf-8", "surrogateescape")
    seconds, nanoseconds = divmod(entry.mtime, _NANO)
    every = {key.encode("utf-8", "surrogateescape"): value.encode("utf-8") for key, value in records.items()}
    for attribute, content in entry.xattrs:
        every[b"SCHILY.xattr." + attribute.encode("utf-8", "surrogateescape")] = content
    if len(name) > _NAME_BYTES or not name.isascii():
        every[b"path"] = name
    if len(link) > _NAME_BYTES or not link.isascii():
        every[b"linkpath"] = link
    for field, number in ((b"uid", entry.uid), (b"gid", entry.gid)):
        if number > _MAX_ID:
            every[field] = b"%d" % number
    if size > _MAX_LONG:
        every[b"size"] = b"%d" % size
    if nanoseconds or not 0 <= seconds <= _MAX_LONG:
        every[b"mtime"] = _time(entry.mtime)
    fields = _Fields(
        _short(name),
        entry.mode,
        entry.uid if entry.uid <= _MAX_ID else 0,
        entry.gid if entry.gid <= _MAX_ID else 0,
        size if size <= _MAX_LONG else 0,
        seconds if 0 <= seconds <= _MAX_LONG else 0,
        _TYPES[entry.kind],
        _short(link),
        entry.device,
    )
    return (_pax(name, every) if every else b"") + _block(fields)


def _short(name: bytes) -> bytes:
    kept = bytes(byte for byte in name if byte < 0x80) if not name.isascii() else name
    return kept if len(kept) <= _NAME_BYTES else kept[:_NAME_BYTES].rstrip(b"/")


def _time(nanoseconds: int) -> bytes:
    sign = "-" if nanoseconds < 0 else ""
    whole, fraction = divmod(abs(nanoseconds), _NANO)
    return f"{sign}{whole}.{fraction:09d}".rstrip("0").rstrip(".").encode()


def _pax(name: bytes, records: Mapping[bytes, bytes]) -> bytes:
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    text = name.decode("utf-8", "surrogateescape")
    folder, _, base = text.rpartition("/")
    path = posixpath.normpath(posixpath.join(folder, "PaxHeaders.0", base)).encode("utf-8", "surrogateescape")
    fields = _Fields(_short(path).rstrip(b"/"), 0, 0, 0, len(body), 0, b"x", b"", None)
    return _block(fields) + body + bytes(-len(body) % BLOCK)


def _record(key: bytes, value: bytes) -> bytes:
    # The length counts its own digits.
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if len(str(length)) != len(str(rest)):
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _block(fields: _Fields) -> bytes:
    major, minor = fields.device or (0, 0)
    device = b"%07o\0%07o\0" % (major, minor) if fields.device is not None else bytes(16)
    front = b"%s%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        fields.name.ljust(_NAME_BYTES, b"\0"),
        fields.mode,
        fields.uid,
        fields.gid,
        fields.size,
        fields.mtime,
    )
    back = fields.type + fields.link.ljust(_NAME_BYTES, b"\0") + b"ustar\x0000" + bytes(64) + device
    total = sum(front) + sum(back) + 8 * 0x20
    return (front + b"%06o\0 " % total + back).ljust(BLOCK, b"\0")
