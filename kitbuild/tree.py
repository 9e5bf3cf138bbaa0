"""Tree is a file system as a value: entries whose contents are slices of blobs. Nothing is ever unpacked.

Canonical form, one line each, ASCII:

    kitbuild-tree 1
    B <sha256 hex> <size in bytes>                        a blob, numbered from 0 in order of first use
    ["directory", path, mode, uid, gid, mtime]            JSON, sorted by path; strings escaped to ASCII
    ["file", path, mode, uid, gid, mtime, blob, offset, size]        (blob -1: an empty file)
    ["symlink" | "hardlink", path, mode, uid, gid, mtime, target]
    ["char" | "block", path, mode, uid, gid, mtime, major, minor]
    ["fifo", path, mode, uid, gid, mtime]

and, only where an entry has extended attributes, one last field {name: base64}.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from sys import intern
from typing import Any, Final, Literal, NamedTuple, cast, get_args

from kitbuild.digest import Digest
from kitbuild.extents import Slice

Kind = Literal["directory", "file", "symlink", "hardlink", "char", "block", "fifo"]

_MAGIC = b"kitbuild-tree 1"
# Of a hundred bytes each, so that a piece is a few hundred kilobytes.
_PIECE_ENTRIES = 2000
# An empty, `.` or `..` part, or a NUL byte.
_UNCLEAN = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\0")


_KINDS = frozenset(get_args(Kind))


# A NamedTuple for the reason given at Digest.
class Entry(NamedTuple):
    """One path of a tree.

    `path` is relative POSIX without `.` or `..`, the root itself is the empty path; bytes that are not UTF-8
    are surrogate escapes. `mode` holds the twelve permission bits. `mtime` is in nanoseconds since 1970.
    `content` is None for an empty file and for everything that is not a file. `target` is a symlink's text as
    written, or the path of the file a hard link shares. `device` is (major, minor). `xattrs` are sorted.
    """

    path: str
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    content: Slice | None = None
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()

    @property
    def size(self) -> int:
        """The content's length in bytes."""
        return self.content.size if self.content else 0


class Tree:
    """Entries sorted by path, one a path, so parents come before what is in them.

    Made by `Tree.of`, which checks and sorts. A parent need not be there: it then belongs to somebody else
    (an image may bring `usr/bin/app` alone). A hard link's target is a file entry of the same tree, except in a
    layer, where it may belong to the layers below.
    """

    __slots__ = ("entries",)

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self.entries: Final = entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    def __repr__(self) -> str:
        return f"Tree({self.entries!r})"

    @classmethod
    def of(cls, entries: Iterable[Entry], *, complete: bool = True) -> Tree:
        """Sorts and checks.

        Raises ValueError for a bad or repeated path, an entry below one that is no directory, and, if `complete`, a
        dangling hard link.
        """
        ordered = tuple(sorted(entries, key=lambda entry: entry.path))
        kinds: dict[str, Kind] = {}
        for entry in ordered:
            if entry.path and not is_inside(entry.path):
                raise ValueError(f"not a path inside a tree: {entry.path!r}")
            if entry.path in kinds:
                raise ValueError(f"two entries for {entry.path!r}")
            if kinds.get(parent_of(entry.path), "directory") != "directory":
                raise ValueError(f"{entry.path!r} lies below something that is no directory")
            kinds[entry.path] = entry.kind
        for entry in ordered:
            if complete and entry.kind == "hardlink" and kinds.get(entry.target) != "file":
                raise ValueError(f"hard link {entry.path!r} to {entry.target!r}, which is no file")
        return cls(ordered)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def by_path(self) -> dict[str, Entry]:
        """The entries by path."""
        return {entry.path: entry for entry in self.entries}

    def blobs(self) -> tuple[Digest, ...]:
        """The blobs its files slice, once each, in order of first use."""
        return tuple(dict.fromkeys(entry.content.blob for entry in self.entries if entry.content))

    def encode(self) -> bytes:
        """The canonical bytes."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The canonical bytes in pieces of some hundred kilobytes: whole, a large tree's take as much as the tree."""
        numbers = {blob: number for number, blob in enumerate(self.blobs())}
        yield b"\n".join([_MAGIC, *(f"B {blob.hex} {blob.size}".encode() for blob in numbers), b""])
        dumps = json.JSONEncoder(separators=(",", ":")).encode
        for start in range(0, len(self.entries), _PIECE_ENTRIES):
            part = self.entries[start : start + _PIECE_ENTRIES]
            lines = [dumps(_fields(entry, numbers)) for entry in part]
            yield "\n".join([*lines, ""]).encode("ascii")

    @classmethod
    def decode(cls, lines: Iterable[bytes]) -> Tree:
        """Reads what `encode` wrote; raises ValueError on anything else."""
        return cls(tuple(entries_of(lines)))


