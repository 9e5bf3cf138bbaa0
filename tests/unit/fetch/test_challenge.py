"""WWW-Authenticate, in all its spellings."""

from __future__ import annotations

import pytest

from kitbuild.rules.fetch.challenge import challenges_of


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param("Negotiate", [("negotiate", {})], id="scheme alone"),
        pytest.param('Basic realm="a b"', [("basic", {"realm": "a b"})], id="basic"),
        pytest.param("BASIC Realm=x", [("basic", {"realm": "x"})], id="case, no quotes"),
        pytest.param(
            'Bearer realm="https://a/t",service="s",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:a/b:pull,push"})],
            id="commas in quotes",
        ),
        pytest.param(
            'Bearer realm = "a" , service = s', [("bearer", {"realm": "a", "service": "s"})], id="spaces"
        ),
        pytest.param(r'Basic realm="a\"b\\c"', [("basic", {"realm": r'a"b\c'})], id="escapes"),
        pytest.param(
            'Negotiate, Bearer realm="a",service="b", Basic realm="c"',
            [("negotiate", {}), ("bearer", {"realm": "a", "service": "b"}), ("basic", {"realm": "c"})],
            id="several",
        ),
        pytest.param("realm=x", [], id="no scheme"),
        pytest.param('Basic realm="open', [("basic", {})], id="quote not closed"),
    ],
)
def test_challenges_are_taken_apart(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert expected == challenges_of(header)
