"""The walk through a file system whose folders name inodes by number, as those of EROFS and ext4 do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from kitbuild.reading.entries import Kind, Listing, OutputEntry
from kitbuild.reading.window import Window


class Inode(Protocol):
    """What the walk has to know of an inode."""

    @property
    def kind(self) -> Kind:
        """What it is."""

    @property
    def links(self) -> int:
        """How many names it has."""


InodeT = TypeVar("InodeT", bound=Inode)


def walked(
    window: Window,
    root: int,
    *,
    inode: Callable[[int], InodeT],
    names: Callable[[str, InodeT], Iterable[tuple[str, int]]],
    entry: Callable[[str, InodeT], OutputEntry],
    content: Callable[[str, InodeT], Window],
) -> Listing:
    """Everything below the folder with the number `root`; raises KitbuildError for a folder that is in itself.

    `names` gives what a folder holds, `entry` what is listed of an inode at a path, `content` what is in a file.
    """
    listing = Listing(window)
    marks: dict[int, int] = {}
    waiting = [("", inode(root))]
    seen = {root}
    while waiting:
        path, folder = waiting.pop()
        for name, number in names(path, folder):
            inner = f"{path}/{name}" if path else name
            found = inode(number)
            if found.kind == "directory":
                if number in seen:
                    raise window.broken(0, f"`{inner}` is a folder that is in itself or in two")
                seen.add(number)
                waiting.append((inner, found))
            mark = 0
            if found.links > 1 and found.kind != "directory":
                mark = marks.get(number) or marks.setdefault(number, listing.new_mark())
            listing.put(entry(inner, found), _lazy(content, inner, found), mark=mark)
    return listing


def _lazy(content: Callable[[str, InodeT], Window], path: str, inode: InodeT) -> Callable[[], Window] | None:
    return (lambda: content(path, inode)) if inode.kind == "file" else None
