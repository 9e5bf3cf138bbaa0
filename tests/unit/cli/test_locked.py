"""The lock of a build: where it is, and how it is refused."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cli.locked import (
    address_of,
    decoded,
    keep_config,
    lock_command,
    lock_in_force,
    lock_path,
    pinned_config,
    warning_of,
)
from kitbuild.errors import ConfigError, ConfigErrors, UsageError
from kitbuild.lock import MAX_BYTES, Lock
from tests.support.work import MemoryNotes

EMPTY = Lock().encode()


def arguments(*configs: str, **more: Any) -> Namespace:
    return Namespace(**{"configs": list(configs), "arch": None, **more})


def refusals(content: bytes) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        decoded(content, "x.lock")
    return [str(error) for error in caught.value.errors]


@pytest.mark.parametrize(
    ("configs", "path"),
    [
        (["a.yml"], "a.yml.lock"),
        (["base.yml", "site/a.yml"], "site/a.yml.lock"),
        (["a.yml", "https://user:word@x.example/dir/b.yml?token=1"], "b.yml.lock"),
        (["https://x.example/"], "x.example.lock"),
    ],
)
def test_a_lock_is_beside_the_last_config(configs: list[str], path: str) -> None:
    assert lock_path(configs) == Path(path)


def test_stdin_has_no_lock_of_its_own() -> None:
    assert lock_path(["a.yml", "-"]) is None


def test_a_lock_counts_if_it_is_there(tmp_path: Path) -> None:
    config, other = str(tmp_path / "a.yml"), str(tmp_path / "other.lock")

    assert lock_in_force(arguments(config)) is None
    (tmp_path / "a.yml.lock").write_bytes(EMPTY)
    Path(other).write_bytes(EMPTY)
    found = lock_in_force(arguments(config))
    named = lock_in_force(arguments(config, lock=other, locked=True))

    assert found is not None
    assert named is not None
    assert (found.path, found.only) == (tmp_path / "a.yml.lock", False)
    assert (named.path, named.only) == (Path(other), True)
    assert lock_in_force(arguments(config, no_lock=True)) is None


@pytest.mark.parametrize("flags", [{"locked": True}, {"lock": "none.lock"}])
def test_a_lock_that_has_to_be_there_is_missed(flags: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a lock at"):
        lock_in_force(arguments(str(tmp_path / "a.yml"), **flags))


@pytest.mark.parametrize("flags", [{"locked": True}, {"lock": "x.lock"}])
def test_to_use_a_lock_and_to_use_none_is_a_contradiction(flags: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="or `--no-lock`, got both"):
        lock_in_force(arguments("a.yml", no_lock=True, **flags))


def test_a_folder_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "a.yml.lock").mkdir()

    with pytest.raises(UsageError, match="cannot read"):
        lock_in_force(arguments(str(tmp_path / "a.yml")))


def test_the_command_that_mends_a_lock_can_be_typed() -> None:
    found = lock_command(
        arguments("a b.yml", "http://user:word@x.example/a.yml", arch="arm64"), Path("x.lock")
    )

    assert found == "kitbuild lock --arch arm64 -o x.lock 'a b.yml' http://x.example/a.yml"


def test_no_json_is_told_with_its_place() -> None:
    assert refusals(b'{"version": 1,\n  "images": {,\n}') == [
        "x.lock:2:14: expected JSON, got something else: expecting property name enclosed in double quotes"
    ]
    assert refusals(b"")[0].startswith("x.lock:1:1: expected JSON")
    assert refusals(b'{\n "a": "\xff"')[0] == "x.lock:2:8: expected UTF-8 text, got the byte 0xff"


def test_a_conflict_is_told_at_its_first_marker() -> None:
    content = b'{\n  "version": 1,\n<<<<<<< HEAD\n  "images": {}\n=======\n>>>>>>> theirs\n}\n'

    assert refusals(content) == [
        "x.lock:3:1: expected a lock, got the marker of a merge conflict: `<<<<<<< HEAD`"
    ]


def test_mistakes_are_told_in_the_order_of_their_places() -> None:
    content = b'{\n  "version": 1,\n  "images": {\n    "redis": 7,\n    "b c": {}\n  },\n  "loader": {}\n}\n'

    places = [text.split(" ")[0] for text in refusals(content)]

    assert places == ["x.lock:4:5:", "x.lock:4:14:", "x.lock:5:5:", "x.lock:7:3:"]


def test_a_name_given_twice_is_told_where_it_is_again() -> None:
    content = b'{\n  "version": 1,\n  "images": {},\n  "images": {}\n}\n'

    assert refusals(content) == ["x.lock:4:3: expected each key once, got `images` again"]


def test_a_file_that_is_too_large_is_not_read() -> None:
    assert refusals(b" " * (MAX_BYTES + 1)) == ["x.lock:1:1: expected at most 4 MiB, got more"]


def test_what_is_deeper_than_anything_is_refused() -> None:
    assert refusals(b"[" * 100_000)


def test_an_address_in_a_lock_holds_no_secret() -> None:
    assert address_of("https://user:word@x.example/a.yml?token=1#x") == "https://x.example/a.yml"


def test_many_names_are_one_warning(tmp_path: Path) -> None:
    (tmp_path / "a.yml.lock").write_bytes(EMPTY)
    lock = lock_in_force(arguments(str(tmp_path / "a.yml")))
    assert lock is not None
    lock = lock._replace(path=Path("a.yml.lock"), command="kitbuild lock a.yml")

    assert warning_of(["a", "b", "c", "d", "e"], lock) == (
        "a, b, c and 2 more are not in a.yml.lock: run `kitbuild lock a.yml`"
    )
    assert warning_of(["a"], lock).startswith("a is not in a.yml.lock")


@pytest.mark.parametrize("name", ["file/below.yml", "none/a.yml", "x" * 255, "a\0b"])
def test_where_no_lock_can_be_there_is_none(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert lock_in_force(arguments(f"{tmp_path}/{name}")) is None


def test_what_is_kept_of_a_config_is_that_of_the_whole_url() -> None:
    notes = MemoryNotes()
    # Nobody listens there.
    one, other = "http://127.0.0.1:9/a.yml?part=a", "http://127.0.0.1:9/a.yml?part=b"
    digest = keep_config(one, b"one", notes)

    assert address_of(one) == address_of(other)
    assert pinned_config(one, digest, notes, where="x.lock") == b"one"
    with pytest.raises(ConfigError, match="cannot read"):
        pinned_config(other, digest, notes, where="x.lock")
