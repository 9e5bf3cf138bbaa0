"""Requests to a registry and what belongs to them: time-outs, retries, limits, and words for failures.

Source: RFC 9110 (HTTP semantics).
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.errors import ImageError

if TYPE_CHECKING:
    import requests

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
# Waits before the second and third try; three tries in all get over a restarting proxy and cost 1.2 s at most.
_WAITS_SECONDS = (0.2, 1.0)
_MAX_RETRY_AFTER_SECONDS = 10.0
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_PIECE_BYTES = 1 << 18
# What goes on to another host when a request is sent there; all else may say who we are.
_PUBLIC_HEADERS = frozenset({"Accept", "Accept-Encoding", "Connection", "Range", "User-Agent"})


class UnavailableError(ImageError):
    """A registry that cannot answer now; its mirror, or what it mirrors, may."""


class UnreachableError(UnavailableError):
    """A registry that does not answer at all."""


class Transport:
    """Requests on behalf of one registry, whose `host` errors name. Safe to use from several threads.

    `waits` are the seconds before a request is tried again; nothing is if there are none. `timeouts` are the seconds
    to connect in and to wait for the next bytes of an answer. `cert_files` hold certificate authorities (PEM) to be
    trusted besides those the system trusts; `client_cert` is a PEM file with our own and one with its key.
    """

    def __init__(
        self,
        host: str,
        *,
        pause: Callable[[float], None] = time.sleep,
        waits: Sequence[float] = _WAITS_SECONDS,
        timeouts: tuple[float, float] = (_CONNECT_SECONDS, _READ_SECONDS),
        cert_files: tuple[str, ...] = (),
        client_cert: tuple[Path, Path] | None = None,
    ) -> None:
        self.host = host
        self._pause = pause
        self._waits = waits
        self._timeouts = timeouts
        self._cert_files = cert_files
        self._client_cert = client_cert
        self._lock = threading.Lock()
        self._session: requests.Session | None = None

    def get(
        self,
        address: str,
        authorization: str,
        *,
        headers: Mapping[str, str] | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """The first answer that is not a passing failure, or the last one; close it. Its body is not read yet.

        Raises UnreachableError if there is no answer at all.
        """

        if parameters:
            from urllib.parse import urlencode

            address = f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}"
        for wait in (*self._waits, None):
            try:
                response = self.send("GET", address, authorization, headers=headers)
            except OSError as error:  # every exception of requests is one
                if wait is None or not _may_pass(error):
                    raise self.unreachable(error) from error
                self._pause(wait)
                continue
            if response.status_code not in _PASSING or wait is None:
                return response
            response.close()
            self._pause(_wait(response, wait))
        raise AssertionError("the last try returns or raises")

    def send(
        self,
        method: str,
        address: str,
        authorization: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        timeouts: tuple[float, float] | None = None,
    ) -> requests.Response:
        """The answer to one request, whatever it is; close it. Its body is not read yet.

        `content` that is not bytes has a `len` of at least 1. With content, nothing is sent to where a redirect
        says. Raises OSError if there is no answer.
        """

        def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if authorization:
                request.headers["Authorization"] = authorization
            return request

        return self.session().request(
            method,
            address,
            headers={"Accept-Encoding": "identity", **(headers or {})},
            data=content,
            # Not a header: requests lets ~/.netrc replace one. On a redirect to another host it drops what this sets.
            auth=authorize,
            stream=True,
            timeout=timeouts or self._timeouts,
            allow_redirects=content is None,
        )

    def pieces(self, response: requests.Response) -> Iterator[bytes]:
        """The body as sent; raises OSError when the connection breaks or the body ends early."""
        import urllib3

        try:
            # decode_content=False: a body is a blob, and what its digest names is the bytes on the wire.
            yield from response.raw.stream(_PIECE_BYTES, decode_content=False)
        except urllib3.exceptions.HTTPError as error:
            raise OSError(f"{type(error).__name__} in the middle of an answer") from error

    def body(self, response: requests.Response, max_bytes: int) -> bytes:
        """The whole body; raises ImageError if it is larger than `max_bytes`, OSError if it breaks off."""
        content = bytearray()
        for piece in self.pieces(response):
            content += piece
            if len(content) > max_bytes:
                raise ImageError(f"{self.host}: expected at most {max_bytes} bytes, got more")
        return bytes(content)

    def drop(self, response: requests.Response) -> None:
        """Closes an answer of which no more than a little is left to read."""
        # Read to its end, it leaves the connection open for the next request.
        with suppress(OSError):
            next(self.pieces(response), b"")
        response.close()

    def wait_after(self, failures: int, error: OSError) -> None:
        """Waits after a body broke off for the `failures`th time; raises ImageError if that was the last try."""
        if failures > len(self._waits):
            raise self.broken(error) from error
        self._pause(self._waits[failures - 1])

    def unreachable(self, error: Exception) -> UnreachableError:
        """The error for a registry that does not answer."""
        return UnreachableError(
            f"cannot reach the registry {self.host}: {_reason(error)}",
            hint="check the network, or give images you have with `--images` or `--cache`",
        )

    def broken(self, error: OSError) -> ImageError:
        """The error for a body that never comes to its end."""
        return ImageError(
            f"the connection to the registry {self.host} broke: {error}",
            hint="build again: what has arrived whole is not fetched a second time",
        )

    def session(self) -> requests.Session:
        """The open connections, made when they are first needed."""
        with self._lock:
            if self._session is None:
                self._session = self._new_session()
            return self._session

    def close(self) -> None:
        """Closes the connections; a later request opens new ones."""
        with self._lock:
            if self._session is not None:
                self._session.close()

    def _new_session(self) -> requests.Session:
        import requests

        from kitbuild import __version__

        class Session(requests.Session):
            """A session that tells another host, to which an answer sends us, nothing about who we are."""

            def rebuild_auth(
                self, prepared_request: requests.PreparedRequest, response: requests.Response
            ) -> None:
                before, after = str(response.request.url), str(prepared_request.url)
                if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
                    for name in {*prepared_request.headers} - _PUBLIC_HEADERS:
                        del prepared_request.headers[name]
                super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]

        session = Session()
        session.headers["User-Agent"] = f"kitbuild/{__version__}"
        # A proxy cannot reach this machine's own registry.
        session.trust_env = not is_loopback(self.host)
        if self._client_cert:
            session.cert = (str(self._client_cert[0]), str(self._client_cert[1]))
        if self._cert_files:
            from kitbuild.rules.fetch.certificates import trusting

            session.mount("https://", trusting(self._cert_files))
        return session


def is_loopback(host: str) -> bool:
    """Whether `host`, perhaps with a port, is this machine; then registries speak plain http."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _may_pass(error: OSError) -> bool:
    from requests import exceptions

    # A wrong certificate or address stays wrong, and who waited for a time-out should not wait for two more.
    lasting = (exceptions.Timeout, exceptions.SSLError, exceptions.InvalidURL, exceptions.TooManyRedirects)
    return not isinstance(error, lasting)


def _wait(response: requests.Response, otherwise: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), _MAX_RETRY_AFTER_SECONDS) if asked.isdecimal() else otherwise


def _reason(error: BaseException) -> str:
    """The innermost cause that says something: requests wraps the system's words three times."""
    deepest = error
    while (inner := deepest.__cause__ or deepest.__context__) is not None:
        deepest = inner
    return str(getattr(deepest, "strerror", None) or deepest).lower() or type(deepest).__name__
