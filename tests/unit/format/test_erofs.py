"""An EROFS image holds the tree it was made from, and reads back by the specification."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.node import Node
from kitbuild.rules.format import erofs, kernel_erofs, root
from kitbuild.rules.layout.erofs import FileSystem
from kitbuild.system import MTIME, System
from kitbuild.tree import Entry, Kind, Tree
from tests.support.erofs import Found, Image
from tests.support.trees import Bench

ROOT = Entry("", "directory", 0o755, mtime=MTIME)
ATTRIBUTES = (("security.capability", b"\1\0\0\2"), ("user.empty", b""))


def made(bench: Bench, *entries: Entry, label: str = "kitbuild") -> bytes:
    tree = bench.put([ROOT, *entries])
    return bench.bytes_of(bench.run(erofs.RULE, erofs.ErofsOptions(label), tree=tree))


def read(bench: Bench, *entries: Entry) -> dict[str, Found]:
    return Image(made(bench, *entries)).entries()


def file(bench: Bench, path: str, content: bytes = b"content", mtime: int = MTIME) -> Entry:
    return Entry(path, "file", 0o644, mtime=mtime, content=bench.slice(content))


@pytest.mark.parametrize("size", [0, 1, 4032, 4033, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 12300])
@pytest.mark.parametrize("mtime", [MTIME, 5], ids=["short", "long"])
def test_content_of_every_length_around_a_block_reads_back(size: int, mtime: int) -> None:
    bench = Bench()
    content = bytes(index * 7 % 251 for index in range(size))

    found = read(bench, file(bench, "a", b"first"), file(bench, "b", content, mtime))

    assert content == found["b"].content


def test_whole_blocks_of_a_content_start_on_a_block_and_stay_slices() -> None:
    bench = Bench()
    entry = file(bench, "a", bytes(10_000))
    tree = bench.put([ROOT, entry])

    with bench.work() as work:
        extents = work.extents(bench.run(erofs.RULE, erofs.ErofsOptions(), tree=tree))

    assert entry.content
    blob = entry.content.blob
    slices = [part for part in extents.parts if isinstance(part, Slice) and part.blob == blob]
    assert {Slice(blob, 0, 8192), Slice(blob, 8192, 1808)} == set(slices)
    at = extents.parts.index(Slice(blob, 0, 8192))
    assert 0 == sum(part.size for part in extents.parts[:at]) % 4096


def test_owner_mode_and_times_stay() -> None:
    bench = Bench()
    times = {"early": -1, "odd": 1_000_000_007, "own": MTIME}

    found = read(
        bench,
        *(Entry(path, "file", 0o4750, 70_000, 65_535, mtime) for path, mtime in times.items()),
        Entry("d", "directory", 0o1777, 1, 2, 3),
    )

    assert times == {path: found[path].mtime for path in times}
    assert (0o4750, 70_000, 65_535) == (found["own"].mode, found["own"].uid, found["own"].gid)
    assert (0o1777, 1, 2, 3) == (found["d"].mode, found["d"].uid, found["d"].gid, found["d"].mtime)


@pytest.mark.parametrize(
    ("changed", "is_compact"),
    [
        pytest.param({}, True, id="our own time and small numbers"),
        pytest.param({"mtime": 5}, False, id="another time"),
        pytest.param({"uid": 65_536}, False, id="a large owner"),
        pytest.param({"gid": 65_536}, False, id="a large group"),
    ],
)
def test_inode_is_short_only_where_nothing_is_lost(changed: Any, is_compact: bool) -> None:
    entry = Entry("a", "fifo", 0o600, 65_535, 65_535, MTIME)._replace(**changed)

    assert is_compact is read(Bench(), entry)["a"].is_compact


@pytest.mark.parametrize("device", [(1, 3), (259, 70_000), (4095, (1 << 20) - 1), (0, 256)])
def test_device_numbers_stay(device: tuple[int, int]) -> None:
    found = read(Bench(), Entry("a", "char", 0o666, device=device), Entry("b", "block", 0o660, device=device))

    assert {("char", device), ("block", device)} == {(found[path].kind, found[path].device) for path in "ab"}


def test_hard_links_are_one_inode_and_directories_count_theirs() -> None:
    bench = Bench()

    found = read(
        bench,
        Entry("d", "directory", 0o755),
        Entry("d/e", "directory", 0o755),
        file(bench, "a"),
        Entry("d/link", "hardlink", 0o644, target="a"),
    )

    assert found["a"] == found["d/link"]
    assert (2, 3, 2, 3) == tuple(found[path].links for path in ("a", "d", "d/e", ""))


@pytest.mark.parametrize("length", [1, 59, 4000, 4095])
def test_symlink_keeps_its_text(length: int) -> None:
    target = "x" * length

    assert target.encode() == read(Bench(), Entry("a", "symlink", 0o777, target=target))["a"].content


def test_extended_attributes_stay() -> None:
    bench = Bench()
    acls = (("system.posix_acl_access", b"\2\0\0\0"), ("system.posix_acl_default", b"\2\0\0\0"))
    large = (("trusted.overlay.opaque", b"y"), ("user.large", bytes(range(256)) * 20))

    found = read(
        bench,
        file(bench, "a")._replace(xattrs=ATTRIBUTES),
        Entry("d", "directory", 0o755, xattrs=acls),
        file(bench, "z", bytes(100))._replace(xattrs=large),
    )

    assert dict(ATTRIBUTES) == found["a"].xattrs
    assert dict(acls) == found["d"].xattrs
    assert (dict(large), bytes(100)) == (found["z"].xattrs, found["z"].content)


@pytest.mark.parametrize("length", [4000, 4100, 20_000])
def test_root_may_have_many_attributes(length: int) -> None:
    xattrs = (("user.large", b"x" * length),)

    bench = Bench()
    tree = bench.put([ROOT._replace(xattrs=xattrs)])
    image = bench.bytes_of(bench.run(erofs.RULE, erofs.ErofsOptions("test"), tree=tree))

    assert dict(xattrs) == Image(image).entries()[""].xattrs


def test_attributes_without_a_place_are_left_out_with_a_word() -> None:
    bench = Bench()
    xattrs = (("com.example", b"1"), ("system.nfs4_acl", b"2"), ("user.a", b"3"))

    found = read(bench, file(bench, "a")._replace(xattrs=xattrs))

    assert {"user.a": b"3"} == found["a"].xattrs
    assert ["EROFS has no place for 2 extended attributes, such as `com.example` of `a`"] == bench.warnings


def test_directory_of_many_blocks_is_sorted_by_bytes() -> None:
    bench = Bench()
    names = [f"{index:0{index % 200 + 5}}" for index in range(1000)] + [
        "\udcff",
        "!",
        "-",
        "é",
        "😀",
        "\ue000",
    ]

    found = read(
        bench, Entry("d", "directory", 0o755), *(Entry(f"d/{name}", "fifo", 0o600) for name in names)
    )

    assert {f"d/{name}" for name in names} == found.keys() - {"", "d"}


def test_names_of_255_bytes_fit_and_longer_ones_do_not() -> None:
    assert "n" * 255 in read(Bench(), Entry("n" * 255, "fifo", 0o600))

    with pytest.raises(RuleError, match="a name of 256 bytes, EROFS holds 255"):
        made(Bench(), Entry("n" * 256, "fifo", 0o600))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry("a", "char", 0o600, device=(4096, 0)), "device 4096:0, Linux knows"),
        (Entry("a", "fifo", 0o600, 1 << 32), "expected owner and group of `a` below 4294967296"),
        (Entry("a", "symlink", 0o777, target="x" * 4096), "a symlink of 4096 bytes"),
        (
            Entry("a", "fifo", 0o600, xattrs=(("user.a", bytes(65536)),)),
            "attribute `user.a` of `a` is too large",
        ),
        (
            Entry("a", "fifo", 0o600, xattrs=tuple((f"user.{name}", bytes(65000)) for name in "abcde")),
            "325040 bytes of extended attributes, EROFS holds 256 KiB: `a`",
        ),
    ],
    ids=["device", "owner", "symlink", "attribute", "attributes"],
)
def test_what_has_no_place_is_an_error(entry: Entry, message: str) -> None:
    with pytest.raises(RuleError, match=message):
        made(Bench(), entry)


def test_files_of_many_gigabytes_have_a_long_inode_and_are_one_slice() -> None:
    size = 5 << 30
    content = Slice(Digest("0" * 64, size), 0, size)
    entries = [ROOT, Entry("a", "file", 0o644, mtime=MTIME, content=content)]

    file_system = FileSystem(Tree.of(entries), mtime=MTIME)

    assert content in list(file_system.pieces())
    assert 2 + size // 4096 == file_system.blocks


def test_more_than_16_tib_is_an_error() -> None:
    size = 1 << 44
    entry = Entry("a", "file", 0o644, content=Slice(Digest("0" * 64, size), 0, size))

    with pytest.raises(RuleError, match="EROFS holds 16 TiB"):
        FileSystem(Tree.of([ROOT, entry]), mtime=MTIME)


def test_superblock_names_label_time_and_an_identifier_of_the_content() -> None:
    bench = Bench()
    one, two = (Image(made(bench, file(bench, "a", content))) for content in (b"1", b"2"))

    assert ("kitbuild", MTIME // 10**9) == (one.label, one.seconds)
    assert one.uuid != two.uuid
    assert (8, 2) == (one.uuid[6] >> 4, one.uuid[8] >> 6)


def test_empty_root_is_an_image() -> None:
    assert [""] == list(read(Bench()))


def test_fixed_tree_gives_fixed_bytes() -> None:
    def image() -> bytes:
        bench = Bench()
        return made(
            bench,
            file(bench, "a", bytes(5000)),
            file(bench, "b", b"b", 7)._replace(xattrs=ATTRIBUTES),
            Entry("c", "char", 0o600, device=(5, 1)),
            Entry("d", "hardlink", 0o644, target="a"),
            Entry("e", "symlink", 0o777, target="a"),
        )

    assert image() == image()
    assert (
        "856b134e883c1f859d38cf226f83805a372ea441d4d44b3a3180d36411a0b8c7"
        == hashlib.sha256(image()).hexdigest()
    )


def test_format_is_kernel_command_line_and_image_or_the_image_alone() -> None:
    kernel = Node("kernel", root.RULE, root.RootOptions(()))

    assert ["-kernel", "-cmdline", "-erofs.img"] == list(
        kernel_erofs.FORMAT.outputs(System((), kernel=kernel))
    )
    assert ["-erofs.img"] == list(kernel_erofs.FORMAT.outputs(System(())))


BENCH = Bench()
_CONTENTS = [BENCH.slice(bytes(size)) for size in (0, 1, 4000, 4060, 4096, 9000)]
_KINDS: list[Kind] = ["directory", "file", "file", "symlink", "fifo", "char"]


@st.composite
def trees(draw: st.DrawFn) -> list[Entry]:
    """Entries of a complete tree below the root, hard links among them."""
    entries: dict[str, Entry] = {}
    folders, files = [""], list[str]()
    for name in draw(st.lists(st.text("ab\udc80é.", min_size=1, max_size=4), max_size=20)):
        path = f"{draw(st.sampled_from(folders))}/{name}".lstrip("/")
        if name in (".", "..") or path in entries:
            continue
        if files and draw(st.integers(0, 5)) == 0:
            entries[path] = Entry(path, "hardlink", 0o644, target=draw(st.sampled_from(files)))
            continue
        kind = draw(st.sampled_from(_KINDS))
        entry = Entry(path, kind, draw(st.integers(0, 0o7777)), draw(st.sampled_from([0, 65_536])))
        entry = entry._replace(mtime=draw(st.sampled_from([0, MTIME])))
        if draw(st.booleans()):
            entry = entry._replace(xattrs=ATTRIBUTES)
        if kind == "directory":
            folders.append(path)
        elif kind == "file":
            files.append(path)
            entry = entry._replace(content=draw(st.sampled_from(_CONTENTS)))
        elif kind == "symlink":
            entry = entry._replace(
                target=name * draw(st.integers(1, 4095 // len(name.encode("utf-8", "surrogateescape"))))
            )
        entries[path] = entry
    return list(entries.values())


@given(trees())
@settings(max_examples=60, deadline=None)
def test_any_tree_reads_back(entries: list[Entry]) -> None:
    found = read(BENCH, *entries)

    by_path = {entry.path: entry for entry in entries}
    assert by_path.keys() == found.keys() - {""}
    for path, entry in by_path.items():
        shared = by_path[entry.target] if entry.kind == "hardlink" else entry
        content = entry.target.encode("utf-8", "surrogateescape") if entry.kind == "symlink" else b""
        expected = (shared.kind, shared.mode, shared.uid, shared.mtime, dict(shared.xattrs))
        actual = found[path]
        assert expected == (actual.kind, actual.mode, actual.uid, actual.mtime, actual.xattrs)
        if shared.kind in ("file", "symlink"):
            assert (BENCH.read(shared.content) or content) == actual.content
        assert found[shared.path].number == actual.number
