"""The tree of a tar archive: what is refused, what is cleaned, and where the contents are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Slice
from kitbuild.rules.unpack import index as index_module
from kitbuild.rules.unpack.index import index
from kitbuild.tree import Entry, Tree
from tests.support.images import device, directory, file, hardlink, symlink
from tests.support.tars import END, base256, entry, header, padded, pax, sealed
from tests.support.trees import Bench, Content, tar_of


def tree_of(archive: Content, *, complete: bool = True) -> Tree:
    bench = Bench()
    blob = bench.blob(tar_of(archive)).digest
    with bench.work() as work:
        return index(Slice(blob, 0, blob.size), work, complete=complete)


def error_of(archive: Content) -> str:
    with pytest.raises(RuleError) as caught:
        tree_of(archive)
    return caught.value.message


def test_contents_are_slices_of_the_archive() -> None:
    bench = Bench()
    archive = tar_of({"a": "one", "empty": "", "b": "three"})
    blob = bench.blob(b"before" + archive).digest

    with bench.work() as work:
        tree = index(Slice(blob, 6, len(archive)), work, complete=True).by_path()

    assert Slice(blob, 6 + 512, 3) == tree["a"].content
    assert tree["empty"].content is None
    assert b"three" == bench.read(tree["b"].content)


def test_every_field_comes_from_the_archive() -> None:
    tree = tree_of(
        {
            "dir/": directory(0o1777, uid=1, gid=2, mtime=3),
            "file": file("x", mode=0o4755, uid=5_000_000, pax={"SCHILY.xattr.security.capability": "cap"}),
            "link": symlink("/abs/../up", uid=9),
            "char": device("char", 4, 64),
            "block": device("block", 259, 1_000_000),
            "fifo": device("fifo", mode=0o600),
        }
    ).by_path()

    assert Entry("dir", "directory", 0o1777, 1, 2, 3_000_000_000) == tree["dir"]
    assert (0o4755, 5_000_000, (("security.capability", b"cap"),)) == tree["file"][2:4] + tree["file"][9:]
    assert Entry("link", "symlink", 0o777, 9, target="/abs/../up") == tree["link"]
    assert ("char", (4, 64)) == (tree["char"].kind, tree["char"].device)
    assert ("block", (259, 1_000_000)) == (tree["block"].kind, tree["block"].device)
    assert Entry("fifo", "fifo", 0o600) == tree["fifo"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("./a", "a", id="dot"),
        pytest.param("././/b/./c//d", "b/c/d", id="dots and slashes"),
        pytest.param(".", "", id="the root as a dot"),
        pytest.param("./", "", id="the root as a folder"),
        pytest.param("...", "...", id="three dots"),
        pytest.param("a/..b", "a/..b", id="two dots and more"),
        pytest.param("a\nb\x1b", "a\nb\x1b", id="control characters"),
    ],
)
def test_names_are_cleaned(name: str, expected: str) -> None:
    assert [expected] == [found.path for found in tree_of(header(name, type=b"5") + END)]


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        pytest.param({"/etc/passwd": "x"}, "entry '/etc/passwd': an absolute path", id="absolute"),
        pytest.param({"a/../b": "x"}, "entry 'a/../b': a path with `..`", id="up"),
        pytest.param({"..": directory()}, "entry '../': a path with `..`", id="above"),
        pytest.param(
            pax({"path": "a\0b"}) + header("a"), "entry 'a\\x00b': a path with a NUL byte", id="NUL in a path"
        ),
        pytest.param(
            {"a": hardlink("../b")}, "entry 'a': a hard link out of the tree, to '../b'", id="hard link up"
        ),
        pytest.param(
            {"a": hardlink("b")}, "hard link 'a' to 'b', which is no file", id="hard link to nothing"
        ),
        pytest.param(
            {"a": hardlink("a")}, "hard link 'a' to 'a', which is no file", id="hard link to itself"
        ),
        pytest.param(
            {"d/": directory(), "a": hardlink("d")},
            "entry 'a': hard link to a directory: 'd'",
            id="hard link to a directory",
        ),
        pytest.param({"a": symlink("")}, "entry 'a': expected a symlink's target of 1", id="no target"),
        pytest.param({"a": symlink("t" * 4096)}, "entry 'a': expected a symlink's target", id="long target"),
        pytest.param(
            pax({"linkpath": "a\0b"}) + header("a", type=b"2"), "entry 'a': expected a symlink's", id="NUL"
        ),
        pytest.param(
            header(".", type=b"2", link=b"etc"), "entry '.': expected a directory as", id="root link"
        ),
        pytest.param(
            header("./", type=b"1", link=b"a"), "expected a directory as the root", id="root hard link"
        ),
        pytest.param(header("", type=b"0"), "expected a directory as the root, got a file", id="no name"),
        pytest.param(
            header("a", type=b"Z"), "entry 'a': expected a file, link, directory, device", id="type"
        ),
        pytest.param(header("a", uid=base256(-1, 8)), "ids of 32 bits, got -1:0", id="negative id"),
        pytest.param({"a": file(gid=1 << 32)}, "ids of 32 bits, got 0:4294967296", id="large id"),
        pytest.param({"a": device("char", 4096)}, "12 and 20 bits, got 4096:0", id="major"),
        pytest.param({"a": device("char", 1, 1 << 20)}, "12 and 20 bits, got 1:1048576", id="minor"),
        pytest.param(
            header("a", type=b"3", major=base256(-1, 8)), "12 and 20 bits, got -1:0", id="negative major"
        ),
        pytest.param({"a/" * 2049: directory()}, "a path of more than 4095 bytes", id="long path"),
        pytest.param({"é" * 128: "x"}, "a name of more than 255 bytes", id="long name"),
        pytest.param({"d/" * 100_000: directory()}, "a path of more than 4095 bytes", id="no end"),
        pytest.param(
            entry("x", b"d/" * 100_000, type=b"L") + header("d"),
            "a name is longer than 64 KiB",
            id="GNU name",
        ),
    ],
)
def test_what_a_careful_unpacker_refuses_is_refused(archive: Content, expected: str) -> None:
    assert expected in error_of(archive)


def test_longest_names_linux_takes_are_taken() -> None:
    names = ["n" * 255, "é" * 127, "d/" * 2047 + "e"]

    assert set(names) == {found.path for found in tree_of({name: "x" for name in names})}


def test_hard_link_by_an_absolute_path_is_one_inside_the_archive() -> None:
    assert "a" == tree_of({"a": "x", "b": hardlink("/a")}).by_path()["b"].target


def test_names_in_messages_are_cut_and_escaped() -> None:
    message = error_of(pax({"path": "\x1b[31m\n" + "n" * 5000 + "/.."}) + header("a"))

    assert message.startswith("entry '\\x1b[31m\\nnnnn")
    assert message.endswith("...': a path with `..`")
    assert len(message) < 300


def test_broken_header_is_told_by_the_entry_before_it() -> None:
    message = error_of(header("a") + header("b")[:400] + b"x" * 112)

    assert message.startswith("after entry 'a': a header's checksum does not fit")
    assert message.endswith("(at byte 512)")


def test_broken_first_header_has_only_its_place() -> None:
    assert "expected an octal number, got b'xxxxxxxx' (at byte 0)" == error_of(b"x" * 512)


def test_content_that_is_cut_off_is_told_by_its_entry() -> None:
    assert "entry 'a': the archive ends inside this entry (at byte 0)" == error_of(
        header("a", size=600) + bytes(598) + b"x"
    )


def test_archive_inside_another_blob_does_not_reach_beyond_its_end() -> None:
    bench = Bench()
    archive = header("a", size=100) + b"x" * 50
    blob = bench.blob(archive + b"what follows in the layer" * 100).digest

    with bench.work() as work, pytest.raises(RuleError, match="the archive ends inside this entry"):
        index(Slice(blob, 0, len(archive)), work, complete=True)


# -- sparse files


def sparse(pieces: str, real_size: int, stored: bytes) -> bytes:
    records = {"GNU.sparse.size": str(real_size), "GNU.sparse.map": pieces}
    return pax(records) + entry("a", stored)


def test_sparse_file_is_written_out_once_as_a_blob_of_its_own() -> None:
    bench = Bench()

    tree = bench.entries(bench.layer(sparse("2,3,3000000,2", 3_000_005, b"abcde")))

    content = b"\0\0abc" + bytes(2_999_995) + b"de" + bytes(3)
    assert content == bench.read(tree["a"].content)


def test_sparse_file_without_anything_is_an_empty_file() -> None:
    assert tree_of(sparse("0,0", 0, b"")).by_path()["a"].content is None


def test_sparse_files_may_not_fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_MAX_SPARSE_BYTES", 1000)
    one = sparse("0,1", 400, b"x")

    assert len(tree_of(one + one)) == 1
    assert error_of(one * 3) == "entry 'a': sparse files of 1200 bytes, the most is 1000"


def test_absurd_sparse_file_is_refused_before_anything_is_written() -> None:
    assert "sparse files of 9223372036854775807 bytes" in error_of(sparse("0,1", (1 << 63) - 1, b"x"))


# -- limits


def test_too_many_entries_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "_MAX_ENTRIES", 3)

    assert len(tree_of({str(number): "" for number in range(3)})) == 3
    assert "entry '3': more than 3 entries" in error_of({str(number): "" for number in range(4)})


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(lambda number: (f"{number}" + "/d" * 500, directory()), id="directories nobody lists"),
        pytest.param(lambda number: (f"{number}", symlink("t" * 4000)), id="targets"),
        pytest.param(
            lambda number: (f"{number}", file(pax={"SCHILY.xattr.user.a": "v" * 4000})), id="attributes"
        ),
    ],
)
def test_text_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, one: object) -> None:
    monkeypatch.setattr(index_module, "_MAX_TEXT_BYTES", 100_000)

    assert "100000 bytes of names" in error_of([one(number) for number in range(40)])  # type: ignore[operator]


def test_deep_directories_nobody_lists_take_no_time() -> None:
    deep = "d/" * 2000
    assert 200 == len(tree_of({f"{deep}{number}": "" for number in range(200)}))


def test_padding_is_no_part_of_the_content() -> None:
    assert 5 == tree_of(header("a", size=5) + padded(b"12345") + END).by_path()["a"].size


# -- damage

VARIED = (
    header("d/", type=b"5")
    + entry("d/a", b"content")
    + header("d/b", type=b"1", link=b"d/a")
    + header("l", type=b"2", link=b"d")
    + pax({"path": "l/c", "mtime": "1.5", "SCHILY.xattr.user.a": "1"})
    + entry("c", b"c" * 600)
    + header("null", type=b"3", major=1, minor=3)
    + sparse("1,2,9,1", 12, b"abc")
    + END
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(VARIED) - 1), st.integers(0, 255)), max_size=4), st.integers(0, 4)
)
def test_damaged_archive_is_a_tree_or_a_rule_error(changes: list[tuple[int, int]], cut: int) -> None:
    damaged = bytearray(VARIED)
    for offset, value in changes:
        damaged[offset] = value
        start = offset - offset % 512
        if damaged[start + 257 : start + 262] == b"ustar":
            damaged[start : start + 512] = sealed(damaged[start : start + 512])
    archive = bytes(damaged[: len(damaged) - cut * 700])

    try:
        tree = tree_of(archive)
    except RuleError as error:
        assert len(error.message) < 600
        return

    assert tree == Tree.decode(tree.encode().splitlines(keepends=True))
    for found in tree:
        assert found.content is None or Extents.of([found.content]).size == found.size
