"""The root file system as one tree: what a disk would hold once every part was unpacked onto it."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.draft import Draft
from kitbuild.rule import Input, Rule, Work
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree


class RootOptions(NamedTuple):
    """For each part whether its files below `boot/` stay."""

    keeps_boot: tuple[bool, ...]


def run(work: Work[RootOptions]) -> Tree:
    """The parts over each other in their order, with a root and every directory; `boot/cmdline` never stays."""
    draft = Draft()
    for part, keeps_boot in zip(work.artifacts("parts"), work.options.keeps_boot, strict=True):
        for entry in work.entries(part) if keeps_boot else _without_boot(work.tree(part)):
            draft.put(entry)
        draft.bind(complete=True)
    draft.remove("boot/cmdline")
    draft.fill(_directory)
    if "" not in draft:
        draft.put(_directory(""))
    return draft.tree()


def _without_boot(part: Tree) -> Tree:
    if not any(entry.path.startswith("boot/") for entry in part):
        return part
    # Not just left out: a file below it may have another name elsewhere.
    draft = Draft(part)
    draft.empty("boot")
    return draft.tree()


def _directory(path: str) -> Entry:
    return Entry(path, "directory", 0o755, mtime=MTIME)


RULE: Rule[Any] = Rule(
    name="format/root",
    version=1,
    summary="lay the parts over each other",
    options=RootOptions,
    inputs={"parts": Input("tree", many=True)},
    output="tree",
    run=run,
)
