"""The remote cache over HTTP against servers that do everything wrong."""

from __future__ import annotations

import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kitbuild.cache import action_result, http, http_connection, http_socket
from kitbuild.cache.http import HttpRemote, open_remote
from kitbuild.cache.http_address import address_of
from kitbuild.cache.remote import MOST_RECORD_BYTES, NO_ACCESS, Access, Record
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError, StoreError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import fresh, fresh_key, got, in_pieces
from tests.support.raw_http import Answer, Asked, Line, RawServer, raw_server
from tests.support.registry import free_port

pytestmark = pytest.mark.integration

CONTENT = b"ten bytes."
DIGEST = Digest.of(CONTENT)
OK = b"HTTP/1.1 200 OK\r\n"
RECORD = Record(Result(Artifact("blob", DIGEST)), (DIGEST,))


@contextmanager
def asking(answer: Answer, access: Access = NO_ACCESS) -> Iterator[tuple[HttpRemote, RawServer]]:
    """A remote cache whose server answers in this way."""
    with raw_server(answer) as server, closing(open_remote(server.url, access)) as remote:
        yield remote, server


def sending(*parts: bytes) -> Answer:
    """Sends the same to whoever asks, and closes the line."""
    return lambda asked, line: line.send(*parts)


def answering(status: int, body: bytes = b"", *, headers: str = "") -> Answer:
    """The same proper answer to whoever asks."""
    return lambda asked, line: line.answer(status, body, headers=headers)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time-outs that a test can wait for."""
    monkeypatch.setattr(http, "_SMALL_SECONDS", 0.3)
    monkeypatch.setattr(http, "_LARGE_SECONDS", 0.3)
    monkeypatch.setattr(http_socket, "STALL_SECONDS", 0.3)


def test_nothing_lasts_longer_than_a_few_seconds() -> None:
    limits = (
        http_connection._CONNECT_SECONDS,
        http._SMALL_SECONDS,
        http._LARGE_SECONDS,
        http_socket.STALL_SECONDS,
    )

    assert (1.0, 1.5, 5.0, 5.0) == limits


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sending(), id="nothing"),
        pytest.param(sending(b"HTTP/1.1 2"), id="half a status"),
        pytest.param(sending(OK, b"Content-Len"), id="half a header"),
        pytest.param(sending(OK, b"Content-Length: 10\r\n\r\n"), id="no body"),
        pytest.param(sending(OK, b"Content-Length: 10\r\n\r\nten"), id="half a body"),
        pytest.param(sending(OK, b"\r\nten"), id="half a body of unknown length"),
        pytest.param(sending(OK, b"\r\nten bytes. and more"), id="longer body of unknown length"),
        pytest.param(
            sending(OK, b"Transfer-Encoding: chunked\r\n\r\n3\r\nten\r\n"), id="half a body in chunks"
        ),
        pytest.param(sending(OK, b"Transfer-Encoding: chunked\r\n\r\nzz\r\nten\r\n"), id="no chunk"),
        pytest.param(
            sending(OK, b"Transfer-Encoding: chunked\r\n\r\nb\r\nten bytes.!\r\n0\r\n\r\n"),
            id="longer body in chunks",
        ),
        pytest.param(sending(b"SSH-2.0-OpenSSH_9.2\r\n"), id="another protocol"),
        pytest.param(sending(b"\0" * 100_000), id="zeros"),
        pytest.param(sending(OK, b"X: " + b"x" * 100_000), id="endless header"),
        pytest.param(sending(OK, b"X: y\r\n" * 1000), id="endless headers"),
        pytest.param(
            sending(OK, b"Content-Length: 10\r\nContent-Encoding: gzip\r\n\r\nten bytes."), id="compressed"
        ),
        pytest.param(answering(204), id="204"),
        pytest.param(answering(500), id="500"),
        pytest.param(answering(503, b"later" * 20), id="503"),
        pytest.param(answering(500, b"x" * 200_000), id="500 with a long body"),
    ],
)
def test_wrong_answer_is_an_error_and_no_content(answer: Answer) -> None:
    with asking(answer) as (remote, server):
        with pytest.raises(RemoteError) as raised:
            got(remote, DIGEST)

        assert raised.value.message.startswith(f"{server.url} ")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(404), id="not there"),
        pytest.param(answering(410), id="gone"),
        pytest.param(answering(200, b"ten"), id="half-written"),
        pytest.param(answering(200, b"ten bytes. and more"), id="other content"),
        pytest.param(sending(OK, b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"), id="content without end"),
    ],
)
def test_content_of_another_size_is_not_there(answer: Answer) -> None:
    with asking(answer) as (remote, _):
        with pytest.raises(MissingBlobError):
            got(remote, DIGEST)

        assert {DIGEST} == remote.missing([DIGEST])


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(sending(OK, b"\r\nten bytes."), id="until the connection ends"),
        pytest.param(
            sending(OK, b"Transfer-Encoding: chunked\r\n\r\n3\r\nten\r\n7\r\n bytes.\r\n0\r\n\r\n"),
            id="in chunks",
        ),
        pytest.param(sending(b"HTTP/1.0 200 OK\r\n\r\nten bytes."), id="HTTP/1.0"),
        pytest.param(sending(b"HTTP/1.1 100 Continue\r\n\r\n", OK, b"\r\nten bytes."), id="after a 100"),
    ],
)
def test_content_without_a_length_comes_back(answer: Answer) -> None:
    with asking(answer) as (remote, _):
        assert CONTENT == got(remote, DIGEST)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(lambda asked, line: line.wait(), id="no answer"),
        pytest.param(lambda asked, line: line.trickle(OK * 100, 0.1), id="trickling head"),
        pytest.param(
            lambda asked, line: (line.send(OK, b"Content-Length: 10\r\n\r\nten"), line.wait()),
            id="stalled body",
        ),
        pytest.param(
            lambda asked, line: (line.send(OK, b"Content-Length: 10\r\n\r\n"), line.trickle(CONTENT, 0.1)),
            id="trickling body",
        ),
    ],
)
@pytest.mark.parametrize(
    "ask", [lambda remote: got(remote, DIGEST), lambda remote: remote.record(fresh_key())]
)
def test_slow_answer_is_an_error_in_time(answer: Answer, ask: Callable[[HttpRemote], object]) -> None:
    with asking(answer) as (remote, _):
        start = time.monotonic()

        with pytest.raises(RemoteError, match="in time") as raised:
            ask(remote)

        assert time.monotonic() - start < 3.0
        assert not raised.value.lasting


@pytest.mark.usefixtures("hasty")
def test_server_that_takes_nothing_more_is_an_error_in_time() -> None:
    content = fresh(32 << 20)

    def take_some(asked: Asked, line: Line) -> None:
        line.read(100_000)
        line.wait()

    with asking(take_some) as (remote, _), pytest.raises(RemoteError, match="in time"):
        remote.put(Digest.of(content), in_pieces(content, 1 << 20))


def test_nobody_listening_is_a_quick_error_that_may_pass() -> None:
    with closing(open_remote(f"http://127.0.0.1:{free_port()}", NO_ACCESS)) as remote:
        start = time.monotonic()

        with pytest.raises(RemoteError, match="refuses connections") as raised:
            remote.missing([DIGEST])

        assert time.monotonic() - start < 0.9
        assert not raised.value.lasting


def test_unknown_host_is_an_error_that_lasts() -> None:
    with closing(open_remote("http://no-such-host.invalid", NO_ACCESS)) as remote:
        start = time.monotonic()

        with pytest.raises(RemoteError, match="cannot be asked"):
            remote.missing([DIGEST])

        assert time.monotonic() - start < 1.5


def test_name_that_nobody_looks_up_is_an_error_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()

    def never(*_: object, **__: object) -> list[object]:
        ended.wait(30)
        return []

    monkeypatch.setattr(http_connection, "_CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", never)
    with closing(open_remote("http://slow.invalid", NO_ACCESS)) as remote:
        start = time.monotonic()

        with pytest.raises(RemoteError, match="cannot be reached in time"):
            remote.missing([DIGEST])

        assert time.monotonic() - start < 3.0
    ended.set()


@pytest.mark.parametrize("ending", [Line.reset, lambda line: None], ids=["reset", "closed"])
def test_connection_kept_alive_and_lost_is_made_again_in_silence(ending: Callable[[Line], None]) -> None:
    def once(asked: Asked, line: Line) -> None:
        if asked.number:
            ending(line)
        else:
            line.answer(200, CONTENT)

    with asking(once) as (remote, server):
        answers = [got(remote, DIGEST) for _ in range(3)]

        assert [CONTENT] * 3 == answers
        assert [0, 1, 0, 1, 0] == [asked.number for asked in server.asked]


def test_content_is_put_again_when_a_connection_kept_alive_was_lost() -> None:
    bodies: list[bytes] = []

    def once(asked: Asked, line: Line) -> None:
        if not asked.number:
            bodies.append(line.read(int(asked.headers["content-length"])))
            line.answer(201)

    with asking(once) as (remote, _):
        remote.put(DIGEST, in_pieces(CONTENT))
        remote.put(DIGEST, in_pieces(CONTENT))

        assert [CONTENT, CONTENT] == bodies


def test_new_connection_that_is_lost_is_not_made_again() -> None:
    with asking(lambda asked, line: line.reset()) as (remote, server):
        with pytest.raises(RemoteError):
            got(remote, DIGEST)

        assert 1 == len(server.asked)


def test_bytes_behind_an_answer_are_not_taken_for_the_next() -> None:
    def too_much(asked: Asked, line: Line) -> None:
        head = OK + b"Content-Length: 10\r\n\r\n"
        line.send(head, CONTENT, head, b"evil bytes")
        line.stays_open = True

    with asking(too_much) as (remote, _):
        assert [CONTENT] * 3 == [got(remote, DIGEST) for _ in range(3)]


def test_server_that_speaks_first_is_no_remote_cache() -> None:
    with raw_server(sending(), b"220 mail.example ESMTP\r\n") as server:
        remote = open_remote(server.url, NO_ACCESS)
        time.sleep(0.02)

        with closing(remote), pytest.raises(RemoteError, match="does not answer in HTTP"):
            got(remote, DIGEST)


def test_refusal_before_the_end_of_an_upload_ends_it() -> None:
    content = fresh(64 << 20)
    taken: list[int] = []

    def full(asked: Asked, line: Line) -> None:
        if asked.method == "PUT":
            line.answer(413)
            taken.append(len(line.read(len(content))))
            line.stays_open = False
        else:
            line.answer(200, CONTENT)

    with asking(full) as (remote, server):
        with pytest.raises(RemoteError, match="413") as raised:
            remote.put(Digest.of(content), in_pieces(content, 1 << 20))
        still = got(remote, DIGEST)

        assert raised.value.writing
        assert CONTENT == still
        assert [0, 0] == [asked.number for asked in server.asked]
    assert taken[0] < len(content) // 2


@pytest.mark.parametrize("status", [200, 201, 204])
def test_content_counts_as_put_whichever_way_that_is_said(status: int) -> None:
    def take(asked: Asked, line: Line) -> None:
        line.read(int(asked.headers["content-length"]))
        line.answer(status)

    with asking(take) as (remote, server):
        remote.put(DIGEST, in_pieces(CONTENT))

        assert [(str(len(CONTENT)), None)] == [
            (asked.headers["content-length"], asked.headers.get("transfer-encoding"))
            for asked in server.asked
        ]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>welcome to the hotel</html>", id="page"),
        pytest.param(action_result.encode(RECORD)[:-3], id="cut off"),
    ],
)
def test_malformed_record_is_none(body: bytes) -> None:
    with asking(answering(200, body)) as (remote, _):
        assert remote.record(fresh_key()) is None


@pytest.mark.parametrize("header", [b"Content-Length: 99999999999\r\n", b""], ids=["announced", "endless"])
def test_huge_record_is_none_and_not_read(header: bytes) -> None:
    sent: list[int] = []

    def endless(asked: Asked, line: Line) -> None:
        line.send(OK, header, b"\r\n")
        for _ in range(64):
            line.send(bytes(1 << 20))
            sent.append(1 << 20)

    with asking(endless) as (remote, _):
        assert remote.record(fresh_key()) is None
    assert sum(sent) == 64 << 20


def test_largest_record_is_read() -> None:
    with asking(answering(200, bytes(MOST_RECORD_BYTES))) as (remote, server):
        assert remote.record(fresh_key()) is None
        assert remote.record(fresh_key()) is None

        assert [0, 1] == [asked.number for asked in server.asked]


def heads(status: int, size: int = 0) -> Answer:
    """HEAD is answered in this way, GET as it should be, part of it where a part is asked for."""

    def answer(asked: Asked, line: Line) -> None:
        if asked.method == "HEAD":
            line.send(f"HTTP/1.1 {status} words\r\nContent-Length: {size}\r\n\r\n".encode())
            line.stays_open = True
        elif asked.target != f"/cas/{DIGEST.hex}":
            line.answer(404)
        elif "range" in asked.headers:
            line.answer(206, CONTENT[:1], headers=f"Content-Range: bytes 0-0/{len(CONTENT)}")
        else:
            line.answer(200, CONTENT)

    return answer


@pytest.mark.parametrize("status", [405, 501, 307])
def test_server_without_head_is_asked_for_a_byte(status: int) -> None:
    away = Digest.of(b"what is not there")
    longer = Digest(DIGEST.hex, 11)

    with asking(heads(status)) as (remote, server):
        missing = remote.missing([DIGEST, away, longer])
        methods = [asked.method for asked in server.asked]

        assert {away, longer} == missing
        assert ["HEAD", "GET", "GET", "GET"] == methods
        assert CONTENT == got(remote, DIGEST)


def test_server_without_head_and_without_ranges_is_believed_its_length() -> None:
    def answer(asked: Asked, line: Line) -> None:
        if asked.method == "HEAD":
            line.answer(405)
        else:
            line.send(OK, b"Content-Length: 1000000\r\n\r\n", bytes(1_000_000))

    with asking(answer) as (remote, _):
        assert {DIGEST} == remote.missing([DIGEST, Digest(DIGEST.hex, 1_000_000)])


def test_failure_of_one_head_is_a_failure_of_all() -> None:
    def sometimes(asked: Asked, line: Line) -> None:
        time.sleep(0.002)
        line.answer(500 if asked.target.endswith("0") else 404)

    digests = [Digest.of(b"%d" % number) for number in range(200)]
    with asking(sometimes) as (remote, server):
        with pytest.raises(RemoteError, match="500"):
            remote.missing(digests)

        assert len(server.asked) < 200


def test_heads_are_asked_several_at_once_where_answers_take_time() -> None:
    def slow(asked: Asked, line: Line) -> None:
        time.sleep(0.02)
        line.answer(404)

    digests = {Digest.of(b"%d" % number) for number in range(68)}
    with asking(slow) as (remote, server):
        assert digests == remote.missing(digests)

        assert 1 < sum(asked.number == 0 for asked in server.asked) <= 8


class TestRedirects:
    def test_get_follows_to_another_server_without_what_opens_this_one(self) -> None:
        access = Access((("X-Key", "secret"),), "secret")
        with raw_server(answering(200, CONTENT)) as other:
            location = f"Location: {other.url}/bucket/a%20b?signature=x%2Fy"
            with asking(answering(307, b"go there", headers=location), access) as (remote, server):
                content = [got(remote, DIGEST) for _ in range(2)]

        assert [CONTENT] * 2 == content
        assert {"Bearer secret"} == {asked.headers["authorization"] for asked in server.asked}
        assert ["/bucket/a%20b?signature=x%2Fy"] * 2 == [asked.target for asked in other.asked]
        assert not any("secret" in str(asked) for asked in other.asked)
        assert {"identity"} == {asked.headers["accept-encoding"] for asked in other.asked}

    def test_get_follows_on_the_same_server_with_what_opens_it(self) -> None:
        def answer(asked: Asked, line: Line) -> None:
            if asked.target == "/one/two":
                line.answer(200, CONTENT)
            else:
                line.answer(302, headers="Location: /one/two")

        with asking(answer, Access(token="secret")) as (remote, server):
            assert CONTENT == got(remote, DIGEST)

        assert ["Bearer secret"] * 2 == [asked.headers["authorization"] for asked in server.asked]

    def test_record_follows_too(self) -> None:
        def answer(asked: Asked, line: Line) -> None:
            if asked.target == "/there":
                line.answer(200, action_result.encode(RECORD))
            else:
                line.answer(303, headers="Location: /there")

        with asking(answer) as (remote, _):
            assert RECORD == remote.record(fresh_key())

    @pytest.mark.parametrize(
        "location",
        ["", "ftp://host/", "http://", "http://[", "http://host:port/", "file:///etc/passwd", "//[x"],
    )
    def test_redirect_to_nowhere_lasts(self, location: str) -> None:
        with asking(answering(302, headers=f"Location: {location}")) as (remote, _):
            with pytest.raises(RemoteError, match="redirects") as raised:
                got(remote, DIGEST)

            assert raised.value.lasting

    def test_https_never_leads_to_http(self) -> None:
        connections = http_connection.Connections(address_of("https://host"), NO_ACCESS, "https://host")

        with pytest.raises(RemoteError, match="redirects from https:// to http://") as raised:
            connections._elsewhere("https://host/one", "http://host/one")

        assert raised.value.lasting

    def test_circle_is_left(self) -> None:
        with asking(answering(302, headers="Location: /round")) as (remote, server):
            with pytest.raises(RemoteError, match="more than 5 times"):
                got(remote, DIGEST)

            assert 6 == len(server.asked)

    def test_put_does_not_follow(self) -> None:
        def answer(asked: Asked, line: Line) -> None:
            line.read(int(asked.headers["content-length"]))
            line.answer(307, headers="Location: /there")

        with asking(answer) as (remote, server):
            with pytest.raises(RemoteError, match="307") as raised:
                remote.put(DIGEST, in_pieces(CONTENT))

            assert (True, True, 1) == (raised.value.lasting, raised.value.writing, len(server.asked))


SECRETS = ("s3cret-password", "s3cret-token", "s3cret-header", "s3cret-signature", "s3cret-body")


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answering(401, b"s3cret-body"), id="401"),
        pytest.param(answering(403), id="403"),
        pytest.param(answering(500, b"s3cret-body"), id="500"),
        pytest.param(sending(b"s3cret-body\r\n"), id="no HTTP"),
        pytest.param(sending(b"HTTP/1.1 500 s3cret-body\r\n\r\n"), id="words"),
        pytest.param(sending(b"HTTP/1.1 s3cret-body\r\n\r\n"), id="no status"),
        pytest.param(sending(OK, b"s3cret-body\r\n\r\n"), id="no header"),
        pytest.param(sending(), id="nothing"),
        pytest.param(lambda asked, line: line.wait(), id="stall"),
        pytest.param(lambda asked, line: line.reset(), id="reset"),
        pytest.param(
            answering(302, headers="Location: http://u:s3cret-password@[?s3cret-signature"), id="nowhere"
        ),
        pytest.param(
            answering(302, headers="Location: http://127.0.0.1:1/?s3cret-signature"),
            id="redirect to a closed port",
        ),
        pytest.param(
            answering(302, headers="Location: http://no-such-host.invalid/?s3cret-signature"),
            id="redirect to no host",
        ),
    ],
)
@pytest.mark.parametrize("way", ["url", "token", "header", "netrc"])
def test_no_error_shows_a_secret(
    answer: Answer, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with raw_server(answer) as server:
        url = server.url.replace("//", "//user:s3cret-password@") if way == "url" else server.url
        if way == "netrc":
            (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password s3cret-password\n")
            monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        token = "s3cret-token" if way == "token" else ""
        headers = (("X-Key", "s3cret-header"),) if way == "header" else ()

        with closing(open_remote(url, Access(headers, token))) as remote:
            said = [repr(remote), repr(remote._connections())]
            traces: list[str] = []
            for ask in (
                lambda: remote.missing([DIGEST]),
                lambda: got(remote, DIGEST),
                lambda: remote.put(DIGEST, in_pieces(CONTENT)),
                lambda: remote.record(Key(DIGEST.hex)),
                lambda: remote.keep(Key(DIGEST.hex), RECORD),
            ):
                try:
                    ask()
                except StoreError as error:
                    said += [str(error), repr(error), str(error.hint)]
                    traces += traceback.format_exception(error)

    assert len(said) > 2
    assert [] == [secret for secret in SECRETS if secret in "\n".join(said)]
    # A trace is shown for errors of ours alone; what a server sent may stand in it.
    assert [] == [secret for secret in SECRETS[:3] if secret in "\n".join(traces)]
