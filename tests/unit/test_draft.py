"""Trees in the making, checked against a file system that is really made of inodes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.draft import Draft, overlay
from kitbuild.extents import Slice
from kitbuild.tree import Entry, Tree
from tests.support import trees

BLOBS = [Slice(Digest.of(text), 0, len(text)) for text in (b"one", b"two", b"three")]
ONE, TWO, THREE = BLOBS


def file(path: str, content: Slice = ONE) -> Entry:
    return Entry(path, "file", 0o644, content=content)


def folder(path: str, mode: int = 0o755) -> Entry:
    return Entry(path, "directory", mode)


def link(path: str, target: str) -> Entry:
    return Entry(path, "symlink", 0o777, target=target)


def hard(path: str, target: str) -> Entry:
    return Entry(path, "hardlink", 0o644, target=target)


def paths(draft: Draft) -> list[str]:
    return [entry.path for entry in draft.tree()]


def contents(tree: Tree) -> dict[str, Slice | None]:
    known = tree.by_path()
    return {
        path: known[entry.target].content if entry.kind == "hardlink" else entry.content
        for path, entry in known.items()
        if entry.kind in ("file", "hardlink")
    }


def test_draft_of_nothing_is_an_empty_tree() -> None:
    assert Tree.of([]) == Draft().tree()


def test_path_is_in_the_draft_once_it_was_put() -> None:
    draft = Draft([file("a")])

    assert "a" in draft
    assert "b" not in draft


def test_put_gives_the_path_where_the_entry_is_now() -> None:
    draft = Draft([folder("real"), link("alias", "real")])

    assert draft.put(file("alias/a")) == "real/a"
    assert draft.put(file("b")) == "b"


def test_directory_over_a_directory_takes_its_attributes_and_keeps_what_is_in_it() -> None:
    draft = Draft([folder("d"), file("d/a"), folder("d", 0o700)])

    assert ["d", "d/a"] == paths(draft)
    assert 0o700 == draft.tree().by_path()["d"].mode


@pytest.mark.parametrize("top", [file("d"), link("d", "x"), Entry("d", "fifo", 0o600)])
def test_anything_else_over_a_directory_takes_all_that_was_in_it_away(top: Entry) -> None:
    draft = Draft([folder("d"), file("d/a"), folder("d/e"), file("d/e/b"), file("da"), top])

    assert ["d", "da"] == paths(draft)


def test_file_over_a_directory_nobody_listed_takes_all_that_was_in_it_away() -> None:
    assert ["a"] == paths(Draft([file("a/b/c"), file("a/b/d/e"), file("a")]))


def test_removed_directory_takes_what_lies_deep_below_directories_nobody_listed() -> None:
    draft = Draft([file("a/b/c/d"), file("a2")])

    draft.remove("a")

    assert ["a2"] == paths(draft)


def test_emptied_directory_stays() -> None:
    draft = Draft([folder("a"), file("a/b/c"), file("ab")])

    draft.empty("a")

    assert ["a", "ab"] == paths(draft)


def test_what_was_removed_can_come_back() -> None:
    draft = Draft([file("a/b/c")])
    draft.remove("a/b")
    draft.put(file("a/b/d"))

    draft.remove("a")

    assert [] == paths(draft)


def test_removing_what_is_not_there_does_nothing() -> None:
    draft = Draft([file("a/b")])

    draft.remove("x/y")
    draft.empty("a/b/c")

    assert ["a/b"] == paths(draft)


def test_file_over_a_symlink_is_not_written_through_it() -> None:
    draft = Draft([file("target"), link("a", "target"), file("a", TWO)])

    assert {"target": ONE, "a": TWO} == contents(draft.tree())


def test_directory_over_a_symlink_to_a_directory_replaces_the_link() -> None:
    draft = Draft([folder("real"), link("a", "real"), folder("a"), file("a/b")])

    assert ["a", "a/b", "real"] == paths(draft)


def test_file_makes_room_for_what_is_put_below_it() -> None:
    assert ["a/b"] == paths(Draft([file("a"), file("a/b")]))


# -- symlinks above an entry


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        pytest.param("usr/lib", "usr/lib/a", id="relative"),
        pytest.param("/usr/lib", "usr/lib/a", id="absolute"),
        pytest.param("../../../usr/lib", "usr/lib/a", id="above the root"),
        pytest.param("./usr/../usr//lib/", "usr/lib/a", id="with dots"),
        pytest.param("/", "a", id="root"),
        pytest.param("..", "a", id="parent of the root's"),
        pytest.param("missing/d", "missing/d/a", id="to nothing"),
    ],
)
def test_entry_below_a_symlink_goes_where_it_leads(target: str, expected: str) -> None:
    draft = Draft([folder("usr"), folder("usr/lib"), link("lib", target), file("lib/a")])

    assert expected in draft


def test_symlink_is_followed_from_where_it_is() -> None:
    draft = Draft([folder("x"), folder("x/y"), link("x/l", "y"), link("x/up", "../x/l")])

    assert "x/y/a" == draft.put(file("x/up/a"))


def test_symlinks_of_a_loop_are_refused() -> None:
    draft = Draft([link("a", "b"), link("b", "a")])

    with pytest.raises(ValueError, match="too many symlinks above 'a'"):
        draft.put(file("a/x"))


def test_as_many_symlinks_are_followed_as_linux_follows() -> None:
    chain = [link(f"l{number}", f"l{number + 1}") for number in range(41)]

    assert "end/a" == Draft([*chain[:39], link("l39", "end")]).put(file("l0/a"))
    with pytest.raises(ValueError, match="too many symlinks"):
        Draft(chain).put(file("l0/a"))


def test_symlink_that_leads_to_a_file_makes_room() -> None:
    assert ["f/a", "l"] == paths(Draft([file("f"), link("l", "f"), file("l/a")]))


# -- hard links


def test_hard_link_shares_its_file_whatever_happens_to_the_first_name() -> None:
    draft = Draft([file("b"), hard("c", "b"), hard("d", "c"), file("b", TWO)])

    tree = draft.tree()

    assert {"b": TWO, "c": ONE, "d": ONE} == contents(tree)
    assert ("file", "c") == (tree.by_path()["c"].kind, tree.by_path()["d"].target)


def test_hard_link_outlives_the_removal_of_the_first_name() -> None:
    draft = Draft([file("b"), hard("c", "b")])

    draft.remove("b")

    assert {"c": ONE} == contents(draft.tree())


def test_new_file_at_an_old_path_shares_nothing_with_what_was_there() -> None:
    draft = Draft([file("a"), hard("b", "a")])
    draft.remove("a")
    draft.put(file("a", TWO))

    assert {"a": TWO, "b": ONE} == contents(draft.tree())


def test_first_name_of_a_shared_file_is_the_first_in_order() -> None:
    tree = Draft([Entry("z", "file", 0o640, 1, 2, 3, ONE), hard("a", "z")]).tree()

    assert [
        Entry("a", "file", 0o640, 1, 2, 3, ONE),
        Entry("z", "hardlink", 0o640, 1, 2, 3, target="a"),
    ] == list(tree)


def test_hard_link_to_a_symlink_or_device_is_another_one() -> None:
    tree = Draft([link("a", "x"), hard("b", "a"), Entry("c", "char", 0o600, device=(1, 3)), hard("d", "c")])

    kinds = {entry.path: (entry.kind, entry.target, entry.device) for entry in tree.tree()}

    assert kinds["b"] == kinds["a"]
    assert kinds["d"] == kinds["c"]


def test_hard_link_to_itself_changes_nothing() -> None:
    assert {"a": ONE} == contents(Draft([file("a"), hard("a", "a")]).tree())


def test_hard_link_over_the_directory_its_target_is_in_takes_the_file_out() -> None:
    draft = Draft([folder("a"), file("a/b"), hard("a", "a/b")])
    draft.put(file("c", TWO))

    assert {"a": ONE, "c": TWO} == contents(draft.tree())


def test_hard_link_to_a_directory_is_refused() -> None:
    with pytest.raises(ValueError, match="hard link to a directory: 'd'"):
        Draft([folder("d"), hard("a", "d")])


@pytest.mark.parametrize("late", [hard("a", "z"), hard("a", "alias/z")])
def test_hard_link_may_come_before_its_target(late: Entry) -> None:
    draft = Draft([link("alias", "."), late, file("z")])

    assert {"a": ONE, "z": ONE} == contents(draft.tree())


def test_chain_of_hard_links_may_come_backwards() -> None:
    tree = Draft([hard("c", "b"), hard("b", "a"), hard("d", "c"), file("a")]).tree()

    assert {"a": ONE, "b": ONE, "c": ONE, "d": ONE} == contents(tree)


def test_early_hard_link_to_a_directory_is_refused() -> None:
    with pytest.raises(ValueError, match="hard link to a directory: 'd'"):
        Draft([hard("a", "d"), folder("d")]).tree()


def test_hard_link_to_nothing_is_refused_in_a_complete_tree() -> None:
    with pytest.raises(ValueError, match="hard link 'a' to 'b', which is no file"):
        Draft([hard("a", "b")]).tree()


def test_hard_links_in_a_circle_are_refused() -> None:
    draft = Draft([hard("a", "b"), hard("b", "c"), hard("c", "a")])

    assert 3 == len(draft.tree(complete=False))
    with pytest.raises(ValueError, match="which is no file"):
        draft.tree()


def test_hard_link_to_nothing_stays_in_a_layer() -> None:
    tree = Draft([hard("a", "lower"), hard("b", "a"), hard("c", "b")]).tree(complete=False)

    assert ["lower"] * 3 == [entry.target for entry in tree]


def test_long_chain_of_hard_links_takes_no_time() -> None:
    chain = [hard(f"l{number}", f"l{number + 1}") for number in range(3000)]

    assert {"l3000"} == {entry.target for entry in Draft(chain).tree(complete=False)}


# -- layers


def test_overlay_without_whiteouts_keeps_such_names() -> None:
    tree = overlay([Tree.of([file("a")]), Tree.of([file(".wh.a")])], whiteouts=False)

    assert [".wh.a", "a"] == [entry.path for entry in tree]


def test_hard_link_across_layers_has_to_find_its_file_below() -> None:
    layers = [Tree.of([hard("a", "b")], complete=False), Tree.of([file("b")])]

    with pytest.raises(ValueError, match="hard link 'a' to 'b', which is no file"):
        overlay(layers, whiteouts=True)


class Disk:
    """The same rules over inodes: a directory is a dict, a file an object that several names may hold."""

    def __init__(self) -> None:
        self.root: dict[str, object] = {}

    def walk(self, path: str, make: bool, left: int = 40) -> tuple[list[dict[str, object]], int]:
        trail: list[dict[str, object]] = [self.root]
        for part in [part for part in path.split("/") if part not in ("", ".")]:
            if part == "..":
                trail = trail[:-1] or trail
                continue
            child = trail[-1].get(part)
            if isinstance(child, Entry) and child.kind == "symlink":
                left -= 1
                if left < 0:
                    raise ValueError("too many symlinks")
                trail, left = self.follow(trail, child.target, make, left)
                continue
            if not isinstance(child, dict):
                if not make:
                    child = {}  # nothing in it
                else:
                    child = trail[-1][part] = {}
            trail.append(child)
        return trail, left

    def follow(
        self, trail: list[dict[str, object]], target: str, make: bool, left: int
    ) -> tuple[list[dict[str, object]], int]:
        # Path by identity: a symlink is followed from the folder it lies in.
        start = "/" if target.startswith("/") else self.name_of(trail[-1])
        return self.walk(f"{start}/{target}", make, left)

    def name_of(self, wanted: dict[str, object]) -> str:
        def search(found: dict[str, object], path: str) -> str | None:
            if found is wanted:
                return path
            for name, child in found.items():
                if isinstance(child, dict) and (deeper := search(child, f"{path}/{name}")) is not None:
                    return deeper
            return None

        return search(self.root, "") or ""

    def put(self, entry: Entry) -> None:
        parent, _, name = entry.path.rpartition("/")
        if entry.kind == "hardlink":
            above, _, target_name = entry.target.rpartition("/")
            target = self.walk(above, make=False)[0][-1].get(target_name)
            if not isinstance(target, (Entry, list)):
                raise ValueError("a hard link to nothing or a directory")
            trail, _ = self.walk(parent, make=True)
            if trail[-1].get(name) is not target:
                trail[-1][name] = target
            return
        folder = self.walk(parent, make=True)[0][-1]
        if entry.kind == "directory":
            if not isinstance(folder.get(name), dict):
                folder[name] = {}
        else:
            folder[name] = [entry] if entry.kind == "file" else entry

    def shape(self) -> dict[str, object]:
        found: dict[str, object] = {}
        groups: dict[int, str] = {}

        def collect(folder: dict[str, object], path: str) -> None:
            for name, child in sorted(folder.items()):
                here = f"{path}{name}"
                if isinstance(child, dict):
                    collect(child, f"{here}/")
                elif isinstance(child, list):
                    found[here] = (child[0].content, groups.setdefault(id(child), here))
                elif isinstance(child, Entry):
                    found[here] = (child.kind, child.target, child.device)

        collect(self.root, "")
        return found


def shape(tree: Tree) -> dict[str, object]:
    known = tree.by_path()
    groups: dict[str, str] = {}
    found: dict[str, object] = {}
    for path in sorted(known, key=lambda path: path.split("/")):
        entry = known[path]
        if entry.kind in ("file", "hardlink"):
            first = entry.target or path
            found[path] = (known[first].content, groups.setdefault(first, path))
        elif entry.kind != "directory":
            found[path] = (entry.kind, entry.target, entry.device)
    return found


def made(entries: Iterable[Entry]) -> tuple[Draft, Disk] | None:
    """Draft and disk with the same entries, each left out that the disk refuses."""
    draft, disk = Draft(), Disk()
    for entry in entries:
        try:
            disk.put(entry)
        except ValueError:
            continue
        draft.put(entry)
    return draft, disk


@settings(max_examples=400)
@given(trees.entries(BLOBS))
def test_draft_is_what_unpacking_on_a_disk_gives(entries: list[Entry]) -> None:
    both = made(entries)
    assert both is not None
    draft, disk = both

    assert disk.shape() == shape(draft.tree())


@given(trees.entries(BLOBS))
def test_any_entries_make_a_tree_or_a_value_error(entries: list[Entry]) -> None:
    try:
        tree = Draft(entries).tree()
    except ValueError:
        return

    assert tree == Tree.of(tree)


@given(st.lists(trees.entries(BLOBS), max_size=3))
def test_overlay_of_layers_is_a_tree_or_a_value_error(layers: list[list[Entry]]) -> None:
    try:
        tree = overlay((Draft(layer).tree(complete=False) for layer in layers), whiteouts=True)
    except ValueError:
        return

    assert tree == overlay([tree], whiteouts=True)


def test_directories_nobody_listed_can_be_filled_in() -> None:
    draft = Draft([file("usr/bin/app"), folder("etc", 0o700), file("etc/motd"), file("gone/a")])
    draft.remove("gone/a")

    draft.fill(lambda path: folder(path, 0o750))

    modes = {entry.path: entry.mode for entry in draft.tree() if entry.kind == "directory"}
    assert modes == {"usr": 0o750, "usr/bin": 0o750, "etc": 0o700}
