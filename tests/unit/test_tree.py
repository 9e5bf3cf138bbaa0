from __future__ import annotations

import json
import posixpath
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.extents import Slice
from kitbuild.tree import Entry, Tree, entries_of, is_inside, parent_of, parents_of

BLOB, OTHER = Digest.of(b"some content"), Digest.of(b"other")

# Names as a layer may bring them: any bytes but the slash and NUL, those that are no UTF-8 as surrogates.
NAMES = (
    st.binary(min_size=1, max_size=6)
    .filter(lambda name: not {0, 0x2F} & set(name) and name not in (b".", b".."))
    .map(lambda name: name.decode("utf-8", "surrogateescape"))
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
XATTRS = st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=8), max_size=2).map(
    lambda values: tuple(sorted(values.items()))
)


@st.composite
def contents(draw: st.DrawFn) -> Slice | None:
    blob = draw(st.sampled_from([None, BLOB, OTHER]))
    if blob is None:
        return None
    offset = draw(st.integers(0, blob.size - 1))
    return Slice(blob, offset, draw(st.integers(1, blob.size - offset)))


@st.composite
def entries(draw: st.DrawFn, path: str) -> Entry:
    kind = draw(st.sampled_from(["directory", "file", "symlink", "char", "block", "fifo"]))
    number = st.integers(0, 1 << 32)
    entry = Entry(
        path,
        kind,  # type: ignore[arg-type]
        draw(st.integers(0, 0o7777)),
        draw(number),
        draw(number),
        draw(st.integers(-(1 << 62), 1 << 62)),
        xattrs=draw(XATTRS),
    )
    if kind == "file":
        return entry._replace(content=draw(contents()))
    if kind == "symlink":
        return entry._replace(target=draw(st.one_of(PATHS, st.just("/abs"), st.just("../up"))))
    if kind in ("char", "block"):
        return entry._replace(device=draw(st.tuples(number, number)))
    return entry


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    found = [draw(entries(path)) for path in draw(st.lists(PATHS, unique=True, max_size=6))]
    files = [entry.path for entry in found if entry.kind == "file"]
    if files and "a link" not in {entry.path for entry in found}:
        found.append(Entry("a link", "hardlink", 0o644, target=draw(st.sampled_from(files))))
    return Tree.of(found)


def lines_of(encoded: bytes) -> list[bytes]:
    return encoded.split(b"\n")[:-1]


@given(trees())
def test_encoded_tree_reads_back(tree: Tree) -> None:
    decoded = Tree.decode(lines_of(tree.encode()))

    assert tree == decoded


@given(trees(), st.randoms(use_true_random=False))
def test_equal_trees_have_equal_bytes_whatever_the_order_of_entries(
    tree: Tree, chance: random.Random
) -> None:
    shuffled = list(tree)
    chance.shuffle(shuffled)

    assert tree.encode() == Tree.of(shuffled).encode()


@given(trees())
def test_encoded_tree_is_lines_of_ascii(tree: Tree) -> None:
    encoded = tree.encode()

    assert encoded.isascii()
    assert 1 + len(tree.blobs()) + len(tree) == encoded.count(b"\n")


@given(trees())
def test_parents_come_before_what_is_in_them(tree: Tree) -> None:
    places = {entry.path: place for place, entry in enumerate(tree)}

    for path, place in places.items():
        assert all(places[parent] < place for parent in parents_of(path) if parent in places)


def test_canonical_bytes_are_as_documented() -> None:
    tree = Tree.of(
        [
            Entry("", "directory", 0o755),
            Entry("b", "file", 0o644, 1, 2, 3, Slice(BLOB, 4, 5), xattrs=(("user.x", b"\0"),)),
            Entry("a", "file", 0o600),
            Entry("c", "hardlink", 0o644, target="b"),
            Entry("d\udcff", "symlink", 0o777, target="/a"),
            Entry("e", "char", 0o666, device=(1, 3)),
            Entry("f", "fifo", 0o600),
        ]
    )

    expected = [
        b"kitbuild-tree 1",
        f"B {BLOB.hex} 12".encode(),
        b'["directory","",493,0,0,0]',
        b'["file","a",384,0,0,0,-1,0,0]',
        b'["file","b",420,1,2,3,0,4,5,{"user.x":"AA=="}]',
        b'["hardlink","c",420,0,0,0,"b"]',
        b'["symlink","d\\udcff",511,0,0,0,"/a"]',
        b'["char","e",438,0,0,0,1,3]',
        b'["fifo","f",384,0,0,0]',
    ]
    assert expected == lines_of(tree.encode())


