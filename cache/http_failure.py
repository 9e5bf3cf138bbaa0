"""What went wrong between here and an HTTP server, in words that hold no secret. Loaded with the first failure.

The texts of exceptions are never shown: they quote URLs, headers and what a server sent.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from http import HTTPStatus

from kitbuild.errors import RemoteError

# Nothing about these is for ever; every other refusal of the client's doing is.
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "give a token in KITBUILD_REMOTE_CACHE_TOKEN, or a user and a password in ~/.netrc",
    HTTPStatus.CONFLICT: "make the folders `ac` and `cas` on the server",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "raise the server's limit, with nginx `client_max_body_size 0;`",
}


def refusal(place: str, method: str, status: int) -> RemoteError:
    """The error for an answer that is no help; `place` is the URL as it may be shown."""
    lasting = 300 <= status < 500 and status not in _PASSING
    full = status in (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.INSUFFICIENT_STORAGE)
    writing = method == "PUT" and (lasting or full)
    return RemoteError(
        f"{place} answers {_named(status)} to {method}",
        lasting=lasting or writing,
        writing=writing,
        hint=_HINTS.get(status),
    )


def failure(place: str, error: BaseException) -> RemoteError:
    """The error for a request that got no whole answer."""
    words, lasting = _told(error)
    return RemoteError(f"{place} {words}", lasting=lasting)


def _named(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _told(error: BaseException) -> tuple[str, bool]:
    """What happened, and whether it will again: urllib3 wraps the system's error up to three times."""
    chain = list(causes(error))
    told = (words for of in (_by_cause, _by_effect) for link in chain if (words := of(link)))
    return next(told, ("did not answer as a whole", False))


def _by_cause(error: BaseException) -> tuple[str, bool] | None:
    import socket
    import ssl

    match error:
        case socket.gaierror():
            unknown = error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None))
            return (
                "cannot be asked: no such host" if unknown else "cannot be asked: its name is not found",
                unknown,
            )
        case ssl.SSLCertVerificationError():
            return f"has a certificate that is not trusted: {error.verify_message}", True
        case ssl.SSLError() if reason := getattr(error, "reason", None):
            return f"cannot be asked over TLS: {_reason(reason)}", _is_lasting(reason)
        case ConnectionRefusedError():
            return "refuses connections", False
        case OSError() if status := re.match(r"Tunnel connection failed: (\d{3})", str(error)):
            return f"cannot be asked: the proxy answers {_named(int(status[1]))}", True
    return None


def _by_effect(error: BaseException) -> tuple[str, bool] | None:
    import http.client

    import urllib3.exceptions as wrapped

    match error:
        case wrapped.ConnectTimeoutError():
            return "cannot be reached in time", False
        case TimeoutError() | wrapped.ReadTimeoutError():
            return "did not answer in time", False
        case wrapped.IncompleteRead() | http.client.IncompleteRead() | http.client.RemoteDisconnected():
            return "closed the connection before its answer was whole", False
        case ConnectionError():
            return "broke the connection", False
        case http.client.HTTPException() | wrapped.InvalidHeader():
            return "does not answer in HTTP", False
        case OSError() if error.strerror and error.errno in errno.errorcode:
            return f"cannot be asked: {error.strerror.lower()}", False
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and all those within it, the outermost first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        inner = [value for value in link.args if isinstance(value, BaseException)]
        waiting += [link.__context__, link.__cause__, *inner]


def _reason(reason: str) -> str:
    return reason.replace("_", " ").lower()


def _is_lasting(reason: str) -> bool:
    # What an alert says is meant (no certificate was sent, or not that one); a record broken on its way is not.
    return "ALERT" in reason or reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL")
