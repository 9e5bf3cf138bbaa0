"""Disks that are full and folders that may not be written to."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cache.gc import info
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.cache_processes import (
    alone,
    build,
    key_of,
    open_as_nobody,
    result_of,
    write_beyond_a_limit,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MiB."""
    reason = "mounting a small disk needs root" if os.geteuid() else "mount is not installed"
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        if os.environ.get("KITBUILD_NO_SKIP"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_blob_too_large_for_the_disk_says_so_and_leaves_nothing(small_disk: Path) -> None:
    store = open_directory(small_disk / "cache")
    before = shutil.disk_usage(small_disk).used

    with (
        pytest.raises(StoreError, match=f"no space left for the cache {small_disk / 'cache'}") as caught,
        store.writer() as writer,
    ):
        for _ in range(100):
            writer.write(b"x" * 50_000)

    assert caught.value.hint is not None
    assert "kitbuild cache gc" in caught.value.hint
    assert list((small_disk / "cache" / "tmp").iterdir()) == []
    assert shutil.disk_usage(small_disk).used <= before + 64 * 1024


def test_blob_that_fails_at_its_last_bytes_leaves_nothing(small_disk: Path) -> None:
    store = open_directory(small_disk / "cache")
    free = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(b"x" * (free - 8192))

    with pytest.raises(StoreError, match="no space left for the cache"), store.writer() as writer:
        # Small enough to wait in the buffer until the commit.
        writer.write(b"x" * 100_000)
        writer.commit()

    assert list((small_disk / "cache" / "tmp").iterdir()) == []


def test_cache_works_again_when_there_is_space_again(small_disk: Path) -> None:
    store = open_directory(small_disk / "cache")
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * shutil.disk_usage(small_disk).free)
    failures = 0
    for number in range(200):
        try:
            build(store, number * 50_000)
            store.keep("node", str(number), b"x" * 20_000)
        except StoreError:
            failures += 1

    filler.unlink()
    build(store, 0)

    assert failures > 0
    assert store.result(key_of(0)) == result_of(0)
    assert info(store).leftovers == 0


def test_full_index_is_a_store_error(small_disk: Path) -> None:
    store = open_directory(small_disk / "cache")

    with pytest.raises(
        StoreError, match=r"the index of the cache .* cannot be used: database or disk is full"
    ) as caught:
        for number in range(1000):
            blobs = tuple(Digest.of(b"%d %d" % (number, blob)) for blob in range(1000))
            store.record(Key(f"{number:064x}"), Result(Artifact("tree", blobs[0]), blobs))

    assert caught.value.hint is not None
    assert "free some space" in caught.value.hint


def test_blob_larger_than_files_may_be_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    message, left = alone(write_beyond_a_limit, tmp_path / "cache", 1_000_000)

    assert message == f"no space left for the cache {tmp_path / 'cache'}"
    assert left == []


def test_folder_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)

    message = alone(open_as_nobody, tmp_path / "cache")

    tmp_path.chmod(0o755)
    assert message == (
        f"the cache {tmp_path / 'cache'} cannot be used: Permission denied "
        "(make the folder writable for you, or set KITBUILD_CACHE_DIR to one that is)"
    )


def test_cache_of_somebody_else_is_refused(tmp_path: Path) -> None:
    open_directory(tmp_path / "cache")
    if os.geteuid():
        (tmp_path / "cache").chmod(0o000)

    message = alone(open_as_nobody, tmp_path / "cache")

    (tmp_path / "cache").chmod(0o700)
    assert message.startswith(f"the cache {tmp_path / 'cache'} cannot be used: Permission denied")
