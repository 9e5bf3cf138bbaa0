"""Files put into one tar that is an output of its own, with the directories they are in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kitbuild.extents import Extents, Literal, Part, padding
from kitbuild.rules.layout.ustar import BLOCK, TRAILER, header
from kitbuild.system import MTIME
from kitbuild.tree import Entry, parents_of


def archive(files: Mapping[str, Extents]) -> Extents:
    """The files in their order, each directory before what is first in it."""
    return Extents.of(_parts(files))


def _parts(files: Mapping[str, Extents]) -> Iterator[Part]:
    folders: set[str] = set()
    for path, content in files.items():
        for folder in parents_of(path):
            if folder not in folders:
                folders.add(folder)
                # Programs that look at the name alone want it to end like this.
                entry = Entry(f"{folder}/", "directory", 0o755, mtime=MTIME)
                yield Literal(header(entry, {}))
        entry = Entry(path, "file", 0o644, mtime=MTIME)
        yield Literal(header(entry, {}, size=content.size))
        yield from content.parts
        yield padding(content.size, BLOCK)
    yield Literal(TRAILER)
