from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.cache.gc import clear, collect, verify
from kitbuild.cache.lease import Leases, abandoned
from kitbuild.digest import Digest
from kitbuild.errors import StoreError


def put(store: DirectoryStore, content: bytes) -> Digest:
    with store.writer() as writer:
        writer.write(content)
        return writer.commit()


def begin_build(store: DirectoryStore) -> None:
    with store.lease():
        pass


def use_old_blob(store: DirectoryStore) -> None:
    store.path(Digest.of(b"old"))


def begin_blob(store: DirectoryStore) -> None:
    with store.writer():
        pass


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    store = open_directory(tmp_path)
    path = Path(store.blobs.file(put(store, b"old").hex))
    os.utime(path, (1000, 1000))
    return store


# A lock that would have to wait fails instead, so that no test needs a second thread.
@pytest.fixture
def nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "LOCK_SH", fcntl.LOCK_SH | fcntl.LOCK_NB)
    monkeypatch.setattr(fcntl, "LOCK_EX", fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("action", [begin_build, use_old_blob, begin_blob])
@pytest.mark.usefixtures("nobody_waits")
def test_build_waits_for_a_clean_up_that_removes(
    store: DirectoryStore, action: Callable[[DirectoryStore], None]
) -> None:
    other = open_directory(store.folder)

    with other.leases.exclusive(), pytest.raises((BlockingIOError, StoreError)):
        action(store)

    action(store)


@pytest.mark.usefixtures("nobody_waits")
def test_commit_waits_for_a_clean_up_that_removes(store: DirectoryStore) -> None:
    with store.writer() as writer:
        writer.write(b"new")
        with store.leases.exclusive(), pytest.raises(StoreError):
            writer.commit()

    assert store.missing([Digest.of(b"new")]) == {Digest.of(b"new")}


@pytest.mark.usefixtures("nobody_waits")
def test_use_of_a_fresh_blob_waits_for_nobody(store: DirectoryStore) -> None:
    digest = put(store, b"fresh")

    with store.leases.exclusive():
        assert store.missing([digest]) == set()


@pytest.mark.parametrize(
    "action",
    [
        pytest.param(lambda store: collect(store, max_bytes=0), id="collect"),
        pytest.param(lambda store: collect(store), id="collect leftovers"),
        pytest.param(clear, id="clear"),
        pytest.param(verify, id="verify"),
    ],
)
@pytest.mark.usefixtures("nobody_waits")
def test_clean_up_waits_for_a_build_that_uses(
    store: DirectoryStore, action: Callable[[DirectoryStore], object]
) -> None:
    path = Path(store.blobs.file(Digest.of(b"old").hex))
    path.unlink()
    path.write_bytes(b"dlo")
    other = open_directory(store.folder)

    with other.leases.shared(), pytest.raises(BlockingIOError):
        action(store)

    assert path.exists()


def test_two_builds_use_at_the_same_time(tmp_path: Path) -> None:
    first, second = Leases(tmp_path), Leases(tmp_path)

    # Not `second.shared()` alone: if it had to wait, this would hang instead of failing.
    with first.shared(), (tmp_path / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        with second.shared(), pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_lease_is_there_as_long_as_it_is_held(tmp_path: Path) -> None:
    leases = Leases(tmp_path)

    with leases.hold(), leases.hold():
        during = len(leases.starts())

    assert during == 2
    assert leases.starts() == []


def test_lease_ends_with_a_build_that_fails(tmp_path: Path) -> None:
    leases = Leases(tmp_path)

    with pytest.raises(ZeroDivisionError), leases.hold():
        raise ZeroDivisionError

    assert leases.starts() == []


def test_file_is_abandoned_when_nobody_locks_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        locked = abandoned(path)

    assert [locked, abandoned(path), abandoned(tmp_path / "none")] == [False, True, False]
