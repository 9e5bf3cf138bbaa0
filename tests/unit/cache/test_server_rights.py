from __future__ import annotations

import base64
from pathlib import Path

import pytest

from kitbuild.cache.server_rights import Grant, OpenRights, parse_rights, read_rights, token_of
from kitbuild.errors import ConfigErrors, StoreError

TEXT = """\
# who                right  where
reading-token        read
writing-token        write

request-token        write  pr-*
"""


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "token"),
    [
        pytest.param("Bearer abc", "abc", id="bearer"),
        pytest.param("bearer  abc ", "abc", id="bearer-in-lower-case"),
        pytest.param(basic("user:abc"), "abc", id="password"),
        pytest.param(basic("user:a:b"), "a:b", id="password-with-a-colon"),
        pytest.param(basic("abc:"), "abc", id="user-without-password"),
        pytest.param(basic("abc"), "abc", id="user-without-colon"),
        pytest.param("Basic !!!", "", id="not-base64"),
        pytest.param("Basic /w==", "", id="not-text"),
        pytest.param("Digest abc", "", id="another-scheme"),
        pytest.param("abc", "", id="no-scheme"),
    ],
)
def test_token_of_a_header(header: str, token: str) -> None:
    assert token == token_of(header)


@pytest.mark.parametrize(
    ("token", "grant"),
    [
        pytest.param("reading-token", Grant(), id="read"),
        pytest.param("writing-token", Grant(writes=True), id="write"),
        pytest.param("request-token", Grant(writes=True, pattern="pr-*"), id="write-to-a-pattern"),
        pytest.param("another-token", None, id="unknown"),
        pytest.param("", None, id="empty"),
        pytest.param("*", None, id="a-star-is-no-token"),
        pytest.param("#", None, id="a-comment-is-no-token"),
    ],
)
def test_token_gives_what_its_line_says(token: str, grant: Grant | None) -> None:
    rights = parse_rights(TEXT, "tokens")

    assert grant == rights.grant(f"Bearer {token}")


def test_whoever_has_no_token_may_do_nothing() -> None:
    assert parse_rights(TEXT, "tokens").grant("") is None


def test_star_lets_whoever_has_no_token_read() -> None:
    rights = parse_rights(f"{TEXT}* read\n", "tokens")

    assert Grant() == rights.grant("")
    assert rights.grant("Bearer another-token") is None


def test_server_without_tokens_takes_any() -> None:
    assert Grant(writes=True) == OpenRights().grant("") == OpenRights().grant("Bearer whatever")


@pytest.mark.parametrize(
    ("grant", "namespace", "may"),
    [
        pytest.param(Grant(), "", False, id="reader"),
        pytest.param(Grant(), "pr-1", False, id="reader-in-a-namespace"),
        pytest.param(Grant(writes=True), "", True, id="writer"),
        pytest.param(Grant(writes=True), "pr-1", True, id="writer-in-a-namespace"),
        pytest.param(Grant(writes=True, pattern="pr-*"), "pr-1", True, id="pattern-matches"),
        pytest.param(Grant(writes=True, pattern="pr-*"), "PR-1", False, id="pattern-matches-case"),
        pytest.param(Grant(writes=True, pattern="pr-*"), "main", False, id="pattern-matches-not"),
        pytest.param(Grant(writes=True, pattern="pr-*"), "", False, id="pattern-is-never-outside-namespaces"),
        pytest.param(Grant(writes=True, pattern="*"), "", False, id="star-is-every-namespace-and-only-those"),
        pytest.param(Grant(writes=True, pattern="*"), "main", True, id="star-matches"),
    ],
)
def test_where_a_grant_allows_writing(grant: Grant, namespace: str, may: bool) -> None:
    assert may == grant.may_write(namespace)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "writing-token",
            "tokens:2:1: expected a token, `read` or `write`, and perhaps a pattern of namespaces",
        ),
        (
            "writing-token all",
            "tokens:2:1: expected a token, `read` or `write`, and perhaps a pattern of namespaces",
        ),
        (
            "writing-token write a b",
            "tokens:2:1: expected a token, `read` or `write`, and perhaps a pattern of namespaces",
        ),
        (
            "writing-token read pr-*",
            "tokens:2:1: expected no pattern after `read`, which allows reading everything",
        ),
        ("* write", "tokens:2:1: expected `read` after `*`: whoever has no token cannot write"),
        ("short read", "tokens:2:1: expected a token of at least 8 characters, got 5"),
        ("known-token write", "tokens:2:1: the same token twice"),
    ],
)
def test_wrong_line_is_told_with_its_place_and_without_its_token(line: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as raised:
        parse_rights(f"known-token read\n{line}\n", "tokens")

    assert [message] == [str(error) for error in raised.value.errors]
    assert "-token" not in str(raised.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o440])
def test_file_of_its_owner_and_perhaps_a_group_is_read(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "tokens"
    file.write_text(TEXT)
    file.chmod(mode)

    rights = read_rights(file)

    assert Grant() == rights.grant("Bearer reading-token")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o660])
def test_file_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "tokens"
    file.write_text(TEXT)
    file.chmod(mode)

    with pytest.raises(StoreError, match=f"mode {mode:04o}") as raised:
        read_rights(file)

    assert f"run `chmod 600 {file}`" == raised.value.hint


def test_file_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"the token file .* cannot be read: No such file"):
        read_rights(tmp_path / "tokens")


def test_rights_show_no_token() -> None:
    rights = parse_rights(TEXT, "tokens")

    assert "token" not in repr(vars(rights))
