"""The `files` section: literal files, directories and links."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from kitbuild.draft import Draft
from kitbuild.extents import Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree


class FileOptions(NamedTuple):
    """One entry: a directory, a symlink (`text` is its target), a file with `text`, or one whose content is the
    next of the inputs. Ids are numbers.
    """

    path: str
    kind: Literal["directory", "symlink", "file", "source"]
    mode: int
    uid: int
    gid: int
    text: str = ""


class FilesOptions(NamedTuple):
    """The entries in their order."""

    entries: tuple[FileOptions, ...]


def run(work: Work[FilesOptions]) -> Tree:
    """The entries and the directories above them."""
    sources = iter(work.artifacts("sources"))
    draft = Draft()
    for options in work.options.entries:
        content: Slice | None = None
        if options.kind == "source":
            blob = next(sources).digest
            content = Slice(blob, 0, blob.size) if blob.size else None
        elif options.kind == "file" and options.text:
            blob = work.put(options.text.encode("utf-8", "surrogateescape"))
            content = Slice(blob, 0, blob.size)
        draft.put(_entry(options, content))
    return draft.tree()


def _entry(options: FileOptions, content: Slice | None) -> Entry:
    kind: Literal["directory", "symlink", "file"] = "file" if options.kind == "source" else options.kind
    target = options.text if kind == "symlink" else ""
    return Entry(options.path, kind, options.mode, options.uid, options.gid, MTIME, content, target)


RULE: Rule[Any] = Rule(
    name="assemble/files",
    version=1,
    summary="write the files section",
    options=FilesOptions,
    inputs={"sources": Input("blob", many=True)},
    output="tree",
    run=run,
)
