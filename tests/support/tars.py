"""Tar archives made field by field, for what no tar program would write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from kitbuild.rules.unpack.tar import Member, Read, members

BLOCK = 512
END = bytes(2 * BLOCK)

_FIELDS = {
    "name": (0, 100),
    "mode": (100, 8),
    "uid": (108, 8),
    "gid": (116, 8),
    "size": (124, 12),
    "mtime": (136, 12),
    "type": (156, 1),
    "link": (157, 100),
    "magic": (257, 8),
    "major": (329, 8),
    "minor": (337, 8),
    "prefix": (345, 155),
}
_DEFAULTS: Mapping[str, bytes | int] = {
    "mode": 0o644,
    "uid": 0,
    "gid": 0,
    "size": 0,
    "mtime": 0,
    "type": b"0",
    "magic": b"ustar\x0000",
}


def header(name: bytes | str, *, at: Mapping[int, bytes] | None = None, **fields: bytes | int) -> bytes:
    """A header block with its checksum; numbers are octal, bytes go in as they are, `at` writes anywhere."""
    block = bytearray(BLOCK)
    every = {**_DEFAULTS, **fields, "name": name.encode() if isinstance(name, str) else name}
    for field, value in every.items():
        offset, size = _FIELDS[field]
        content = value if isinstance(value, bytes) else b"%0*o\0" % (size - 1, value)
        assert len(content) <= size, field
        block[offset : offset + len(content)] = content
    for offset, content in (at or {}).items():
        block[offset : offset + len(content)] = content
    return sealed(block)


def sealed(block: bytes | bytearray) -> bytes:
    """A header block with the checksum it ought to have."""
    fresh = bytearray(block)
    fresh[148:156] = b" " * 8
    fresh[148:156] = b"%06o\0 " % sum(fresh)
    return bytes(fresh)


def padded(content: bytes) -> bytes:
    """Content up to the end of its last block."""
    return content + bytes(-len(content) % BLOCK)


def entry(name: bytes | str, content: bytes = b"", **fields: bytes | int) -> bytes:
    """A header and its content."""
    return header(name, **{"size": len(content), **fields}) + padded(content)  # type: ignore[arg-type]


def record(key: str | bytes, value: str | bytes) -> bytes:
    """One record of a pax header."""
    key = key.encode("utf-8", "surrogateescape") if isinstance(key, str) else key
    value = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    while length != len(rest) + len(str(length)):
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


Records = Iterable[tuple[str | bytes, str | bytes]]


def pax(records: Mapping[str, str | bytes] | Records, *, type: bytes = b"x") -> bytes:
    """A pax header with these records; `type` g makes it global."""
    pairs = records.items() if isinstance(records, Mapping) else records
    return entry("PaxHeader", b"".join(record(key, value) for key, value in pairs), type=type)


def base256(number: int, size: int) -> bytes:
    """A number as GNU tar writes those that are negative or too large for octal digits."""
    if number >= 0:
        return bytes([0x80]) + number.to_bytes(size - 1, "big")
    return (number + (1 << (8 * size))).to_bytes(size, "big")


def reader(archive: bytes) -> Read:
    """Reads from an archive in memory."""

    def read(offset: int, size: int) -> bytes:
        assert offset >= 0
        assert size >= 0
        return archive[offset : offset + size]

    return read


def read(archive: bytes) -> list[Member]:
    """The members of an archive in memory."""
    return list(members(reader(archive), len(archive)))


def read_file(path: Path) -> tuple[list[Member], bytes]:
    """The members of an archive on disk, and its bytes."""
    archive = path.read_bytes()
    return read(archive), archive


def content_of(member: Member, archive: bytes) -> bytes:
    """What a member's file would hold, holes and all."""
    stored = archive[member.offset : member.offset + member.size]
    if member.sparse is None:
        return stored
    content = bytearray(member.real_size)
    position = 0
    for start, size in member.sparse:
        content[start : start + size] = stored[position : position + size]
        position += size
    return bytes(content)
