"""Requests to an HTTP server, and to those it sends us on to. Loaded with the first request."""

from __future__ import annotations

import http.client
import os
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit

import urllib3

from kitbuild import __version__
from kitbuild.cache.http_address import Address, headers_of, netrc_login, proxy_of
from kitbuild.cache.http_failure import causes, failure
from kitbuild.cache.http_socket import PlainPool, SecurePool, StaleError
from kitbuild.cache.remote import Access
from kitbuild.errors import RemoteError

_CONNECT_SECONDS = 1.0
# More threads than this never ask at once; a connection too many would be closed after each answer.
_MOST_OPEN = 32
_MOST_SERVERS = 16
_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# What a refusal is explained with is read to keep the connection; anything longer costs more than a new one.
_MOST_UNREAD_BYTES = 64 << 10
_POOLS: dict[str, type[urllib3.HTTPConnectionPool]] = {"http": PlainPool, "https": SecurePool}
_NEVER = urllib3.Retry(False, redirect=False)

Body = Callable[[], Iterable[bytes]]


class _Request(NamedTuple):
    method: str
    seconds: float
    headers: Mapping[str, str]
    body: Body | None = None


class _Server(NamedTuple):
    """One server: `prefix` stands before the path of a request, for a proxy the rest of the URL."""

    pool: urllib3.HTTPConnectionPool
    prefix: str


