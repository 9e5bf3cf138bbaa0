from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.extents import Extents, Literal, Part, Slice, Zeros, concat, padding

CONTENT = {Digest.of(content): content for content in (b"first blob", b"the second", b"")}
FIRST, SECOND, EMPTY = CONTENT


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    blob = draw(st.sampled_from(list(CONTENT)))
    offset = draw(st.integers(0, blob.size))
    return Slice(blob, offset, draw(st.integers(0, blob.size - offset)))


def parts() -> st.SearchStrategy[list[Part]]:
    zeros = st.integers(0, 20).map(Zeros)
    literals = st.binary(max_size=20).map(Literal)
    return st.lists(st.one_of(slices(), zeros, literals), max_size=12)


def content_of(described: Sequence[Part]) -> bytes:
    def piece(part: Part) -> bytes:
        if isinstance(part, Slice):
            return CONTENT[part.blob][part.offset : part.offset + part.size]
        return part.content if isinstance(part, Literal) else bytes(part.size)

    return b"".join(map(piece, described))


def lines_of(encoded: bytes) -> list[bytes]:
    return encoded.splitlines(keepends=True)


@given(parts())
def test_encoded_extents_read_back(given_parts: list[Part]) -> None:
    extents = Extents.of(given_parts)

    decoded = Extents.decode(lines_of(extents.encode()))

    assert extents == decoded


@given(parts())
def test_joining_keeps_the_content(given_parts: list[Part]) -> None:
    extents = Extents.of(given_parts)

    assert content_of(given_parts) == content_of(extents.parts)
    assert len(content_of(given_parts)) == extents.size


@given(parts())
def test_extents_are_canonical_however_they_were_cut(given_parts: list[Part]) -> None:
    extents = Extents.of(given_parts)

    again = Extents.of(cut for part in extents.parts for cut in halves(part))

    assert extents == again
    assert all(part.size for part in extents.parts)


def halves(part: Part) -> list[Part]:
    half = part.size // 2
    if isinstance(part, Slice):
        return [Slice(part.blob, part.offset, half), Slice(part.blob, part.offset + half, part.size - half)]
    if isinstance(part, Literal):
        return [Literal(part.content[:half]), Literal(part.content[half:])]
    return [Zeros(half), Zeros(part.size - half)]


@given(parts(), parts())
def test_concat_is_one_after_another(left: list[Part], right: list[Part]) -> None:
    both = concat([Extents.of(left), Extents.of(right)])

    assert Extents.of(left + right) == both


@pytest.mark.parametrize(
    ("given_parts", "expected"),
    [
        pytest.param([], (), id="nothing"),
        pytest.param([Zeros(0), Literal(b""), Slice(FIRST, 3, 0)], (), id="empty parts"),
        pytest.param([Zeros(1), Zeros(2)], (Zeros(3),), id="zeros join"),
        pytest.param([Literal(b"a"), Literal(b"b")], (Literal(b"ab"),), id="literals join"),
        pytest.param([Zeros(1), Literal(b""), Zeros(2)], (Zeros(3),), id="join over an empty part"),
        pytest.param(
            [Slice(FIRST, 0, 4), Slice(FIRST, 4, 6)], (Slice(FIRST, 0, 10),), id="adjacent slices join"
        ),
        pytest.param(
            [Slice(FIRST, 0, 4), Slice(FIRST, 5, 5)], (Slice(FIRST, 0, 4), Slice(FIRST, 5, 5)), id="gap"
        ),
        pytest.param(
            [Slice(FIRST, 4, 6), Slice(FIRST, 0, 4)], (Slice(FIRST, 4, 6), Slice(FIRST, 0, 4)), id="backwards"
        ),
        pytest.param(
            [Slice(FIRST, 0, 4), Slice(SECOND, 4, 6)],
            (Slice(FIRST, 0, 4), Slice(SECOND, 4, 6)),
            id="other blob",
        ),
        pytest.param([Literal(b"\0"), Zeros(1)], (Literal(b"\0"), Zeros(1)), id="kinds stay apart"),
    ],
)
def test_neighbours_join_only_where_the_content_goes_on(
    given_parts: list[Part], expected: tuple[Part, ...]
) -> None:
    assert expected == Extents.of(given_parts).parts