def entries_of(lines: Iterable[bytes]) -> Iterator[Entry]:
    """The entries of an encoded tree one by one, for whoever does not need them all at once.

    Each is checked by itself (it may come from somebody else's cache); raises ValueError.
    """
    stream = iter(lines)
    if next(stream, b"").rstrip(b"\n") != _MAGIC:
        raise ValueError("not a tree file")
    blobs: list[Digest] = []
    loads = json.JSONDecoder().decode
    try:
        for line in stream:
            if line.startswith(b"B "):
                _, hexdigits, size = line.split()
                blobs.append(Digest.parse(hexdigits.decode(), int(size)))
            else:
                yield _entry(loads(line.decode("ascii")), blobs)
    except (IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"malformed tree: {error}") from error


def is_inside(path: str) -> bool:
    """Whether `path` is relative, clean, and cannot leave the tree it is in."""
    # Asked of every entry several times; these few looks take a tenth of the pattern's time and settle nearly all.
    if "/." in path or "//" in path or "\0" in path or path[:1] in ("", ".", "/") or path[-1] == "/":
        return _UNCLEAN.search(path) is None
    return True


def parent_of(path: str) -> str:
    """The path of the directory `path` is in; the root's parent is the root."""
    return path.rpartition("/")[0]


def parents_of(path: str) -> list[str]:
    """All directories above `path`, outermost first, without the root."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]


def _fields(entry: Entry, numbers: dict[Digest, int]) -> list[Any]:
    fields: list[Any] = [entry.kind, entry.path, entry.mode, entry.uid, entry.gid, entry.mtime]
    if entry.kind == "file":
        content = entry.content
        fields += [numbers[content.blob], content.offset, content.size] if content else [-1, 0, 0]
    elif entry.kind in ("symlink", "hardlink"):
        fields.append(entry.target)
    elif entry.kind in ("char", "block"):
        fields += entry.device
    if entry.xattrs:
        fields.append({name: base64.b64encode(value).decode() for name, value in entry.xattrs})
    return fields


def _entry(fields: list[Any], blobs: list[Digest]) -> Entry:
    kind, path, mode, uid, gid, mtime = cast("tuple[Kind, str, int, int, int, int]", tuple(fields[:6]))
    if kind not in _KINDS or (path and not is_inside(path)):
        raise ValueError(f"malformed tree entry {kind!r} {path!r}")
    xattrs: tuple[tuple[str, bytes], ...] = ()
    if isinstance(fields[-1], dict):
        xattrs = tuple(sorted((name, base64.b64decode(value)) for name, value in fields.pop().items()))
    # JSON gives each entry a text of its own; a large tree is a tenth smaller if they share it.
    kind = cast(Kind, intern(kind))
    if kind == "file":
        number, offset, size = fields[6:]
        content = None if number < 0 else Slice(blobs[number], offset, size)
        if content is not None and not 0 <= offset <= offset + size <= content.blob.size:
            raise ValueError(f"the content of {path!r} lies outside its blob")
        return Entry(path, kind, mode, uid, gid, mtime, content, "", (0, 0), xattrs)
    if kind in ("symlink", "hardlink"):
        return Entry(path, kind, mode, uid, gid, mtime, None, fields[6], (0, 0), xattrs)
    if kind in ("char", "block"):
        return Entry(path, kind, mode, uid, gid, mtime, None, "", (fields[6], fields[7]), xattrs)
    return Entry(path, kind, mode, uid, gid, mtime, xattrs=xattrs)
