"""What is in an output: OutputEntry for those who ask, Listing while it is gathered.

Whoever made a file system decides how many names it has and how long they are: a listing has limits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Literal, NamedTuple

from kitbuild.reading.window import BytesWindow, Window

Kind = Literal["file", "directory", "symlink", "hardlink", "character", "block", "fifo", "socket"]
Area = Literal["system", "medium"]
Content = Window | Callable[[], Window]

# The kinds by the type in a Unix mode.
KINDS: dict[int, Kind] = {
    0o140000: "socket",
    0o120000: "symlink",
    0o100000: "file",
    0o060000: "block",
    0o040000: "directory",
    0o020000: "character",
    0o010000: "fifo",
}
PATH_BYTES = 4096
_MOST_ENTRIES = 1_000_000
# Of paths, targets and extended attributes together.
_MOST_BYTES = 1 << 28
_MOST_LINKS = 40
# Names looked at to take folders away: more of them is an attack.
_MOST_SCANNED = 50_000_000


class OutputEntry(NamedTuple):
    """One name in an output.

    `path` is whole and without a slash at its front; bytes that are no UTF-8 are surrogates. `mtime` is in
    nanoseconds since 1970. `target` is that of a symlink, or the path that a hardlink shares its file with: the first
    in the order of paths, which is a `file`; size, mode and times of a hardlink are those of the file. `device` is
    (major, minor) of devices. `area` says which of the two listings the entry is of.
    """

    path: str
    kind: Kind = "file"
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""
    device: tuple[int, int] | None = None
    xattrs: tuple[tuple[str, bytes], ...] = ()
    area: Area = "system"


class Found(NamedTuple):
    """An entry, what it holds, and the mark that all names of one file share (0: it has one name)."""

    entry: OutputEntry
    content: Content | None = None
    mark: int = 0

    def window(self) -> Window:
        """The content; empty for what has none."""
        if self.content is None:
            return BytesWindow(self.entry.path, b"")
        return self.content if isinstance(self.content, Window) else self.content()


class Listing:
    """Everything in one file system or archive, by path. `window` is what errors name."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.found: dict[str, Found] = {}
        self._bytes = 0
        self._marks = 0
        self._scanned = 0

    def __len__(self) -> int:
        return len(self.found)

    def __contains__(self, path: object) -> bool:
        return path in self.found

    def __iter__(self) -> Iterator[OutputEntry]:
        return (found.entry for found in self.found.values())

    def put(
        self, entry: OutputEntry, content: Content | None = None, *, mark: int = 0, offset: int = 0
    ) -> None:
        """Adds an entry, in the place of one of its path; `offset` is where it is told of. The root is left out."""
        if not entry.path:
            return
        self._bytes += len(entry.path) + len(entry.target) + 100
        if entry.xattrs:
            self._bytes += sum(len(name) + len(value) for name, value in entry.xattrs)
        if len(entry.path) > PATH_BYTES:
            raise self.window.broken(
                offset, f"expected a path of at most {PATH_BYTES} bytes, got {len(entry.path)}"
            )
        if "\0" in entry.path or (".." in entry.path and ".." in entry.path.split("/")):
            raise self.window.broken(offset, f"expected a path inside, got `{entry.path}`")
        if "\0" in entry.target:
            raise self.window.broken(offset, f"expected a target of `{entry.path}` without zero bytes")
        if self._bytes > _MOST_BYTES or len(self.found) >= _MOST_ENTRIES:
            raise self.window.broken(offset, f"expected at most {_MOST_ENTRIES} names, got more")
        self.found[entry.path] = Found(entry, content, mark)

    def new_mark(self) -> int:
        """A mark for the names of one more file."""
        self._marks += 1
        return self._marks

    def link(self, entry: OutputEntry, to: str, *, offset: int = 0) -> None:
        """Adds one more name of the file `to`. Raises KitbuildError if there is none."""
        first = self.found.get(to)
        if first is None or first.entry.kind == "directory":
            raise self.window.broken(offset, f"`{entry.path}` is a hard link to `{to}`, which is not there")
        if entry.path == to:
            return
        mark = first.mark or self.new_mark()
        self.found[to] = first._replace(mark=mark)
        self.put(first.entry._replace(path=entry.path), first.content, mark=mark, offset=offset)

    def remove(self, paths: Collection[str], emptied: Collection[str] = ()) -> None:
        """Removes paths with all that is below them, and what is below the folders `emptied`."""
        for path in paths:
            self.found.pop(path, None)
        gone = {*paths, *emptied}
        self._scanned += len(self.found)
        if self._scanned > _MOST_SCANNED:
            raise self.window.broken(0, "expected few folders to be replaced, got too many")
        for other in [other for other in self.found if not gone.isdisjoint(folders_of(other))]:
            del self.found[other]

    def real(self, path: str) -> str:
        """`path` with the symlinks among its folders followed, as far as they are there; a loop is left as it is."""
        parts = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        done: list[str] = []
        links = 0
        while parts:
            part = parts.pop()
            if part == "..":
                done[-1:] = []
                continue
            found = self.found.get("/".join([*done, part])) if parts else None
            if found is None or found.entry.kind != "symlink" or links >= _MOST_LINKS:
                done.append(part)
                continue
            links += 1
            if found.entry.target.startswith("/"):
                done = []
            parts += [each for each in reversed(found.entry.target.split("/")) if each not in ("", ".")]
            if len(parts) > PATH_BYTES:
                break
        return "/".join(done)

    def resolved(self, path: str) -> str:
        """`path` with every symlink in it followed, the last one too; it may not be there."""
        for _ in range(_MOST_LINKS):
            path = self.real(path)
            found = self.found.get(path)
            if found is None or found.entry.kind != "symlink":
                return path
            target = found.entry.target
            path = target if target.startswith("/") else f"{path.rpartition('/')[0]}/{target}"
        raise self.window.broken(0, f"`{path}` is a symlink that leads to itself")

    def sorted(self) -> dict[str, Found]:
        """By path in order; of the names of one file the first is the file, the others are hardlinks to it.

        Symlinks, devices and pipes with several names are told as several: none of them has content to share.
        """
        firsts: dict[int, str] = {}
        made = {}
        for path in sorted(self.found):
            found = self.found[path]
            if found.mark and found.entry.kind == "file":
                first = firsts.setdefault(found.mark, path)
                if first != path:
                    found = found._replace(entry=found.entry._replace(kind="hardlink", target=first))
            made[path] = found
        return made


def folders_of(path: str) -> Iterator[str]:
    """The folders above a path, the nearest first; not the root."""
    while path := path.rpartition("/")[0]:
        yield path


def parents_of(paths: Iterable[str]) -> list[str]:
    """The folders of paths that no path names."""
    known = set(paths)
    missing: dict[str, None] = {}
    for path in known:
        folder = path.rpartition("/")[0]
        while folder and folder not in known and folder not in missing:
            missing[folder] = None
            folder = folder.rpartition("/")[0]
    return list(missing)


def joined(name: bytes) -> str:
    """A path as it stands in an archive, whole and without `.`: b"./a//b/" is "a/b"."""
    text = name.decode("utf-8", "surrogateescape")
    if (
        text.startswith(("/", "./"))
        or text.endswith(("/", "/."))
        or "//" in text
        or "/./" in text
        or text == "."
    ):
        return "/".join(part for part in text.split("/") if part not in ("", "."))
    return text
