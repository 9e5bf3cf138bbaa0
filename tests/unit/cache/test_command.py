from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.cli import cache
from kitbuild.digest import Digest
from kitbuild.errors import StoreError


def run(*words: str) -> int:
    parser = argparse.ArgumentParser(prog="kitbuild")
    cache.add(parser.add_subparsers())
    arguments = parser.parse_args(["cache", *words])
    status: int = arguments.run(arguments)
    return status


def put(store: DirectoryStore, content: bytes, *, days_ago: float = 0) -> Path:
    with store.writer() as writer:
        writer.write(content)
        path = Path(store.blobs.file(writer.commit().hex))
    used = time.time() - days_ago * 24 * 3600
    os.utime(path, (used, used))
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DirectoryStore:
    monkeypatch.setenv("KITBUILD_CACHE_DIR", str(tmp_path / "cache"))
    return open_directory(tmp_path / "cache")


def test_info_tells_how_much_is_there(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    put(store, b"x" * 2048, days_ago=2.1)
    store.keep("stat", "name", b"content")

    status = run("info")

    lines = capsys.readouterr().out.splitlines()
    assert status == 0
    assert [f"cache    {store.folder}", "content  1 blob, 2.0 KiB"] == lines[:2]
    assert lines[2].startswith("index    0 results, 1 note, ")
    assert lines[3:] == ["oldest   last used 2 days ago"]


def test_info_tells_of_running_builds(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    with store.lease():
        run("info")

    assert capsys.readouterr().out.splitlines()[-1] == "in use   by 1 running build"


def test_info_tells_of_leftovers(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    (store.folder / "tmp" / "leftover").write_bytes(b"half a bl")

    run("info")

    assert (
        capsys.readouterr().out.splitlines()[-1]
        == "waste    1 leftover of killed builds: run `kitbuild cache gc`"
    )


def test_gc_drops_down_to_the_size_given(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    old = put(store, b"x" * 2048, days_ago=2)
    young = put(store, b"y" * 1024)

    status = run("gc", "--max-size", "1K")

    assert status == 0
    assert [old.exists(), young.exists()] == [False, True]
    assert capsys.readouterr().out == (
        "dropped 1 blob, 2.0 KiB, 0 results, 0 leftovers\nleft    1 blob, 1.0 KiB\n"
    )


def test_gc_says_why_the_limit_is_not_met(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    with store.lease():
        put(store, b"content")
        run("gc", "--max-size", "0")

    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "1 blob over the limit may be needed by running builds"


def test_gc_without_a_size_says_what_to_give(
    store: DirectoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(store, b"content", days_ago=100)

    run("gc")

    assert path.exists()
    assert "give --max-size" in capsys.readouterr().out


def test_verify_exits_with_one_if_content_was_wrong(
    store: DirectoryStore, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(store, b"content")
    path.unlink()
    path.write_bytes(b"tnetnoc")

    statuses = [run("verify"), run("verify")]

    assert statuses == [1, 0]
    assert capsys.readouterr().out == (
        f"removed {Digest.of(b'content').oci}: its content was another\n"
        "checked 1 blob, 7 B: 1 wrong one\n"
        "checked 0 blobs, 0 B: all right\n"
    )


def test_clear_removes_everything(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(store, b"content")

    status = run("clear")

    assert status == 0
    assert not path.exists()
    assert capsys.readouterr().out == "dropped 1 blob, 7 B, 0 results, 0 leftovers\n"


def test_json_is_one_object(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    put(store, b"content")

    run("info", "--json")

    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert (report["folder"], report["blobs"], report["bytes"]) == (str(store.folder), 1, 7)


def test_flag_wins_over_the_environment(
    store: DirectoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    open_directory(tmp_path / "other")

    run("info", "--cache-dir", str(tmp_path / "other"))

    assert capsys.readouterr().out.splitlines()[0] == f"cache    {tmp_path / 'other'}"


def test_cache_of_the_settings_file_is_the_one_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KITBUILD_CACHE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kitbuild.toml").write_text('cache-dir = "own"\n')
    open_directory(tmp_path / "own")

    run("info")

    assert capsys.readouterr().out.splitlines()[0] == f"cache    {tmp_path / 'own'}"


@pytest.mark.parametrize("command", ["info", "gc", "verify", "clear"])
def test_cache_that_does_not_exist_is_empty_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    status = run(command, "--cache-dir", str(tmp_path / "none"))

    assert status == 0
    assert capsys.readouterr().out == f"the cache {tmp_path / 'none'} is empty\n"
    assert not (tmp_path / "none").exists()


def test_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("precious")

    with pytest.raises(StoreError, match="holds other things than a cache"):
        run("clear", "--cache-dir", str(tmp_path))

    assert [tmp_path / "letter.txt"] == list(tmp_path.iterdir())


def test_damaged_index_is_a_warning(store: DirectoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.close()
    (store.folder / "index" / "1" / "cache.db").write_bytes(b"this is no database" * 500)

    status = run("info")

    assert status == 0
    assert capsys.readouterr().err.startswith(f"warning: the index of the cache {store.folder} was damaged")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        pytest.param("0", 0, id="nothing"),
        pytest.param("1000", 1000, id="bytes"),
        pytest.param("10B", 10, id="bytes with unit"),
        pytest.param("1K", 1024, id="K"),
        pytest.param("10G", 10 * 2**30, id="G"),
        pytest.param("2TiB", 2 * 2**40, id="TiB"),
        pytest.param("5MB", 5_000_000, id="MB"),
        pytest.param("1.5k", 1536, id="fraction, lower case"),
        pytest.param(" 3 MiB ", 3 * 2**20, id="spaces"),
    ],
)
def test_size_is_read_with_its_unit(text: str, size: int) -> None:
    assert size == cache.size_in_bytes(text)


@pytest.mark.parametrize("text", ["", "G", "-1", "1X", "1KiBs", "1e3", "1,5G"])
def test_anything_else_is_no_size(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected a size such as 500M"):
        cache.size_in_bytes(text)
