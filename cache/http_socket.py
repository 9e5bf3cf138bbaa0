"""Sockets for HTTP on which nothing lasts longer than it was given. Loaded with the first request.

The time-outs of Python's sockets are for one call each: a server that sends a byte now and then would never run into
one, and the look-up of a name knows none at all.
"""

from __future__ import annotations

import errno
import http.client
import io
import select
import socket
import ssl
import threading
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, cast

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

# A transfer has stalled if so many bytes took so long: 13 kB a second, which no remote cache is worth.
STALL_SECONDS = 5.0
_STALL_BYTES = 64 << 10
# Longer than any head of an answer; the rest of a large body goes past the buffer.
_BUFFER_BYTES = 16 << 10


class StaleError(ConnectionError):
    """A connection kept alive turned out to be closed: nothing was answered on it, and a new one may serve."""


class _Incoming(io.RawIOBase):
    """The bytes that come from a socket, until a deadline: one for the head of an answer, then more for its body."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        # Keeps the socket open for an answer that its connection is done with.
        self._file = sock.makefile("rb", buffering=0)
        self._deadline = monotonic() + (sock.gettimeout() or STALL_SECONDS)
        self._left = 0
        self._body = False

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client reads answers from; it takes this for the socket."""
        return io.BufferedReader(self, _BUFFER_BYTES)

    def begin_body(self) -> None:
        """From here on there is as much time as a transfer that does not stall needs."""
        self._body = True
        self._left = 0
        self._deadline = monotonic() + STALL_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        rest = self._deadline - monotonic()
        if rest <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(rest)
        count = self._sock.recv_into(buffer)
        self._left += count
        if self._body and self._left >= _STALL_BYTES:
            self.begin_body()
        return count

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


class _Answer(http.client.HTTPResponse):
    """An answer whose head has to come as a whole within the socket's time-out."""

    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        self._incoming = _Incoming(sock)
        super().__init__(cast(socket.socket, self._incoming), *arguments, **options)

    def begin(self) -> None:
        super().begin()
        self._incoming.begin_body()


class _Timed(HTTPConnection):
    """What plain and TLS connections have in common."""

    response_class = _Answer
    _answers = 0
    _asked = False
    _cut_short = False

    def connect(self) -> None:
        self._answers = 0
        super().connect()

    def _new_conn(self) -> socket.socket:
        seconds = float(self.timeout or STALL_SECONDS)
        try:
            sock = _connected(self._dns_host, int(self.port or 0), seconds)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, "timed out") from error
        except OSError as error:
            raise NewConnectionError(self, "failed") from error
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def putrequest(self, *arguments: Any, **options: Any) -> None:
        self._asked = False
        super().putrequest(*arguments, **options)

    def send(self, data: Any) -> None:
        """Sends bytes unless the server has answered already: then the rest of the body is of no use to it."""
        if self.sock is None:
            self.connect()
        sock, view = self.sock, memoryview(data)
        for start in range(0, len(view), _STALL_BYTES):
            if _has_answered(sock):
                if self._answers and not self._asked:
                    raise StaleError  # there is no telling what that is an answer to
                self._cut_short = True
                # urllib3 takes this one for a reason to read the answer.
                raise BrokenPipeError(errno.EPIPE, "answered early")
            sock.settimeout(STALL_SECONDS)
            try:
                sock.sendall(view[start : start + _STALL_BYTES])
            except ssl.SSLError as error:
                # Without TLS it is the answer that fails to come.
                if self._answers:
                    raise StaleError from error
                raise
            self._asked = True

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as urllib3 itself does
        try:
            response = super().getresponse()
        except (ConnectionError, ssl.SSLError) as error:
            if self._answers:
                raise StaleError from error
            raise
        self._answers += 1
        if self._cut_short:
            # What is left of the body would be taken for the next request.
            self._cut_short = False
            self.close()
        return response


class PlainConnection(_Timed):
    """A connection to an http:// server."""


class SecureConnection(_Timed, HTTPSConnection):
    """A connection to an https:// server."""


class PlainPool(urllib3.HTTPConnectionPool):
    """Connections to one http:// server."""

    ConnectionCls = PlainConnection


class SecurePool(urllib3.HTTPSConnectionPool):
    """Connections to one https:// server."""

    ConnectionCls = SecureConnection


def _has_answered(sock: socket.socket) -> bool:
    # TLS sends session tickets of its own accord: there it cannot be told.
    if isinstance(sock, ssl.SSLSocket):
        return False
    waiting = select.poll()
    waiting.register(sock, select.POLLIN)
    return bool(waiting.poll(0))


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    """A connection to the first address of a host that takes one, within `seconds` for all."""
    deadline = monotonic() + seconds
    addresses = _addresses(host, port, seconds)
    failure: OSError = TimeoutError("timed out")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        # Where a network drops IPv6 silently, IPv4 comes second and needs its share.
        share = (deadline - monotonic()) / (len(addresses) - number)
        if share <= 0:
            break
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(share)
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
            continue
        sock.settimeout(seconds)  # from here on for TLS, or a proxy
        return sock
    raise failure


def _addresses(host: str, port: int, seconds: float) -> list[Any]:
    """What a host's name means; in a thread, for the system's own look-up may take half a minute."""
    found: SimpleQueue[list[Any] | OSError | UnicodeError] = SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            found.put(error)

    threading.Thread(target=look_up, daemon=True).start()
    try:
        addresses = found.get(timeout=seconds)
    except Empty:
        raise TimeoutError("timed out") from None
    if isinstance(addresses, UnicodeError):
        raise socket.gaierror(socket.EAI_NONAME, "not a host's name") from addresses
    if isinstance(addresses, OSError):
        raise addresses
    return addresses
