"""newc archives, read back field by field."""

from __future__ import annotations

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rules.layout.cpio import archive
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Tree
from tests.support.cpio import Record, records
from tests.support.trees import Bench

BENCH = Bench()


def packed(*entries: Entry) -> bytes:
    tree = Tree.of(entries)
    return b"".join(piece if isinstance(piece, bytes) else BENCH.read(piece) for piece in archive(tree))


def found(*entries: Entry) -> dict[str, Record]:
    return {
        record.name.decode("utf-8", "surrogateescape"): record
        for record in records(packed(*entries))
        if record.name != b"TRAILER!!!"
    }


def file(path: str, content: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, content=BENCH.slice(content))


def hard(path: str, target: str) -> Entry:
    return Entry(path, "hardlink", 0o600, target=target)


def test_archive_is_what_the_kernels_documentation_describes() -> None:
    archive = packed(Entry("ab", "file", 0o644, 1, 2, 3_000_000_000, BENCH.slice(b"hello")))

    header = (
        b"070701" b"00000001" b"000081a4" b"00000001" b"00000002" b"00000001" b"00000003" b"00000005"
        b"00000003" b"00000001" b"00000000" b"00000000" b"00000003" b"00000000"
    )  # fmt: skip
    assert header == archive[:110]
    assert b"ab\0" + bytes(3) + b"hello" + bytes(3) == archive[110:124]
    assert b"070701" == archive[124:130]
    assert b"TRAILER!!!\0" == archive[234:245]
    assert 512 == len(archive)
    assert bytes(512 - 245) == archive[245:]


def test_every_kind_has_its_type_bits() -> None:
    entries = found(
        Entry("", "directory", 0o755),
        Entry("block", "block", 0o660, device=(259, 70_000)),
        Entry("char", "char", 0o666, device=(1, 3)),
        Entry("dir", "directory", 0o1777),
        Entry("fifo", "fifo", 0o600),
        Entry("link", "symlink", 0o777, target="/to/ü"),
        file("su", b"x", 0o4755),
    )

    assert {
        ".": 0o040755,
        "block": 0o060660,
        "char": 0o020666,
        "dir": 0o041777,
        "fifo": 0o010600,
        "link": 0o120777,
        "su": 0o104755,
    } == {name: record.mode for name, record in entries.items()}
    assert ((259, 70_000), (1, 3)) == (entries["block"].device, entries["char"].device)
    assert "/to/ü".encode() == entries["link"].body
    assert (2, 1) == (entries["dir"].links, entries["su"].links)


def test_names_of_one_file_share_an_inode_and_the_last_has_the_data() -> None:
    entries = found(file("a", b"data", 0o755), hard("b", "a"), file("c", b"other"), hard("d", "a"))

    inodes = {name: record.inode for name, record in entries.items()}
    assert {1} == {inodes["a"], inodes["b"], inodes["d"]}
    assert 2 == inodes["c"]
    assert {"a": b"", "b": b"", "c": b"other", "d": b"data"} == {
        name: record.body for name, record in entries.items()
    }
    assert {"a": 3, "b": 3, "c": 1, "d": 3} == {name: record.links for name, record in entries.items()}
    assert {0o100755} == {entries[name].mode for name in "abd"}


def test_names_of_an_empty_file_share_an_inode() -> None:
    entries = found(file("a"), hard("b", "a"))

    assert [(1, 2, b""), (1, 2, b"")] == [
        (entry.inode, entry.links, entry.body) for entry in entries.values()
    ]


@pytest.mark.parametrize(
    ("mtime", "expected"),
    [
        (MTIME, MTIME // 1_000_000_000),
        (1_999_999_999, 1),
        (-1, 0),
        (-(10**18), 0),
        ((1 << 32) * 10**9 - 1, (1 << 32) - 1),
        ((1 << 40) * 10**9, (1 << 32) - 1),
    ],
)
def test_times_are_kept_within_eight_digits(mtime: int, expected: int) -> None:
    assert expected == found(Entry("a", "directory", 0o755, mtime=mtime))["a"].mtime


def test_ids_of_32_bits_have_their_place() -> None:
    record = found(Entry("a", "directory", 0o755, (1 << 32) - 1, (1 << 32) - 2))["a"]

    assert ((1 << 32) - 1, (1 << 32) - 2) == (record.uid, record.gid)


@pytest.mark.parametrize("length", range(9))
def test_every_record_is_aligned_whatever_its_lengths(length: int) -> None:
    entries = found(
        file("n" * (length + 1), b"c" * length), Entry("z", "symlink", 0o777, target="t" * (length + 1))
    )

    assert b"c" * length == entries["n" * (length + 1)].body
    assert b"t" * (length + 1) == entries["z"].body


@pytest.mark.parametrize("size", [0, 1, 100, 255, 256, 257, 300, 512])
def test_archives_end_on_512_bytes(size: int) -> None:
    archive = packed(file("a", b"x" * size))

    assert 0 == len(archive) % 512
    assert len(archive) < size + 2 * 124 + 8 + 512


def test_names_that_are_not_utf_8_are_written_as_they_came() -> None:
    assert b"caf\xe9" in packed(file("caf\udce9"))


def test_contents_stay_slices() -> None:
    content = BENCH.slice(b"content")

    pieces = list(archive(Tree.of([Entry("a", "file", 0o644, content=content)])))

    assert content in pieces


def huge(size: int) -> Entry:
    return Entry("a", "file", 0o644, content=Slice(Digest("0" * 64, size), 0, size))


def test_largest_file_has_one_byte_less_than_4_gib() -> None:
    pieces = list(archive(Tree.of([huge((1 << 32) - 1)])))

    assert b"ffffffff" == pieces[0][54:62]


@pytest.mark.parametrize("more", [0, 1, 1 << 40])
def test_file_of_4_gib_is_refused(more: int) -> None:
    with pytest.raises(RuleError) as caught:
        list(archive(Tree.of([huge((1 << 32) + more)])))

    message = f"`a` has {(1 << 32) + more} bytes, an initrd holds files of less than 4 GiB"
    assert message == caught.value.message
    assert caught.value.hint


def test_longest_path_the_kernel_takes_is_taken() -> None:
    assert 4095 == len(next(iter(found(file("d/" * 2047 + "e")))))


def test_path_the_kernel_would_skip_is_refused() -> None:
    with pytest.raises(RuleError) as caught:
        packed(file("d/" * 2047 + "ef"))

    assert f"a path of 4096 bytes, an initrd holds 4095: `{'d/' * 30}...`" == caught.value.message


def test_file_named_like_the_trailer_is_refused_only_at_the_root() -> None:
    assert ["d/TRAILER!!!"] == list(found(file("d/TRAILER!!!")))
    with pytest.raises(RuleError, match="a file named `TRAILER!!!`, which in an initrd is the end"):
        packed(file("TRAILER!!!"))
