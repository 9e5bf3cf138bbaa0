"""assemble/loader: the files of a boot loader, by the names that formats know them under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree, parent_of

# The largest file of a boot loader's (firmware of a board) has a few megabytes.
_MAX_FILE_BYTES = 64 << 20
# As many as Linux follows before it says ELOOP.
_MOST_LINKS = 40


class Wanted(NamedTuple):
    """A file of a boot loader: its `name`, and what it may be called where it comes from, the best first.

    A candidate is a file's name with none, some or all of the folders it is in; upper and lower case count alike, as
    on the disks that boot loaders live on. Without a `name` its candidates are patterns, and every file that fits one
    keeps its own name.
    """

    name: str
    candidates: tuple[str, ...]
    optional: bool = False


class LoaderOptions(NamedTuple):
    """What to take, and the paths that single files were found at, in the order of the input `files`.

    `loader` and `source` are for messages.
    """

    wanted: tuple[Wanted, ...]
    paths: tuple[str, ...]
    loader: str
    source: str


def chosen(wanted: Wanted, paths: Iterable[str]) -> dict[str, str]:
    """The best of some files by the name it shall have; of equally good ones the shortest path, then the first."""
    ordered = sorted(set(paths), key=lambda path: (len(path), path))
    for candidate in wanted.candidates:
        fitting = [path for path in ordered if _fits(path, candidate)]
        if fitting and wanted.name:
            return {wanted.name: fitting[0]}
        if fitting:
            # The shortest path is put last, so that it stays.
            return {path.rpartition("/")[2]: path for path in reversed(fitting)}
    return {}


def may_be(path: str, wanted: Iterable[Wanted]) -> bool:
    """Whether a file at this path may be one of those."""
    return any(_fits(path, candidate) for file in wanted for candidate in file.candidates)


def _fits(path: str, candidate: str) -> bool:
    parts = path.split("/")[-1 - candidate.count("/") :]
    return fnmatchcase("/".join(parts).lower(), candidate.lower())


def run(work: Work[LoaderOptions]) -> Tree:
    """A tree with the wanted files at its top, each a blob of its own; raises RuleError if one is not there.

    So it is the same tree wherever the files come from.
    """
    options = work.options
    found: dict[str, Slice | None] = {}
    for path, artifact in zip(options.paths, work.artifacts("files"), strict=True):
        blob = artifact.digest
        found.setdefault(path, Slice(blob, 0, blob.size) if blob.size else None)
    for artifact in work.artifacts("trees"):
        for path, content in _files(work.tree(artifact), options.wanted).items():
            found.setdefault(path, content)
    picked: dict[str, Slice | None] = {}
    for wanted in options.wanted:
        names = chosen(wanted, found)
        if not names and not wanted.optional:
            raise _missing(wanted, options)
        for name, path in names.items():
            picked[name] = _own(found[path], path, work)
    return Tree.of(
        Entry(name, "file", 0o644, mtime=MTIME, content=content) for name, content in picked.items()
    )


def _missing(wanted: Wanted, options: LoaderOptions) -> RuleError:
    loader, names = options.loader, " or ".join(f"`{name}`" for name in wanted.candidates)
    return RuleError(
        f"expected a file {names} in {options.source}, got none",
        hint=f"give all its files with `--boot-loader {loader}=FOLDER`, or leave the setting out to have the default",
    )


def _own(content: Slice | None, path: str, work: Work[Any]) -> Slice | None:
    """The content as a blob of its own, so that nothing depends on what else its package holds."""
    if content is None or content == Slice(content.blob, 0, content.blob.size):
        return content
    if content.size > _MAX_FILE_BYTES:
        raise RuleError(f"expected a file of at most {_MAX_FILE_BYTES} bytes, got {content.size}: {path}")
    with work.writer() as writer:
        for piece in work.pieces(content):
            writer.write(piece)
        blob = writer.commit()
    return Slice(blob, 0, blob.size)


def _files(tree: Tree, wanted: Sequence[Wanted]) -> dict[str, Slice | None]:
    """The content of every path that may be wanted and is a file or leads to one."""
    entries = tree.by_path()
    files: dict[str, Slice | None] = {}
    for entry in tree:
        if not may_be(entry.path, wanted):
            continue
        end = _end(entry, entries) if entry.kind == "symlink" else entry
        if end is not None and end.kind == "hardlink":
            end = entries.get(end.target)
        if end is not None and end.kind == "file":
            files[entry.path] = end.content
    return files


def _end(link: Entry, entries: Mapping[str, Entry]) -> Entry | None:
    """What a symlink leads to inside its tree, None if that is nothing."""
    place, parts = parent_of(link.path), _parts(link.target)
    if link.target.startswith("/"):
        place = ""
    links = 0
    while parts:
        part = parts.pop(0)
        if part == "..":
            place = parent_of(place)
            continue
        step = f"{place}/{part}" if place else part
        entry = entries.get(step)
        if entry is not None and entry.kind == "symlink":
            links += 1
            if links > _MOST_LINKS:
                return None
            parts = [*_parts(entry.target), *parts]
            place = "" if entry.target.startswith("/") else place
        else:
            place = step
    return entries.get(place)


def _parts(target: str) -> list[str]:
    return [part for part in target.split("/") if part not in ("", ".")]


RULE: Rule[Any] = Rule(
    name="assemble/loader",
    version=1,
    summary="pick the files of a boot loader",
    options=LoaderOptions,
    unkeyed=("loader", "source"),
    inputs={
        "trees": Input("tree", many=True, optional=True),
        "files": Input("blob", many=True, optional=True),
    },
    output="tree",
    run=run,
)
