"""A whole squashfs image of a tree whose contents have been cut into blocks before."""

from __future__ import annotations

from array import array
from collections import Counter
from struct import Struct
from typing import Final, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Slice
from kitbuild.rules.layout.squashfs import inode
from kitbuild.rules.layout.squashfs.content import BLOCK, Blocks, Contents
from kitbuild.rules.layout.squashfs.directory import Name, write_listing
from kitbuild.rules.layout.squashfs.metadata import Compress, Metadata, lookup_table
from kitbuild.rules.layout.squashfs.xattr import Xattrs
from kitbuild.tree import Entry, Tree, parent_of

# What a device is read in at most; mksquashfs pads to it too.
ALIGNMENT = 4096
_SUPERBLOCK = Struct("<4sIIIIHHHHHHQQQQQQQQ")
_FRAGMENT = Struct("<QII")
_MAGIC = b"hsqs"
_NO_TABLE = (1 << 64) - 1
# Flags: every file's content is there once; inode numbers can be looked up (for NFS).
_DUPLICATES, _EXPORTABLE = 0x40, 0x80
# Inodes, data, fragments, attributes and ids are stored as they are, and there are no fragments.
_STORED = 0x01 | 0x02 | 0x08 | 0x10 | 0x100 | 0x800
_MAX_NAME_BYTES = 255
_MAX_IDS = 1 << 16


class Compressor(NamedTuple):
    """How blocks are compressed, and squashfs' number for it; it has none for "not at all", but every kernel one."""

    number: int
    compress: Compress | None


GZIP_NUMBER: Final = 1
ZSTD_NUMBER: Final = 6


class Image(NamedTuple):
    """The three pieces of an image, without the padding behind them."""

    superblock: bytes
    data: Extents
    tables: bytes

    @property
    def size(self) -> int:
        """Their length together in bytes."""
        return len(self.superblock) + self.data.size + len(self.tables)


def image(tree: Tree, contents: Contents, compressor: Compressor, *, seconds: int) -> Image:
    """The image of a complete tree with its root; `seconds` since 1970 is its own time.

    Inodes count from 1 in the order of the tree. A directory is written once all that is below it is. Raises
    RuleError for what has no place in squashfs.
    """
    writing = _Writing(tree, contents, compressor.compress)
    root = writing.write(tree)
    tables, starts = _tables(writing, compressor.compress)
    fields = (
        _MAGIC,
        len(writing.references),
        seconds,
        BLOCK,
        len(writing.data.fragments),
        compressor.number,
        BLOCK.bit_length() - 1,
        _DUPLICATES | _EXPORTABLE | (0 if compressor.compress else _STORED),
        len(writing.ids),
        4,
        0,
        root,
        writing.data.position + len(tables),
        *starts,
    )
    return Image(_SUPERBLOCK.pack(*fields), Extents.of(writing.data.parts), tables)


def _tables(writing: _Writing, compress: Compress | None) -> tuple[bytes, tuple[int, ...]]:
    """All tables, and where they are in the order of the superblock. They must leave no gap: the kernel checks."""
    inodes, directories = writing.inodes.finish(), writing.directories.finish()
    inodes_at = writing.data.position
    directories_at = inodes_at + len(inodes)
    position = directories_at + len(directories)
    tables = [inodes, directories]
    fragments_at = xattrs_at = _NO_TABLE
    if writing.data.fragments:
        content = b"".join(_FRAGMENT.pack(start, word, 0) for start, word in writing.data.fragments)
        table, fragments_at = lookup_table(content, position, compress)
        tables.append(table)
        position += len(table)
    table, references_at = lookup_table(_little_endian(writing.references), position, compress)
    tables.append(table)
    position += len(table)
    table, ids_at = lookup_table(inode.ids(writing.ids), position, compress)
    tables.append(table)
    if xattrs := writing.xattrs.table(position + len(table)):
        table, xattrs_at = xattrs
        tables.append(table)
    return b"".join(tables), (ids_at, xattrs_at, inodes_at, directories_at, fragments_at, references_at)


def _little_endian(numbers: array[int]) -> bytes:
    return Struct(f"<{len(numbers)}Q").pack(*numbers)


