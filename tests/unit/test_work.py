"""What a rule may touch, over a store in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, StoreError
from kitbuild.extents import Extents, Slice
from kitbuild.rule import Artifact
from kitbuild.tree import Entry, Tree
from kitbuild.work import PIECE_BYTES, CancelledError, StoreWork


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "store")


def work_over(store: MemoryStore, inputs: Mapping[str, tuple[Artifact, ...]] | None = None) -> StoreWork:
    return StoreWork(options="options", inputs=inputs or {}, store=store)


def put(store: MemoryStore, content: bytes) -> Digest:
    with work_over(store) as work:
        return work.put(content)


def whole(blob: Digest) -> Slice:
    return Slice(blob, 0, blob.size)


def test_options_and_inputs_are_those_given(store: MemoryStore) -> None:
    one, two = (Artifact("blob", Digest.of(content)) for content in (b"1", b"2"))

    with work_over(store, {"single": (one,), "several": (two, one)}) as work:
        assert work.options == "options"
        assert work.artifact("single") == one
        assert work.artifacts("several") == (two, one)
        assert work.artifacts("left out") == ()


def test_artifact_of_an_input_with_several_is_refused(store: MemoryStore) -> None:
    one = Artifact("blob", Digest.of(b"1"))

    with work_over(store, {"several": (one, one)}) as work, pytest.raises(ValueError):
        work.artifact("several")


def test_tree_is_read_whole_or_entry_by_entry(store: MemoryStore) -> None:
    tree = Tree.of([Entry("etc", "directory", 0o755), Entry("etc/link", "symlink", 0o777, target="x")])
    artifact = Artifact("tree", put(store, tree.encode()))

    with work_over(store) as work:
        assert work.tree(artifact) == tree
        assert list(work.entries(artifact)) == list(tree)


def test_extents_are_read(store: MemoryStore) -> None:
    extents = Extents.whole(Digest.of(b"content"))

    with work_over(store) as work:
        assert work.extents(Artifact("extents", work.put(extents.encode()))) == extents


def test_blob_is_opened_as_a_file_with_a_descriptor(store: MemoryStore) -> None:
    blob = put(store, b"content")

    with work_over(store) as work, work.open(blob) as stream:
        assert stream.fileno() > 0
        assert stream.read() == b"content"


def test_slice_is_read_where_it_lies(store: MemoryStore) -> None:
    blob = put(store, b"0123456789")

    with work_over(store) as work:
        assert work.read(Slice(blob, 3, 4)) == b"3456"
        assert work.read(Slice(blob, 0, 2)) == b"01"


def test_large_slice_comes_in_pieces_of_a_mebibyte(store: MemoryStore) -> None:
    content = bytes(range(256)) * (PIECE_BYTES // 256) + b"rest"
    blob = put(store, b"x" + content)

    with work_over(store) as work:
        pieces = list(work.pieces(Slice(blob, 1, len(content))))

    assert [len(piece) for piece in pieces] == [PIECE_BYTES, 4]
    assert b"".join(pieces) == content


def test_empty_slice_has_no_pieces(store: MemoryStore) -> None:
    with work_over(store) as work:
        assert list(work.pieces(Slice(Digest.of(b"not there"), 0, 0))) == []


def test_blob_that_is_not_there_is_missing(store: MemoryStore) -> None:
    blob = Digest.of(b"not there")

    with work_over(store) as work:
        with pytest.raises(MissingBlobError):
            work.open(blob)
        with pytest.raises(MissingBlobError):
            work.read(whole(blob))


def test_blob_that_vanishes_between_asking_and_opening_is_missing(tmp_path: Path) -> None:
    class Late(MemoryStore):
        def path(self, digest: Digest) -> Path:
            path = super().path(digest)
            path.unlink()
            return path

    store = Late(tmp_path)
    blob = put(store, b"content")

    with work_over(store) as work, pytest.raises(MissingBlobError, match="no longer in the cache"):
        work.open(blob)


def test_blob_that_becomes_shorter_is_missing(store: MemoryStore) -> None:
    blob = put(store, b"content")

    with work_over(store) as work:
        work.read(Slice(blob, 0, 1))
        path = store.path(blob)
        path.chmod(0o600)
        path.write_bytes(b"con")
        with pytest.raises(MissingBlobError, match="shorter"):
            work.read(whole(blob))


def test_tree_or_extents_that_cannot_be_read_are_the_caches_fault(store: MemoryStore) -> None:
    damaged = put(store, bytes(100))

    with work_over(store) as work:
        with pytest.raises(StoreError, match=r"tree sha256:.* in the cache is damaged") as found:
            work.tree(Artifact("tree", damaged))
        with pytest.raises(StoreError, match=r"extents sha256:.* in the cache is damaged"):
            work.extents(Artifact("extents", damaged))

    assert found.value.hint == "run `kitbuild cache verify`, then build again"


def open_below(folder: Path) -> int:
    """How many files of a folder this process has open."""
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(link.startswith(f"{folder}/") for link in links)


def test_a_few_blobs_are_open_however_many_are_read(store: MemoryStore, tmp_path: Path) -> None:
    blobs = [put(store, b"%d" % number) for number in range(100)]

    with work_over(store) as work:
        contents = [work.read(whole(blob)) for blob in blobs * 2]
        during = open_below(tmp_path)
    after = open_below(tmp_path)

    assert [b"%d" % number for number in range(100)] * 2 == contents
    assert 0 < during <= 16
    assert after == 0


def test_writer_puts_a_blob_into_the_store_when_it_commits(store: MemoryStore) -> None:
    with work_over(store) as work, work.writer() as writer:
        assert [writer.write(b"con"), writer.write(memoryview(b"tent"))] == [3, 4]
        assert writer.size == 7
        assert writer.digest() == Digest.of(b"content")
        blob = writer.commit()

    assert blob == Digest.of(b"content")
    assert store.path(blob).read_bytes() == b"content"


def test_writer_that_does_not_commit_leaves_nothing(store: MemoryStore, tmp_path: Path) -> None:
    with work_over(store) as work, work.writer() as writer:
        writer.write(b"content")

    assert store.missing([Digest.of(b"content")])
    assert list((tmp_path / "store" / "tmp").iterdir()) == []


def test_scratch_folders_are_apart_and_go_with_the_work(store: MemoryStore) -> None:
    with work_over(store) as work:
        first, second = work.scratch(), work.scratch()
        (first / "file").write_bytes(b"x")
        assert list(second.iterdir()) == []

    assert not first.exists()
    assert not second.exists()


def test_warning_is_handed_on(store: MemoryStore) -> None:
    warnings: list[str] = []

    with StoreWork(options=None, inputs={}, store=store, warn=warnings.append) as work:
        work.warn("careful")
    work_over(store).warn("nobody listens")

    assert warnings == ["careful"]


def test_cancelled_work_stops_at_the_next_call(store: MemoryStore) -> None:
    blob = put(store, b"content")
    tree = Artifact("tree", put(store, Tree.of([]).encode()))
    cancelled = False

    with StoreWork(options=None, inputs={}, store=store, cancelled=lambda: cancelled) as work:
        with pytest.raises(CancelledError), work.writer() as writer:
            writer.write(b"before")
            cancelled = True
            writer.write(b"after")
        with pytest.raises(CancelledError):
            work.open(blob)
        with pytest.raises(CancelledError):
            next(work.pieces(whole(blob)))
        with pytest.raises(CancelledError):
            work.tree(tree)
        with pytest.raises(CancelledError):
            work.put(b"more")

    assert store.missing([Digest.of(b"more"), Digest.of(b"before")]) != set()


# -- how far a run is


class Progress:
    """What a run tells of itself, on a clock that goes on a second each time it is looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, seconds: float = 1.0) -> None:
        self.told: list[tuple[int, int]] = []
        self._now = 0.0
        self._seconds = seconds
        monkeypatch.setattr("kitbuild.work.time.monotonic", self._clock)

    def _clock(self) -> float:
        self._now += self._seconds
        return self._now

    def work(self, store: MemoryStore) -> StoreWork:
        return StoreWork(
            options=None, inputs={}, store=store, progress=lambda done, size: self.told.append((done, size))
        )


