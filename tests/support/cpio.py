"""newc archives read back, and unpacked the way the kernel unpacks an initrd.

Source: kernel init/initramfs.c: do_header, do_name, do_copy, do_symlink, clean_path, maybe_link. `Kernel` follows it
step by step, with what it does silently wrong: parents are not made, a directory is only removed if it is empty,
files are truncated through all their names, devices stay what they were, names may lead through symlinks.
"""

from __future__ import annotations

import gzip
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_PATH_MAX = 4096
_MOST_LINKS = 40


class Record(NamedTuple):
    """One entry of an archive; `offset` is where its header stands."""

    name: bytes
    inode: int
    mode: int
    uid: int
    gid: int
    links: int
    mtime: int
    body: bytes
    device: tuple[int, int]
    offset: int


def records(archive: bytes, start: int = 0) -> Iterator[Record]:
    """The entries up to the trailer, which is the last one given; everything must be aligned and in its place."""
    offset = start
    while True:
        assert offset % 4 == start % 4 == 0
        assert archive[offset : offset + 6] == b"070701", f"no header at {offset}"
        numbers = [int(archive[offset + 6 + 8 * count : offset + 14 + 8 * count], 16) for count in range(13)]
        inode, mode, uid, gid, links, mtime, size, _, _, major, minor, name_size, check = numbers
        assert check == 0
        name_end = offset + 110 + name_size
        assert archive[name_end - 1] == 0
        body = name_end + -name_end % 4
        name = archive[offset + 110 : name_end - 1]
        assert archive[name_end:body].strip(b"\0") == b""
        content = archive[body : body + size]
        assert len(content) == size
        yield Record(name, inode, mode, uid, gid, links, mtime, content, (major, minor), offset)
        if name == b"TRAILER!!!":
            return
        offset = body + size + -size % 4


@dataclass
class Node:
    """An inode of the kernel's root file system."""

    mode: int
    uid: int = 0
    gid: int = 0
    content: bytes = b""
    device: tuple[int, int] = (0, 0)
    children: dict[bytes, Node] = field(default_factory=dict)

    @property
    def type(self) -> int:
        """The type bits of the mode."""
        return stat.S_IFMT(self.mode)


class _Missing(Exception):
    """ENOENT, ENOTDIR, ELOOP and the like: the kernel says nothing and goes on."""


