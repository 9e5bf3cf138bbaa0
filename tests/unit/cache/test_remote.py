"""Remote: what may be shown of a URL."""

from __future__ import annotations

import pytest

from kitbuild.cache.remote import shown


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://cache.example/team", "https://cache.example/team"),
        ("https://user:secret@cache.example:8443/a", "https://cache.example:8443/a"),
        ("https://user:se/cr@et@cache.example/a", "https://cache.example/a"),
        ("http://user:sec?ret#x@host/", "http://host/"),
        ("s3://bucket/prefix?secret=1", "s3://bucket/prefix"),
        ("oci://host/x#secret", "oci://host/x"),
        ("file:///srv/cache", "file:///srv/cache"),
    ],
)
def test_nothing_secret_of_a_url_is_shown(url: str, expected: str) -> None:
    assert shown(url) == expected
