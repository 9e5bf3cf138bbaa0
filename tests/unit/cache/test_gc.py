from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.cache.gc import clear, collect, info, verify
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result

DAY = 24 * 3600
KEY = Key("ab" * 32)
OTHER_KEY = Key("cd" * 32)


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return open_directory(tmp_path / "cache")


def put(store: DirectoryStore, content: bytes, *, days_ago: float = 0) -> Digest:
    with store.writer() as writer:
        writer.write(content)
        digest = writer.commit()
    if days_ago:
        used = time.time() - days_ago * DAY
        os.utime(store.blobs.file(digest.hex), (used, used))
    return digest


def there(store: DirectoryStore, *digests: Digest) -> list[bool]:
    """Whether the blobs are there; asking the store itself would count as a use."""
    return [Path(store.blobs.file(digest.hex)).exists() for digest in digests]


def test_oldest_use_is_dropped_first(store: DirectoryStore) -> None:
    young = put(store, b"young", days_ago=1)
    oldest = put(store, b"oldest", days_ago=3)
    old = put(store, b"old", days_ago=2)

    report = collect(store, max_bytes=8)

    assert there(store, young, oldest, old) == [True, False, True]
    assert (report.blobs, report.bytes, report.dropped_blobs, report.dropped_bytes) == (2, 8, 1, 6)


def test_used_blob_is_no_longer_the_oldest(store: DirectoryStore) -> None:
    used = put(store, b"used", days_ago=3)
    idle = put(store, b"idle", days_ago=2)
    store.path(used)

    collect(store, max_bytes=4)

    assert there(store, used, idle) == [True, False]


def test_nothing_is_dropped_within_the_limit(store: DirectoryStore) -> None:
    digest = put(store, b"content", days_ago=100)

    report = collect(store, max_bytes=7)

    assert there(store, digest) == [True]
    assert report.dropped_blobs == 0


def test_no_blob_is_dropped_without_a_limit(store: DirectoryStore) -> None:
    digest = put(store, b"content", days_ago=100)

    collect(store)

    assert there(store, digest) == [True]


def test_result_goes_with_its_content(store: DirectoryStore) -> None:
    content = put(store, b"content", days_ago=1)
    inner = put(store, b"inner", days_ago=2)
    other = put(store, b"other", days_ago=1)
    store.record(KEY, Result(Artifact("tree", content), (inner,)))
    store.record(OTHER_KEY, Result(Artifact("blob", other)))

    report = collect(store, max_bytes=12)

    assert report.dropped_results == 1
    assert store.result(KEY) is None
    assert store.result(OTHER_KEY) is not None


def test_notes_stay(store: DirectoryStore) -> None:
    store.keep("stat", "name", b"content")

    collect(store, max_bytes=0)

    assert store.note("stat", "name") == b"content"


def test_what_a_running_build_was_told_about_stays(store: DirectoryStore) -> None:
    told = put(store, b"told", days_ago=2)
    asked = put(store, b"asked", days_ago=2)
    opened = put(store, b"opened", days_ago=2)
    idle = put(store, b"idle", days_ago=2)
    store.record(KEY, Result(Artifact("blob", told)))

    with store.lease():
        store.result(KEY)
        store.missing([asked])
        store.path(opened)
        made = put(store, b"made")
        report = collect(open_directory(store.folder), max_bytes=0)

    assert there(store, told, asked, opened, made, idle) == [True, True, True, True, False]
    assert report.kept_for_builds == 4


def test_use_too_recent_for_a_fresh_time_protects_too(store: DirectoryStore) -> None:
    half_an_hour = 0.5 / 24
    told = put(store, b"told", days_ago=half_an_hour)
    store.record(KEY, Result(Artifact("blob", told)))

    with store.lease():
        store.result(KEY)
        collect(store, max_bytes=0)

    assert there(store, told) == [True]


def test_oldest_of_several_leases_counts(store: DirectoryStore) -> None:
    with store.lease():
        (lease,) = (store.folder / "leases").iterdir()
        lease.write_text(f"{time.time() - DAY}\n")
        used = put(store, b"content", days_ago=0.9)
        with store.lease():
            collect(store, max_bytes=0)

    assert there(store, used) == [True]


def test_living_lease_without_a_start_protects_everything(store: DirectoryStore) -> None:
    old = put(store, b"content", days_ago=100)

    with store.lease():
        (lease,) = (store.folder / "leases").iterdir()
        lease.write_text("")
        collect(store, max_bytes=0)

    assert there(store, old) == [True]


def test_ended_lease_protects_nothing(store: DirectoryStore) -> None:
    with store.lease():
        digest = put(store, b"content")

    collect(store, max_bytes=0)

    assert there(store, digest) == [False]
    assert list((store.folder / "leases").iterdir()) == []


def test_lease_of_a_dead_build_is_removed(store: DirectoryStore) -> None:
    digest = put(store, b"content")
    dead = store.folder / "leases" / "1-dead"
    dead.write_text("0\n")

    collect(store, max_bytes=0)

    assert there(store, digest) == [False]
    assert not dead.exists()


def test_blob_used_between_listing_and_dropping_stays(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, b"content", days_ago=2)
    exclusive = store.leases.exclusive

    @contextmanager
    def used_just_before() -> Iterator[None]:
        store.path(digest)
        with exclusive():
            yield

    monkeypatch.setattr(store.leases, "exclusive", used_just_before)
    collect(store, max_bytes=0)

    assert there(store, digest) == [True]


