"""ISO 9660 volumes, read back record by record."""

from __future__ import annotations

import gc
import hashlib
import struct

import pytest
from hypothesis import given, settings

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice, Zeros
from kitbuild.rules.layout.iso9660 import SECTOR, Boot, Volume, volume
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Kind, Tree
from tests.support.iso import (
    BootEntry,
    Found,
    boot_entries,
    content,
    expected,
    image_of,
    path_table,
    read,
    read_joliet,
)
from tests.support.trees import Bench
from tests.support.whole_trees import whole_trees

BENCH = Bench()
CONTENTS = [None, *(BENCH.slice(b"c" * size) for size in (1, 2047, 2048, 2049, 4096, 10_000))]


def linux_reads(entries: list[Entry]) -> Tree:
    """The tree without devices of major number 0 and large minor ones: Rock Ridge has no such number for Linux."""
    return Tree.of(
        entry._replace(device=(0, entry.device[1] & 255)) if entry.device[0] == 0 else entry
        for entry in entries
    )


def file(path: str, content: bytes = b"", mode: int = 0o644) -> Entry:
    return Entry(path, "file", mode, content=BENCH.slice(content))


def folder(path: str) -> Entry:
    return Entry(path, "directory", 0o755)


def made(*entries: Entry, joliet: bool = False) -> bytes:
    return image_of(volume(Tree.of(entries), label="TEST", joliet=joliet), BENCH)


def said(found: dict[str, Found]) -> dict[str, tuple[object, ...]]:
    return {
        path: (
            *(one.kind, one.mode, one.uid, one.gid, one.links, one.mtime, one.target, one.device),
            one.size if one.kind == "file" else 0,
        )
        for path, one in found.items()
    }


@settings(deadline=None, max_examples=20)
@given(whole_trees(CONTENTS).map(linux_reads))
def test_any_tree_is_read_back_as_it_was(tree: Tree) -> None:
    image = image_of(volume(tree, label="TEST", joliet=True), BENCH)

    found = read(image)

    assert expected(tree) == said(found)
    entries = tree.by_path()
    assert {entry.path: BENCH.read(entry.content) for entry in tree if entry.kind == "file"} == {
        path: content(image, one)
        for path, one in found.items()
        if one.kind == "file" and entries[path].kind == "file"
    }


@settings(deadline=None, max_examples=20)
@given(whole_trees(CONTENTS).map(linux_reads))
def test_joliet_tree_has_the_same_directories_and_files(tree: Tree) -> None:
    image = image_of(volume(tree, label="TEST", joliet=True), BENCH)

    joliet = read_joliet(image)

    true_names = {path: one for path, one in read(image).items() if one.kind in ("directory", "file")}
    places = [
        (one.kind, one.mtime, one.size, one.sector) for one in true_names.values() if one.kind == "file"
    ]
    assert sorted(places) == sorted(
        (one.kind, one.mtime, one.size, one.sector) for one in joliet.values() if one.kind == "file"
    )
    assert len(true_names) == len(joliet)
    assert len(path_table(image)) == len(path_table(image, joliet=True))


