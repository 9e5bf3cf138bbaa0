"""The fault proxy does what it says: else the tests that use it prove nothing."""

from __future__ import annotations

import http.client
import http.server
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.fault_proxy import NONE, Fault, FaultProxy, Plan, always, fault_proxy, seeded
from tests.support.registry import serving

pytestmark = pytest.mark.integration

CONTENT = bytes(range(256)) * 40


class Kept:
    """What a server was given, by path, and what it was asked."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {"/a": CONTENT}
        self.asked: list[str] = []


@contextmanager
def proxied(plan: Plan) -> Iterator[tuple[FaultProxy, Kept]]:
    kept = Kept()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            kept.asked.append(f"{self.command} {self.path}")
            body = kept.content.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body or b"")

        do_HEAD = do_GET

        def do_PUT(self) -> None:
            kept.asked.append(f"{self.command} {self.path}")
            size = int(self.headers["Content-Length"])
            body = self.rfile.read(size)
            if len(body) == size:
                kept.content[self.path] = body
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as host, fault_proxy(host, plan) as proxy:
        yield proxy, kept


def asked(
    proxy: FaultProxy, method: str = "GET", body: bytes | None = None, timeout: float = 5
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(proxy.host, timeout=timeout)
    try:
        connection.request(method, "/a", body)
        with connection.getresponse() as response:
            return response.status, response.read()
    finally:
        connection.close()


def test_without_a_fault_requests_and_answers_pass_as_they_are() -> None:
    with proxied(lambda method, path, number: NONE) as (proxy, kept):
        assert (201, b"") == asked(proxy, "PUT", b"new")
        assert b"new" == kept.content["/a"]
        assert (200, b"new") == asked(proxy)
        assert (200, b"") == asked(proxy, "HEAD")
        assert {"PUT": 1, "GET": 1, "HEAD": 1} == proxy.asked


def test_a_connection_is_kept() -> None:
    with proxied(always("delay", amount=0.0)) as (proxy, _):
        connection = http.client.HTTPConnection(proxy.host, timeout=5)
        ports = set()
        for _ in range(3):
            connection.request("GET", "/a")
            assert CONTENT == connection.getresponse().read()
            ports.add(connection.sock.getsockname()[1])
        connection.close()

    assert 1 == len(ports)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        pytest.param("refuse", OSError, id="refuse"),
        pytest.param("lose", OSError, id="lose"),
        pytest.param("drop", (OSError, http.client.IncompleteRead), id="drop"),
        pytest.param("cut", http.client.IncompleteRead, id="cut"),
        pytest.param("garbage", http.client.HTTPException, id="garbage"),
    ],
)
def test_what_breaks_an_answer_is_an_error_of_the_client(
    kind: str, error: type[BaseException] | tuple[type[BaseException], ...]
) -> None:
    with proxied(always(kind)) as (proxy, _), pytest.raises(error):
        asked(proxy)


def test_a_truncated_answer_looks_whole() -> None:
    with proxied(always("truncate", amount=0.5)) as (proxy, _):
        assert (200, CONTENT[: len(CONTENT) // 2]) == asked(proxy)


@pytest.mark.parametrize("amount", [0.0, 0.3, 0.999999])
def test_a_flipped_answer_differs_in_one_bit(amount: float) -> None:
    with proxied(always("flip", amount=amount)) as (proxy, _):
        _, body = asked(proxy)

    differing = [old ^ new for old, new in zip(CONTENT, body, strict=True) if old != new]
    assert [1] == [value.bit_count() for value in differing]


def test_a_flipped_upload_reaches_the_server_as_another() -> None:
    with proxied(always("flip-upload", methods=("PUT",))) as (proxy, kept):
        asked(proxy, "PUT", CONTENT)

    assert len(CONTENT) == len(kept.content["/a"])
    assert kept.content["/a"] != CONTENT


def test_a_broken_upload_is_kept_nowhere() -> None:
    with proxied(always("break", methods=("PUT",))) as (proxy, kept):
        with pytest.raises(OSError):
            asked(proxy, "PUT", b"new" * 10)

        assert {"/a": CONTENT} == kept.content


def test_what_is_lost_on_the_way_back_was_done() -> None:
    with proxied(always("lose", methods=("PUT",))) as (proxy, kept):
        with pytest.raises(OSError):
            asked(proxy, "PUT", b"new")

        assert b"new" == kept.content["/a"]


def test_a_status_is_given_without_the_server() -> None:
    with proxied(always("status", status=507, methods=("PUT",))) as (proxy, kept):
        assert 507 == asked(proxy, "PUT", b"new")[0]

    assert [] == kept.asked


def test_half_a_head_is_no_answer() -> None:
    with (
        proxied(always("half-head")) as (proxy, _),
        socket.create_connection(("127.0.0.1", int(proxy.host.rpartition(":")[2])), 5) as connection,
    ):
        connection.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\n\r\n" not in answer


def test_twice_asks_and_answers_twice() -> None:
    with proxied(always("twice")) as (proxy, kept):
        assert (200, CONTENT) == asked(proxy)

    assert ["GET /a", "GET /a"] == kept.asked


def test_an_idle_connection_is_closed_after_its_answer() -> None:
    with proxied(always("idle")) as (proxy, _):
        connection = http.client.HTTPConnection(proxy.host, timeout=5)
        connection.request("GET", "/a")
        response = connection.getresponse()
        assert CONTENT == response.read()
        assert not response.will_close
        assert b"" == connection.sock.recv(1)
        connection.close()


@pytest.mark.parametrize("kind", ["stall", "mute"])
def test_what_hangs_ends_with_the_client_or_the_proxy(kind: str) -> None:
    started = time.monotonic()
    with proxied(always(kind)) as (proxy, _), socket.socket() as patient:
        with pytest.raises(TimeoutError):
            asked(proxy, timeout=0.1)
        patient.connect(("127.0.0.1", int(proxy.host.rpartition(":")[2])))
        patient.sendall(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.05)

    assert time.monotonic() - started < 2


def test_a_drip_takes_its_time() -> None:
    with proxied(always("drip", amount=500)) as (proxy, _):
        started = time.monotonic()
        assert (200, CONTENT) == asked(proxy)

    assert time.monotonic() - started >= len(CONTENT) / 100 / 500


def test_a_seed_means_the_same_whatever_the_order() -> None:
    asked_for = [
        (method, f"/ac/{number}", turn)
        for method in ("GET", "PUT")
        for number in range(50)
        for turn in (0, 1)
    ]
    plan, again = seeded(3), seeded(3)

    one = {request: plan(*request) for request in asked_for}
    other = {request: again(*request) for request in reversed(asked_for)}

    assert one == other


def test_seeds_have_every_fault_between_them() -> None:
    kinds = {
        seeded(seed)(method, f"/cas/{number}", 0).kind
        for seed in range(300)
        for method in ("GET", "PUT")
        for number in range(20)
    }

    assert kinds == {
        *("", "refuse", "break", "flip-upload", "lose", "drop", "cut", "truncate", "flip", "delay"),
        *("stall", "mute", "status", "garbage", "half-head", "twice", "idle"),
    }


def test_always_takes_the_methods_and_paths_it_is_given() -> None:
    plan = always("status", methods=("PUT",), below="/cas/", status=507)

    assert Fault("status", 0.5, 507) == plan("PUT", "/cas/a", 0)
    assert [NONE, NONE] == [plan("GET", "/cas/a", 0), plan("PUT", "/ac/a", 0)]
