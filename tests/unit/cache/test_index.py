from __future__ import annotations

import pickle
import sqlite3
from pathlib import Path
from typing import Any

import diskcache
import pytest

from kitbuild.cache.index import Index, PlainDisk
from kitbuild.errors import StoreError


class Bomb:
    """Unpickling it leaves a trace in the file it was made for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def no_warning(message: str) -> None:
    raise AssertionError(message)


def database(tmp_path: Path, number: int = 1) -> Path:
    return tmp_path / "index" / str(number) / "cache.db"


def change(path: Path, statement: str, *values: object) -> None:
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(statement, values)
    connection.close()


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index(tmp_path / "index", no_warning)


def test_value_outlives_the_process(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")
    index.close()

    assert Index(tmp_path / "index", no_warning).value("name") == b"content"


def test_folders_are_private(tmp_path: Path, index: Index) -> None:
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "index", tmp_path / "index" / "1")}

    assert {0o700} == modes


def test_nothing_is_evicted_by_itself(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")

    with diskcache.Cache(str(tmp_path / "index" / "1"), disk=PlainDisk) as cache:
        assert (cache.eviction_policy, cache.cull_limit, cache.size_limit) == ("none", 0, 2**62)


def test_large_value_stays_in_the_database(tmp_path: Path, index: Index) -> None:
    content = b"x" * 1_000_000

    index.put("name", content)

    assert content == index.value("name")
    assert list((tmp_path / "index").rglob("*.val")) == []


@pytest.mark.parametrize("value", [None, 1.5, ["list"], True], ids=repr)
def test_value_that_would_be_pickled_is_refused(tmp_path: Path, index: Index, value: object) -> None:
    with (
        diskcache.Cache(str(tmp_path / "index" / "1"), disk=PlainDisk) as cache,
        pytest.raises(TypeError, match="stores bytes, str and int"),
    ):
        cache.set("name", value)


def test_key_that_would_be_pickled_is_refused(tmp_path: Path, index: Index) -> None:
    with (
        diskcache.Cache(str(tmp_path / "index" / "1"), disk=PlainDisk) as cache,
        pytest.raises(TypeError, match="got tuple"),
    ):
        cache.set(("result", 1), b"content")


def test_pickled_row_is_missing_and_never_loaded(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")
    bomb = pickle.dumps(Bomb(tmp_path / "trace"))

    change(database(tmp_path), "UPDATE Cache SET mode = 4, value = ?", bomb)

    assert index.value("name") is None
    assert not (tmp_path / "trace").exists()


def test_pickled_file_is_missing_and_never_loaded(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")
    (tmp_path / "index" / "1" / "x.val").write_bytes(pickle.dumps(Bomb(tmp_path / "trace")))

    change(database(tmp_path), "UPDATE Cache SET mode = 4, filename = 'x.val', value = NULL")

    assert index.value("name") is None
    assert not (tmp_path / "trace").exists()


def test_pickled_key_is_passed_over_and_never_loaded(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")
    index.put("other", b"content")
    bomb = pickle.dumps(Bomb(tmp_path / "trace"))

    change(database(tmp_path), "UPDATE Cache SET raw = 0, key = ? WHERE key = 'name'", bomb)

    assert list(index.names()) == ["other"]
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("mode", [2, 3], ids=["binary file", "text file"])
def test_row_that_names_a_file_reads_and_removes_none(tmp_path: Path, index: Index, mode: int) -> None:
    index.put("name", b"content")
    outside = tmp_path / "outside"
    outside.write_bytes(b"precious")

    change(database(tmp_path), "UPDATE Cache SET mode = ?, filename = '../../outside', value = NULL", mode)
    value = index.value("name")
    index.put("name", b"later")
    index.clear()

    assert value is None
    assert outside.read_bytes() == b"precious"


def test_changed_value_is_missing(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")

    change(database(tmp_path), "UPDATE Cache SET value = CAST(value || 'x' AS BLOB)")

    assert index.value("name") is None


def test_value_of_another_name_is_missing(tmp_path: Path, index: Index) -> None:
    index.put("name", b"content")
    index.put("other", b"content of the other")

    change(
        database(tmp_path),
        "UPDATE Cache SET value = (SELECT value FROM Cache WHERE key = 'other') WHERE key = 'name'",
    )

    assert index.value("name") is None


@pytest.mark.parametrize("value", ["text", 7, None, b"short"], ids=repr)
def test_value_of_another_shape_is_missing(tmp_path: Path, index: Index, value: object) -> None:
    index.put("name", b"content")

    change(database(tmp_path), "UPDATE Cache SET value = ?", value)

    assert index.value("name") is None


def test_drop_removes_only_what_is_dead(index: Index) -> None:
    index.put("dead", b"dead")
    index.put("living", b"living")

    dropped = index.drop(["dead", "living", "unknown"], lambda _name, value: value == b"dead")

    assert dropped == 1
    assert list(index.names()) == ["living"]


def test_expired_value_is_missing(index: Index) -> None:
    index.put("name", b"content", expire_seconds=-1)
    index.put("other", b"content", expire_seconds=1000)

    assert index.value("name") is None
    assert index.value("other") == b"content"


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"this is no database" * 500), id="other content"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:5000]), id="cut off"),
        pytest.param(
            lambda path: path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 60000), id="overwritten"
        ),
        pytest.param(
            lambda path: change(path, "INSERT INTO Settings VALUES ('disk_unknown', 1)"), id="other settings"
        ),
        pytest.param(
            lambda path: change(path, "ALTER TABLE Cache RENAME COLUMN key TO keys"), id="other tables"
        ),
    ],
)
def test_damaged_database_is_given_up_with_a_warning(tmp_path: Path, index: Index, damage: Any) -> None:
    index.put("name", b"content")
    index.close()
    damage(database(tmp_path))
    warnings: list[str] = []

    later = Index(tmp_path / "index", warnings.append)
    value = later.value("name")
    later.put("name", b"later")

    assert value is None
    assert later.value("name") == b"later"
    assert [
        f"the index of the cache {tmp_path} was damaged and a new one is begun; what it knew will be built again"
    ] == (warnings)
    assert Index(tmp_path / "index", no_warning).value("name") == b"later"


def test_database_damaged_while_open_is_given_up_with_a_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    index = Index(tmp_path / "index", warnings.append)
    for number in range(500):
        index.put(f"name {number}", b"content" * 20)
    index.close()
    with database(tmp_path).open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 200_000)

    values = {index.value(f"name {number}") for number in range(500)}
    index.put("name", b"later")

    assert values <= {None, b"content" * 20}
    assert index.value("name") == b"later"
    assert len(warnings) == 1


def test_two_processes_agree_on_the_new_database(tmp_path: Path, index: Index) -> None:
    index.close()
    database(tmp_path).write_bytes(b"this is no database" * 500)
    warnings: list[str] = []

    first = Index(tmp_path / "index", warnings.append)
    second = Index(tmp_path / "index", warnings.append)
    first.put("name", b"content")

    assert second.value("name") == b"content"
    assert len(warnings) == 1


def test_given_up_database_goes_with_the_next_tidying(tmp_path: Path, index: Index) -> None:
    index.close()
    database(tmp_path).write_bytes(b"this is no database" * 500)
    later = Index(tmp_path / "index", lambda _message: None)
    later.put("name", b"content")

    later.tidy()

    assert not database(tmp_path).exists()
    assert later.value("name") == b"content"


def test_database_that_cannot_be_opened_is_a_store_error(tmp_path: Path) -> None:
    database(tmp_path).mkdir(parents=True)

    with pytest.raises(StoreError, match=f"the index of the cache {tmp_path} cannot be used: unable to open"):
        Index(tmp_path / "index", no_warning)
