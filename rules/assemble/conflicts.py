"""What must be left out of earlier parts so that unpacking the parts one after another gives their overlay.

The kernel unpacks the segments of an initrd into one file system. A later entry replaces an earlier one of its
path, with three exceptions (init/initramfs.c, clean_path and do_name): a directory that is not empty stays where
it is; a file that shares its inode with other names is written through, so all its names change; a device keeps
its numbers. Whatever falls under these is dropped from the earlier part. A directory that no part lists, but
something is in, has to be added: the kernel makes no parents. And an entry below an earlier part's symlink goes
where it leads, so that the symlink may be dropped or replaced later.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kitbuild.draft import Draft
from kitbuild.extents import Slice
from kitbuild.rule import Artifact, Input, NoOptions, Rule, Work
from kitbuild.rules.assemble.root import directory
from kitbuild.tree import Entry, Tree, parent_of, parents_of


class _Owner(NamedTuple):
    part: int
    kind: str
    shared: bool


def _find(work: Work[NoOptions]) -> Any:
    """A blob: JSON {part: {"added": [paths], "dropped": [paths], "moved": {path: path}}}, for parts that have any."""
    found = conflicts(list(work.entries(part)) for part in work.artifacts("parts"))
    return work.put(json.dumps(found, sort_keys=True, separators=(",", ":")).encode("ascii"))


class _Changes:
    """What has to be done to one part. All but the keys of `moved` are paths after moving."""

    def __init__(self) -> None:
        self.moved: dict[str, str] = {}
        self.added: set[str] = set()
        self.dropped: set[str] = set()

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"added": sorted(self.added), "dropped": sorted(self.dropped), "moved": self.moved}


def conflicts(parts: Iterable[list[Entry]]) -> dict[str, dict[str, Any]]:
    """For every part, by its number as text: the entries that lie elsewhere because an earlier part has a symlink
    above them, the directories to add, and then the paths to drop.
    """
    root = Draft()
    owners: dict[str, list[_Owner]] = defaultdict(list)
    changes: list[_Changes] = []
    for number, entries in enumerate(parts):
        mine = _Changes()
        changes.append(mine)
        landed = list(_landed(entries, root, mine, number=number))
        # Unless the part itself put something else there afterwards.
        mine.added = {path for path in mine.added if path in root}
        # All at once: what replaces a directory makes a walk over everything.
        tops = {path for path, owner in landed if _replaces_directory(path, owner, owners)}
        for path, owner in _below(tops, owners):
            changes[owner.part].dropped.add(path)
        for path, owner in landed:
            for old in owners.get(path, ()):
                if _survives(old) and owner.kind != "directory":
                    changes[old.part].dropped.add(path)
        for path, owner in landed:
            owners[path].append(owner)
    return {
        str(number): found.plain()
        for number, found in enumerate(changes)
        if found.moved or found.added or found.dropped
    }


def _landed(
    entries: list[Entry], root: Draft, changes: _Changes, *, number: int
) -> Iterator[tuple[str, _Owner]]:
    """Puts a part into the root; gives where its entries and the directories that had to be added are now."""
    shared = {entry.target for entry in entries if entry.kind == "hardlink"}
    for entry in entries:
        is_link = entry.kind == "hardlink"
        # Only the kind matters here; a link's target need not be looked for.
        path = root.put(entry._replace(kind="file", target="") if is_link else entry)
        if path != entry.path:
            changes.moved[entry.path] = path
        for parent in _lacking(path, root):
            root.put(directory(parent))
            changes.added.add(parent)
            yield parent, _Owner(number, "directory", False)
        yield path, _Owner(number, entry.kind, is_link or entry.path in shared)


def _lacking(path: str, root: Draft) -> list[str]:
    """The directories above a path that nobody has listed so far."""
    above = parent_of(path)
    if not above or above in root:
        return []
    return [parent for parent in parents_of(path) if parent not in root]


def _replaces_directory(path: str, owner: _Owner, owners: dict[str, list[_Owner]]) -> bool:
    return owner.kind != "directory" and any(old.kind == "directory" for old in owners.get(path, ()))


def _below(tops: set[str], owners: dict[str, list[_Owner]]) -> Iterator[tuple[str, _Owner]]:
    if not tops:
        return
    for path, found in owners.items():
        if path in tops or any(parent in tops for parent in parents_of(path)):
            for owner in found:
                yield path, owner


def _survives(owner: _Owner) -> bool:
    """Whether what is there would shine through an entry of another kind than a directory."""
    return owner.shared or owner.kind in ("char", "block", "fifo", "directory")


CONFLICTS: Rule[Any] = Rule(
    name="assemble/conflicts",
    version=2,
    summary="find what later parts replace",
    options=NoOptions,
    inputs={"parts": Input("tree", many=True)},
    output="blob",
    run=_find,
)


class SettledOptions(NamedTuple):
    """The number of the part among those whose conflicts were looked for."""

    number: int


def _settle(work: Work[SettledOptions]) -> Tree | Artifact:
    """The part as it goes into the system; itself, unchanged, if it has no conflicts."""
    part, blob = work.artifact("part"), work.artifact("conflicts").digest
    mine = json.loads(work.read(Slice(blob, 0, blob.size))).get(str(work.options.number))
    if mine is None:
        return part
    moved = mine["moved"]
    draft = Draft(
        entry._replace(path=moved.get(entry.path, entry.path), target=moved.get(entry.target, entry.target))
        if entry.kind == "hardlink"
        else entry._replace(path=moved.get(entry.path, entry.path))
        for entry in work.entries(part)
    )
    for path in mine["added"]:
        if path not in draft:
            draft.put(directory(path))
    for path in mine["dropped"]:
        draft.remove(path)
    return draft.tree()


SETTLED: Rule[Any] = Rule(
    name="assemble/settled",
    version=2,
    summary="leave out what later parts replace",
    options=SettledOptions,
    inputs={"part": Input("tree"), "conflicts": Input("blob")},
    output="tree",
    run=_settle,
)
