"""The database of installed Alpine packages, when several init images bring one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kitbuild.extents import Slice
from kitbuild.rule import Input, NoOptions, Rule, Work
from kitbuild.tree import Entry, Tree

_PATH = "lib/apk/db/installed"


def run(work: Work[NoOptions]) -> Tree:
    """One entry with all databases one after another; nothing if there are fewer than two."""
    found = list(_databases(work))
    if len(found) < 2:
        return Tree.of([])
    with work.writer() as writer:
        for database in found:
            if database is not None:
                for piece in work.pieces(database):
                    writer.write(piece)
            writer.write(b"\n\n")
        blob = writer.commit()
    # LinuxKit writes this one without a time.
    return Tree.of([Entry(_PATH, "file", 0o644, content=Slice(blob, 0, blob.size))])


def _databases(work: Work[NoOptions]) -> Iterator[Slice | None]:
    """That of every image that has one; None is an empty one, which LinuxKit counts too."""
    for image in work.artifacts("images"):
        for entry in work.entries(image):
            if entry.path == _PATH and entry.kind in ("file", "hardlink"):
                yield entry.content or _linked(entry, work.entries(image))


def _linked(link: Entry, entries: Iterable[Entry]) -> Slice | None:
    """The content a hard link shares: which of a file's names is the link says only the order of paths."""
    return next((entry.content for entry in entries if entry.path == link.target), None)


RULE: Rule[Any] = Rule(
    name="assemble/packages",
    version=2,
    summary="join the package databases of init images",
    options=NoOptions,
    inputs={"images": Input("tree", many=True)},
    output="tree",
    run=run,
)
