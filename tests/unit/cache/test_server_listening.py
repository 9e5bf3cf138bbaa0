from __future__ import annotations

import pytest

from kitbuild.cache.server_listening import is_loopback, parse_address
from kitbuild.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("cache.example.com:80", ("cache.example.com", 80)),
        ("[::1]:0", ("::1", 0)),
        (":8080", ("", 8080)),
    ],
)
def test_address_is_read(text: str, address: tuple[str, int]) -> None:
    assert address == parse_address(text)


@pytest.mark.parametrize(
    "text", ["", "8080", "localhost", "localhost:", "localhost:http", "a:65536", "::1:80", "a:-1"]
)
def test_address_that_cannot_be_read_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_address(text)

    assert f"expected an address such as 127.0.0.1:8080 or [::1]:8080, got `{text}`" == str(raised.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_this_machine_alone_reaches(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.0.1", "cache.example.com"])
def test_others_may_reach(host: str) -> None:
    assert not is_loopback(host)