class _Data:
    """The contents that are used, in the order of their first use; each is there once."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self.position = _SUPERBLOCK.size
        self.parts: list[Slice] = []
        self.fragments: list[tuple[int, int]] = []
        self._fragment_numbers: dict[int, int] = {}
        self._starts: dict[Slice, int] = {}

    def place(self, content: Slice | None) -> inode.Content:
        if content is None:
            return inode.Content()
        place = self._contents.place(content)
        if not isinstance(place, Blocks):
            return inode.Content(fragment=self._fragment(place.fragment), offset=place.offset)
        start = 0
        if place.data:
            start = self._starts.get(place.data) or self._starts.setdefault(place.data, self._put(place.data))
        return inode.Content(start, place.words, sparse=place.sparse)

    def _fragment(self, number: int) -> int:
        if number not in self._fragment_numbers:
            fragment = self._contents.fragment(number)
            self._fragment_numbers[number] = len(self.fragments)
            self.fragments.append((self._put(fragment.data), fragment.word))
        return self._fragment_numbers[number]

    def _put(self, data: Slice) -> int:
        start = self.position
        self.parts.append(data)
        self.position += data.size
        return start


class _Open(NamedTuple):
    """A directory whose entries are still coming: they come before the path `end`."""

    entry: Entry
    number: int
    end: str
    names: list[Name]


class _Writing:
    def __init__(self, tree: Tree, contents: Contents, compress: Compress | None) -> None:
        self.data = _Data(contents)
        self.inodes, self.directories = Metadata(compress), Metadata(compress)
        self.xattrs = Xattrs(compress)
        self.ids: dict[int, int] = {}
        self.references = array("Q")
        self._open: dict[str, _Open] = {}
        self._links = Counter(entry.target for entry in tree if entry.kind == "hardlink")
        self._files = (
            {entry.path: entry for entry in tree if entry.path in self._links} if self._links else {}
        )
        # The first name of a file with several, as all its other names have it too.
        self._shared: dict[str, Name] = {}

    def write(self, tree: Tree) -> int:
        """Writes all inodes and gives the reference of the root's."""
        assert tree.entries, "a tree with its root"
        assert tree.entries[0].path == "", "a tree with its root"
        for entry in tree:
            # What is below `a` comes before `a0`, but not before `a-b`.
            while len(self._open) > 1 and self._innermost().end <= entry.path:
                self._close()
            if entry.kind == "directory":
                self._open[entry.path] = _Open(entry, self._number(), entry.path + "0", [])
            else:
                name = self._linked(entry) if self._links else self._file(entry)
                self._list(entry.path, name)
        while self._open:
            self._close()
        return self.references[0]

    def _innermost(self) -> _Open:
        return self._open[next(reversed(self._open))]

    def _close(self) -> None:
        path, closing = self._open.popitem()
        parent = self._open[parent_of(path)].number if path else 0
        listing = write_listing(closing.names, self.directories)
        common = self._common(closing.entry, closing.number)
        name = self._inode(
            inode.directory(closing.entry, common, listing, parent=parent), closing.entry, common
        )
        if path:
            self._list(path, name)

    def _linked(self, entry: Entry) -> Name:
        path = entry.target if entry.kind == "hardlink" else entry.path
        if path not in self._links:
            return self._file(entry)
        if path not in self._shared:
            self._shared[path] = self._file(self._files[path], links=1 + self._links[path])
        return self._shared[path]

    def _file(self, entry: Entry, *, links: int = 1) -> Name:
        common = self._common(entry, self._number())
        if entry.kind == "file":
            return self._inode(
                inode.file(entry, common, self.data.place(entry.content), links=links), entry, common
            )
        return self._inode(inode.other(entry, common), entry, common)

    def _inode(self, content: bytes, entry: Entry, common: inode.Common) -> Name:
        reference = self.inodes.reference
        self.inodes.append(content)
        self.references[common.number - 1] = reference
        return Name(b"", reference, common.number, inode.TYPES[entry.kind])

    def _list(self, path: str, name: Name) -> None:
        parent, _, text = path.rpartition("/")
        encoded = text.encode("utf-8", "surrogateescape")
        if len(encoded) > _MAX_NAME_BYTES:
            raise RuleError(
                f"a name of at most {_MAX_NAME_BYTES} bytes, got {len(encoded)}: `{path}`",
                hint="shorten the name in the image, or leave the image out",
            )
        self._open[parent].names.append(name._replace(name=encoded))

    def _number(self) -> int:
        self.references.append(0)
        return len(self.references)

    def _common(self, entry: Entry, number: int) -> inode.Common:
        uid = self.ids.setdefault(entry.uid, len(self.ids))
        gid = self.ids.setdefault(entry.gid, len(self.ids))
        if len(self.ids) > _MAX_IDS - 1:
            raise RuleError(
                f"at most {_MAX_IDS - 1} different user and group ids, `{entry.path}` has one more",
                hint="leave out the image that has them, or choose another format",
            )
        return inode.Common(number, uid, gid, self.xattrs.number(entry))
