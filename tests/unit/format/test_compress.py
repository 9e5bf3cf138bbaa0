"""Compressing a file gives one blob, whatever pieces the file has; reading one gives its bytes."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest
import zstandard

from kitbuild.extents import Extents, Literal, Part, Slice, Zeros
from kitbuild.rule import Artifact
from kitbuild.rules.format import compress
from kitbuild.rules.format.archive import archive
from kitbuild.system import MTIME, Compression
from tests.support.trees import Bench

BENCH = Bench()


def file(*parts: Part) -> Artifact:
    with BENCH.work() as work:
        return Artifact("extents", work.put(Extents.of(parts).encode()))


def slice_of(content: bytes) -> Slice:
    made = BENCH.slice(content)
    assert made
    return made


LARGE = bytes(range(256)) * 10_000
PARTS = (Literal(b"head"), slice_of(LARGE), Zeros((1 << 20) + 1), slice_of(b"small"))
CONTENT = b"head" + LARGE + bytes((1 << 20) + 1) + b"small"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_content_comes_back_from_one_blob(compression: Compression) -> None:
    made = BENCH.run(compress.RULE, compress.CompressOptions(compression), file=file(*PARTS))

    with BENCH.work() as work:
        (part,) = work.extents(made).parts
    assert isinstance(part, Slice)
    assert (0, part.blob.size) == (part.offset, part.size)
    stored = BENCH.bytes_of(made)
    decompress = (
        gzip.decompress if compression == "gzip" else zstandard.ZstdDecompressor().decompressobj().decompress
    )
    assert CONTENT == decompress(stored)


def test_none_leaves_the_file_alone() -> None:
    given = file(*PARTS)

    assert given.digest == BENCH.run(compress.RULE, compress.CompressOptions("none"), file=given).digest


@pytest.mark.parametrize("parts", [PARTS, PARTS[1:2], ()], ids=["all kinds", "a large slice", "nothing"])
def test_reading_gives_the_bytes_in_pieces_that_are_not_tiny(parts: tuple[Part, ...]) -> None:
    given = file(*parts)

    with BENCH.work() as work:
        pieces = list(compress.read(work.extents(given), work))

    assert BENCH.bytes_of(given) == b"".join(pieces)
    assert all(1 << 18 <= len(piece) <= 1 << 21 for piece in pieces[:-1])


def test_archive_has_every_file_and_each_directory_once() -> None:
    files = {path: Extents.of([Literal(path.encode())]) for path in ("a", "d/b", "d/e/c", "d/f")}

    with BENCH.work() as work:
        content = BENCH.bytes_of(Artifact("extents", work.put(archive(files).encode())))

    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        members = opened.getmembers()
        assert ["a", "d", "d/b", "d/e", "d/e/c", "d/f"] == [member.name for member in members]
        assert {MTIME // 10**9} == {member.mtime for member in members}
        found = opened.extractfile("d/e/c")
        assert found
        assert b"d/e/c" == found.read()