def test_run_tells_how_much_it_has_written_or_read(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = put(store, bytes(3 * PIECE_BYTES))
    progress = Progress(monkeypatch)

    with progress.work(store) as work:
        for _ in work.pieces(whole(blob)):
            pass
        with work.writer() as writer:
            for _ in range(5):
                writer.write(bytes(PIECE_BYTES))

    assert progress.told == [(count * PIECE_BYTES, 0) for count in (1, 2, 3, 4, 5)]


def test_what_passes_counts_in_place_of_what_is_read_and_written(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(monkeypatch)
    pieces = [bytes(PIECE_BYTES)] * 3

    with progress.work(store) as work, work.writer() as writer:
        passed = []
        for piece in work.passing(iter(pieces), 2 * PIECE_BYTES):
            passed.append(piece)
            writer.write(piece * 9)

    assert passed == pieces
    assert sorted(set(progress.told)) == [(PIECE_BYTES, 2 * PIECE_BYTES), (2 * PIECE_BYTES, 2 * PIECE_BYTES)]


def test_run_tells_ten_times_a_second_at_most(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(monkeypatch, seconds=0.01)

    with progress.work(store) as work, work.writer() as writer:
        for _ in range(100):
            writer.write(bytes(PIECE_BYTES))

    assert 9 <= len(progress.told) <= 10


def test_run_of_a_few_bytes_tells_nothing_and_looks_at_no_clock(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    progress = Progress(monkeypatch)

    with progress.work(store) as work:
        monkeypatch.setattr("kitbuild.work.time.monotonic", None)
        work.put(b"few")

    assert progress.told == []


def test_what_passes_stops_when_the_build_is_cancelled(store: MemoryStore) -> None:
    with (
        StoreWork(options=None, inputs={}, store=store, cancelled=lambda: True) as work,
        pytest.raises(CancelledError),
    ):
        next(work.passing([b"piece"], 5))
