from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import requests

from kitbuild.config.load import load
from kitbuild.config.sources import name_of
from kitbuild.config.yaml import MAX_BYTES
from kitbuild.errors import ConfigErrors
from tests.unit.config.configs import shown


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[int, bytes]]:
    """What the network holds: status and body by URL; no other URL can be reached."""
    known: dict[str, tuple[int, bytes]] = {}

    def answer(url: str, **options: Any) -> requests.Response:
        assert options == {"stream": True, "timeout": 30}
        if url not in known:
            raise requests.ConnectionError(url)
        response = requests.Response()
        response.status_code, body = known[url]
        response.raw = BytesIO(body)
        return response

    monkeypatch.setattr(requests, "get", answer)
    return known


def _mistakes(source: str) -> list[str]:
    with pytest.raises(ConfigErrors) as raised:
        load([source])
    return [shown(error) for error in raised.value.errors]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_url_is_read(scheme: str, answers: dict[str, tuple[int, bytes]]) -> None:
    url = f"{scheme}://host.example/linuxkit.yml"
    answers[url] = (200, b"init: [a]\n")

    system = load([url])

    assert system.init[0].place.where().file == url


def test_only_status_200_is_a_config(answers: dict[str, tuple[int, bytes]]) -> None:
    answers["http://host.example/x.yml"] = (404, b"init: [a]\n")

    found = _mistakes("http://host.example/x.yml")

    assert found == [
        "cannot read `http://host.example/x.yml`: expected status 200, got 404 (check the address of the config)"
    ]


@pytest.mark.usefixtures("answers")
def test_a_host_that_cannot_be_reached_is_a_mistake_without_the_password() -> None:
    found = _mistakes("https://me:secret@host.example/x.yml")

    assert found == [
        "cannot read `https://host.example/x.yml`: the server cannot be reached (check the address and the network)"
    ]


def test_an_answer_without_end_is_cut(answers: dict[str, tuple[int, bytes]]) -> None:
    answers["http://host.example/x.yml"] = (200, b"#" * (MAX_BYTES + (1 << 20)))

    [found] = _mistakes("http://host.example/x.yml")

    assert found.startswith("1:1 expected at most 4 MiB, got more")


def test_a_file_without_end_is_cut() -> None:
    [found] = _mistakes("/dev/zero")

    assert found.startswith("1:1 expected at most 4 MiB, got more")


def test_a_path_with_a_nul_is_a_mistake(tmp_path: Path) -> None:
    [found] = _mistakes(f"{tmp_path}\0")

    assert found.startswith("cannot read")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-", "<stdin>"),
        ("a@b.yml", "a@b.yml"),
        ("https://me:secret@host/a.yml", "https://host/a.yml"),
        ("https://me:se@cret@host/a.yml", "https://host/a.yml"),
        ("https://host/a@b.yml", "https://host/a@b.yml"),
        ("https://host?a@b", "https://host?a@b"),
    ],
)
def test_a_source_is_named_without_its_password(source: str, expected: str) -> None:
    assert expected == name_of(source)