class Connections:
    """Open connections to one remote cache and to the servers it redirects to. Safe to use from several threads.

    `place` is the URL as errors may show it. What opens the remote cache is sent to its own server alone.
    """

    def __init__(self, address: Address, access: Access, place: str) -> None:
        self._address = address
        self._access = access
        self._place = place
        self._lock = threading.Lock()
        self._servers: dict[tuple[str, str, int], _Server] = {}
        self._plain = {"User-Agent": f"kitbuild/{__version__}", "Accept-Encoding": "identity"}
        self._opening = self._plain | headers_of(address, access, netrc_login(address.host, os.environ))

    @contextmanager
    def answer(
        self,
        method: str,
        path: str,
        *,
        seconds: float,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The answer to a request for a path below the URL; its body is not read yet. Only GET follows redirects.

        `seconds` may pass between the request and the end of the answer's head. Raises RemoteError, also for what
        goes wrong while the caller reads the body; a body that is not read to its end is thrown away.
        """
        try:
            target = self._address.path + path
            request = _Request(method, seconds, headers or {}, body)
            response = self._asked(self._address, target, request)
            if method == "GET" and response.status in _REDIRECTS:
                response = self._followed(response, target, request)
            try:
                yield response
            finally:
                _finish(response)
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
            raise failure(self._place, error) from error

    def close(self) -> None:
        """Closes all connections that are not in use, and the others when they are done."""
        with self._lock:
            servers, self._servers = self._servers, {}
        for server in servers.values():
            server.pool.close()

    def _followed(
        self, response: urllib3.BaseHTTPResponse, target: str, request: _Request
    ) -> urllib3.BaseHTTPResponse:
        """The first answer that is no redirect."""
        url = f"{self._address.scheme}://{self._address.place}{target}"
        for _ in range(_MOST_REDIRECTS):
            location = response.headers.get("Location", "")
            _finish(response)
            url, address, target = self._elsewhere(url, location)
            response = self._asked(address, target, request)
            if response.status not in _REDIRECTS:
                return response
        _finish(response)
        raise RemoteError(f"{self._place} redirects more than {_MOST_REDIRECTS} times", lasting=True)

    def _elsewhere(self, url: str, location: str) -> tuple[str, Address, str]:
        """Where a redirect leads to: the URL, its server, and what to ask that for."""
        try:
            url = urljoin(url, location) if location else ""
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise RemoteError(f"{self._place} redirects to what is no URL", lasting=True) from None
        if not host or parts.scheme not in _POOLS:
            raise RemoteError(f"{self._place} redirects to what is no http:// or https:// URL", lasting=True)
        if self._address.scheme == "https" != parts.scheme:
            raise RemoteError(f"{self._place} redirects from https:// to http://", lasting=True)
        usual = 443 if parts.scheme == "https" else 80
        target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
        query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
        return url, Address(parts.scheme, host, port or usual), target + query

    def _asked(self, address: Address, target: str, request: _Request) -> urllib3.BaseHTTPResponse:
        """The answer of one server; asked again as long as connections kept alive turn out to be closed."""
        home = address.server == self._address.server
        server = self._server(address, home)
        for number in range(_MOST_OPEN + 1):
            try:
                return server.pool.urlopen(
                    request.method,
                    server.prefix + target,
                    body=request.body() if request.body else None,
                    headers={**(self._opening if home else self._plain), **request.headers},
                    retries=_NEVER,
                    redirect=False,
                    assert_same_host=False,
                    timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=request.seconds),
                    preload_content=False,
                    decode_content=False,
                )
            except urllib3.exceptions.HTTPError as error:
                # Each of these had answered before: there are no more of them than the pool holds.
                stale = any(isinstance(cause, StaleError) for cause in causes(error))
                if not stale or number == _MOST_OPEN:
                    raise
        raise AssertionError("the last try returns or raises")

    def _server(self, address: Address, home: bool) -> _Server:
        with self._lock:
            server = self._servers.get(address.server)
            if server is None:
                server = self._opened(address, home)
                if len(self._servers) >= _MOST_SERVERS:
                    self._servers.pop(next(iter(self._servers))).pool.close()
                self._servers[address.server] = server
            return server

    def _opened(self, address: Address, home: bool) -> _Server:
        options: dict[str, object] = {"maxsize": _MOST_OPEN}
        if address.scheme == "https":
            options["ssl_context"] = self._trust(home)
        proxy = proxy_of(address, os.environ)
        if not proxy:
            return _Server(_POOLS[address.scheme](address.host, address.port, **options), "")  # type: ignore[arg-type]
        manager = self._through(proxy, options)
        pool = manager.connection_from_host(address.host, address.port, scheme=address.scheme)
        prefix = f"http://{address.place}" if address.scheme == "http" else ""
        return _Server(pool, prefix)

    def _through(self, proxy: str, options: dict[str, object]) -> urllib3.ProxyManager:
        parts = urlsplit(proxy)
        if parts.scheme not in _POOLS:
            raise RemoteError(
                f"{self._place} cannot be asked: expected a proxy of http:// or https://,"
                f" got {parts.scheme}://",
                lasting=True,
            )
        user, _, place = parts.netloc.rpartition("@")
        headers = urllib3.make_headers(proxy_basic_auth=unquote(user)) if user else None
        manager = urllib3.ProxyManager(f"{parts.scheme}://{place}", proxy_headers=headers, **options)  # type: ignore[arg-type]
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def _trust(self, home: bool) -> ssl.SSLContext:
        """Whom to believe, and as whom to appear: as nobody to a server that is not the remote cache itself."""
        trust = ssl.create_default_context()
        for file in self._access.authorities:
            with self._reading("certificate authorities", file):
                trust.load_verify_locations(file)
        certificate = self._access.client_certificate
        if home and certificate is not None:
            with self._reading("a certificate and its key", certificate):
                # Without a password, for a key that wants one, OpenSSL would ask for it on the terminal.
                trust.load_cert_chain(certificate, self._access.client_key, password=lambda: "")
        return trust

    @contextmanager
    def _reading(self, what: str, file: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # ssl.SSLError is one
            words = "" if isinstance(error, ssl.SSLError) else f": {(error.strerror or '').lower()}"
            raise RemoteError(
                f"{self._place} cannot be asked: expected {what} in {file}{words}", lasting=True
            ) from error


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """Reads what is left of an answer if that is little, so that its connection can be used again."""
    try:
        left = getattr(response, "length_remaining", None)
        if left is not None and left <= _MOST_UNREAD_BYTES:
            # Also where nothing is left: the connection is given back by reading.
            response.read(left + 1, decode_content=False)
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError):
        pass  # what was wanted of the answer has been had
    finally:
        response.close()