@pytest.mark.parametrize(
    ("offset", "size"),
    [
        pytest.param(-1, 2, id="before the start"),
        pytest.param(0, 11, id="past the end"),
        pytest.param(11, 0, id="empty past the end"),
        pytest.param(5, -1, id="negative size"),
    ],
)
def test_slice_outside_its_blob_is_refused(offset: int, size: int) -> None:
    with pytest.raises(ValueError, match="lies outside its blob of 10 bytes"):
        Extents.of([Slice(FIRST, offset, size)])


def test_whole_blob_is_one_slice() -> None:
    assert (Slice(FIRST, 0, 10),) == Extents.whole(FIRST).parts
    assert Extents.whole(EMPTY).parts == ()


def test_blobs_are_listed_once_in_order_of_first_use() -> None:
    extents = Extents.of([Slice(SECOND, 0, 1), Slice(FIRST, 0, 1), Zeros(1), Slice(SECOND, 5, 1)])

    assert extents.blobs() == (SECOND, FIRST)


def test_canonical_bytes_are_as_documented() -> None:
    extents = Extents.of([Literal(b"head"), Slice(SECOND, 0, 1), Zeros(3), Slice(FIRST, 2, 4)])

    expected = f"kitbuild-extents 1\nB {SECOND.hex} 10\nB {FIRST.hex} 10\nL aGVhZA==\nS 0 0 1\nZ 3\nS 1 2 4\n"
    assert expected.encode() == extents.encode()


@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"kitbuild-tree 1\n", id="other magic"),
        pytest.param(b"kitbuild-extents 1\nX 1\n", id="unknown mark"),
        pytest.param(b"kitbuild-extents 1\nZ many\n", id="size is no number"),
        pytest.param(b"kitbuild-extents 1\nL !!!!\n", id="not base64"),
        pytest.param(b"kitbuild-extents 1\nB 00 1\n", id="short digest"),
        pytest.param(
            f"kitbuild-extents 1\nB {FIRST.hex} 10\nS 0 8 3\n".encode(), id="slice outside its blob"
        ),
        pytest.param(f"kitbuild-extents 1\nB {FIRST.hex} 10\nS 0 8\n".encode(), id="field missing"),
    ],
)
def test_other_bytes_are_no_extents(encoded: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Extents.decode(lines_of(encoded))


@given(st.integers(0, 1 << 40), st.sampled_from([1, 2, 4, 512, 2048, 4096, 1 << 20]))
def test_padding_reaches_the_next_multiple_and_no_further(size: int, alignment: int) -> None:
    zeros = padding(size, alignment)

    assert (size + zeros.size) % alignment == 0
    assert 0 <= zeros.size < alignment


@given(parts(), st.data())
def test_cut_is_what_lies_there(given_parts: list[Part], data: st.DataObject) -> None:
    extents = Extents.of(given_parts)
    offset = data.draw(st.integers(0, extents.size))
    size = data.draw(st.integers(0, extents.size - offset))

    cut = extents.cut(offset, size)

    assert content_of(extents.parts)[offset : offset + size] == content_of(cut.parts)
    assert cut == Extents.of(cut.parts)


@given(parts(), st.integers(1, 9))
def test_chunks_are_the_file_in_pieces_of_one_size(given_parts: list[Part], size: int) -> None:
    extents = Extents.of(given_parts)

    chunks = list(extents.chunks(size))

    content = content_of(extents.parts)
    expected = [content[offset : offset + size] for offset in range(0, len(content), size)]
    assert expected == [content_of(chunk.parts) for chunk in chunks]


@given(parts(), st.integers(1, 9))
def test_used_blocks_are_those_with_more_than_zeros(given_parts: list[Part], size: int) -> None:
    extents = Extents.of(given_parts)

    ranges = extents.used(size)

    used = {number for found in ranges for number in found}
    for number, chunk in enumerate(extents.chunks(size)):
        assert (number in used) is not all(isinstance(part, Zeros) for part in chunk.parts)
    assert all(left.stop < right.start for left, right in pairwise(ranges))


def test_identity_stands_for_content_and_purpose() -> None:
    one, other = Extents.of([Literal(b"one")]), Extents.of([Literal(b"other")])

    assert 32 == len(one.identity("disk"))
    assert one.identity("disk") == Extents.of([Literal(b"o"), Literal(b"ne")]).identity("disk")
    assert 3 == len({one.identity("disk"), one.identity("partition"), other.identity("disk")})
