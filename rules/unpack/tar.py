"""Members of a tar archive, read where it lies; nothing but headers is looked at.

Understands ustar and pax (POSIX.1-2024, pax, "ustar Interchange Format" and "pax Extended Header"), and what GNU
tar adds: long names, base-256 numbers, sparse files in its four ways (GNU tar manual, appendix "Tar Internals").
It is our own because `tarfile` takes five times as long a member, which the whole first build would feel, and
because what it lets pass in a broken archive is not ours to say.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import NamedTuple

BLOCK = 512
# What a header may announce about itself; real ones stay far below.
_MAX_NAME_BYTES = 1 << 16
_MAX_RECORD_BYTES = 1 << 22
_MAX_DIGITS = 20
_NANO = 1_000_000_000

Read = Callable[[int, int], bytes]
"""`read(offset, size)`: that many bytes of the archive from there, fewer only at its end."""


class Member(NamedTuple):
    """One member as the archive has it; `name` and `link` are not cleaned and not to be trusted.

    `type` is the type flag, with everything that is a plain file as "0". `mtime` is in nanoseconds. The content
    is `size` bytes from `offset` on. For a sparse file `sparse` holds (position, size) of the pieces that stand
    there one after another, and `real_size` its length with the holes.
    """

    name: str
    type: str
    mode: int
    uid: int
    gid: int
    mtime: int
    offset: int
    size: int
    link: str
    device: tuple[int, int]
    xattrs: tuple[tuple[str, bytes], ...]
    sparse: tuple[tuple[int, int], ...] | None = None
    real_size: int = 0


class TarError(ValueError):
    """The archive is broken at `offset` (bytes); `name` is the member, as far as it was known."""

    def __init__(self, reason: str, offset: int, name: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset
        self.name = name


def members(read: Read, length: int) -> Iterator[Member]:
    """The members of an archive of `length` bytes in its order; raises TarError where it is broken.

    It ends at a zero block, or at the end of the archive if that is where a header would begin.
    """
    offset = 0
    records: dict[str, bytes] = {}
    common: dict[str, bytes] = {}
    announced = announced_for_all = 0
    while offset < length:
        header = read(offset, BLOCK)
        if header == bytes(BLOCK):
            return
        _check(header, offset)
        type_flag = chr(header[156])
        size = _number(header[124:136], offset)
        body = offset + BLOCK
        if type_flag in "xgLK":
            end = body + size
            announced += size
            announced_for_all += size if type_flag == "g" else 0
            if size < 0 or announced > _MAX_RECORD_BYTES or end > length:
                raise TarError("an extended header is cut off or too large", offset)
            _take_record(type_flag, read(body, size), records=records, common=common, offset=offset)
            offset = end + -size % BLOCK
            continue
        member, following = _member(header, body, records={**common, **records}, read=read)
        if member.offset + member.size > length:
            raise TarError("the archive ends inside this entry", offset, member.name)
        records, announced = {}, announced_for_all
        offset = following
        if type_flag != "V":  # GNU's volume label names the archive, not a file
            yield member
    if records:
        raise TarError("the archive ends after an extended header", offset)


def _check(header: bytes, offset: int) -> None:
    if len(header) < BLOCK:
        raise TarError("the archive ends inside a header", offset)
    # The sum counts its own field as eight blanks.
    total = sum(header) - sum(header[148:156]) + 8 * 0x20
    if _number(header[148:156], offset) != total:
        raise TarError("a header's checksum does not fit (not a tar archive, or damaged)", offset)


def _number(field: bytes, offset: int) -> int:
    if field[0] & 0x80:
        number = int.from_bytes(field, "big", signed=False)
        bits = 8 * len(field)
        # GNU: the top bit marks base 256, the next one is the sign.
        value = number & ((1 << (bits - 1)) - 1)
        return value - (1 << (bits - 1)) if number >> (bits - 2) & 1 else value
    # A blank or NUL ends the number; what stands behind it may be left from something else.
    words = field.replace(b"\0", b" ").split(None, 1)
    if not words:
        return 0
    try:
        return int(words[0], 8)
    except ValueError:
        raise TarError(f"expected an octal number, got {field!r}", offset) from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _take_record(
    type_flag: str, content: bytes, *, records: dict[str, bytes], common: dict[str, bytes], offset: int
) -> None:
    if type_flag in "LK":
        if len(content) > _MAX_NAME_BYTES:
            raise TarError("a name is longer than 64 KiB", offset)
        records["path" if type_flag == "L" else "linkpath"] = content.split(b"\0", 1)[0]
        return
    target = records if type_flag == "x" else common
    position = 0
    pairs: list[bytes] = []
    while position < len(content) and content[position] != 0:
        space = content.find(b" ", position, position + 20)
        try:
            length = int(content[position:space]) if space > 0 else 0
        except ValueError:
            length = 0
        record = content[space + 1 : position + length]
        key, equals, value = record.partition(b"=")
        if length < 5 or position + length > len(content) or not equals or not value.endswith(b"\n"):
            raise TarError("an extended header is malformed", offset)
        name = key.decode("utf-8", "surrogateescape")
        if name in ("GNU.sparse.offset", "GNU.sparse.numbytes"):
            # The oldest way repeats its keys: one pair a piece.
            pairs.append(value[:-1])
        else:
            target[name] = value[:-1]
        position += length
    if pairs:
        target["GNU.sparse.map"] = b",".join(pairs)


def _member(header: bytes, body: int, *, records: dict[str, bytes], read: Read) -> tuple[Member, int]:
    """The member a header describes, and where the next header is."""
    offset = body - BLOCK
    type_flag = chr(header[156])
    name = _name(header, records)
    size = _integer(records, "size", _number(header[124:136], offset), offset)
    if size < 0:
        raise TarError(f"a size of {size} bytes", offset, name)
    if type_flag in "\x007":
        type_flag = "0"  # before POSIX the flag of a file was NUL; 7 is a file laid out in one piece
    if type_flag == "0" and name.endswith("/"):
        type_flag = "5"  # before POSIX a directory was a name with a slash
    # Whatever size links, devices and directories announce, no data follows them.
    stored = 0 if type_flag in "123456" else size
    member = Member(
        name,
        "0" if type_flag == "S" else type_flag,
        _number(header[100:108], offset),
        _integer(records, "uid", _number(header[108:116], offset), offset),
        _integer(records, "gid", _number(header[116:124], offset), offset),
        _mtime(records, _number(header[136:148], offset), offset),
        body,
        stored,
        _link(header, records),
        (_number(header[329:337], offset), _number(header[337:345], offset)) if type_flag in "34" else (0, 0),
        _xattrs(records, name, offset) if records else (),
    )
    following = body + stored + -stored % BLOCK
    if type_flag == "S":
        member, following = _old_sparse(member, header, read)
    elif member.type == "0" and any(key.startswith("GNU.sparse.") for key in records):
        member = _pax_sparse(member, records, read)
    return member, following


def _name(header: bytes, records: dict[str, bytes]) -> str:
    # A record without a value takes back what was said before: the field counts.
    if path := records.get("GNU.sparse.name") or records.get("path"):
        return path.decode("utf-8", "surrogateescape")
    name = _text(header[0:100])
    # GNU's own magic ("ustar  ") has times where POSIX has the prefix.
    if header[257:263] == b"ustar\0" and header[345]:
        return f"{_text(header[345:500])}/{name}"
    return name


def _link(header: bytes, records: dict[str, bytes]) -> str:
    if path := records.get("linkpath"):
        return path.decode("utf-8", "surrogateescape")
    return _text(header[157:257])


def _integer(records: dict[str, bytes], key: str, otherwise: int, offset: int) -> int:
    text = records.get(key)
    if not text:
        return otherwise
    if not text.removeprefix(b"-").isdigit() or len(text) > _MAX_DIGITS:
        raise TarError(f"expected a number for {key}, got {text[:_MAX_DIGITS]!r}", offset)
    return int(text)


def _mtime(records: dict[str, bytes], otherwise: int, offset: int) -> int:
    text = records.get("mtime", b"").decode("ascii", "replace")
    if not text:
        return otherwise * _NANO
    whole, _, fraction = text.partition(".")
    digits = whole.removeprefix("-")
    if not digits.isdigit() or not (fraction or "0").isdigit() or len(digits) > _MAX_DIGITS:
        raise TarError(f"expected a time for mtime, got {text[:_MAX_DIGITS]!r}", offset)
    nanoseconds = int(digits) * _NANO + int(fraction[:9].ljust(9, "0"))
    return -nanoseconds if whole.startswith("-") else nanoseconds


def _xattrs(records: dict[str, bytes], path: str, offset: int) -> tuple[tuple[str, bytes], ...]:
    found: dict[str, bytes] = {}
    for key, value in records.items():
        if key.startswith("LIBARCHIVE.xattr."):
            from urllib.parse import unquote_to_bytes

            name = unquote_to_bytes(key.removeprefix("LIBARCHIVE.xattr.")).decode("utf-8", "surrogateescape")
            try:
                found.setdefault(name, base64.b64decode(value + b"=" * (-len(value) % 4)))
            except ValueError:
                raise TarError("an extended attribute is not base64", offset, path) from None
        elif key.startswith("SCHILY.xattr."):
            found[key.removeprefix("SCHILY.xattr.")] = value
    return tuple(sorted(found.items()))


def _old_sparse(member: Member, header: bytes, read: Read) -> tuple[Member, int]:
    """GNU's type S: four pieces in the header, more in blocks behind it."""
    pieces = _sparse_pairs(header, 386, 4, member)
    more, offset = header[482], member.offset
    while more:
        block = read(offset, BLOCK)
        if len(block) < BLOCK or offset - member.offset >= _MAX_RECORD_BYTES:
            raise TarError("a sparse map is cut off or too large", offset, member.name)
        pieces += _sparse_pairs(block, 0, 21, member)
        more, offset = block[504], offset + BLOCK
    real_size = _number(header[483:495], member.offset)
    sparse = _checked_map(pieces, real_size, member)
    return member._replace(
        offset=offset, sparse=sparse, real_size=real_size
    ), offset + member.size + -member.size % BLOCK


