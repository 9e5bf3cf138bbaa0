"""A server of which tests write every byte themselves, for what no real one would do.

    def half(asked: Asked, line: Line) -> None:
        line.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 10\\r\\n\\r\\nhalf")

    with raw_server(half) as server:
        ... open_remote(server.url, NO_ACCESS) ...
        assert ["GET"] == [asked.method for asked in server.asked]

The answer is called for each request, with the line it came on; where it does not say otherwise the line is closed
afterwards.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Asked(NamedTuple):
    """A request without its body; names of headers are in small letters, `number` counts those of its line from 0."""

    method: str
    target: str
    headers: dict[str, str]
    number: int


class Line:
    """A connection, as its server has it."""

    def __init__(self, connection: socket.socket, ended: threading.Event) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb")
        self._ended = ended
        self.stays_open = False
        self.number = 0

    def send(self, *parts: bytes) -> None:
        """Sends bytes; that nobody wants them any more is no concern of a server's."""
        with contextlib.suppress(OSError):
            self._connection.sendall(b"".join(parts))

    def answer(self, status: int, body: bytes = b"", *, headers: str = "") -> None:
        """Sends an answer as it should be, and keeps the line open for the next request."""
        lines = [f"HTTP/1.1 {status} words", f"Content-Length: {len(body)}", *headers.splitlines(), "", ""]
        self.send("\r\n".join(lines).encode(), body)
        self.stays_open = True

    def trickle(self, content: bytes, seconds: float) -> None:
        """Sends a byte now and then until nobody reads any more."""
        for byte in content:
            try:
                self._connection.sendall(bytes([byte]))
            except OSError:
                return
            if self._ended.wait(seconds):
                return

    def read(self, size: int) -> bytes:
        """What comes next of the request's body."""
        with contextlib.suppress(OSError):
            return self._reader.read(size)
        return b""

    def wait(self) -> None:
        """Does nothing until the test is over."""
        self._ended.wait(30)

    def reset(self) -> None:
        """Closes the line as a host does that has lost it."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def request(self) -> Asked | None:
        """The next request, None if there is none."""
        try:
            words = self._reader.readline().decode("latin-1").split()
            headers = dict(self._headers())
        except OSError:
            return None
        if len(words) != 3:
            return None
        self.number += 1
        return Asked(words[0], words[1], headers, self.number - 1)

    def close(self) -> None:
        """Closes the line."""
        self._reader.close()
        self._connection.close()

    def _headers(self) -> Iterator[tuple[str, str]]:
        while text := self._reader.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            yield name.lower(), value.strip()


Answer = Callable[[Asked, Line], None]


class RawServer(NamedTuple):
    """A running server; `asked` are the requests so far."""

    host: str
    asked: list[Asked]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{self.host}"


@contextlib.contextmanager
def raw_server(answer: Answer, greeting: bytes = b"") -> Iterator[RawServer]:
    """A server that is gone afterwards, with all its threads; `greeting` is sent before anybody asks."""
    ended = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = RawServer(f"127.0.0.1:{listening.getsockname()[1]}", [])
    threads = [threading.Thread(target=_listen, args=(listening, answer, greeting, server, ended))]
    threads[0].start()
    try:
        yield server
    finally:
        ended.set()
        # Wakes the thread that accepts.
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        threads[0].join()
        listening.close()


def _listen(
    listening: socket.socket, answer: Answer, greeting: bytes, server: RawServer, ended: threading.Event
) -> None:
    threads: list[tuple[threading.Thread, socket.socket]] = []
    while not ended.is_set():
        try:
            connection, _ = listening.accept()
        except OSError:
            break
        connection.sendall(greeting)
        thread = threading.Thread(target=_serve, args=(Line(connection, ended), answer, server))
        thread.start()
        threads.append((thread, connection))
    for thread, connection in threads:
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        thread.join()


def _serve(line: Line, answer: Answer, server: RawServer) -> None:
    with contextlib.closing(line):
        while asked := line.request():
            server.asked.append(asked)
            line.stays_open = False
            answer(asked, line)
            if not line.stays_open:
                return
