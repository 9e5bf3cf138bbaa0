"""From settings to what a remote cache is asked with."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cli.remote import Purpose, access_of, caches
from kitbuild.errors import UsageError
from kitbuild.event import Event
from kitbuild.settings import Settings
from tests.support.nodes import reporter


def test_token_comes_from_its_variable_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("# of the team\nfrom-file\n")
    variable = {"KITBUILD_REMOTE_CACHE_TOKEN": "from-variable\n"}

    assert access_of(Settings(), variable).token == "from-variable"
    assert access_of(Settings(remote_cache_token_file=tmp_path / "token"), variable).token == "from-file"


@pytest.mark.parametrize("content", [b"", b"one\ntwo\n", b"\xff"], ids=repr)
def test_token_file_without_one_line_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)

    with pytest.raises(UsageError, match=r"--remote-cache-token-file.*expected one line") as raised:
        access_of(Settings(remote_cache_token_file=tmp_path / "token"), {})

    assert "two" not in str(raised.value)


def test_token_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*token: No such file"):
        access_of(Settings(remote_cache_token_file=tmp_path / "token"), {})


@pytest.mark.parametrize("token", ["a\x07b", "a b", "ä"])
def test_token_that_cannot_stand_in_a_header_is_refused(token: str) -> None:
    with pytest.raises(UsageError, match="printable ASCII") as raised:
        access_of(Settings(), {"KITBUILD_REMOTE_CACHE_TOKEN": token})

    assert token not in str(raised.value)


def test_header_takes_a_variable(tmp_path: Path) -> None:
    settings = Settings(remote_cache_headers=(("X-Key", "$KEY"), ("X-Other", "${KEY}"), ("X-Plain", "a$KEY")))

    assert access_of(settings, {"KEY": "s"}).headers == (
        ("X-Key", "s"),
        ("X-Other", "s"),
        ("X-Plain", "a$KEY"),
    )


def test_header_with_an_unknown_variable_is_refused() -> None:
    with pytest.raises(UsageError, match="expected the variable `KEY`"):
        access_of(Settings(remote_cache_headers=(("X-Key", "$KEY"),)), {})


def test_access_shows_nothing() -> None:
    access = access_of(
        Settings(remote_cache_headers=(("X-Key", "secret"),)), {"KITBUILD_REMOTE_CACHE_TOKEN": "s3"}
    )

    assert repr(access) == str(access) == "Access(...)"


def test_without_a_remote_cache_the_local_one_is_all(tmp_path: Path) -> None:
    local, events = open_directory(tmp_path), list[Event]()

    with caches(Settings(), local, reporter(events.append), Purpose(explains=True)) as using:
        pass

    assert using.store is local
    assert using.notes is local
    assert using.executor is None
    assert events == []


def test_writing_to_no_remote_cache_is_refused(tmp_path: Path) -> None:
    local = open_directory(tmp_path)

    with (
        pytest.raises(UsageError, match="expected a remote cache with `--remote-cache-write`"),
        caches(Settings(remote_cache_write=True), local, reporter(print), Purpose()),
    ):
        raise AssertionError("never reached")
