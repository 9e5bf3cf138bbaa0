"""The parts of the HTTP remote cache that need no server: URLs, what opens them, proxies, words for refusals."""

from __future__ import annotations

import base64
import errno
import socket
import ssl
from pathlib import Path

import pytest

from kitbuild.cache.http import open_remote
from kitbuild.cache.http_address import Address, address_of, headers_of, netrc_login, proxy_of
from kitbuild.cache.http_failure import failure, refusal
from kitbuild.cache.remote import NO_ACCESS, Access
from kitbuild.digest import Digest
from kitbuild.errors import UsageError

PLAIN = Address("http", "cache.example", 80)
SECURE = Address("https", "cache.example", 443)
PLACE = "https://cache.example/one"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        pytest.param("http://cache.example", PLAIN, id="plain"),
        pytest.param("https://cache.example/", SECURE, id="secure"),
        pytest.param("http://Cache.Example", PLAIN, id="capitals"),
        pytest.param("http://host:8080/a/b/", Address("http", "host", 8080, "/a/b"), id="path"),
        pytest.param("http://[::1]:8080", Address("http", "::1", 8080), id="IPv6"),
        pytest.param("http://host/a%20b/ü", Address("http", "host", 80, "/a%20b/%C3%BC"), id="odd path"),
        pytest.param("http://u:p@host", Address("http", "host", 80, "", "u", "p"), id="user and password"),
        pytest.param("http://u@host", Address("http", "host", 80, "", "u"), id="user alone"),
        pytest.param("http://:p@host", Address("http", "host", 80, "", "", "p"), id="password alone"),
        pytest.param(
            "http://u%40x:p%3Aw%2F%40@host",
            Address("http", "host", 80, "", "u@x", "p:w/@"),
            id="percent-encoded",
        ),
        pytest.param(
            "http://u:p:q@host", Address("http", "host", 80, "", "u", "p:q"), id="colon in a password"
        ),
    ],
)
def test_url_is_read(url: str, address: Address) -> None:
    assert tuple(address) == tuple(address_of(url))


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://", id="no host"),
        pytest.param("http:///secret", id="path alone"),
        pytest.param("http://secret:port", id="port is no number"),
        pytest.param("http://host:99999/secret", id="port too large"),
        pytest.param("http://[secret", id="bracket left open"),
        pytest.param("http://host/one?secret=1", id="query"),
        pytest.param("http://host/one#secret", id="fragment"),
        pytest.param("http://host/ secret", id="space"),
        pytest.param("http://host/\nsecret", id="line break"),
        pytest.param("http://user:a/secret@host", id="slash in a password"),
        pytest.param("http://user:1/secret@host", id="slash behind a number in a password"),
    ],
)
def test_malformed_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_remote(url, NO_ACCESS)

    assert "secret" not in f"{raised.value} {raised.value!r}"
    assert raised.value.hint


@pytest.mark.parametrize(
    ("address", "place"),
    [
        (PLAIN, "cache.example"),
        (SECURE._replace(port=80), "cache.example:80"),
        (Address("http", "::1", 8080), "[::1]:8080"),
    ],
)
def test_place_is_written_as_in_a_url(address: Address, place: str) -> None:
    assert place == address.place


def test_nothing_is_shown_of_what_opens_a_remote_cache() -> None:
    remote = open_remote("https://user:secret@host/one", Access(token="secret"))

    assert "HttpRemote(https://host/one)" == repr(remote)
    assert "secret" not in repr(address_of("https://user:secret@host"))


def test_nobody_who_may_enter_sends_no_authorization() -> None:
    assert {} == headers_of(PLAIN, NO_ACCESS, None)