def _sparse_pairs(block: bytes, start: int, count: int, member: Member) -> list[tuple[int, int]]:
    pairs = []
    for position in range(start, start + 24 * count, 24):
        if block[position]:
            pairs.append(
                (
                    _number(block[position : position + 12], member.offset),
                    _number(block[position + 12 : position + 24], member.offset),
                )
            )
    return pairs


def _pax_sparse(member: Member, records: dict[str, bytes], read: Read) -> Member:
    """The pax ways: 1.0 puts the map before the data, 0.0 and 0.1 into the extended header."""
    real = records.get("GNU.sparse.realsize", records.get("GNU.sparse.size", b""))
    try:
        real_size = int(real)
        if records.get("GNU.sparse.major") == b"1":
            numbers, used = _map_before_data(member, read)
            member = member._replace(offset=member.offset + used, size=member.size - used)
        else:
            numbers = [int(number) for number in records.get("GNU.sparse.map", b"").split(b",") if number]
        pieces = list(zip(numbers[::2], numbers[1::2], strict=True))
    except ValueError as error:
        if isinstance(error, TarError):
            raise
        raise TarError("a sparse map is malformed", member.offset, member.name) from None
    return member._replace(sparse=_checked_map(pieces, real_size, member), real_size=real_size)


def _map_before_data(member: Member, read: Read) -> tuple[list[int], int]:
    blocks: list[bytes] = []
    lines, wanted = 0, 1
    while lines < wanted:
        used = BLOCK * len(blocks)
        block = read(member.offset + used, BLOCK)
        if len(block) < BLOCK or used >= min(member.size, _MAX_RECORD_BYTES):
            raise TarError("a sparse map is cut off or too large", member.offset, member.name)
        blocks.append(block)
        if len(blocks) == 1:
            # How many pairs of lines follow stands in the first one.
            wanted += 2 * max(int(block.partition(b"\n")[0]), 0)
        lines += block.count(b"\n")
    numbers = [int(line) for line in b"".join(blocks).split(b"\n", wanted)[1:wanted]]
    return numbers, BLOCK * len(blocks)


def _checked_map(
    pieces: list[tuple[int, int]], real_size: int, member: Member
) -> tuple[tuple[int, int], ...]:
    end = 0
    for position, size in pieces:
        if position < end or size < 0:
            raise TarError("a sparse map goes backwards", member.offset, member.name)
        end = position + size
    if end > real_size or sum(size for _, size in pieces) > member.size:
        raise TarError("a sparse map does not fit its file", member.offset, member.name)
    return tuple(pieces)
