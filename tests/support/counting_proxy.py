"""A proxy that passes bytes as they are and counts them, whatever protocol they are of.

with counting_proxy(server.host) as proxy:
    ... f"grpc://{proxy.host}" ...
assert proxy.down < 1000        # bytes from the server to the client
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CountingProxy:
    """A running proxy: `up` and `down` are the bytes to the server and from it, so far."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self.up = 0
        self.down = 0
        self.connections = 0
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def reset(self) -> None:
        """Counts from nothing again."""
        with self._lock:
            self.up = self.down = self.connections = 0

    def close(self) -> None:
        """Ends all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._upstream, 10)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            self.connections += 1
            self._open += [client, server]
            for source, sink, is_up in ((client, server, True), (server, client, False)):
                sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                thread = threading.Thread(target=self._pass, args=(source, sink), kwargs={"is_up": is_up})
                self._threads.append(thread)
                thread.start()

    def _pass(self, source: socket.socket, sink: socket.socket, *, is_up: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 18):
                with self._lock:
                    if is_up:
                        self.up += len(piece)
                    else:
                        self.down += len(piece)
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def counting_proxy(upstream: str) -> Iterator[CountingProxy]:
    """A proxy before `upstream` (host:port) until the block ends."""
    proxy = CountingProxy(upstream)
    try:
        yield proxy
    finally:
        proxy.close()