@pytest.mark.parametrize(
    ("url", "access", "login", "authorization"),
    [
        pytest.param("http://u:p@h", NO_ACCESS, None, basic("u", "p"), id="URL"),
        pytest.param(
            "http://u%40x:p%3A%2F@h", NO_ACCESS, None, basic("u@x", "p:/"), id="percent-encoded URL"
        ),
        pytest.param("http://u:%C3%BC@h", NO_ACCESS, None, basic("u", "ü"), id="UTF-8"),
        pytest.param("http://h", NO_ACCESS, ("n", "s"), basic("n", "s"), id="netrc"),
        pytest.param("http://u:p@h", NO_ACCESS, ("n", "s"), basic("u", "p"), id="URL before netrc"),
        pytest.param("http://u:p@h", Access(token="t"), ("n", "s"), "Bearer t", id="token before URL"),
        pytest.param(
            "http://u:p@h", Access((("authorization", "own"),), "t"), None, "own", id="header before token"
        ),
    ],
)
def test_most_plainly_given_secret_is_sent(
    url: str, access: Access, login: tuple[str, str] | None, authorization: str
) -> None:
    headers = headers_of(address_of(url), access, login)

    assert [authorization] == list(headers.values())


def test_headers_are_sent_beside_authorization() -> None:
    access = Access((("X-Key", "one"), ("X-Other", "two")), "t")

    assert {"X-Key": "one", "X-Other": "two", "Authorization": "Bearer t"} == headers_of(PLAIN, access, None)


@pytest.mark.parametrize(
    "access",
    [
        pytest.param(Access((("X-Key", "secret\r\nX-Other: 1"),)), id="line break in a value"),
        pytest.param(Access((("X-Key", "secret\x00"),)), id="control character in a value"),
        pytest.param(Access((("X-Key", "secret€"),)), id="value that is not Latin-1"),
        pytest.param(Access((("secret key", "one"),)), id="space in a name"),
        pytest.param(Access((("", "secret"),)), id="no name"),
        pytest.param(Access(token="secret\n"), id="line break in a token"),
    ],
)
def test_header_that_cannot_be_sent_is_refused_and_not_shown(access: Access) -> None:
    with pytest.raises(UsageError) as raised:
        open_remote("http://host", access)

    assert "secret" not in f"{raised.value} {raised.value!r}"


