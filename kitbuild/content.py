"""Content: what fills a root file system: its files by the section they come from and the package that owns them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from kitbuild.draft import Draft
from kitbuild.extents import Slice
from kitbuild.tree import Entry, Tree, parent_of

# A page with more of them is slow to open, and nobody reads them.
MOST_FILES = 20_000
# A package database larger than that is not one.
_MAX_DATABASE_BYTES = 1 << 24
_DPKG_LISTS = "var/lib/dpkg/info/"
# Images without a shell (distroless) have one file of sums a package.
_DPKG_SUMS = "var/lib/dpkg/status.d/"
_APK_DATABASES = ("usr/lib/apk/db/installed", "lib/apk/db/installed")

Read = Callable[[Slice], bytes]


class FileRow(NamedTuple):
    """One file, or, if `files` is more than 1, that many small ones of the folder `path` together.

    `package` is empty if no database in the tree knows who owns it. `size` is in bytes.
    """

    section: str
    package: str
    path: str
    size: int
    files: int = 1


class Content(NamedTuple):
    """What is in a root file system: rows by size, largest first; `files` and `size` count everything in it."""

    rows: tuple[FileRow, ...] = ()
    files: int = 0
    size: int = 0

    @property
    def left_out(self) -> int:
        """How many files have no row of their own."""
        return sum(row.files for row in self.rows if row.files > 1)


def content_of(parts: Iterable[tuple[str, Tree]], read: Read, *, most: int = MOST_FILES) -> Content:
    """What survives of `parts` (section and tree), later ones laid over earlier ones.

    Of more than `most` files the smallest are summed up by folder, then by package. `read` gives the bytes of a
    package database; a hard link takes no space of its own.
    """
    tree, sections = _laid(parts)
    packages = packages_of(tree, read)
    rows = [
        FileRow(sections.get(entry.path, ""), packages.get(entry.path, ""), entry.path, entry.size)
        for entry in tree
        if entry.kind == "file"
    ]
    rows.sort(key=lambda row: (-row.size, row.path))
    return Content(_capped(rows, most), len(rows), sum(row.size for row in rows))


def _laid(parts: Iterable[tuple[str, Tree]]) -> tuple[Tree, Mapping[str, str]]:
    """The tree of all parts, and the section each path comes from."""
    draft = Draft()
    sections: dict[str, str] = {}
    for section, tree in parts:
        for entry in tree:
            sections[draft.put(entry)] = section
    return draft.tree(complete=False), sections


def _capped(rows: Sequence[FileRow], most: int) -> tuple[FileRow, ...]:
    """At most `most` rows or so, sorted like `rows`."""
    if len(rows) <= most:
        return tuple(rows)
    kept, rest = rows[: most // 2], rows[most // 2 :]
    summed = _summed(rest, parent_of)
    if len(summed) > most - len(kept):
        summed = _summed(rest, lambda _path: "")
    return tuple(sorted([*kept, *summed], key=lambda row: (-row.size, row.path)))


def _summed(rows: Iterable[FileRow], folder_of: Callable[[str], str]) -> list[FileRow]:
    sizes: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
    for row in rows:
        sizes[row.section, row.package, folder_of(row.path)].append(row.size)
    return [FileRow(*place, sum(found), len(found)) for place, found in sizes.items()]


# -- packages


def packages_of(tree: Tree, read: Read) -> dict[str, str]:
    """The package that owns a path, for all paths that a database of dpkg or apk in the tree speaks of.

    A root file system of a container is one below a folder; its database speaks of that folder alone. Sources:
    dpkg(1), "FILES"; distroless, "status.d"; apk(5), "installed".
    """
    entries = tree.by_path()
    owners: dict[str, str] = {}
    for entry in tree:
        found = _database(entry)
        if found is not None:
            root, listed = found
            content = _text(entry, read)
            for package, path in listed(entry, content):
                owners[_followed(root, path, entries)] = package
    return owners


_Listed = Callable[[Entry, str], Iterator[tuple[str, str]]]


def _database(entry: Entry) -> tuple[str, _Listed] | None:
    """The folder a database speaks of, and what reads it; None for any other entry."""
    path = entry.path
    if entry.content is None or entry.size > _MAX_DATABASE_BYTES:
        return None
    if path.endswith("apk/db/installed"):
        for suffix in _APK_DATABASES:
            if path == suffix or path.endswith(f"/{suffix}"):
                return path.removesuffix(suffix), _apk
    folder = f"{parent_of(path)}/"
    if path.endswith(".list") and folder.endswith(_DPKG_LISTS):
        return folder.removesuffix(_DPKG_LISTS), _dpkg_list
    if path.endswith(".md5sums") and folder.endswith(_DPKG_SUMS):
        return folder.removesuffix(_DPKG_SUMS), _dpkg_sums
    return None


def _text(entry: Entry, read: Read) -> str:
    assert entry.content is not None
    return read(entry.content).decode("utf-8", "surrogateescape")


def _dpkg_list(entry: Entry, text: str) -> Iterator[tuple[str, str]]:
    package = _name(entry, ".list").partition(":")[0]
    for line in text.splitlines():
        yield package, line.strip("/")


def _dpkg_sums(entry: Entry, text: str) -> Iterator[tuple[str, str]]:
    package = _name(entry, ".md5sums")
    for line in text.splitlines():
        yield package, line.partition("  ")[2].strip("/")


def _apk(_entry: Entry, text: str) -> Iterator[tuple[str, str]]:
    package, folder = "", ""
    for line in text.splitlines():
        field, value = line[:2], line[2:]
        if field == "P:":
            package = value
        elif field == "F:":
            folder = value.strip("/")
        elif field == "R:":
            yield package, f"{folder}/{value}" if folder else value


def _name(entry: Entry, ending: str) -> str:
    return entry.path.rpartition("/")[2].removesuffix(ending)


def _followed(root: str, path: str, entries: Mapping[str, Entry]) -> str:
    """Where a path of a database is in the tree: `bin` is a link to `usr/bin` since /usr was merged."""
    first, slash, rest = path.partition("/")
    link = entries.get(f"{root}{first}")
    if slash and link is not None and link.kind == "symlink":
        return f"{root}{link.target.strip('/')}/{rest}"
    return f"{root}{path}"