def test_a_tree_without_parents_is_a_tree() -> None:
    tree = Tree.of([Entry("usr/bin/app", "file", 0o755)])

    assert [entry.path for entry in tree] == ["usr/bin/app"]


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("/etc", id="absolute"),
        pytest.param("..", id="up"),
        pytest.param("a/../b", id="up inside"),
        pytest.param("../a", id="up first"),
        pytest.param("a/..", id="up last"),
        pytest.param(".", id="here"),
        pytest.param("./a", id="here first"),
        pytest.param("a/./b", id="here inside"),
        pytest.param("a//b", id="empty part"),
        pytest.param("a/", id="slash at the end"),
        pytest.param("a\0b", id="NUL"),
    ],
)
def test_path_that_is_not_inside_is_refused(path: str) -> None:
    assert not is_inside(path)
    with pytest.raises(ValueError, match="not a path inside a tree"):
        Tree.of([Entry(path, "file", 0o644)])


@pytest.mark.parametrize(
    "path", ["a", "...", "..a", "a..", "a/.b", "a b", "-", "\\", "a\n", "caf\u00e9", "\udcff"]
)
def test_odd_names_are_inside(path: str) -> None:
    assert is_inside(path)


@given(st.lists(st.sampled_from(["", ".", "..", "a", "..."]), max_size=5).map("/".join))
def test_a_path_inside_stays_below_any_folder(path: str) -> None:
    joined = posixpath.normpath(posixpath.join("/top/folder", path))

    assert is_inside(path) == (joined == f"/top/folder/{path}")


def test_two_entries_for_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="two entries for 'a'"):
        Tree.of([Entry("a", "file", 0o644), Entry("a", "directory", 0o755)])


@pytest.mark.parametrize(
    "target",
    [
        pytest.param("nowhere", id="missing"),
        pytest.param("folder", id="folder"),
        pytest.param("b", id="link"),
    ],
)
def test_hard_link_to_what_is_no_file_is_refused(target: str) -> None:
    others = [
        Entry("a", "file", 0o644),
        Entry("b", "hardlink", 0o644, target="a"),
        Entry("folder", "directory", 0o755),
    ]

    with pytest.raises(ValueError, match=f"hard link 'link' to '{target}', which is no file"):
        Tree.of([*others, Entry("link", "hardlink", 0o644, target=target)])


def test_hard_link_of_a_layer_may_lead_to_the_layers_below() -> None:
    link = Entry("link", "hardlink", 0o644, target="usr/bin/below")

    layer = Tree.of([link], complete=False)

    assert [link] == list(layer)


def test_layer_checks_paths_all_the_same() -> None:
    with pytest.raises(ValueError, match="not a path inside a tree"):
        Tree.of([Entry("../a", "file", 0o644)], complete=False)


def test_entries_are_found_by_path() -> None:
    entry = Entry("a/b", "file", 0o644, content=Slice(BLOB, 0, 12))

    tree = Tree.of([entry, Entry("a", "directory", 0o755)])

    assert entry == tree.by_path()["a/b"]
    assert len(tree) == 2


def test_blobs_are_listed_once_in_order_of_first_use() -> None:
    places = {"a": Slice(OTHER, 0, 2), "b": Slice(BLOB, 0, 1), "c": Slice(OTHER, 2, 3), "d": None}

    tree = Tree.of(Entry(path, "file", 0o644, content=content) for path, content in places.items())

    assert tree.blobs() == (OTHER, BLOB)


def test_size_is_that_of_the_content() -> None:
    assert Entry("a", "file", 0o644, content=Slice(BLOB, 4, 5)).size == 5
    assert Entry("a", "file", 0o644).size == 0


def test_entries_can_be_read_one_by_one() -> None:
    tree = Tree.of([Entry("a", "directory", 0o755), Entry("a/b", "file", 0o644)])
    lines = iter([*lines_of(tree.encode()), b"not read"])

    first = next(entries_of(lines))

    assert tree.entries[0] == first


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"kitbuild-extents 1\n", id="other magic"),
        pytest.param(b"kitbuild-tree 2\n", id="later version"),
        pytest.param(b"kitbuild-tree 1\nnot json\n", id="not json"),
        pytest.param(b"kitbuild-tree 1\nB 00 1\n", id="short digest"),
        pytest.param(b'kitbuild-tree 1\n["fifo","caf\xc3\xa9",0,0,0,0]\n', id="not ascii"),
    ],
)
def test_other_bytes_are_no_tree(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Tree.decode(lines_of(encoded))


@pytest.mark.parametrize(
    ("path", "parent", "parents"),
    [
        pytest.param("", "", [], id="root"),
        pytest.param("a", "", [], id="top"),
        pytest.param("a/b", "a", ["a"], id="second"),
        pytest.param("a/b/c", "a/b", ["a", "a/b"], id="third"),
    ],
)
def test_parents_are_outermost_first_without_the_root(path: str, parent: str, parents: list[str]) -> None:
    assert parent == parent_of(path)
    assert parents == parents_of(path)


@given(trees(), trees())
def test_different_trees_have_different_bytes(left: Tree, right: Tree) -> None:
    assert (left == right) == (left.encode() == right.encode())


@given(trees())
def test_each_line_after_the_blobs_is_json(tree: Tree) -> None:
    lines = lines_of(tree.encode())[1 + len(tree.blobs()) :]

    assert [entry.path for entry in tree] == [json.loads(line)[1] for line in lines]