def test_login_of_the_host_is_read_from_netrc(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine other login a password b\nmachine cache.example login u password p:w\n")

    assert ("u", "p:w") == netrc_login("cache.example", {"NETRC": str(file)})


def test_netrc_has_a_login_for_every_other_host(tmp_path: Path) -> None:
    file = tmp_path / "netrc"
    file.write_text("machine other login a password b\ndefault login u password p\n")

    assert ("u", "p") == netrc_login("cache.example", {"NETRC": str(file)})


@pytest.mark.parametrize(
    "content",
    [None, b"machine other login a password b\n", b"machine cache.example login", b"\xff\xfe machine"],
    ids=["no file", "other host", "cut off", "no text"],
)
def test_netrc_without_the_host_gives_no_login(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "netrc"
    if content is not None:
        file.write_bytes(content)

    assert netrc_login("cache.example", {"NETRC": str(file)}) is None


def test_netrc_lies_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine cache.example login u password p\n")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert ("u", "p") == netrc_login("cache.example", {})


@pytest.mark.parametrize(
    ("address", "environment", "proxy"),
    [
        pytest.param(PLAIN, {}, "", id="none"),
        pytest.param(PLAIN, {"http_proxy": "http://p:1"}, "http://p:1", id="small letters"),
        pytest.param(PLAIN, {"HTTP_PROXY": "http://p:1"}, "http://p:1", id="capitals"),
        pytest.param(PLAIN, {"HTTP_PROXY": "a", "http_proxy": "b"}, "http://b", id="small letters first"),
        pytest.param(PLAIN, {"http_proxy": "p:1"}, "http://p:1", id="no scheme"),
        pytest.param(PLAIN, {"HTTPS_PROXY": "http://p:1"}, "", id="other scheme"),
        pytest.param(SECURE, {"HTTPS_PROXY": "http://p:1"}, "http://p:1", id="https"),
        pytest.param(SECURE, {"ALL_PROXY": "http://p:1"}, "http://p:1", id="all"),
        pytest.param(PLAIN._replace(host="localhost"), {"http_proxy": "p"}, "", id="localhost"),
        pytest.param(PLAIN._replace(host="127.0.0.2"), {"http_proxy": "p"}, "", id="loopback"),
        pytest.param(PLAIN._replace(host="::1"), {"http_proxy": "p"}, "", id="IPv6 loopback"),
    ],
)
def test_proxy_comes_from_the_environment(address: Address, environment: dict[str, str], proxy: str) -> None:
    assert proxy == proxy_of(address, environment)


@pytest.mark.parametrize(
    ("host", "exempt", "direct"),
    [
        pytest.param("cache.example", "*", True, id="everything"),
        pytest.param("cache.example", "cache.example", True, id="host"),
        pytest.param("cache.example", "CACHE.example", True, id="capitals"),
        pytest.param("cache.example", "other, .example", True, id="domain with a dot"),
        pytest.param("cache.example", "example", True, id="domain"),
        pytest.param("cache.example", "*.example", True, id="domain with a star"),
        pytest.param("cache.example", "cache.example:80", True, id="port"),
        pytest.param("cache.example", "cache.example:81", False, id="other port"),
        pytest.param("cache.example", "ache.example", False, id="end of a name"),
        pytest.param("cache.example", "cache.example.com", False, id="longer name"),
        pytest.param("10.1.2.3", "10.1.0.0/16", True, id="network"),
        pytest.param("10.2.2.3", "10.1.0.0/16", False, id="other network"),
        pytest.param("fd00::1", "[fd00::1]", True, id="IPv6"),
    ],
)
def test_no_proxy_names_whom_to_ask_directly(host: str, exempt: str, direct: bool) -> None:
    proxy = proxy_of(PLAIN._replace(host=host), {"http_proxy": "p", "NO_PROXY": exempt})

    assert ("" if direct else "http://p") == proxy


@pytest.mark.parametrize(
    ("method", "status", "lasting", "writing"),
    [
        ("GET", 401, True, False),
        ("GET", 403, True, False),
        ("GET", 429, False, False),
        ("GET", 500, False, False),
        ("GET", 503, False, False),
        ("HEAD", 400, True, False),
        ("PUT", 307, True, True),
        ("PUT", 401, True, True),
        ("PUT", 403, True, True),
        ("PUT", 405, True, True),
        ("PUT", 413, True, True),
        ("PUT", 501, True, True),
        ("PUT", 507, True, True),
        ("PUT", 408, False, False),
        ("PUT", 429, False, False),
        ("PUT", 500, False, False),
    ],
)
def test_refusal_says_whether_it_lasts_and_what_for(
    method: str, status: int, lasting: bool, writing: bool
) -> None:
    error = refusal(PLACE, method, status)

    assert (lasting, writing) == (error.lasting, error.writing)


def test_refusal_is_told_in_the_words_of_the_standard() -> None:
    assert f"{PLACE} answers 503 Service Unavailable to PUT" == refusal(PLACE, "PUT", 503).message
    assert f"{PLACE} answers 599 to GET" == refusal(PLACE, "GET", 599).message


@pytest.mark.parametrize(
    ("error", "message", "lasting"),
    [
        (socket.gaierror(socket.EAI_NONAME, "secret"), "cannot be asked: no such host", True),
        (socket.gaierror(socket.EAI_AGAIN, "secret"), "cannot be asked: its name is not found", False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "secret"), "refuses connections", False),
        (ConnectionResetError(errno.ECONNRESET, "secret"), "broke the connection", False),
        (TimeoutError("secret"), "did not answer in time", False),
        (
            OSError(errno.ENETUNREACH, "Network is unreachable"),
            "cannot be asked: network is unreachable",
            False,
        ),
        (
            OSError("Tunnel connection failed: 407 secret"),
            "the proxy answers 407 Proxy Authentication Required",
            True,
        ),
        (ssl.SSLError("secret"), "did not answer as a whole", False),
        (ValueError("secret"), "did not answer as a whole", False),
    ],
)
def test_failure_is_told_without_the_text_of_the_exception(
    error: Exception, message: str, lasting: bool
) -> None:
    outer = RuntimeError("secret", error)

    told = failure(PLACE, outer)

    assert told.message.startswith(PLACE)
    assert told.message.endswith(message)
    assert lasting == told.lasting
    assert "secret" not in told.message


def test_empty_content_needs_no_server() -> None:
    remote = open_remote("http://127.0.0.1:1", NO_ACCESS)
    empty = Digest.of(b"")

    remote.put(empty, lambda: [])

    assert set() == remote.missing([empty])
    assert [] == list(remote.get(empty))
    remote.close()
