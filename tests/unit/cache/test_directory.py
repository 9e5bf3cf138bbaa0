from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.digest import Digest
from kitbuild.errors import StoreError


def test_every_folder_is_private(tmp_path: Path) -> None:
    store = open_directory(tmp_path / "deep" / "cache")
    with store.writer() as writer:
        writer.commit()

    folders = [
        tmp_path / "deep" / "cache",
        *(path for path in (tmp_path / "deep" / "cache").rglob("*") if path.is_dir()),
    ]

    assert {0o700} == {path.stat().st_mode & 0o777 for path in folders}


def test_blob_lies_under_its_digest(tmp_path: Path) -> None:
    store = open_directory(tmp_path)
    with store.writer() as writer:
        writer.write(b"content")
        digest = writer.commit()

    assert tmp_path / "blobs" / digest.hex[:2] / digest.hex[2:] == store.path(digest)


def test_backup_programs_are_told_to_pass_over_it(tmp_path: Path) -> None:
    open_directory(tmp_path)

    assert (tmp_path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_commit_of_a_known_blob_gives_it_a_fresh_time(tmp_path: Path) -> None:
    store = open_directory(tmp_path)
    path = Path(store.blobs.file(Digest.of(b"content").hex))
    for _ in range(2):
        with store.writer() as writer:
            writer.write(b"content")
            writer.commit()
        written = path.stat().st_mtime
        os.utime(path, (1000, 1000))

    assert written == pytest.approx(time.time(), abs=60)


def test_time_of_a_wrong_clock_is_put_right_by_a_use(tmp_path: Path) -> None:
    store = open_directory(tmp_path)
    with store.writer() as writer:
        digest = writer.commit()
    path = store.path(digest)
    future = time.time() + 1e6
    os.utime(path, (future, future))

    store.missing([digest])

    assert path.stat().st_mtime == pytest.approx(time.time(), abs=60)


def test_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("")

    with pytest.raises(
        StoreError, match=f"the cache {tmp_path / 'cache'} cannot be used: File exists"
    ) as caught:
        open_directory(tmp_path / "cache")

    assert caught.value.hint == "make the folder writable for you, or set KITBUILD_CACHE_DIR to one that is"


def test_cache_removed_under_a_build_is_a_store_error(tmp_path: Path) -> None:
    store = open_directory(tmp_path / "cache")
    (tmp_path / "cache").rename(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match="cannot be used: No such file or directory"), store.writer():
        pass


def test_cache_with_a_variable_in_its_path_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("elsewhere", "somewhere")

    with pytest.raises(StoreError, match="has the name of a variable in its path"):
        open_directory(tmp_path / "a$elsewhere")


def test_lease_in_a_removed_cache_is_a_store_error(tmp_path: Path) -> None:
    store = open_directory(tmp_path / "cache")
    (tmp_path / "cache").rename(tmp_path / "elsewhere")

    with pytest.raises(StoreError, match="cannot be used: No such file or directory"), store.lease():
        pass


def test_blob_that_cannot_be_looked_at_is_a_store_error(tmp_path: Path) -> None:
    store = open_directory(tmp_path)
    # A folder nobody may enter; a link to itself refuses root as well.
    (tmp_path / "blobs" / "00").symlink_to("00")

    with pytest.raises(StoreError, match=f"the cache {tmp_path} cannot be used"):
        store.missing([Digest("0" * 64, 1)])


def test_folder_that_everybody_may_write_to_is_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    folder.chmod(0o777)
    warnings: list[str] = []

    open_directory(folder, warn=warnings.append)

    assert warnings == [
        f"everybody may write to the cache {folder}, and put wrong results into it: chmod o-w"
    ]


def test_note_that_cannot_be_kept_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_directory(tmp_path / "cache")

    def full(*arguments: object, **options: object) -> None:
        raise StoreError("no space left")

    monkeypatch.setattr(store.index, "put", full)
    store.keep("stat", "a", b"1")

    assert store.note("stat", "a") is None
