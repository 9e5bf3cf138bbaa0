"""A proxy before an HTTP server that does to requests what bad networks, disks and servers do.

    with fault_proxy(server.host, seeded(7)) as proxy:
        ... f"http://{proxy.host}/ac/..." ...
    assert proxy.met["flip"] > 0

Which fault a request meets is a function of the seed, of its method and path, and of how often that was asked before;
never of the order in which threads ask. So a seed means the same again, as far as the client asks the same.

    refuse       the connection is reset, the request unread by the server
    break        half of an upload reaches the server, then both connections are reset
    flip-upload  one byte of an upload is another when it reaches the server
    lose         the server does what it is asked, but the answer never comes: reset
    drop         the answer ends in its midst, with a reset
    cut          the same, with an orderly end
    truncate     the answer is shorter, and its Content-Length says so too
    flip         one byte of the answer's body is another
    delay        the answer is late, by `amount` x 0.3 s
    drip         the body comes in small pieces, `amount` of them a second
    stall        half of the answer comes, then nothing for longer than anybody should wait
    mute         nothing comes at all, as long
    status       the server is not asked; the answer is `status`
    garbage      the answer is no HTTP
    half-head    the answer ends within its headers
    twice        the request is made twice, and the answer given twice
    idle         the connection, said to be kept, is closed after the answer
"""

from __future__ import annotations

import http.client
import random
import select
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple

# Longer than every time-out of a client that is to be tested.
STALL_SECONDS = 8.0
_MOST_HEAD_BYTES = 1 << 16
_STATUSES = (401, 403, 404, 429, 500, 502, 503)
_UPLOAD_STATUSES = (401, 403, 405, 413, 500, 503, 507)
_ANSWERED = ("drop", "cut", "truncate", "flip", "delay", "status", "garbage", "half-head", "twice", "idle")
_DOWNLOAD_FAULTS = ("refuse", "lose", *_ANSWERED)
_UPLOAD_FAULTS = (
    *("refuse", "break", "flip-upload", "lose", "drop", "delay"),
    *("status", "garbage", "half-head", "twice", "idle"),
)


class Fault(NamedTuple):
    """What a request meets; `amount` is where in its content (0 to 1), or how much of it."""

    kind: str = ""
    amount: float = 0.5
    status: int = 500


NONE = Fault()

# The fault for a method and a path that were asked `number` times before.
Plan = Callable[[str, str, int], Fault]


def always(kind: str, *, methods: Sequence[str] = (), below: str = "/", **more: float) -> Plan:
    """Every request with one of the methods (all, if none are given) and a path that begins so meets the fault."""
    fault = Fault(kind, more.get("amount", 0.5), int(more.get("status", 500)))

    def plan(method: str, path: str, _number: int) -> Fault:
        is_meant = (not methods or method in methods) and path.startswith(below)
        return fault if is_meant else NONE

    return plan


def seeded(seed: int) -> Plan:
    """Faults by a seed, which also says how many and of what kinds: now all, now a few, often."""
    chance = random.Random(seed)
    rate = chance.choice((0.02, 0.05, 0.15, 0.5))
    every = sorted({*_DOWNLOAD_FAULTS, *_UPLOAD_FAULTS})
    kinds = set(chance.sample(every, chance.choice((2, 5, len(every)))))
    # A client gives up after seconds: that is for few builds, or all together would take hours.
    hangs = chance.random() < 0.04

    def plan(method: str, path: str, number: int) -> Fault:
        chance = random.Random(f"{seed} {method} {path} {number}")
        if chance.random() >= rate:
            return NONE
        if hangs and chance.random() < 0.1:
            return Fault(chance.choice(("stall", "mute")), chance.random())
        known = _UPLOAD_FAULTS if method == "PUT" else _DOWNLOAD_FAULTS
        chosen = [kind for kind in known if kind in kinds]
        statuses = _UPLOAD_STATUSES if method == "PUT" else _STATUSES
        if not chosen:
            return NONE
        return Fault(chance.choice(chosen), chance.random(), chance.choice(statuses))

    return plan


