"""A proxy that spoils the bytes between a client and a server at seeded places, whatever protocol they are of.

    with faulty_link(server.host, seed=7) as link:
        ... f"grpc://{link.host}" ...

In one direction, after as many bytes as the seed says, each connection is cut, has one byte changed, or falls silent.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.counting_proxy import CountingProxy

FAULTS = ("cut", "flip", "silence")


class FaultyLink(CountingProxy):
    """A running proxy; `fault` is what happens `after` that many bytes, in the direction `is_up` or the other."""

    def __init__(self, upstream: str, seed: int) -> None:
        chance = random.Random(seed)
        self.fault = FAULTS[seed % len(FAULTS)]
        # As likely in a handshake as in a large transfer.
        self.after = int(10 ** chance.uniform(0, 6.6))
        self.is_up = chance.random() < 0.5
        self._closed = threading.Event()
        super().__init__(upstream)

    def close(self) -> None:
        self._closed.set()
        super().close()

    def _pass(self, source: socket.socket, sink: socket.socket, *, is_up: bool) -> None:
        left = self.after if is_up == self.is_up else -1
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if 0 <= left < len(piece):
                    sink.sendall(piece[:left])
                    piece = self._spoilt(piece[left:], source, sink)
                left -= len(piece)
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _spoilt(self, piece: bytes, source: socket.socket, sink: socket.socket) -> bytes:
        if self.fault == "flip":
            return bytes([piece[0] ^ 0x20]) + piece[1:]
        if self.fault == "silence":
            self._closed.wait()
        for connection in (source, sink):
            connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionAbortedError


@contextmanager
def faulty_link(upstream: str, seed: int) -> Iterator[FaultyLink]:
    """A link to `upstream` (host:port) until the block ends."""
    link = FaultyLink(upstream, seed)
    try:
        yield link
    finally:
        link.close()
