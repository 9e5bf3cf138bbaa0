"""Members of tar archives: those tarfile writes, and headers no program would write."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.rules.unpack import tar
from kitbuild.rules.unpack.tar import Member, TarError, members
from tests.support.tars import (
    END,
    base256,
    content_of,
    entry,
    header,
    padded,
    pax,
    read,
    reader,
    record,
    sealed,
)

FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def written(*infos: tarfile.TarInfo, format: int = tarfile.PAX_FORMAT, content: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=format, encoding="utf-8", errors="surrogateescape"
    ) as archive:
        for info in infos:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def only(archive: bytes) -> Member:
    (member,) = read(archive)
    return member


def reason(archive: bytes) -> str:
    with pytest.raises(TarError) as caught:
        read(archive)
    return caught.value.reason


# -- what tarfile writes


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("length", [1, 99, 100, 101, 154, 155, 156, 255, 256])
def test_long_names_read_back(format: int, length: int) -> None:
    name = ("d/" * length)[: length - 1] + "n"

    assert only(written(tarfile.TarInfo(name), format=format)).name == name


@pytest.mark.parametrize("format", FORMATS[1:])
@pytest.mark.parametrize("length", [100, 101, 155, 156, 256, 4095])
def test_long_links_read_back(format: int, length: int) -> None:
    info = tarfile.TarInfo("n/" * (length // 2))
    info.type, info.linkname = tarfile.SYMTYPE, "t" * length

    member = only(written(info, format=format))

    assert (member.type, member.link) == ("2", "t" * length)
    assert member.name.rstrip("/") == info.name.rstrip("/")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", ["grün/日本", "caf\udce9", "a\nb", "a b\t"])
def test_names_of_any_bytes_read_back(format: int, name: str) -> None:
    assert only(written(tarfile.TarInfo(name), format=format)).name == name


@pytest.mark.parametrize("format", FORMATS[1:])
def test_large_ids_read_back(format: int) -> None:
    info = tarfile.TarInfo("a")
    info.uid, info.gid = 1 << 21, (1 << 32) - 2

    member = only(written(info, format=format))

    assert (member.uid, member.gid) == (1 << 21, (1 << 32) - 2)


@pytest.mark.parametrize(
    ("mtime", "expected"),
    [
        pytest.param(-1, -1_000_000_000, id="before 1970"),
        pytest.param(-1.5, -1_500_000_000, id="half a second before that"),
        pytest.param(0.25, 250_000_000, id="fraction"),
        pytest.param(1 << 34, (1 << 34) * 1_000_000_000, id="after 2242"),
    ],
)
def test_times_read_back(mtime: float, expected: int) -> None:
    info = tarfile.TarInfo("a")
    info.mtime = mtime

    assert only(written(info)).mtime == expected


def test_time_before_1970_in_base_256_reads_back() -> None:
    info = tarfile.TarInfo("a")
    info.mtime = -86_400

    assert only(written(info, format=tarfile.GNU_FORMAT)).mtime == -86_400 * 1_000_000_000


@pytest.mark.parametrize("format", FORMATS)
def test_every_type_reads_back(format: int) -> None:
    types = [b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    infos = []
    for number, kind in enumerate(types):
        info = tarfile.TarInfo(f"n{number}")
        info.type, info.linkname = kind, "n0" if kind in b"12" else ""
        info.devmajor, info.devminor = 8, 17
        infos.append(info)

    found = read(written(*infos, format=format))

    assert ["0", "1", "2", "3", "4", "5", "6", "0"] == [member.type for member in found]
    assert [(8, 17), (8, 17)] == [member.device for member in found if member.type in "34"]
    assert {(0, 0)} == {member.device for member in found if member.type not in "34"}


@st.composite
def infos(draw: st.DrawFn) -> tarfile.TarInfo:
    names = st.binary(min_size=1, max_size=130).filter(
        lambda name: b"\0" not in name and not name.endswith(b"/")
    )
    info = tarfile.TarInfo(draw(names).decode("utf-8", "surrogateescape"))
    info.type = draw(st.sampled_from([b"0", b"1", b"2", b"3", b"4", b"5", b"6"]))
    info.mode = draw(st.integers(0, 0o7777))
    info.uid, info.gid = draw(st.integers(0, (1 << 32) - 1)), draw(st.integers(0, (1 << 32) - 1))
    info.mtime = draw(st.integers(-(1 << 36), 1 << 36))
    if info.type in b"12":
        info.linkname = draw(names).decode("utf-8", "surrogateescape")
    if info.type in b"34":
        info.devmajor, info.devminor = draw(st.integers(0, 0xFFF)), draw(st.integers(0, 0xFFFFF))
    return info


@given(st.lists(infos(), max_size=4), st.binary(max_size=1100), st.sampled_from(FORMATS[1:]))
def test_what_tarfile_writes_reads_back_equal(
    infos: list[tarfile.TarInfo], content: bytes, format: int
) -> None:
    archive = written(*infos, format=format, content=content)

    found = read(archive)

    assert [info.name for info in infos] == [member.name.removesuffix("/") for member in found]
    for info, member in zip(infos, found, strict=True):
        assert (info.mode, info.uid, info.gid) == (member.mode, member.uid, member.gid)
        assert info.mtime * 1_000_000_000 == member.mtime
        assert info.type.decode() == member.type
        assert info.linkname == member.link
        assert (content if info.isreg() else b"") == content_of(member, archive)


# -- headers by hand


def test_old_archive_has_neither_prefix_nor_types() -> None:
    archive = (
        header("dir/", type=b"\0", magic=b"", prefix=b"not this")
        + entry("dir/file", b"content", type=b"\0", magic=b"")
        + END
    )

    found = read(archive)

    assert [("dir/", "5"), ("dir/file", "0")] == [(member.name, member.type) for member in found]


def test_prefix_of_ustar_stands_before_the_name() -> None:
    assert only(header("name", prefix=b"p" * 155) + END).name == "p" * 155 + "/name"


def test_times_in_the_prefix_of_gnu_are_no_name() -> None:
    assert only(header("name", magic=b"ustar  \0", prefix=b"14000000000") + END).name == "name"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        pytest.param(b"0000644\0", 0o644, id="usual"),
        pytest.param(b"   644 \0", 0o644, id="blanks"),
        pytest.param(b"\0000644\0", 0o644, id="leading NUL"),
        pytest.param(b"644\0junk", 0o644, id="leftovers behind NUL"),
        pytest.param(b"00000644", 0o644, id="no end"),
        pytest.param(bytes(8), 0, id="empty"),
        pytest.param(base256(0o644, 8), 0o644, id="base 256"),
        pytest.param(base256(-3, 8), -3, id="negative base 256"),
    ],
)
def test_numbers_are_read_the_way_writers_write_them(field: bytes, expected: int) -> None:
    assert only(header("a", mode=field) + END).mode == expected


def test_number_that_is_none_is_refused() -> None:
    assert reason(header("a", mode=b"rw-r--r-") + END).startswith("expected an octal number, got b'rw-r")


def test_size_in_base_256_is_a_size() -> None:
    archive = header("a", size=base256(3, 12)) + padded(b"abc") + header("b") + END

    assert ["a", "b"] == [member.name for member in read(archive)]


@pytest.mark.parametrize("type", [b"0", b"x", b"g", b"L", b"K"])
def test_negative_size_is_refused(type: bytes) -> None:
    archive = header("before") + header("a", size=base256(-1024, 12), type=type) + END

    assert reason(archive) in ("a size of -1024 bytes", "an extended header is cut off or too large")


@pytest.mark.parametrize("type", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_no_data_follows_what_is_no_file_whatever_size_it_announces(type: bytes) -> None:
    archive = header("a", type=type, link=b"b", size=100) + header("next") + END

    assert [("a", 0), ("next", 0)] == [(member.name, member.size) for member in read(archive)]


def test_data_of_a_gnu_directory_listing_is_skipped() -> None:
    archive = entry("dir/", b"Yfile\0\0", type=b"D") + header("next") + END

    assert [("dir/", "D"), ("next", "0")] == [(member.name, member.type) for member in read(archive)]


def test_volume_label_is_no_member() -> None:
    assert ["a"] == [member.name for member in read(header("label", type=b"V") + header("a") + END)]


def test_size_of_more_than_8_gib_stands_in_a_record() -> None:
    size = (8 << 30) + 1
    archive = pax({"size": str(size)}) + header("a")
    length = len(archive) + size + -size % 512

    def read(offset: int, wanted: int) -> bytes:
        return (archive[offset : offset + wanted]).ljust(min(wanted, length - offset), b"\0")

    (member,) = members(read, length)

    assert (member.size, member.offset) == (size, len(archive))


# -- extended headers


def test_records_replace_the_fields() -> None:
    values = {"path": "long", "linkpath": "to", "uid": "5000000", "gid": "0", "mtime": "1.5"}

    member = only(pax(values) + header("short", type=b"2", link=b"from", gid=7, mtime=9) + END)

    assert ("long", "to", 5_000_000, 0, 1_500_000_000) == (
        member.name,
        member.link,
        member.uid,
        member.gid,
        member.mtime,
    )


def test_records_are_those_of_one_member() -> None:
    archive = pax({"path": "first"}) + header("a") + header("b") + END

    assert ["first", "b"] == [member.name for member in read(archive)]


def test_global_records_are_those_of_all_members_that_have_none_of_their_own() -> None:
    archive = pax({"uid": "7"}, type=b"g") + header("a", uid=1) + pax({"uid": "8"}) + header("b") + END

    assert [7, 8] == [member.uid for member in read(archive)]


def test_record_without_a_value_lets_the_field_count() -> None:
    empty = {"path": "", "linkpath": "", "uid": "", "mtime": "", "size": ""}

    member = only(
        pax({"uid": "9"}, type=b"g")
        + pax(empty)
        + header("a", type=b"2", link=b"b", uid=3, mtime=4)
        + padded(b"")
        + END
    )

    assert ("a", "b", 3, 4_000_000_000) == (member.name, member.link, member.uid, member.mtime)


def test_name_of_gnu_counts_up_to_its_nul() -> None:
    archive = entry("././@LongLink", b"n" * 300 + b"\0rest", type=b"L") + header("n" * 100) + END

    assert only(archive).name == "n" * 300


def test_extended_attributes_come_in_two_ways_and_the_plain_one_counts() -> None:
    archive = (
        pax(
            [
                ("LIBARCHIVE.xattr.user.a%20b", b"AAE"),
                ("LIBARCHIVE.xattr.user.both", b"AAE="),
                ("SCHILY.xattr.user.both", b"plain\0\n="),
                ("SCHILY.xattr.user.empty", b""),
            ]
        )
        + header("a")
        + END
    )

    expected = (("user.a b", b"\0\1"), ("user.both", b"plain\0\n="), ("user.empty", b""))
    assert expected == only(archive).xattrs


@pytest.mark.parametrize(
    ("extended", "expected"),
    [
        pytest.param(entry("x", b"no length\n", type=b"x"), "malformed", id="no length"),
        pytest.param(entry("x", b"99 a=b\n", type=b"x"), "malformed", id="beyond its end"),
        pytest.param(entry("x", b"7 a=bc", type=b"x"), "malformed", id="no newline"),
        pytest.param(entry("x", b"6 abc\n", type=b"x"), "malformed", id="no equals sign"),
        pytest.param(entry("x", b"0 a=b\n", type=b"x"), "malformed", id="empty record"),
        pytest.param(entry("x", b"-9 a=b\n", type=b"x"), "malformed", id="negative"),
        pytest.param(header("x", type=b"x", size=9 << 20), "cut off or too large", id="too large"),
        pytest.param(header("x", type=b"L", size=1 << 20), "cut off or too large", id="cut off"),
        pytest.param(entry("x", bytes(70_000), type=b"L"), "longer than 64 KiB", id="long name"),
        pytest.param(pax({"uid": "1e5"}), "a number for uid, got b'1e5'", id="id"),
        pytest.param(pax({"size": "9" * 5000}), "a number for size, got b'999", id="endless number"),
        pytest.param(pax({"mtime": "now"}), "a time for mtime, got 'now'", id="time"),
        pytest.param(pax({"mtime": "1.-5"}), "a time for mtime", id="fraction of a time"),
        pytest.param(pax({"mtime": "1" * 5000}), "a time for mtime", id="endless time"),
        pytest.param(pax({"LIBARCHIVE.xattr.a": "AAAAA"}), "not base64", id="attribute"),
    ],
)
def test_broken_extended_headers_are_refused(extended: bytes, expected: str) -> None:
    assert expected in reason(extended + header("a") + END)


def test_zeros_end_an_extended_header() -> None:
    assert only(entry("x", record("path", "b") + bytes(9), type=b"x") + header("a") + END).name == "b"


@pytest.mark.parametrize("type", [b"x", b"g"])
def test_extended_headers_do_not_pile_up(type: bytes) -> None:
    one = pax({f"k{type!r}": b"v" * (1 << 20)}, type=type)

    assert reason(one * 5 + header("a") + END) == "an extended header is cut off or too large"


def test_many_members_may_have_large_extended_headers() -> None:
    one = pax({"comment": b"v" * (3 << 19)}) + header("a")

    assert len(read(one * 5 + END)) == 5


def test_extended_header_without_its_member_is_refused() -> None:
    assert reason(pax({"path": "a"})) == "the archive ends after an extended header"


# -- ends


@pytest.mark.parametrize("end", [b"", bytes(512), END, bytes(10240)])
def test_archive_ends_with_any_number_of_zero_blocks(end: bytes) -> None:
    assert ["a"] == [member.name for member in read(entry("a", b"1") + end)]


def test_what_follows_a_zero_block_is_not_looked_at() -> None:
    assert ["a"] == [member.name for member in read(header("a") + END + header("b"))]


def test_last_padding_may_be_missing() -> None:
    assert only(header("a", size=3) + b"abc").size == 3


@pytest.mark.parametrize("kept", range(512, 512 + 700, 50))
def test_content_that_is_cut_off_is_refused(kept: int) -> None:
    archive = entry("a", b"x" * 700)[:kept]

    with pytest.raises(TarError, match="the archive ends inside this entry") as caught:
        read(archive)

    assert (caught.value.name, caught.value.offset) == ("a", 0)


def test_header_that_is_cut_off_is_refused() -> None:
    assert reason(header("a") + header("b")[:-1]) == "the archive ends inside a header"


def test_something_else_is_no_archive() -> None:
    assert reason(b"\x7fELF" * 512) == "expected an octal number, got b'\\x7fELF\\x7fELF'"
    assert "checksum" in reason(sealed(header("a"))[:-1] + b"x")


# -- sparse files

CONTENT = b"abc" + bytes(997) + b"defgh" + bytes(495)
PIECES = ((0, 3), (1000, 5))
STORED = b"abcdefgh"


def old_sparse() -> bytes:
    pairs = b"".join(b"%011o\0%011o\0" % pair for pair in PIECES)
    return header("a", type=b"S", magic=b"ustar  \0", size=8, at={386: pairs, 483: b"%011o\0" % 1500})


def pax_sparse(records: list[tuple[str, str]]) -> bytes:
    return pax([*records]) + entry("GNUSparseFile.0/a", STORED)


SPARSE: dict[str, Callable[[], bytes]] = {
    "old": lambda: old_sparse() + padded(STORED),
    "0.0": lambda: pax_sparse(
        [
            ("GNU.sparse.size", "1500"),
            ("GNU.sparse.numblocks", "2"),
            ("GNU.sparse.offset", "0"),
            ("GNU.sparse.numbytes", "3"),
            ("GNU.sparse.offset", "1000"),
            ("GNU.sparse.numbytes", "5"),
            ("GNU.sparse.name", "a"),
        ]
    ),
    "0.1": lambda: pax_sparse(
        [("GNU.sparse.size", "1500"), ("GNU.sparse.map", "0,3,1000,5"), ("GNU.sparse.name", "a")]
    ),
    "1.0": lambda: (
        pax(
            {
                "GNU.sparse.major": "1",
                "GNU.sparse.minor": "0",
                "GNU.sparse.name": "a",
                "GNU.sparse.realsize": "1500",
            }
        )
        + entry("GNUSparseFile.0/a", padded(b"2\n0\n3\n1000\n5\n") + STORED)
    ),
}


@pytest.mark.parametrize("way", SPARSE)
def test_sparse_file_reads_back(way: str) -> None:
    archive = SPARSE[way]() + header("next") + END

    member, following = read(archive)

    assert ("a", "0", PIECES, 1500) == (member.name, member.type, member.sparse, member.real_size)
    assert CONTENT == content_of(member, archive)
    assert following.name == "next"


def test_old_sparse_map_goes_on_in_further_blocks() -> None:
    def block(pairs: list[tuple[int, int]], more: bool) -> bytes:
        text = b"".join(b"%011o\0%011o\0" % pair for pair in pairs)
        return text.ljust(504, b"\0") + bytes([more]) + bytes(7)

    pairs = [(2 * number, 1) for number in range(30)]
    first = b"".join(b"%011o\0%011o\0" % pair for pair in pairs[:4])
    archive = (
        header("a", type=b"S", size=30, at={386: first, 482: b"\1", 483: b"%011o\0" % 60})
        + block(pairs[4:25], True)
        + block(pairs[25:], False)
        + padded(b"x" * 30)
        + header("next")
        + END
    )

    member, following = read(archive)

    assert tuple(pairs) == member.sparse
    assert b"x\0" * 30 == content_of(member, archive)
    assert following.name == "next"


def test_map_before_the_data_may_take_many_blocks() -> None:
    pairs = [(2 * number, 1) for number in range(400)]
    text = b"400\n" + b"".join(b"%d\n%d\n" % pair for pair in pairs)
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "800"}
    archive = pax(records) + entry("a", padded(text) + b"x" * 400) + END

    member = only(archive)

    assert tuple(pairs) == member.sparse
    assert b"x\0" * 400 == content_of(member, archive)


def one_dot_zero(text: bytes, real_size: str = "1500") -> bytes:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": real_size}
    return pax(records) + entry("a", text) + END


@pytest.mark.parametrize(
    ("archive", "expected"),
    [
        pytest.param(one_dot_zero(padded(b"x\n")), "malformed", id="no number"),
        pytest.param(one_dot_zero(padded(b"1" * 600)), "too large", id="endless number"),
        pytest.param(one_dot_zero(padded(b"9\n1\n")), "cut off", id="fewer lines than announced"),
        pytest.param(one_dot_zero(b"1\n0\n3\n"), "does not fit", id="not a whole block"),
        pytest.param(
            one_dot_zero(padded(b"2\n5\n1\n0\n1\n") + b"xx"), "goes backwards", id="pieces out of order"
        ),
        pytest.param(one_dot_zero(padded(b"1\n0\n-3\n") + b"abc"), "goes backwards", id="negative piece"),
        pytest.param(one_dot_zero(padded(b"1\n0\n3\n") + b"ab"), "does not fit", id="more than is stored"),
        pytest.param(
            one_dot_zero(padded(b"1\n0\n3\n") + b"abc", "2"), "does not fit", id="beyond the file's size"
        ),
        pytest.param(one_dot_zero(padded(b"0\n"), ""), "malformed", id="no size"),
        pytest.param(one_dot_zero(padded(b"0\n"), "-1"), "does not fit", id="negative size"),
        pytest.param(
            pax({"GNU.sparse.size": "9", "GNU.sparse.map": "0,1,2"}) + entry("a", b"x") + END,
            "malformed",
            id="half a pair",
        ),
        pytest.param(
            header("a", type=b"S", at={482: b"\1", 483: b"0\0"}),
            "cut off or too large",
            id="no further block",
        ),
    ],
)
def test_broken_sparse_maps_are_refused(archive: bytes, expected: str) -> None:
    assert expected in reason(archive)


def test_endless_sparse_map_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "_MAX_RECORD_BYTES", 4096)
    block = b"1\0".ljust(504, b"\0") + b"\1" + bytes(7)

    archive = header("a", type=b"S", at={482: b"\1", 483: b"7777\0"}) + block * 20

    assert reason(archive) == "a sparse map is cut off or too large"


def test_records_of_a_sparse_file_mean_nothing_for_a_directory() -> None:
    member = only(pax({"GNU.sparse.size": "9", "GNU.sparse.map": "0,1"}) + header("d", type=b"5") + END)

    assert (member.sparse, member.real_size) == (None, 0)


# -- damage

SMALL = (
    pax({"path": "long/name", "SCHILY.xattr.user.a": "1", "mtime": "1.5"})
    + entry("a", b"content")
    + entry("././@LongLink", b"n" * 120 + b"\0", type=b"L")
    + header("d/", type=b"5")
    + SPARSE["old"]()
    + SPARSE["0.1"]()
    + SPARSE["1.0"]()
    + END
)


def survives(archive: bytes) -> None:
    try:
        found = read(archive)
    except TarError:
        return
    assert len(found) <= len(archive) // 512


def test_archive_cut_off_at_any_byte_is_refused_or_read() -> None:
    whole = read(SMALL)

    for length in range(len(SMALL)):
        try:
            found = read(SMALL[:length])
        except TarError as error:
            assert error.offset < length + 512
        else:
            assert found == whole[: len(found)]


def test_archive_with_any_bit_flipped_is_refused_or_read() -> None:
    # Most end at the checksum; what is behind it meets the next test, which makes that anew.
    chance = random.Random(1)
    for _ in range(4000):
        damaged = bytearray(SMALL)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        survives(bytes(damaged))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damage_below_a_right_checksum_is_refused_or_read(changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(SMALL)
    for offset, value in changes:
        damaged[offset] = value
        start = offset - offset % 512
        if damaged[start + 257 : start + 262] == b"ustar":
            damaged[start : start + 512] = sealed(damaged[start : start + 512])

    survives(bytes(damaged))


@given(st.binary(max_size=2000))
def test_random_bytes_are_refused_or_read(content: bytes) -> None:
    survives(content)


def test_error_names_the_member_and_the_place() -> None:
    archive = header("a") + header("b", size=9000) + END

    with pytest.raises(TarError) as caught:
        list(members(reader(archive), len(archive)))

    assert ("b", 512) == (caught.value.name, caught.value.offset)
