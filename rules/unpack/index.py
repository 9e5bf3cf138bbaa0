"""The index of a tar archive: its members as a tree whose contents are slices of the archive itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from kitbuild.draft import Draft
from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Work
from kitbuild.rules.unpack.tar import Member, Read, TarError, members
from kitbuild.tree import Entry, Kind, Tree, is_inside

# What Linux takes: longer paths and names it refuses, numbers of more bits it does not have.
_MAX_PATH_BYTES = 4095
_MAX_NAME_BYTES = 255
_MAX_ID = (1 << 32) - 1
_MAX_DEVICE = (0xFFF, 0xFFFFF)
# No image comes near that many entries, or as much text in paths, links and attributes: it all is in memory.
_MAX_ENTRIES = 2_000_000
_MAX_TEXT_BYTES = 1 << 28
# Sparse files are written out whole once; their holes cost disk in the cache.
_MAX_SPARSE_BYTES = 8 << 30
# Of names in messages.
_SHOWN_CHARACTERS = 200

_KINDS = {
    "0": "file",
    "1": "hardlink",
    "2": "symlink",
    "3": "char",
    "4": "block",
    "5": "directory",
    "6": "fifo",
    "D": "directory",
    "S": "file",
}


def index(archive: Slice, work: Work[Any], *, complete: bool) -> Tree:
    """The tree of the tar archive that lies in `archive`.

    A path that comes twice has what comes last. Names beginning with `.wh.` are kept as they are. A hard link to
    nothing is kept unless the tree has to be `complete`. Raises RuleError naming the entry for everything a
    careful unpacker refuses: absolute paths, `..`, hard links out of the tree, unknown types, broken headers.
    """

    def read(offset: int, size: int) -> bytes:
        return work.read(Slice(archive.blob, archive.offset + offset, min(size, archive.size - offset)))

    draft = Draft()
    name = place = ""
    text = sparse = 0
    try:
        for number, member in enumerate(members(read, archive.size)):
            name = member.name
            text += len(member.link) + sum(len(key) + len(value) for key, value in member.xattrs)
            sparse += member.real_size
            if number >= _MAX_ENTRIES or draft.path_characters + text > _MAX_TEXT_BYTES:
                raise ValueError(f"more than {_MAX_ENTRIES} entries or {_MAX_TEXT_BYTES} bytes of names")
            if sparse > _MAX_SPARSE_BYTES:
                raise ValueError(f"sparse files of {sparse} bytes, the most is {_MAX_SPARSE_BYTES}")
            draft.put(_entry(member, archive, lambda member: _filled(member, read, work)))
        name = ""
        return draft.tree(complete=complete)
    except TarError as error:
        if error.name or name:
            place = f"entry {_shown(error.name)}: " if error.name else f"after entry {_shown(name)}: "
        raise RuleError(f"{place}{error.reason} (at byte {error.offset})") from error
    except ValueError as error:
        raise RuleError(f"entry {_shown(name)}: {error}" if name else str(error)) from error


def _shown(name: str) -> str:
    return repr(name if len(name) <= _SHOWN_CHARACTERS else name[:_SHOWN_CHARACTERS] + "...")


def _entry(member: Member, archive: Slice, filled: Callable[[Member], Slice | None]) -> Entry:
    kind = _KINDS.get(member.type)
    if kind is None:
        raise ValueError(f"expected a file, link, directory, device or fifo, got tar type {member.type!r}")
    if member.uid > _MAX_ID or member.gid > _MAX_ID or member.uid < 0 or member.gid < 0:
        raise ValueError(f"expected ids of 32 bits, got {member.uid}:{member.gid}")
    if not all(0 <= number <= most for number, most in zip(member.device, _MAX_DEVICE, strict=True)):
        raise ValueError("expected device numbers of 12 and 20 bits, got {}:{}".format(*member.device))
    path = _clean(member.name)
    if not path and kind != "directory":
        raise ValueError(f"expected a directory as the root, got a {kind}")
    content: Slice | None = None
    if member.sparse is not None:
        content = filled(member)
    elif kind == "file" and member.size:
        content = Slice(archive.blob, archive.offset + member.offset, member.size)
    target = member.link if kind == "symlink" else _clean_link(member.link) if kind == "hardlink" else ""
    if kind == "symlink" and (not target or "\0" in target or _bytes_in(target) > _MAX_PATH_BYTES):
        raise ValueError(f"expected a symlink's target of 1 to {_MAX_PATH_BYTES} bytes without NUL")
    return Entry(
        path,
        cast(Kind, kind),
        member.mode & 0o7777,
        member.uid,
        member.gid,
        member.mtime,
        content,
        target,
        member.device,
        member.xattrs,
    )


def _clean(name: str) -> str:
    """The path a name means; raises ValueError if it is absolute or could leave the tree."""
    # Nearly all names are clean already, or a directory's with its slash.
    path = name[:-1] if name.endswith("/") else name
    if path.startswith("/"):
        raise ValueError("an absolute path")
    if not is_inside(path):
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise ValueError("a path with `..`")
        path = "/".join(parts)
        if "\0" in path:
            raise ValueError("a path with a NUL byte")
    # In a path no longer than a name may be, no name is too long.
    if (size := _bytes_in(path)) > _MAX_NAME_BYTES:
        if size > _MAX_PATH_BYTES:
            raise ValueError(f"a path of more than {_MAX_PATH_BYTES} bytes")
        if any(_bytes_in(part) > _MAX_NAME_BYTES for part in path.split("/")):
            raise ValueError(f"a name of more than {_MAX_NAME_BYTES} bytes")
    return path


def _bytes_in(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def _clean_link(target: str) -> str:
    # Some writers give hard links their target as an absolute path; it can only mean the archive's own root.
    try:
        return _clean(target.lstrip("/"))
    except ValueError as error:
        raise ValueError(f"a hard link out of the tree, to {_shown(target)}") from error


def _filled(member: Member, read: Read, work: Work[Any]) -> Slice | None:
    """A sparse member written out, holes and all, as a blob of its own."""
    with work.writer() as writer:
        for piece in _pieces(member, read):
            writer.write(piece)
        blob = writer.commit()
    return Slice(blob, 0, blob.size) if blob.size else None


def _pieces(member: Member, read: Read) -> Iterator[bytes]:
    stored = member.offset
    position = 0
    for start, size in member.sparse or ():
        yield from _zeros(start - position)
        for done in range(0, size, 1 << 20):
            yield read(stored + done, min(1 << 20, size - done))
        stored, position = stored + size, start + size
    yield from _zeros(member.real_size - position)


def _zeros(size: int) -> Iterator[bytes]:
    for done in range(0, size, 1 << 20):
        yield bytes(min(1 << 20, size - done))
