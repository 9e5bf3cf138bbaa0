"""Dense forms: the same file over fewer bytes."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

from kitbuild.cache.dense import Source, dense, sources_of
from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError
from kitbuild.export import write
from kitbuild.extents import Extents, Literal, Part, Slice, Zeros

LAYER = random.Random(1).randbytes(3 << 20)
OTHER = random.Random(2).randbytes(100_000)


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    store = MemoryStore(tmp_path)
    for content in (LAYER, OTHER):
        put(store, content)
    return store


def put(store: MemoryStore, content: bytes) -> Digest:
    with store.writer() as writer:
        writer.write(content)
        return writer.commit()


def part(content: bytes, offset: int, size: int) -> Slice:
    return Slice(Digest.of(content), offset, size)


def file_of(extents: Extents, store: MemoryStore) -> bytes:
    out = io.BytesIO()
    write(extents, out, store)
    return out.getvalue()


def made(source: Source, store: MemoryStore) -> bytes:
    return b"".join(source.pieces(store.path(source.blob)))


def test_slice_of_a_large_blob_becomes_a_blob_of_its_own(store: MemoryStore) -> None:
    extents = Extents.of([Literal(b"head"), part(LAYER, 1000, 50_000), Zeros(7)])

    found = dense(extents, store.path)

    kernel = LAYER[1000:51_000]
    assert found is not None
    assert found[0] == Extents.of([Literal(b"head"), Slice(Digest.of(kernel), 0, 50_000), Zeros(7)])
    assert [made(source, store) for source in found[1].values()] == [kernel]
    assert list(found[1]) == [Digest.of(kernel)]


def test_ranges_used_twice_or_overlapping_are_there_once_and_in_order(store: MemoryStore) -> None:
    extents = Extents.of(
        [
            part(LAYER, 500, 100),
            part(LAYER, 0, 10),
            part(LAYER, 550, 100),
            part(LAYER, 10, 5),
            part(LAYER, 0, 10),
        ]
    )

    (source,) = sources_of(extents)

    assert source.ranges == (range(0, 15), range(500, 650))
    assert made(source, store) == LAYER[:15] + LAYER[500:650]


def test_dense_blob_comes_in_pieces_of_a_mebibyte(store: MemoryStore) -> None:
    source = Source(Digest.of(LAYER), (range(10, 2_000_000), range(2_000_001, 3_000_000)))

    pieces = list(source.pieces(store.path(source.blob)))

    assert [len(piece) for piece in pieces] == [1 << 20, 1 << 20, source.size - (2 << 20)]
    assert b"".join(pieces) == LAYER[10:2_000_000] + LAYER[2_000_001:3_000_000]


def test_blob_used_as_a_whole_stays(store: MemoryStore) -> None:
    extents = Extents.of([part(OTHER, 50_000, 50_000), part(LAYER, 4096, 4096), part(OTHER, 0, 50_000)])

    found = dense(extents, store.path)

    assert found is not None
    assert found[0].blobs() == (Digest.of(OTHER), Digest.of(LAYER[4096:8192]))
    assert list(found[1]) == [Digest.of(LAYER[4096:8192])]


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([], id="nothing"),
        pytest.param([Literal(b"text"), Zeros(1 << 30)], id="no-blob"),
        pytest.param([part(LAYER, 0, len(LAYER))], id="whole"),
        pytest.param([part(LAYER, 0, len(LAYER) - len(LAYER) // 100)], id="a-hundredth-unused"),
        pytest.param([part(b"a small blob", 2, 5)], id="small"),
    ],
)
def test_file_that_uses_nearly_all_has_no_dense_form(store: MemoryStore, parts: list[Part]) -> None:
    assert dense(Extents.of(parts), store.path) is None


def test_blob_that_is_not_here_is_a_missing_blob_error(store: MemoryStore) -> None:
    extents = Extents.of([Slice(Digest("ab" * 32, 1 << 20), 0, 10)])

    with pytest.raises(MissingBlobError):
        dense(extents, store.path)


def test_blob_that_became_shorter_is_a_missing_blob_error(store: MemoryStore, tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_bytes(OTHER[:100])

    with pytest.raises(MissingBlobError, match="shorter"):
        dense(Extents.of([part(OTHER, 50, 100)]), lambda digest: short)


@pytest.mark.parametrize("seed", range(20))
def test_dense_form_is_the_same_file(store: MemoryStore, seed: int) -> None:
    draw = random.Random(seed)
    parts: list[Part] = []
    for _ in range(draw.randrange(1, 60)):
        content = draw.choice((LAYER, OTHER))
        offset = draw.randrange(len(content))
        size = draw.randrange(min(len(content) - offset, 30_000) + 1)
        parts += [part(content, offset, size), Zeros(draw.randrange(5)), Literal(b"x" * draw.randrange(3))]
    extents = Extents.of(parts)
    expected = file_of(extents, store)

    found = dense(extents, store.path)

    assert found is not None
    denser, sources = found
    assert list(sources) == [put(store, made(source, store)) for source in sources.values()]
    assert file_of(denser, store) == expected
    assert sum(blob.size for blob in denser.blobs()) < 1.015 * sum(map(len, (bytes(expected),))) + 1
    assert Extents.decode(denser.encode().splitlines()) == denser
