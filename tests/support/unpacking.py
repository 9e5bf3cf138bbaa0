"""Tars read into plain values, and what unpacking them as root gives.

    found = unpacked(entries_of(archive))
    found.paths["etc/hosts"].kind

Independent of kitbuild: the tar is read by Python's tarfile, and unpacked by nobody but a model in memory that the
tests hold against GNU tar and bsdtar.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

_NANO = 1_000_000_000
MTIME = 1_492_533_000 * _NANO
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.LNKTYPE: "hardlink",
    tarfile.SYMTYPE: "symlink",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
    tarfile.DIRTYPE: "directory",
    tarfile.FIFOTYPE: "fifo",
}
_MOST_LINKS = 40


class TarEntry(NamedTuple):
    """One entry of a tar, names as they stand there; `mtime` is in nanoseconds."""

    name: str
    kind: str
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = MTIME
    content: bytes = b""
    target: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()
    source: str = ""
    location: str = ""


def entries_of(archive: bytes) -> Iterator[TarEntry]:
    """The entries of a tar in its order, as Python's tarfile reads them."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
        for member in opened:
            content = opened.extractfile(member).read() if member.isreg() else b""  # type: ignore[union-attr]
            records = member.pax_headers
            xattrs = sorted(
                (key.removeprefix("SCHILY.xattr."), value.encode("utf-8", "surrogateescape"))
                for key, value in records.items()
                if key.startswith("SCHILY.xattr.")
            )
            yield TarEntry(
                member.name,
                _KINDS[member.type],
                member.mode & 0o7777,
                member.uid,
                member.gid,
                int(Decimal(records.get("mtime") or int(member.mtime)) * _NANO),
                content,
                member.linkname,
                (member.devmajor, member.devminor) if member.ischr() or member.isblk() else (0, 0),
                tuple(xattrs),
                records.get("LINUXKIT.source", ""),
                records.get("LINUXKIT.location", ""),
            )


class Found(NamedTuple):
    """What is at a path in the end. `mtime` is in nanoseconds, None for a directory no entry speaks of.

    `names` are all names of a file that has several.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str
    target: str
    device: tuple[int, int]
    xattrs: tuple[tuple[str, bytes], ...]
    mtime: int | None
    names: tuple[str, ...] = ()


class Unpacked(NamedTuple):
    """A tar unpacked: what is where, the entries that came to nothing, and who wrote the last entry of a path.

    `writers` holds LINUXKIT.source and LINUXKIT.location; `contents` are those of files by their sha256.
    """

    paths: dict[str, Found]
    lost: list[str]
    writers: dict[str, tuple[str, str]]
    contents: dict[str, bytes]


@dataclass(eq=False)
class _Inode:
    entry: TarEntry
    is_implied: bool = False
    names: set[str] = field(default_factory=set)


class _Lost(Exception):
    pass


def unpacked(entries: Iterable[TarEntry]) -> Unpacked:
    """What root gets from unpacking with a careful tar program, later entries over earlier ones.

    What is in the way is removed first, unless it is a directory with something in it: then the entry is lost. A
    directory over a directory changes its attributes. Links are made when their entry is met, to what is there then.
    Names lead through symlinks to directories, inside the root; directories nobody listed are made.
    """
    disk = _Disk()
    for entry in entries:
        disk.extract(entry)
    paths = {}
    for path, inode in disk.inodes.items():
        entry = inode.entry
        names = tuple(sorted(inode.names)) if len(inode.names) > 1 else ()
        paths[path] = Found(
            entry.kind,
            entry.mode,
            entry.uid,
            entry.gid,
            len(entry.content),
            hashlib.sha256(entry.content).hexdigest() if entry.kind == "file" else "",
            entry.target,
            entry.device,
            entry.xattrs,
            None if inode.is_implied else entry.mtime,
            names,
        )
    contents = {paths[path].sha256: inode.entry.content for path, inode in disk.inodes.items()}
    return Unpacked(paths, disk.lost, disk.writers, contents)


class _Disk:
    def __init__(self) -> None:
        self.inodes: dict[str, _Inode] = {}
        self.lost: list[str] = []
        self.writers: dict[str, tuple[str, str]] = {}

    def extract(self, entry: TarEntry) -> None:
        try:
            path = self._place(entry.name)
            self._make(path, entry)
        except _Lost:
            self.lost.append(entry.name)
        else:
            self.writers[path] = (entry.source, entry.location)

    def _make(self, path: str, entry: TarEntry) -> None:
        old = self.inodes.get(path)
        if entry.kind == "directory" and (not path or (old is not None and old.entry.kind == "directory")):
            self.inodes[path] = _Inode(entry)
            return
        inode = _Inode(entry)
        if entry.kind == "hardlink":
            found = self.inodes.get(self._place(entry.target))
            if found is None or found.entry.kind == "directory":
                raise _Lost
            inode = found
        if inode is not old:
            self._remove(path)
            self.inodes[path] = inode
            inode.names.add(path)

    def _remove(self, path: str) -> None:
        if not path or any(other.startswith(f"{path}/") for other in self.inodes):
            raise _Lost
        if (old := self.inodes.pop(path, None)) is not None:
            old.names.discard(path)

    def _place(self, name: str) -> str:
        """Where a name is: its directories made, symlinks among them followed, the last part as it is."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise _Lost
        if not parts:
            return ""
        folder = self._folder(parts[:-1])
        return f"{folder}/{parts[-1]}" if folder else parts[-1]

    def _folder(self, names: list[str]) -> str:
        real = ""
        # With each name, whether a symlink says it: where that leads has to be there.
        waiting = [(name, False) for name in names]
        links = 0
        while waiting:
            (name, is_linked), *waiting = waiting
            if name == "..":
                real = posixpath.dirname(real)
                continue
            step = f"{real}/{name}" if real else name
            inode = self.inodes.get(step)
            if inode is None and not is_linked:
                self.inodes[step] = _Inode(TarEntry(step, "directory", 0o755), is_implied=True)
            elif inode is not None and inode.entry.kind == "symlink" and links < _MOST_LINKS:
                links += 1
                target = inode.entry.target
                real = "" if target.startswith("/") else real
                steps = [(part, True) for part in target.split("/") if part not in ("", ".")]
                waiting = steps + waiting
                continue
            elif inode is None or inode.entry.kind != "directory":
                raise _Lost
            real = step
        return real