class Request(NamedTuple):
    """A request as it was read."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class FaultProxy:
    """A running proxy: `host` is where to ask, `met` counts the faults by kind, `asked` the requests by method."""

    def __init__(self, upstream: str, plan: Plan) -> None:
        self.plan = plan
        self.met: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self._upstream = upstream
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    def close(self) -> None:
        """Ends all connections; nobody waits any more."""
        self._closing.set()
        # Closing alone wakes nobody who waits in accept.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._acceptor.join()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            with self._lock:
                self._open.add(connection)
            self._threads = [*(thread for thread in self._threads if thread.is_alive()), thread]
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        client = _Client(connection, self._closing)
        server = http.client.HTTPConnection(self._upstream, timeout=20)
        try:
            while (request := client.request()) is not None:
                if not self._answered(request, client, server):
                    break
        except (OSError, http.client.HTTPException, ValueError):
            # The client has gone, or the server: then so has this connection.
            pass
        finally:
            server.close()
            with self._lock:
                self._open.discard(connection)
            client.close()

    def _answered(self, request: Request, client: _Client, server: http.client.HTTPConnection) -> bool:
        """Answers a request with the fault it meets; false if the connection is not to be used again."""
        name = f"{request.method} {request.path}"
        with self._lock:
            number = self._times[name]
            self._times[name] += 1
            fault = self.plan(request.method, request.path, number)
            self.asked[request.method] += 1
            self.met[fault.kind] += 1
        if fault.kind == "refuse":
            return client.reset()
        if fault.kind == "mute":
            return client.hang()
        if fault.kind == "garbage":
            return client.end(random.Random(name).randbytes(200))
        if fault.kind == "status":
            return client.give(fault.status, {"Content-Length": "7"}, b"refused", request)
        if fault.kind == "break":
            self._break(request)
            return client.reset()
        if fault.kind == "flip-upload":
            request = request._replace(body=_flipped(request.body, fault.amount))
        answer = _asked(request, server)
        if fault.kind == "twice":
            answer = _asked(request, server)
        return _marred(answer, fault, client, request)

    def _break(self, request: Request) -> None:
        host, _, port = self._upstream.partition(":")
        with socket.create_connection((host, int(port)), 20) as server:
            lines = [f"{name}: {value}" for name, value in request.headers.items()]
            head = "\r\n".join([f"{request.method} {request.path} HTTP/1.1", *lines, "", ""])
            server.sendall(head.encode("latin-1") + request.body[: len(request.body) // 2])
            _be_rude(server)


@contextmanager
def fault_proxy(upstream: str, plan: Plan) -> Iterator[FaultProxy]:
    """A proxy before `upstream` (host:port) until the block ends."""
    proxy = FaultProxy(upstream, plan)
    try:
        yield proxy
    finally:
        proxy.close()


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


def _asked(request: Request, server: http.client.HTTPConnection) -> _Answer:
    """What the server answers; asked once more if it has closed a connection that was kept."""
    for is_last in (False, True):
        try:
            server.request(request.method, request.path, request.body or None, dict(request.headers))
            with server.getresponse() as response:
                return _Answer(response.status, dict(response.getheaders()), response.read())
        except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
            server.close()
            if is_last:
                raise
    raise AssertionError("unreachable")


def _marred(answer: _Answer, fault: Fault, client: _Client, request: Request) -> bool:
    status, headers, body = answer
    point = int(len(body) * fault.amount)
    if fault.kind == "lose":
        return client.reset()
    if fault.kind == "delay":
        client.closing.wait(fault.amount * 0.3)
    if fault.kind == "flip":
        body = _flipped(body, fault.amount)
    if fault.kind == "truncate" and request.method != "HEAD":
        body = body[:point]
        headers = {**headers, "Content-Length": str(len(body))}
    if fault.kind == "half-head":
        return client.end(_head(status, headers)[:-4])
    if fault.kind in ("drop", "cut", "stall"):
        client.give(status, headers, body[:point], request)
        return {"drop": client.reset, "cut": client.shut, "stall": client.hang}[fault.kind]()
    if fault.kind == "drip":
        return client.drip(_head(status, headers), body, fault.amount)
    if fault.kind == "twice":
        whole = _head(status, headers) + body
        client.connection.sendall(whole + whole)
        return True
    client.give(status, headers, body, request)
    return client.shut() if fault.kind == "idle" else True


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    # What concerned the connection to the server alone.
    kept = [
        f"{name}: {value}"
        for name, value in headers.items()
        if name.lower() not in ("connection", "keep-alive")
    ]
    reason = http.client.responses.get(status, "Unknown")
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", *kept, "", ""]).encode("latin-1")


def _flipped(content: bytes, amount: float) -> bytes:
    if not content:
        return content
    place = min(int(len(content) * amount), len(content) - 1)
    # Which bit: also by the amount, whose low digits say nothing of the place.
    bit = int(amount * 1e9) % 8
    return b"".join((content[:place], bytes([content[place] ^ (1 << bit)]), content[place + 1 :]))


def _be_rude(connection: socket.socket) -> None:
    """Makes closing a connection reset it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


class _Client:
    """The connection to the client. What ends it gives False: it is not to be used again."""

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self.connection = connection
        self.closing = closing
        self._stream = connection.makefile("rb")

    def request(self) -> Request | None:
        """The next request, None when there is none."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self._stream.readline(_MOST_HEAD_BYTES)
            if not line or len(head) > _MOST_HEAD_BYTES:
                return None
            head += line
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ")
        headers = dict(_header(line) for line in lines)
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), "0")
        body = self._stream.read(int(length))
        return Request(method, path, headers, body) if len(body) == int(length) else None

    def give(self, status: int, headers: Mapping[str, str], body: bytes, request: Request) -> bool:
        """Answers."""
        self.connection.sendall(_head(status, headers) + (b"" if request.method == "HEAD" else body))
        return True

    def drip(self, head: bytes, body: bytes, pieces_a_second: float) -> bool:
        """Answers a little at a time."""
        self.connection.sendall(head)
        for start in range(0, len(body), 100):
            if self.closing.wait(1 / pieces_a_second):
                return False
            self.connection.sendall(body[start : start + 100])
        return True

    def end(self, content: bytes) -> bool:
        """Sends something and closes."""
        self.connection.sendall(content)
        return self.shut()

    def shut(self) -> bool:
        """Closes in order."""
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
        return False

    def reset(self) -> bool:
        """Closes with a reset."""
        _be_rude(self.connection)
        return False

    def hang(self) -> bool:
        """Waits until the client gives up, a time-out of its own, or the end of the proxy."""
        for _ in range(int(STALL_SECONDS / 0.05)):
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            if self.closing.is_set() or (readable and not self.connection.recv(1, socket.MSG_PEEK)):
                break
        return False

    def close(self) -> None:
        """Closes whatever is open."""
        with suppress(OSError):
            self._stream.close()
        self.connection.close()


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()