def test_result_recorded_again_while_dead_ones_are_dropped_stays(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = Result(Artifact("blob", Digest.of(b"content")))
    store.record(KEY, result)
    drop = store.index.drop

    def built_just_before(*arguments: object) -> int:
        put(store, b"content")
        store.record(KEY, result)
        return drop(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(store.index, "drop", built_just_before)
    report = collect(store)

    assert report.dropped_results == 0
    assert result == store.result(KEY)


def test_leftovers_go_and_blobs_being_written_stay(store: DirectoryStore) -> None:
    leftover = store.folder / "tmp" / "leftover"
    leftover.write_bytes(b"half a bl")

    with store.writer() as writer:
        writer.write(b"content")
        report = collect(store, max_bytes=0)
        digest = writer.commit()

    assert report.dropped_leftovers == 1
    assert not leftover.exists()
    assert there(store, digest) == [True]


def test_clear_removes_everything(store: DirectoryStore) -> None:
    digest = put(store, b"content")
    store.record(KEY, Result(Artifact("blob", digest)))
    store.keep("stat", "name", b"content")
    (store.folder / "tmp" / "leftover").write_bytes(b"half a bl")

    report = clear(store)

    assert (report.dropped_blobs, report.dropped_results, report.dropped_leftovers) == (1, 1, 1)
    assert there(store, digest) == [False]
    assert store.result(KEY) is None
    assert store.note("stat", "name") is None
    assert list((store.folder / "tmp").iterdir()) == []


def test_clear_refuses_while_a_build_runs(store: DirectoryStore) -> None:
    with store.lease():
        digest = put(store, b"content")
        with pytest.raises(StoreError, match="is in use by 1 running build") as caught:
            clear(store)

    assert caught.value.hint is not None
    assert "wait" in caught.value.hint
    assert there(store, digest) == [True]


def test_store_works_on_after_a_clear(store: DirectoryStore) -> None:
    clear(store)

    digest = put(store, b"content")
    store.record(KEY, Result(Artifact("blob", digest)))

    assert store.result(KEY) == Result(Artifact("blob", digest))


def test_verify_finds_nothing_wrong_in_a_sound_cache(store: DirectoryStore) -> None:
    digest = put(store, b"content")
    store.record(KEY, Result(Artifact("blob", digest)))

    report = verify(store)

    assert (report.blobs, report.bytes, report.wrong, report.dropped_results) == (1, 7, (), 0)
    assert store.result(KEY) is not None


@pytest.mark.parametrize("content", [b"tnetnoc", b"cont", b"\0" * 7], ids=["changed", "short", "zeros"])
def test_verify_removes_wrong_blobs_and_their_results(store: DirectoryStore, content: bytes) -> None:
    good, wrong = put(store, b"good"), put(store, b"content")
    store.record(KEY, Result(Artifact("blob", good)))
    store.record(OTHER_KEY, Result(Artifact("tree", good), (wrong,)))
    path = Path(store.blobs.file(wrong.hex))
    path.unlink()
    path.write_bytes(content)

    report = verify(store)

    assert (wrong.hex,) == report.wrong
    assert there(store, good, wrong) == [True, False]
    assert store.result(KEY) is not None
    assert store.result(OTHER_KEY) is None


def test_verify_forgets_outputs_that_may_hold_wrong_content(store: DirectoryStore) -> None:
    store.keep("output", "/somewhere/linuxkit-kernel", b"in place")
    store.keep("image", "docker.io/t/a:v1", b"an answer")
    verify(store)
    before = store.note("output", "/somewhere/linuxkit-kernel")
    path = Path(store.blobs.file(put(store, b"content").hex))
    path.unlink()
    path.write_bytes(b"tnetnoc")

    verify(store)

    assert before == b"in place"
    assert store.note("output", "/somewhere/linuxkit-kernel") is None
    assert store.note("image", "docker.io/t/a:v1") == b"an answer"


def test_verify_leaves_a_blob_that_was_mended_meanwhile(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put(store, b"content")
    path = Path(store.blobs.file(digest.hex))
    path.unlink()
    path.write_bytes(b"tnetnoc")
    exclusive = store.leases.exclusive

    @contextmanager
    def mended_just_before() -> Iterator[None]:
        put(store, b"content")
        with exclusive():
            yield

    monkeypatch.setattr(store.leases, "exclusive", mended_just_before)
    report = verify(store)

    assert report.wrong == ()
    assert path.read_bytes() == b"content"


def test_info_counts_what_is_there(store: DirectoryStore) -> None:
    put(store, b"old", days_ago=2)
    store.record(KEY, Result(Artifact("blob", put(store, b"content"))))
    store.keep("stat", "name", b"content")

    with store.lease(), store.writer():
        report = info(store)

    assert (report.blobs, report.bytes, report.results, report.notes) == (2, 10, 1, 1)
    assert (report.builds, report.leftovers) == (1, 1)
    assert report.index_bytes > 0
    assert report.oldest_use == pytest.approx(time.time() - 2 * DAY, abs=60)


def test_info_of_an_empty_cache_counts_nothing(store: DirectoryStore) -> None:
    report = info(store)

    assert (report.blobs, report.results, report.notes, report.builds, report.oldest_use) == (
        0,
        0,
        0,
        0,
        None,
    )


def test_files_that_are_no_blobs_are_left_alone(store: DirectoryStore) -> None:
    put(store, b"content")
    strange = [store.folder / "blobs" / "README", store.folder / "blobs" / "ab" / "note"]
    strange[1].parent.mkdir(exist_ok=True)
    for path in strange:
        path.write_bytes(b"not ours")

    collect(store, max_bytes=0)
    report = verify(store)

    assert report.blobs == 0
    assert [path.exists() for path in strange] == [True, True]
