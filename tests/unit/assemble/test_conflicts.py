"""Parts unpacked one after another by a model of the kernel give the overlay of the parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.draft import Draft, overlay
from kitbuild.rule import Artifact
from kitbuild.rules.assemble.conflicts import CONFLICTS, SETTLED, SettledOptions, conflicts
from kitbuild.rules.format.segment import RULE as SEGMENT
from kitbuild.rules.format.segment import SegmentOptions
from kitbuild.tree import Entry, Tree, parents_of
from tests.support import trees
from tests.support.cpio import Kernel
from tests.support.trees import Bench

BENCH = Bench()
CONTENTS = [None, *(BENCH.slice(text) for text in (b"one", b"two"))]
ONE, TWO = CONTENTS[1:]


def file(path: str, content: str = "one") -> Entry:
    return Entry(path, "file", 0o644, content={"one": ONE, "two": TWO, "": None}[content])


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode)


def link(path: str, target: str) -> Entry:
    return Entry(path, "symlink", 0o777, target=target)


def hard(path: str, target: str) -> Entry:
    return Entry(path, "hardlink", 0o644, target=target)


def null(path: str, minor: int = 3) -> Entry:
    return Entry(path, "char", 0o666, device=(1, minor))


def settled(parts: Sequence[Artifact]) -> list[Artifact]:
    found = BENCH.run(CONFLICTS, parts=parts)
    return [
        BENCH.run(SETTLED, SettledOptions(number), part=part, conflicts=found)
        for number, part in enumerate(parts)
    ]


def unpacked(parts: Iterable[Artifact]) -> Kernel:
    kernel = Kernel()
    options = SegmentOptions("none", keeps_boot=True)
    kernel.unpack(b"".join(BENCH.bytes_of(BENCH.run(SEGMENT, options, tree=part)) for part in parts))
    return kernel


def as_one(parts: Iterable[Artifact]) -> tuple[dict[str, tuple[object, ...]], set[frozenset[str]]]:
    """The overlay as one tree, with the directories nobody listed, as the kernel would show it."""
    tree = overlay((BENCH.tree(part) for part in parts), whiteouts=False)
    known = {entry.path for entry in tree}
    lacking = {parent for path in known for parent in parents_of(path)} - known
    whole = BENCH.put([*tree, *map(folder, lacking)])
    kernel = unpacked([whole])
    return kernel.plain(), kernel.shared()


def check(*parts: Iterable[Entry]) -> list[list[Entry]]:
    """Compares, and gives the settled parts."""
    given = [BENCH.put(Draft(part).tree()) for part in parts]
    plain, shared = as_one(given)

    artifacts = settled(given)
    kernel = unpacked(artifacts)

    assert plain == kernel.plain()
    assert shared == kernel.shared()
    assert [] == kernel.skipped
    return [list(BENCH.tree(artifact)) for artifact in artifacts]


def unsettled(*parts: Iterable[Entry]) -> bool:
    """Whether the parts as they are would come out wrong: the rule at hand is needed."""
    given = [BENCH.put(Draft(part).tree()) for part in parts]
    kernel = unpacked(given)
    return as_one(given) != (kernel.plain(), kernel.shared())


WRONG_WITHOUT = {
    "file over a file with several names": ([file("a"), hard("b", "a")], [file("a", "two")]),
    "file over the last of several names": ([file("a"), hard("b", "a")], [file("b", "two")]),
    "shared files over each other": ([file("a"), hard("b", "a")], [file("a", "two"), hard("c", "a")]),
    "file over a directory": ([folder("a"), file("a/b")], [file("a")]),
    "symlink over a directory": ([folder("a"), folder("a/b"), file("a/b/c")], [link("a", "x")]),
    "device over a directory": ([folder("a"), file("a/b")], [null("a")]),
    "device over another device": ([null("a")], [null("a", 5)]),
    "parents nobody listed": ([file("a/b/c")],),
    "parent that was a file": ([file("a")], [file("a/b")]),
    "directory again after a file": ([folder("a"), file("a/b")], [file("a")], [file("a/c")]),
    "file over what two parts put into a directory": (
        [folder("a"), file("a/b")],
        [file("a/b", "two"), file("a/c")],
        [file("a")],
    ),
    "shared file below a symlink": (
        [folder("lib"), file("lib/a"), file("b"), link("l", "lib")],
        [file("l/a", "two")],
        [file("b"), hard("c", "b")],
        [file("c", "two")],
    ),
    "directory that is listed after something went into it": (
        [link("a", "/c")],
        [folder("a/x"), folder("c", 0o700)],
    ),
    "file below a symlink to nothing": ([link("l", "usr/lib")], [file("l/a")]),
    "file below a symlink that leads through a directory that goes": (
        [folder("d"), link("d/s", "/e"), folder("e")],
        [file("d/s/x")],
        [file("d")],
    ),
    "shared file reached by two paths": (
        [folder("r"), file("r/a"), hard("r/b", "r/a"), link("l", "/r")],
        [file("l/b", "two")],
    ),
}


@pytest.mark.parametrize("case", WRONG_WITHOUT)
def test_parts_that_would_come_out_wrong_are_settled(case: str) -> None:
    assert unsettled(*WRONG_WITHOUT[case])
    check(*WRONG_WITHOUT[case])


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param(([file("a")], [file("a", "two")]), id="file over file"),
        pytest.param(([link("a", "x")], [file("a")], [link("a", "y")]), id="file and symlink"),
        pytest.param(([file("a")], [folder("a"), file("a/b")]), id="directory over file"),
        pytest.param(([folder("a", 0o700), file("a/b")], [folder("a")]), id="directory over directory"),
        pytest.param(([folder("a")], [file("a/b")]), id="parent in an earlier part"),
        pytest.param(([link("a", "b")], [folder("b")], [link("a", "c")]), id="symlink over symlink"),
        pytest.param(([], [file("a")]), id="empty part"),
    ],
)
def test_parts_that_come_out_right_stay_as_they_are(parts: tuple[list[Entry], ...]) -> None:
    given = [BENCH.put(Draft(part).tree()) for part in parts]

    check(*parts)

    assert given == settled(given)
    assert {} == conflicts(list(BENCH.tree(part)) for part in given)


def test_added_directory_goes_when_something_replaces_it() -> None:
    first, second = check([file("a/b"), file("c/d")], [file("a")])

    assert ["c", "c/d"] == [entry.path for entry in first]
    assert [file("a")] == second


def test_only_what_is_in_the_way_is_dropped() -> None:
    first, second = check([file("a"), hard("b", "a"), file("c")], [file("a", "two"), file("c")])

    assert [file("b"), file("c")] == first
    assert [file("a", "two"), file("c")] == second


def test_other_names_of_a_dropped_file_stay_shared() -> None:
    first, _ = check([file("a"), hard("b", "a"), hard("c", "a")], [file("a")])

    assert [file("b"), hard("c", "b")] == first


def test_entries_below_a_symlink_go_where_it_leads() -> None:
    _, second = check(
        [folder("usr"), folder("usr/lib"), link("lib", "usr/lib")], [file("lib/a"), hard("lib/b", "lib/a")]
    )

    assert [file("usr/lib/a"), hard("usr/lib/b", "usr/lib/a")] == second


def test_added_directories_are_roots_and_open() -> None:
    first, second = check([file("a/b/c")], [file("a/d")])

    assert ["a", "a/b", "a/b/c"] == [entry.path for entry in first]
    assert {(0o755, 0, 0)} == {entry[2:5] for entry in first if entry.kind == "directory"}
    assert ["a/d"] == [entry.path for entry in second]


def test_conflicts_are_told_by_part() -> None:
    parts = [[folder("a"), file("a/b")], [file("x/y")], [file("a")]]

    assert {
        "0": {"added": [], "dropped": ["a", "a/b"], "moved": {}},
        "1": {"added": ["x"], "dropped": [], "moved": {}},
    } == conflicts(parts)


@st.composite
def parts(draw: st.DrawFn) -> list[Tree]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        draft = Draft()
        for entry in draw(trees.entries(CONTENTS)):
            before = draft.tree()
            try:
                draft.put(entry)
                draft.tree()
            except ValueError:
                draft = Draft(before)
        found.append(draft.tree())
    return found


@settings(max_examples=300, deadline=None)
@given(parts())
def test_settled_parts_unpack_to_their_overlay(parts: list[Tree]) -> None:
    try:
        overlay(parts, whiteouts=False)
    except ValueError:
        return  # symlinks in a loop: there is nothing to compare with

    check(*parts)
