"""The files of a system that stands in a cache, as the trees of its parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kitbuild.compare.sections import first_names
from kitbuild.compare.snapshot import Content, File
from kitbuild.extents import Slice
from kitbuild.tree import Entry

Digests = Callable[[Slice], str]


def files_of(entries: Iterable[Entry], part: str, digest: Digests) -> dict[str, File]:
    """The files of one part by path; `digest` reads a slice and gives its sha256 in hex."""
    return first_names((entry.path, _file(entry, part, digest)) for entry in entries if entry.path)


def _file(entry: Entry, part: str, digest: Digests) -> File:
    content = entry.content
    return File(
        entry.kind,
        entry.mode,
        entry.uid,
        entry.gid,
        entry.size,
        entry.mtime,
        Content(lambda: digest(content), content) if content else None,
        entry.target,
        entry.device,
        entry.xattrs,
        part,
    )
