"""Docker's config file, and which hosts are this machine."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from kitbuild.errors import ImageError
from kitbuild.rules.fetch.credentials import Credentials, config_file, credentials_for, helper_for
from kitbuild.rules.fetch.transport import is_loopback


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def config(folder: Path, auths: Any, **more: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({"auths": auths, **more}))
    return path


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("r.example", "r.example"),
        ("r.example:5000", "r.example:5000"),
        ("r.example", "https://r.example"),
        ("r.example", "https://r.example/v1/"),
        ("r.example", "http://r.example/v2/"),
        ("r.example", "r.example/a"),
        ("r.example", "r.example/a/b"),
        ("docker.io", "https://index.docker.io/v1/"),
        ("docker.io", "docker.io"),
    ],
)
def test_credentials_are_found_however_the_host_is_written(tmp_path: Path, host: str, name: str) -> None:
    file = config(tmp_path, {"other.example": auth("x:y"), name: auth("me:pass:word")})

    assert credentials_for(host, "a/b", file) == Credentials("me", "pass:word")


@pytest.mark.parametrize("name", ["other.example", "r.example:5000", "r.example/a/bc", "xr.example"])
def test_credentials_for_something_else_are_not_used(tmp_path: Path, name: str) -> None:
    assert credentials_for("r.example", "a/b", config(tmp_path, {name: auth("me:x")})) is None


def test_the_longest_name_wins(tmp_path: Path) -> None:
    file = config(tmp_path, {"r.example": auth("host:x"), "r.example/a": auth("a:x")})

    assert credentials_for("r.example", "a/b", file) == Credentials("a", "x")


def test_user_and_password_may_be_written_out(tmp_path: Path) -> None:
    file = config(tmp_path, {"r.example": {"username": "me", "password": "x"}})

    assert credentials_for("r.example", "a", file) == Credentials("me", "x")


@pytest.mark.parametrize("auths", [None, {}, {"r.example": {}}])
def test_no_entry_is_nobody(tmp_path: Path, auths: Any) -> None:
    assert credentials_for("r.example", "a", config(tmp_path, auths)) is None


def test_no_file_is_nobody(tmp_path: Path) -> None:
    assert credentials_for("r.example", "a", tmp_path / "none" / "config.json") is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"auths": [1]}'])
def test_a_broken_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    with pytest.raises(ImageError, match="cannot read the credentials in"):
        credentials_for("r.example", "a", tmp_path / "config.json")


@pytest.mark.parametrize("entry", [auth("secret-without-colon"), {"auth": "%%%"}, {"auth": 7}, "secret"])
def test_a_broken_entry_is_an_error_that_keeps_the_secret(tmp_path: Path, entry: Any) -> None:
    with pytest.raises(ImageError, match=r"for `r\.example`") as caught:
        credentials_for("r.example", "a", config(tmp_path, {"r.example": entry}))

    assert "secret" not in str(caught.value)
    assert caught.value.hint == "log in again: `docker login r.example`"


def test_a_password_is_not_shown() -> None:
    assert "hidden" not in repr(Credentials("me", "hidden"))


def test_the_file_is_where_docker_config_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/x")

    assert config_file() == Path("/x/config.json")


def test_the_file_is_in_the_home_folder_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_CONFIG", raising=False)
    monkeypatch.setenv("HOME", "/home/me")

    assert config_file() == Path("/home/me/.docker/config.json")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ""),
        ({"credsStore": "desktop"}, "desktop"),
        ({"credHelpers": {"r.example": "ecr"}, "credsStore": "desktop"}, "ecr"),
        ({"credHelpers": {"other.example": "ecr"}}, ""),
    ],
)
def test_the_helper_of_a_host_is_known(tmp_path: Path, more: dict[str, Any], expected: str) -> None:
    assert helper_for("r.example", config(tmp_path, {}, **more)) == expected


@pytest.mark.parametrize("text", ["{", "[]"])
def test_no_helper_comes_out_of_a_broken_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)

    assert helper_for("r.example", tmp_path / "config.json") == ""


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:5000", "127.8.9.1", "[::1]", "[::1]:80"]
)
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["docker.io", "localhost.example", "127.0.0.1.example", "10.0.0.1:80", "[::2]:80", "x:localhost", ""],
)
def test_another_machine_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
