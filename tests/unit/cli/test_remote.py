"""From settings to what a remote cache is asked with."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cache.folder import FolderRemote
from kitbuild.cache.remote import Record
from kitbuild.cli.remote import Purpose, access_of, caches
from kitbuild.digest import Digest
from kitbuild.errors import UsageError
from kitbuild.event import Event
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.settings import Settings
from kitbuild.store import Result
from tests.support.nodes import reporter

KEY = Key("ab" * 32)
RESULT = Result(Artifact("blob", Digest.of(b"content")))


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

    using.store.record(KEY, RESULT)
    assert local.results([KEY]) == [RESULT]
    assert using.executor is None
    assert events == []


@pytest.mark.parametrize(
    ("trusted", "expected"), [((), RESULT), (("kitbuild-ed25519:key",), None)], ids=["nobody", "a-key"]
)
def test_what_was_taken_on_nobodys_word_is_found_here_unless_keys_are_trusted(
    tmp_path: Path, trusted: tuple[str, ...], expected: Result | None
) -> None:
    local, there = open_directory(tmp_path / "cache"), tmp_path / "there"
    FolderRemote(there).keep(KEY, Record(RESULT))
    report = reporter(lambda event: None)
    with caches(Settings(remote_cache=f"file://{there}"), local, report, Purpose()) as using:
        assert using.store.results([KEY]) == [RESULT._replace(far=True)]

    with caches(Settings(trusted_keys=trusted), local, report, Purpose()) as using:
        found = using.store.results([KEY])

    assert found == [expected]


def test_writing_to_no_remote_cache_is_refused(tmp_path: Path) -> None:
    local = open_directory(tmp_path)

    with (
        pytest.raises(UsageError, match="expected a remote cache with `--remote-cache-write`"),
        caches(Settings(remote_cache_write=True), local, reporter(print), Purpose()),
    ):
        raise AssertionError("never reached")