def test_same_tree_gives_the_same_image_whatever_the_clock_says(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = Tree.of([folder(""), file("a", b"1"), Entry("null", "char", 0o666, device=(1, 3), mtime=MTIME)])
    images = []

    for moment in (0.0, 1e9, 4e9):
        monkeypatch.setattr("time.time", lambda moment=moment: moment)
        images.append(image_of(volume(tree, label="TEST", joliet=True), BENCH))

    assert 1 == len(set(images))


def test_image_is_what_it_was() -> None:
    tree = Tree.of(
        [
            Entry("", "directory", 0o755, mtime=MTIME),
            Entry("bin", "directory", 0o755, mtime=MTIME),
            Entry("bin/su", "file", 0o4755, 0, 0, MTIME, BENCH.slice(b"su" * 3000)),
            Entry("bin/ü", "hardlink", 0, target="bin/su"),
            Entry("link", "symlink", 0o777, mtime=MTIME, target="/bin/su"),
            Entry("null", "char", 0o666, mtime=MTIME, device=(1, 3)),
            Entry("n" * 255, "fifo", 0o600, 1, 2, MTIME),
        ]
    )

    image = image_of(volume(tree, label="TEST", joliet=True), BENCH)

    assert (
        "16835f697882094874ba7227b50f9c3526ef991cd27ef7b7db1f337dcacaa8ef"
        == hashlib.sha256(image).hexdigest()
    )


def test_files_start_on_sectors_and_large_ones_on_four_kib() -> None:
    tree = Tree.of(
        [folder(""), *(file(f"{number}", bytes([number]) * 5000) for number in range(1, 9)), file("s", b"s")]
    )

    laid = volume(tree, label="TEST")

    places = dict(laid.places)
    assert places.pop("s") % SECTOR == 0
    assert {0} == {place % 4096 for place in places.values()}
    assert laid.size % SECTOR == 0
    assert (laid.size // SECTOR,) == struct.unpack_from("<I", laid.metadata, 16 * SECTOR + 80)


def test_names_of_one_file_share_content_and_number() -> None:
    found = read(made(folder(""), Entry("a", "hardlink", 0, target="b"), file("b", b"1"), file("c", b"2")))

    assert found["a"] == found["b"]._replace(identifier="A.;1")
    assert found["b"].serial != found["c"].serial
    assert found["b"].sector != found["c"].sector


def test_volume_without_a_root_gets_one_of_kitbuilds() -> None:
    root = read(made(file("a", b"1")))[""]

    assert ("directory", 0o755, 0, 0, MTIME // 10**9) == (
        root.kind,
        root.mode,
        root.uid,
        root.gid,
        root.mtime,
    )


def test_volume_without_files_is_metadata_alone() -> None:
    laid = volume(Tree.of([folder("")]), label="TEST")

    assert (len(laid.metadata), ()) == (laid.size, laid.contents)
    assert {""} == set(read(laid.metadata))


def test_directories_nest_as_deep_as_they_do() -> None:
    paths = ["/".join(["d"] * depth) for depth in range(1, 40)]

    found = read(made(folder(""), *map(folder, paths), file(f"{paths[-1]}/f", b"1")))

    assert {"", *paths, f"{paths[-1]}/f"} == set(found)


def test_directory_of_many_sectors_is_read_back() -> None:
    names = [f"a file with a rather long name {number}" for number in range(300)]

    found = read(made(folder(""), *(file(name) for name in names)))

    assert {"", *names} == set(found)
    assert 300 == len({one.identifier for one in found.values() if one.kind == "file"})


@pytest.mark.parametrize("kind", ["char", "directory", "fifo", "file", "symlink"])
def test_entry_of_any_kind_can_have_a_name_of_any_length(kind: Kind) -> None:
    first = Entry("", kind, 0o640, 1, 2, MTIME, target="t/" * 9 if kind == "symlink" else "")
    if kind == "char":
        first = first._replace(device=(8, 1))
    tree = Tree.of([folder(""), *(first._replace(path="n" * length) for length in range(1, 256))])

    found = read(image_of(volume(tree, label="TEST", joliet=True), BENCH))

    assert expected(tree) == said(found)


def test_symlink_can_have_a_target_of_any_length() -> None:
    def link(name: str, length: int, target: str) -> Entry:
        return Entry(f"{name}{length}{'n' * (length % 150)}", "symlink", 0o777, target=target)

    lengths = range(1, 1024, 3)
    tree = Tree.of(
        [
            folder(""),
            *(link("one-part", length, "t" * length) for length in lengths),
            *(link("parts", length, "a/../." * (length // 6) + "/" * (length % 6)) for length in lengths[2:]),
        ]
    )

    assert expected(tree) == said(read(image_of(volume(tree, label="TEST"), BENCH)))


@pytest.mark.parametrize(
    "target", ["/", "//", "///a", "a//b", "a/", ".", "./", "..", "/..", "../" * 60, "caf\udce9/ü", "a\nb"]
)
def test_symlink_has_the_target_it_had(target: str) -> None:
    link = Entry("link", "symlink", 0o777, target=target)

    assert target == read(made(folder(""), link))["link"].target


@pytest.mark.parametrize("name", ["ü", "日本", "caf\udce9", " ", "a\nb", "...", "-", "a;1", "A", "*?:\\"])
def test_names_are_the_bytes_they_were(name: str) -> None:
    assert {"", name, "a"} == set(read(made(folder(""), file(name), file("a"))))


@pytest.mark.parametrize(
    "device", [(0, 0), (1, 3), (8, 0), (259, 255), (259, 256), (4095, 1_048_575), (1, 300)]
)
def test_device_numbers_are_those_that_linux_reads(device: tuple[int, int]) -> None:
    assert device == read(made(folder(""), Entry("d", "char", 0o600, device=device)))["d"].device


@pytest.mark.parametrize(
    ("mtime", "seconds"),
    [(-1, 0), (1_999_999_999, 1), (MTIME, MTIME // 10**9), (1 << 40, 1099), (10**10 * 10**9, 5_869_583_999)],
)
def test_times_are_kept_within_what_a_record_holds(mtime: int, seconds: int) -> None:
    assert seconds == read(made(folder(""), Entry("a", "fifo", 0o600, mtime=mtime)))["a"].mtime


def test_contents_of_several_parts_replace_the_entrys() -> None:
    parts = Extents.of([Literal(b"ab"), Zeros(3000), *Extents.whole(BENCH.blob(b"cd").digest).parts])

    laid = volume(Tree.of([folder(""), file("a")]), {"a": parts}, label="TEST")

    image = image_of(laid, BENCH)
    assert b"ab" + bytes(3000) + b"cd" == content(image, read(image)["a"])


def booted(*, catalog: str = "", joliet: bool = False) -> Volume:
    entries = [folder(""), file("bios"), file("efi"), file("z", b"z" * 9000), file("cat")]
    contents = {"bios": Extents.of([Literal(bytes(range(250)) * 10)]), "efi": Extents.of([Zeros(64 << 10)])}
    boots = (Boot("bios", 4, has_table=True), Boot("efi", 128, is_efi=True, is_hidden=not joliet))
    return volume(Tree.of(entries), contents, label="TEST", joliet=joliet, boots=boots, catalog=catalog)


@pytest.mark.parametrize(("catalog", "joliet"), [("", False), ("cat", False), ("cat", True)])
def test_boot_catalog_says_what_each_firmware_starts(catalog: str, joliet: bool) -> None:
    laid = booted(catalog=catalog, joliet=joliet)

    image = image_of(laid, BENCH)

    assert [
        BootEntry(0, 4, laid.places["bios"] // SECTOR),
        BootEntry(0xEF, 128, laid.places["efi"] // SECTOR),
    ] == boot_entries(image)
    assert bytes(64 << 10) == image[laid.places["efi"] :][: 64 << 10]


def test_hidden_image_has_no_name_and_lies_behind_all_that_have_one() -> None:
    laid = booted(catalog="cat")

    assert {"", "bios", "z", "cat"} == set(read(image_of(laid, BENCH)))
    assert max(laid.places.values()) == laid.places["efi"]


def test_boot_catalog_with_a_name_can_be_read() -> None:
    image = image_of(booted(catalog="cat"), BENCH)

    found = read(image)["cat"]

    assert (b"\x01\0", SECTOR, 0o644) == (content(image, found)[:2], found.size, found.mode)


def test_boot_file_is_told_where_it_is() -> None:
    laid = booted()
    original = bytes(range(250)) * 10

    program = content(image_of(laid, BENCH), read(image_of(laid, BENCH))["bios"])

    checksum = sum(struct.unpack("<609I", original[64:])) & 0xFFFFFFFF
    table = struct.pack("<4I", 16, laid.places["bios"] // SECTOR, len(original), checksum)
    assert original[:8] + table + bytes(40) + original[64:] == program


def test_dates_and_names_of_the_volume_are_its_own() -> None:
    descriptor = made(folder(""))[16 * SECTOR : 17 * SECTOR]

    date = b"2017041816300000\0"
    assert date + date + b"0" * 16 + b"\0" + date == descriptor[813:881]
    assert b"LINUX".ljust(32) + b"TEST".ljust(32) == descriptor[8:72]
    assert b"KITBUILD".ljust(128) == descriptor[574:702]


def test_nothing_of_a_volume_stays_in_memory() -> None:
    import pycdlib

    made(folder(""), folder("d"), file("d/a"), joliet=True)
    gc.collect()

    assert not [each for each in gc.get_objects() if isinstance(each, pycdlib.PyCdlib)]


def test_file_of_four_gib_is_refused() -> None:
    blob = Digest("0" * 64, 1 << 33)
    entry = Entry("big", "file", 0o644, content=Slice(blob, 0, 1 << 32))

    with pytest.raises(RuleError, match="`big` has 4294967296 bytes, an ISO holds files of less than 4 GiB"):
        volume(Tree.of([entry]), label="TEST")


def test_largest_file_has_its_place() -> None:
    blob = Digest("0" * 64, 1 << 33)
    entries = [Entry(name, "file", 0o644, content=Slice(blob, 0, (1 << 32) - 1)) for name in "ab"]

    laid = volume(Tree.of(entries), label="TEST")

    assert laid.places["a"] + (1 << 32) == laid.places["b"]


def test_name_longer_than_linux_has_is_refused() -> None:
    with pytest.raises(RuleError, match="a name of 256 bytes, an ISO holds 255"):
        volume(Tree.of([file("n" * 256)]), label="TEST")


def test_more_directories_than_the_path_table_numbers_are_refused() -> None:
    entries = [folder(f"{number}") for number in range(65_535)]

    with pytest.raises(RuleError, match="65536 directories, an ISO holds 65535"):
        volume(Tree.of(entries), label="TEST")