class Kernel:
    """The root file system while an initrd is unpacked; `skipped` are the names that came to nothing."""

    def __init__(self) -> None:
        self.root = Node(stat.S_IFDIR | 0o755)
        self.skipped: list[bytes] = []
        self._linked: dict[tuple[int, int], bytes] = {}

    def unpack(self, initrd: bytes) -> None:
        """Unpacks archives one after another, plain or gzip, with zeros between them."""
        offset = 0
        while offset < len(initrd):
            if initrd[offset] == 0:
                offset += 1
            elif initrd[offset : offset + 2] == b"\x1f\x8b":
                content, used = _gunzipped(initrd[offset:])
                assert len(content) % 4 == 0, "broken padding"
                self._unpack_plain(content)
                offset += used
            else:
                assert offset % 4 == 0, "a plain archive that is not aligned"
                offset = self._unpack_archive(initrd, offset)

    def _unpack_plain(self, content: bytes) -> None:
        assert content[:1] != b"\0", "zeros at the beginning of a compressed archive"
        offset = 0
        while offset < len(content):
            offset = offset + 1 if content[offset] == 0 else self._unpack_archive(content, offset)

    def _unpack_archive(self, content: bytes, offset: int) -> int:
        for record in records(content, offset):
            if record.name == b"TRAILER!!!":
                self._linked.clear()
                return record.offset + 124
            if len(record.name) + 1 > _PATH_MAX or not self._make(record):
                self.skipped.append(record.name)
        raise AssertionError("no trailer")

    def _make(self, record: Record) -> bool:
        kind = stat.S_IFMT(record.mode)
        try:
            if kind == stat.S_IFLNK:
                return self._symlink(record)
            self._clean(record.name, kind)
            if kind == stat.S_IFREG:
                return self._file(record)
            if kind == stat.S_IFDIR:
                return self._directory(record)
            return self._special(record)
        except _Missing:
            return False

    def _symlink(self, record: Record) -> bool:
        self._clean(record.name, 0)
        folder, name = self._place(record.name)
        if name in folder.children:
            return False
        folder.children[name] = Node(record.mode, record.uid, record.gid, record.body)
        return True

    def _file(self, record: Record) -> bool:
        linked = self._maybe_link(record)
        if linked is None:
            return False
        folder, name = self._place(record.name)
        node = folder.children.get(name)
        if node is None:
            node = folder.children[name] = Node(record.mode)
        if node.type != stat.S_IFREG:
            return False
        if not linked:
            node.content = b""  # O_TRUNC, through every name the file has
        node.mode, node.uid, node.gid = record.mode, record.uid, record.gid
        if record.body:
            node.content = record.body
        return True

    def _maybe_link(self, record: Record) -> bool | None:
        """Whether the name became one more of a file seen before; None if that failed."""
        if record.links < 2:
            return False
        key = (record.inode, stat.S_IFMT(record.mode))
        if key not in self._linked:
            self._linked[key] = record.name
            return False
        self._clean(record.name, 0)
        folder, name = self._place(record.name)
        old_folder, old_name = self._place(self._linked[key])
        if name in folder.children or old_name not in old_folder.children:
            return None
        folder.children[name] = old_folder.children[old_name]
        return True

    def _directory(self, record: Record) -> bool:
        if record.name == b".":
            node = self.root
        else:
            folder, name = self._place(record.name)
            node = folder.children.setdefault(name, Node(record.mode))
        if node.type != stat.S_IFDIR:
            return False
        node.mode, node.uid, node.gid = record.mode, record.uid, record.gid
        return True

    def _special(self, record: Record) -> bool:
        if self._maybe_link(record) is not False:
            return True
        folder, name = self._place(record.name)
        node = folder.children.setdefault(name, Node(record.mode, device=record.device))
        # mknod over what is there fails, the rest is done all the same.
        node.mode = node.type | stat.S_IMODE(record.mode)
        node.uid, node.gid = record.uid, record.gid
        return True

    def _clean(self, path: bytes, kind: int) -> None:
        try:
            folder, name = self._place(path)
        except _Missing:
            return
        node = folder.children.get(name)
        if node is None or node.type == kind:
            return
        if node.type != stat.S_IFDIR or not node.children:
            del folder.children[name]

    def _place(self, path: bytes) -> tuple[Node, bytes]:
        """The directory a path lies in, symlinks followed, and its name there."""
        parent, _, name = path.rpartition(b"/")
        return self._walk(parent), name

    def _walk(self, path: bytes) -> Node:
        trail = [self.root]
        parts = [part for part in path.split(b"/") if part]
        most_links = _MOST_LINKS
        while parts:
            part = parts.pop(0)
            if part == b".":
                continue
            if part == b"..":
                trail = trail[:-1] or trail
                continue
            node = trail[-1].children.get(part)
            if node is None:
                raise _Missing
            if node.type == stat.S_IFLNK:
                most_links -= 1
                if most_links < 0:
                    raise _Missing
                if node.content.startswith(b"/"):
                    trail = [self.root]
                parts = [step for step in node.content.split(b"/") if step] + parts
            elif node.type == stat.S_IFDIR:
                trail.append(node)
            else:
                raise _Missing
        return trail[-1]

    def plain(self) -> dict[str, tuple[object, ...]]:
        """Path to (mode with type, uid, gid, content or device); the root left out."""
        return {
            path: (node.mode, node.uid, node.gid, node.content or node.device) for path, node in self._all()
        }

    def shared(self) -> set[frozenset[str]]:
        """The groups of paths that are one file."""
        names: dict[int, set[str]] = {}
        for path, node in self._all():
            names.setdefault(id(node), set()).add(path)
        return {frozenset(group) for group in names.values() if len(group) > 1}

    def _all(self) -> Iterator[tuple[str, Node]]:
        waiting = [("", self.root)]
        while waiting:
            path, node = waiting.pop()
            for name, child in node.children.items():
                below = f"{path}/{name.decode('utf-8', 'surrogateescape')}".lstrip("/")
                yield below, child
                waiting.append((below, child))


def _gunzipped(content: bytes) -> tuple[bytes, int]:
    import zlib

    stream = zlib.decompressobj(31)
    plain = stream.decompress(content)
    assert stream.eof
    used = len(content) - len(stream.unused_data)
    assert gzip.decompress(content[:used]) == plain
    return plain, used
