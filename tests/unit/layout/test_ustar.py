"""Tar headers: by hand from the rules LinuxKit's tars follow, and read back by tarfile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.rules.layout.ustar import TRAILER, header, pieces
from kitbuild.system import MTIME
from kitbuild.tree import Entry, Kind
from tests.support.tars import read
from tests.support.trees import Bench

BENCH = Bench()


def packed(entries: list[Entry], records: Mapping[str, str] = {}) -> bytes:
    found = pieces((entry, records) for entry in entries)
    return b"".join(piece if isinstance(piece, bytes) else BENCH.read(piece) for piece in found) + TRAILER


def infos(archive: bytes) -> Iterator[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as opened:
        yield from opened


def back(entry: Entry, records: Mapping[str, str] = {}) -> tarfile.TarInfo:
    (info,) = infos(packed([entry], records))
    return info


def block(fields: bytes) -> bytes:
    """A block whose checksum field is eight blanks, with the checksum."""
    assert fields[148:156] == b" " * 8
    return (fields[:148] + b"%06o\0 " % sum(fields) + fields[156:]).ljust(512, b"\0")


# -- byte for byte


def test_header_without_records_is_plain_ustar() -> None:
    expected = block(
        b"Dockerfile".ljust(100, b"\0")
        + b"0000644\0" b"0000000\0" b"0000000\0" b"00000000066\0" b"13075437410\0"
        + b" " * 8
        + b"0"
        + bytes(100)
        + b"ustar\0" b"00"
        + bytes(64)
        + b"0000000\0" b"0000000\0"
    )  # fmt: skip

    assert expected == header(Entry("Dockerfile", "file", 0o644, mtime=MTIME), {}, size=54)


def test_records_stand_in_a_header_before() -> None:
    records = {"LINUXKIT.source": "docker.io/t/a:v1", "LINUXKIT.location": "init[0]"}
    body = b"29 LINUXKIT.location=init[0]\n" b"36 LINUXKIT.source=docker.io/t/a:v1\n"  # fmt: skip
    extended = block(
        b"boot/PaxHeaders.0/kernel".ljust(100, b"\0")
        + b"0000000\0" b"0000000\0" b"0000000\0" + b"%011o\0" % len(body) + b"00000000000\0"
        + b" " * 8
        + b"x"
        + bytes(100)
        + b"ustar\0" b"00"
    )  # fmt: skip
    main = block(
        b"boot/kernel".ljust(100, b"\0")
        + b"0000755\0" b"0000001\0" b"0000002\0" b"00000000000\0" b"13075437410\0"
        + b" " * 8
        + b"0"
        + bytes(100)
        + b"ustar\0" b"00"
        + bytes(64)
        + b"0000000\0" b"0000000\0"
    )  # fmt: skip

    found = header(Entry("boot/kernel", "file", 0o755, 1, 2, MTIME), records)

    assert extended + body.ljust(512, b"\0") + main == found


def test_device_has_its_numbers() -> None:
    found = header(Entry("null", "char", 0o666, device=(1, 3)), {})

    assert (b"3", b"0000001\0" b"0000003\0") == (found[156:157], found[329:345])  # fmt: skip


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("boot/cmdline", b"boot/PaxHeaders.0/cmdline"),
        ("boot", b"PaxHeaders.0/boot"),
        ("", b"PaxHeaders.0"),
        ("ä/bö", b"/PaxHeaders.0/b"),
        ("d/" * 50 + "name", b"d/" * 50),
        ("d" * 99 + "/name", b"d" * 99),
    ],
)
def test_name_of_the_header_before(path: str, expected: bytes) -> None:
    name = header(Entry(path, "file", 0o644), {"k": "v"})[:100].rstrip(b"\0")

    assert expected.rstrip(b"/") == name


def test_records_stand_in_the_order_of_their_bytes() -> None:
    entry = Entry(
        "ü" * 90,
        "symlink",
        0o777,
        1 << 21,
        1 << 22,
        1_500_000_000,
        target="t" * 101,
        xattrs=(("user.a", b"\0\xff"), ("user.b", b"")),
    )

    found = header(entry, {"LINUXKIT.source": "s", "LINUXKIT.location": "l"})
    body = found[512 : 512 + int(found[124:135], 8)]

    keys = [line.split(b"=")[0].split(b" ")[1] for line in body.split(b"\n")[:-1]]
    assert [
        b"LINUXKIT.location",
        b"LINUXKIT.source",
        b"SCHILY.xattr.user.a",
        b"SCHILY.xattr.user.b",
        b"gid",
        b"linkpath",
        b"mtime",
        b"path",
        b"uid",
    ] == keys
    assert b"13 mtime=1.5\n" in body


@pytest.mark.parametrize(
    ("mtime", "expected"),
    [
        (0, None),
        (((1 << 33) - 1) * 10**9, None),
        ((1 << 33) * 10**9, b"8589934592"),
        (1_700_000_000_500_000_000, b"1700000000.5"),
        (1, b"0.000000001"),
        (-1_000_000_000, b"-1"),
        (-1_500_000_000, b"-1.5"),
        (-1, b"-0.000000001"),
    ],
)
def test_times_that_do_not_fit_stand_in_a_record(mtime: int, expected: bytes | None) -> None:
    found = header(Entry("a", "file", 0o644, mtime=mtime), {})

    assert expected is None if len(found) == 512 else b" mtime=%s\n" % expected in found
    (member,) = read(found + TRAILER)
    assert mtime == member.mtime


@pytest.mark.parametrize(("length", "blocks"), [(99, 1), (100, 1), (101, 3), (155, 3), (4095, 11)])
def test_names_of_more_than_100_bytes_stand_in_a_record(length: int, blocks: int) -> None:
    path = ("d/" * length)[: length - 1] + "n"

    assert (path, 512 * blocks) == (
        back(Entry(path, "file", 0o644)).name,
        len(header(Entry(path, "file", 0o644), {})),
    )


def test_name_that_is_cut_behind_a_slash_ends_before_it() -> None:
    found = header(Entry("d" * 99 + "/n", "file", 0o644), {})

    assert b"d" * 99 + b"\0" == found[1024:1124]


@pytest.mark.parametrize("size", [(1 << 33) - 1, 1 << 33, 1 << 60])
def test_large_sizes_read_back(size: int) -> None:
    found = header(Entry("a", "file", 0o644), {}, size=size)

    assert (b" size=%d\n" % size in found) == (size >= 1 << 33)
    assert (0 if size >= 1 << 33 else size) == int(found[-512:][124:135], 8)


def test_length_of_a_record_counts_its_own_digits() -> None:
    for length in [*range(80, 110), *range(980, 1010)]:
        assert "v" * length == back(Entry("a", "file", 0o644), {"key": "v" * length}).pax_headers["key"]


# -- read back


KINDS: list[Kind] = ["file", "hardlink", "symlink", "char", "block", "directory", "fifo"]
NAMES = st.lists(
    st.binary(min_size=1, max_size=120).filter(lambda name: not {0, 0x2F} & set(name)), min_size=1, max_size=3
).map(lambda parts: b"/".join(parts).decode("utf-8", "surrogateescape"))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from(KINDS))
    ids = st.integers(0, (1 << 32) - 1)
    return Entry(
        draw(NAMES),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(ids),
        draw(ids),
        draw(st.integers(-(1 << 62), 1 << 62)),
        BENCH.slice(draw(st.binary(max_size=600))) if kind == "file" else None,
        draw(NAMES) if kind in ("hardlink", "symlink") else "",
        (draw(st.integers(0, 0xFFF)), draw(st.integers(0, 0xFFFFF))) if kind in ("char", "block") else (0, 0),
        tuple(
            sorted(
                draw(st.dictionaries(st.text("abc.", min_size=1), st.binary(max_size=9), max_size=2)).items()
            )
        ),
    )


@given(st.lists(entries(), max_size=4))
def test_what_is_written_reads_back_equal(entries: list[Entry]) -> None:
    archive = packed(entries, {"LINUXKIT.source": "x"})

    members = read(archive)

    assert [
        (entry.path, entry.mode, entry.uid, entry.gid, entry.mtime, entry.target, entry.device, entry.xattrs)
        for entry in entries
    ] == [
        (found.name, found.mode, found.uid, found.gid, found.mtime, found.link, found.device, found.xattrs)
        for found in members
    ]
    contents = [archive[found.offset : found.offset + found.size] for found in members]
    assert [BENCH.read(entry.content) for entry in entries] == contents


@given(entries())
def test_tarfile_reads_the_same(entry: Entry) -> None:
    info = back(entry)

    assert (entry.path, entry.mode, entry.uid, entry.gid) == (info.name, info.mode, info.uid, info.gid)
    assert (entry.target, entry.size) == (info.linkname, info.size)
    assert entry.mtime / 10**9 == pytest.approx(info.mtime)
