"""`kitbuild cache serve` from outside: what it takes, what it gives, to whom, and how it ends."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitbuild.cache import folder as folder_remote
from kitbuild.cache import http as http_remote
from kitbuild.cache.action_result import blob_digest
from kitbuild.cache.reapi_messages import ActionResult, Directory, FileNode, OutputDirectory, OutputFile, Tree
from kitbuild.cache.remote import NO_ACCESS, Access, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import RemoteContract, fresh, fresh_key, put
from tests.support.command import PROGRAM
from tests.support.nginx import certificates
from tests.support.prometheus import value
from tests.support.registry import free_port, tool
from tests.support.served import Served, read_answer, served

pytestmark = pytest.mark.integration

EMPTY = Digest.of(b"").hex
TOKENS = """\
reading-token  read
writing-token  write
request-token  write  pr-*
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One that everybody may write to; content and keys are new in each test."""
    with served(tmp_path_factory.mktemp("server") / "kept") as server:
        yield server


def key() -> str:
    return fresh_key().hex


def result(*digests: Digest, stdout: Digest | None = None) -> bytes:
    files = tuple(OutputFile(path=digest.hex, digest=blob_digest(digest)) for digest in digests)
    said = None if stdout is None else blob_digest(stdout)
    return ActionResult(output_files=files, stdout_raw=fresh(), stdout_digest=said).encode()


def leftovers(server: Served) -> list[str]:
    return [path.name for path in server.folder.glob("upload-*")]


class TestContract(RemoteContract):
    """The server as kitbuild sees it."""

    @pytest.fixture
    def remote(self, server: Served) -> Iterator[Remote]:
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        yield remote
        remote.close()


class TestContractInANamespace(RemoteContract):
    @pytest.fixture
    def remote(self, server: Served) -> Iterator[Remote]:
        remote = http_remote.open_remote(f"{server.url}/team/pr-1", NO_ACCESS)
        yield remote
        remote.close()


# Content.


@pytest.mark.parametrize("size", [16, 4096, 100_000, 5_000_000])
def test_content_comes_back(server: Served, size: int) -> None:
    content = fresh(size)
    path = f"/cas/{Digest.of(content).hex}"

    statuses = [server.ask("PUT", path, content).status for _ in range(2)]

    assert [201, 204] == statuses
    answer = server.get(path)
    assert (200, content) == (answer.status, answer.body)
    assert (str(size), "application/octet-stream") == (
        answer.headers["content-length"],
        answer.headers["content-type"],
    )


def test_head_tells_the_size_and_no_more(server: Served) -> None:
    digest = server.put(fresh(100_000))

    answer = server.ask("HEAD", f"/cas/{digest.hex}")

    assert (200, b"", "100000") == (answer.status, answer.body, answer.headers["content-length"])
    assert 404 == server.ask("HEAD", f"/cas/{key()}").status


@pytest.mark.parametrize("size", [1000, 1_000_000], ids=["small", "large"])
@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=5-9", slice(5, 10)), ("bytes=990-", slice(990, None)), ("bytes=-7", slice(-7, None))],
)
def test_part_of_content_comes_back(server: Served, size: int, asked: str, part: slice) -> None:
    content = fresh(size)
    digest = server.put(content)

    answer = server.get(f"/cas/{digest.hex}", {"Range": asked})

    assert (206, content[part]) == (answer.status, answer.body)
    start, stop, _ = part.indices(size)
    assert f"bytes {start}-{stop - 1}/{size}" == answer.headers["content-range"]


def test_part_beyond_the_end_is_refused(server: Served) -> None:
    digest = server.put(fresh(1000))

    answer = server.get(f"/cas/{digest.hex}", {"Range": "bytes=1000-"})

    assert (416, "bytes */1000") == (answer.status, answer.headers["content-range"])


def test_empty_content_is_always_there(server: Served) -> None:
    answers = [
        server.ask(method, f"/cas/{EMPTY}", b"" if method == "PUT" else None)
        for method in ("GET", "HEAD", "PUT")
    ]

    assert [200, 200, 204] == [answer.status for answer in answers]
    assert 400 == server.ask("PUT", f"/cas/{EMPTY}", b"x").status


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        pytest.param("PUT", "/cas/{key}", b"other content", {}, 400, id="wrong-content"),
        pytest.param("PUT", "/cas/{key}", b"", {}, 400, id="no-content"),
        pytest.param("PUT", "/ac/{key}", b"hello", {}, 400, id="no-result"),
        pytest.param("PUT", "/ac/{key}", b"", {}, 400, id="empty-result"),
        pytest.param("PUT", "/ac/{key}", bytes(5 << 20), {}, 413, id="enormous-result"),
        pytest.param("PUT", "/cas/{key}", b"zipped", {"Content-Encoding": "gzip"}, 415, id="compressed"),
        pytest.param("PUT", "/cas/short", b"x", {}, 404, id="put-elsewhere"),
        pytest.param("GET", "/ac/{key}", None, {}, 404, id="unknown-result"),
        pytest.param("GET", "/cas/{key}", None, {}, 404, id="unknown-content"),
        pytest.param("GET", "/", None, {}, 404, id="root"),
        pytest.param("GET", "/cas/../server.lock", None, {}, 404, id="traversal"),
        pytest.param("GET", "/%2e%2e/cas/{key}", None, {}, 404, id="escaped-traversal"),
        pytest.param("DELETE", "/cas/{key}", None, {}, 405, id="delete"),
        pytest.param("POST", "/ac/{key}", b"x", {}, 405, id="post"),
        pytest.param("PUT", "/status", b"x", {}, 405, id="put-status"),
    ],
)
def test_what_is_refused(
    server: Served, method: str, path: str, body: bytes | None, headers: dict[str, str], status: int
) -> None:
    answer = server.ask(method, path.format(key=key()), body, headers)

    assert status == answer.status
    assert re.fullmatch(rb"[a-z0-9].*\n", answer.body)
    assert [] == leftovers(server)


def test_content_of_untold_length_is_refused(server: Served) -> None:
    with server.conversation() as connection:
        connection.sendall(
            f"PUT /cas/{key()} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        answer = read_answer(connection)

    assert (411, b"expected a Content-Length\n") == (answer.status, answer.body)


def test_refused_body_is_not_taken_for_the_next_request(server: Served) -> None:
    body = f"GET /cas/{EMPTY} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    with server.conversation() as connection:
        head = f"PUT /cas/short HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = read_answer(connection)
        rest = connection.recv(1000)

    assert (404, "close", b"") == (answer.status, answer.headers["connection"], rest)


def test_client_that_waits_for_leave_gets_it_or_the_reason(server: Served) -> None:
    content = fresh()
    head = "PUT /cas/{} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n"
    with server.conversation() as connection:
        connection.sendall(head.format(Digest.of(content).hex, len(content)).encode())
        leave = connection.recv(100)
        connection.sendall(content)
        taken = read_answer(connection)
    with server.conversation() as connection:
        connection.sendall(head.format("short", len(content)).encode())
        refused = read_answer(connection)

    assert b"HTTP/1.1 100 Continue\r\n\r\n" == leave
    assert (201, 404) == (taken.status, refused.status)


def test_connection_that_breaks_in_an_upload_leaves_nothing(server: Served) -> None:
    content = fresh(3_000_000)
    digest = Digest.of(content)
    with server.conversation() as connection:
        connection.sendall(
            f"PUT /cas/{digest.hex} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n".encode()
        )
        connection.sendall(content[:2_000_000])
        wait_until(lambda: leftovers(server))

    wait_until(lambda: not leftovers(server))
    assert 404 == server.get(f"/cas/{digest.hex}").status


def test_same_content_may_come_from_several_clients_at_once(server: Served) -> None:
    content = fresh(2_000_000)

    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: server.put(content), range(16)))

    assert content == server.get(f"/cas/{digests.pop().hex}").body
    assert [] == leftovers(server)


def test_what_is_no_http_gets_an_answer_and_one_line(server: Served) -> None:
    before = len(server.lines())
    with server.conversation() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        answer = read_answer(connection)

    assert 400 == answer.status
    assert len(server.lines()) <= before + 1
    assert "Traceback" not in server.text()


# Results.


def test_result_comes_back_while_all_it_refers_to_is_there(server: Served) -> None:
    one, two = server.put(fresh()), server.put(fresh())
    path, content = f"/ac/{key()}", result(one, two, stdout=Digest.of(b""))
    assert 201 == server.ask("PUT", path, content).status

    assert (200, content) == server.get(path)[::2]
    (server.folder / "cas" / two.hex[:2] / two.hex).unlink()
    assert [404, 404] == [server.ask(method, path).status for method in ("GET", "HEAD")]


def test_result_may_come_before_its_content(server: Served) -> None:
    content = fresh()
    path = f"/ac/{key()}"
    assert 201 == server.ask("PUT", path, result(Digest.of(content))).status
    assert 404 == server.get(path).status

    server.put(content)

    assert 200 == server.get(path).status


def test_result_with_a_folder_needs_the_files_in_it(server: Served) -> None:
    file = fresh()
    inside = Directory(files=(FileNode(name="file", digest=blob_digest(Digest.of(file))),))
    tree = server.put(Tree(root=Directory(), children=(inside,)).encode())
    path = f"/ac/{key()}"
    folder = OutputDirectory(path="folder", tree_digest=blob_digest(tree))
    server.ask("PUT", path, ActionResult(output_directories=(folder,)).encode())
    without = server.get(path).status

    server.put(file)

    assert (404, 200) == (without, server.get(path).status)


def test_result_is_replaced(server: Served) -> None:
    path, later = f"/ac/{key()}", result(server.put(fresh()))

    statuses = [server.ask("PUT", path, content).status for content in (result(), later)]

    assert [201, 204] == statuses
    assert later == server.get(path).body


def test_asking_for_a_result_counts_as_use_of_its_content(server: Served) -> None:
    digest = server.put(fresh())
    path = f"/ac/{key()}"
    server.ask("PUT", path, result(digest))
    files = [
        server.folder / f"cas/{digest.hex[:2]}/{digest.hex}",
        server.folder / f"ac/{path[4:6]}/{path[4:]}",
    ]
    for file in files:
        os.utime(file, (1, 1))

    server.get(path)

    assert all(time.time() - file.stat().st_mtime < 60 for file in files)


def test_namespaces_keep_results_apart_and_share_content(server: Served) -> None:
    digest = server.put(fresh(), namespace="/pr-1")
    name, content = key(), result(digest)
    server.ask("PUT", f"/pr-1/ac/{name}", content)

    statuses = {
        path: server.get(path).status
        for path in (
            f"/pr-1/ac/{name}",
            f"/pr-2/ac/{name}",
            f"/ac/{name}",
            f"/cas/{digest.hex}",
            f"/pr-2/cas/{digest.hex}",
        )
    }

    assert [200, 404, 404, 200, 200] == list(statuses.values())


def test_folder_may_be_used_as_a_remote_cache_itself(server: Served) -> None:
    remote = folder_remote.open_remote(f"file://{server.folder}", NO_ACCESS)
    theirs = Result(Artifact("blob", put(remote, fresh())))
    their_key, our_key = fresh_key(), fresh_key()
    remote.keep(their_key, Record(theirs, theirs.content()))
    over_http = http_remote.open_remote(server.url, NO_ACCESS)
    ours = Result(Artifact("blob", put(over_http, fresh())))
    over_http.keep(our_key, Record(ours, ours.content()))

    assert Record(theirs, theirs.content()) == over_http.record(their_key)
    assert Record(ours, ours.content()) == remote.record(our_key)
    over_http.close()


# Who may do what.


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text(TOKENS)
    file.chmod(0o600)
    return file


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_tokens_say_who_may_do_what(tmp_path: Path, tokens: Path) -> None:
    path = f"/ac/{key()}"
    senders = {
        "nobody": {},
        "unknown": bearer("another-token"),
        "reader": bearer("reading-token"),
        "reader by password": basic("anyone", "reading-token"),
        "request": bearer("request-token"),
        "request by user": basic("request-token", ""),
        "writer": basic("ci", "writing-token"),
    }
    with served(tmp_path / "kept", "--token-file", str(tokens)) as server:
        statuses = {
            name: [
                server.ask("PUT", f"{space}{path}", result(), headers).status // 100 * 100
                + server.get(f"/cas/{EMPTY}", headers).status % 100
                for space in ("", "/pr-1", "/main")
            ]
            for name, headers in senders.items()
        }
        reads = {name: server.get(f"/cas/{EMPTY}", headers).status for name, headers in senders.items()}
        about = [
            server.get(where, headers).status
            for where in ("/status", "/metrics")
            for headers in ({}, senders["reader"])
        ]
        refused = server.get(path)

    assert {
        "nobody": 401,
        "unknown": 401,
        **dict.fromkeys(("reader", "reader by password", "request", "request by user", "writer"), 200),
    } == reads
    assert [401, 200, 401, 200] == about
    assert {
        "nobody": [401, 401, 401],
        "unknown": [401, 401, 401],
        "reader": [400, 400, 400],
        "reader by password": [400, 400, 400],
        "request": [400, 200, 400],
        "request by user": [400, 200, 400],
        "writer": [200, 200, 200],
    } == statuses
    assert 'Basic realm="kitbuild cache"' == refused.headers["www-authenticate"]


def test_curl_brings_a_token_as_a_password(tmp_path: Path, tokens: Path) -> None:
    content = tmp_path / "content"
    content.write_bytes(fresh(2_000_000))
    digest = Digest.of(content.read_bytes())
    with served(tmp_path / "kept", "--token-file", str(tokens)) as server:
        url = f"http://ci:writing-token@{server.host}/cas/{digest.hex}"

        up = curl("--upload-file", str(content), "--write-out", "%{http_code}", url)
        down = curl(url)

    assert (b"201", content.read_bytes()) == (up, down)


def test_token_is_never_said(tmp_path: Path, tokens: Path) -> None:
    with served(tmp_path / "kept", "--token-file", str(tokens), "--access-log") as server:
        for headers in (
            bearer("writing-token"),
            basic("writing-token", "writing-token"),
            bearer("unknown-token"),
        ):
            server.ask("PUT", f"/cas/{key()}?token=writing-token", b"wrong", headers)
        said = server.text()

    assert 3 == said.count("PUT /cas/")
    assert "-token" not in said


def test_kitbuild_brings_a_token(tmp_path: Path, tokens: Path) -> None:
    with served(tmp_path / "kept", "--token-file", str(tokens)) as server:
        writer = http_remote.open_remote(server.url, Access(token="writing-token"))
        reader = http_remote.open_remote(server.url, Access(token="reading-token"))
        nobody = http_remote.open_remote(server.url, NO_ACCESS)
        digest = put(writer, fresh())

        assert set() == reader.missing([digest])
        with pytest.raises(RemoteError) as refused_writing:
            put(reader, fresh())
        with pytest.raises(RemoteError) as refused:
            nobody.missing([digest])
        for remote in (writer, reader, nobody):
            remote.close()

    assert (True, True) == (refused_writing.value.writing, refused_writing.value.lasting)
    assert refused.value.lasting


def test_tokens_are_read_anew_when_told(tmp_path: Path, tokens: Path) -> None:
    with served(tmp_path / "kept", "--token-file", str(tokens)) as server:
        tokens.write_text("another-token read\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.get("/status", bearer("another-token")).status == 200)
        gone = server.get("/status", bearer("writing-token")).status
        tokens.write_text("nonsense\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.lines()[-1]["event"] == "error")
        kept = server.get("/status", bearer("another-token")).status

    assert (401, 200) == (gone, kept)


def test_read_only_server_takes_nothing(tmp_path: Path) -> None:
    with served(tmp_path / "kept", "--read-only") as server:
        statuses = [server.ask("PUT", f"/{kind}/{key()}", result()).status for kind in ("ac", "cas")]
        there = server.get(f"/cas/{EMPTY}").status

    assert [403, 403, 200] == [*statuses, there]


def test_tls(tmp_path: Path) -> None:
    made = certificates(tmp_path / "certificates")
    content = fresh(3_000_000)
    flags = ("--certificate", str(made.server), "--key", str(made.server_key))
    with served(tmp_path / "kept", *flags) as server:
        remote = http_remote.open_remote(server.url, Access(authorities=(made.authority,)))
        digest = put(remote, content)
        small = put(remote, fresh())

        assert server.url.startswith("https://")
        assert content == b"".join(remote.get(digest))
        assert set() == remote.missing([digest, small])
        remote.close()


# How it starts and ends.


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        pytest.param(
            ["--listen", "0.0.0.0:0"],
            2,
            "error: whoever reaches `0.0.0.0:0` could put results there that builds believe\n"
            "hint: give --token-file or --read-only, or --insecure-writes if nobody else can reach it\n",
            id="open-to-all",
        ),
        pytest.param(["--listen", "nowhere"], 2, "error: expected an address such as", id="address"),
        pytest.param(
            ["--token-file", "open"], 1, "error: expected a token file that only its owner", id="token-file"
        ),
        pytest.param(
            ["--token-file", "wrong"], 2, "wrong:1:1: expected a token, `read` or `write`", id="token-line"
        ),
        pytest.param(
            ["--token-file", "none"], 1, "error: the token file none cannot be read", id="no-token-file"
        ),
        pytest.param(
            ["--certificate", "wrong"], 1, "error: the certificate wrong cannot be used", id="certificate"
        ),
        pytest.param(["--key", "wrong"], 2, "error: `--key` needs a certificate", id="key-alone"),
        pytest.param(
            ["--max-size", "much"], 2, "expected a size such as 500M, 10G or 10GiB, got `much`", id="size"
        ),
        pytest.param(
            ["--listen", "192.0.2.1:80", "--read-only"],
            1,
            "error: cannot listen on `192.0.2.1:80`",
            id="foreign",
        ),
    ],
)
def test_what_it_does_not_start_with(tmp_path: Path, flags: list[str], status: int, said: str) -> None:
    (tmp_path / "open").write_text(TOKENS)
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "wrong").write_text("nonsense\n")
    (tmp_path / "wrong").chmod(0o600)

    ended = subprocess.run(
        [PROGRAM, "cache", "serve", "--dir", "kept", *flags],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert (status, "") == (ended.returncode, ended.stdout)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("flags", [["--read-only"], ["--insecure-writes"]])
def test_it_listens_for_others_when_that_is_safe_or_wanted(tmp_path: Path, flags: list[str]) -> None:
    with served(tmp_path / "kept", *flags, listen="0.0.0.0:0") as server:
        port = server.host.rpartition(":")[2]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=10) as answer:
            assert 200 == answer.status


def test_folder_in_use_and_address_in_use_are_told(server: Served, tmp_path: Path) -> None:
    command = [PROGRAM, "cache", "serve", "--listen", server.host, "--dir"]

    same_folder, same_address = (
        subprocess.run([*command, folder], capture_output=True, text=True, timeout=20)
        for folder in (server.folder, tmp_path / "other")
    )

    assert (1, 1) == (same_folder.returncode, same_address.returncode)
    assert f"error: another server uses the folder {server.folder}\n" in same_folder.stderr
    assert f"error: cannot listen on `{server.host}`: " in same_address.stderr


def test_address_is_printed_for_people(tmp_path: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [PROGRAM, "cache", "serve", "--dir", tmp_path / "kept", "--listen", f"127.0.0.1:{port}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    first = process.stdout.readline()
    process.terminate()
    rest, _ = process.communicate(timeout=20)

    assert f"listening on http://127.0.0.1:{port}\n" == first
    assert "stopping: what was begun is finished first\n" == rest
    assert 0 == process.returncode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_was_begun_is_finished_when_it_is_told_to_end(tmp_path: Path, number: signal.Signals) -> None:
    content = fresh(100_000)
    digest = Digest.of(content)
    with (
        served(tmp_path / "kept") as server,
        server.conversation() as idle,
        server.conversation() as connection,
    ):
        connection.sendall(
            f"PUT /cas/{digest.hex} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode()
        )
        connection.sendall(content[:50_000])
        wait_until(lambda: leftovers(server))
        server.process.send_signal(number)
        wait_until(lambda: server.lines()[-1]["event"] == "stopping")
        wait_until(lambda: not listens(server.host))
        connection.sendall(content[50_000:])
        answer = read_answer(connection)
        status = server.wait()
        assert b"" == idle.recv(1)

    assert (201, 0) == (answer.status, status)
    assert content == (server.folder / "cas" / digest.hex[:2] / digest.hex).read_bytes()


def test_server_killed_in_an_upload_serves_nothing_wrong_later(tmp_path: Path) -> None:
    content, before = fresh(3_000_000), fresh(1000)
    digest = Digest.of(content)
    with served(tmp_path / "kept") as server:
        kept = server.put(before)
        with server.conversation() as connection:
            head = f"PUT /cas/{digest.hex} HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n"
            connection.sendall(head.encode() + content[:2_500_000])
            wait_until(
                lambda: any(path.stat().st_size > 1_000_000 for path in server.folder.glob("upload-*"))
            )
            server.process.kill()
            server.wait()
        assert leftovers(server)

    with served(tmp_path / "kept") as server:
        assert [] == leftovers(server)
        assert (404, 200) == (server.get(f"/cas/{digest.hex}").status, server.get(f"/cas/{kept.hex}").status)
        server.put(content)
        assert content == server.get(f"/cas/{digest.hex}").body


def test_slow_clients_are_sent_away(tmp_path: Path) -> None:
    large = fresh(30_000_000)
    with served(tmp_path / "kept", options="idle_seconds=0.3, patience_seconds=0.3") as server:
        digest = server.put(large)
        with (
            server.conversation() as silent,
            server.conversation() as half_a_head,
            server.conversation() as half_a_second_head,
            server.conversation() as half_a_body,
        ):
            half_a_head.sendall(b"GET /status HTTP/1.1\r\nHos")
            half_a_second_head.sendall(f"HEAD /cas/{EMPTY} HTTP/1.1\r\nHost: x\r\n\r\nGET /st".encode())
            half_a_body.sendall(
                f"PUT /cas/{key()} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000\r\n\r\nhalf".encode()
            )
            body_refused = read_answer(half_a_body)
            first = half_a_second_head.recv(1000)

            assert [b"", b"", b""] == [each.recv(1000) for each in (silent, half_a_head, half_a_second_head)]
            assert first.startswith(b"HTTP/1.1 200 OK")
            assert (408, b"the body took too long\n") == (body_refused.status, body_refused.body)
        assert [] == leftovers(server)
        assert large == server.get(f"/cas/{digest.hex}").body


def test_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files is what a full disk looks like.
    limited = ("bash", "-c", 'ulimit -f 1000; exec "$@"', "bash")
    small, large = fresh(100_000), fresh(5_000_000)
    with served(tmp_path / "kept", before=limited) as server:
        server.put(small)

        refused = server.ask("PUT", f"/cas/{Digest.of(large).hex}", large)

        assert (507, b"no space left\n") == (refused.status, refused.body)
        assert [] == leftovers(server)
        assert [200, 404] == [
            server.get(f"/cas/{Digest.of(content).hex}").status for content in (small, large)
        ]
        assert 1 == sum(line["event"] == "error" for line in server.lines())


def test_content_that_can_never_fit_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    with served(tmp_path / "kept", "--max-size", "1M") as server, server.conversation() as connection:
        connection.sendall(
            f"PUT /cas/{key()} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n".encode()
        )

        assert 413 == read_answer(connection).status


# What it tells.


def test_status_and_metrics(tmp_path: Path) -> None:
    with served(tmp_path / "kept", "--max-size", "10M") as server:
        digest = server.put(fresh(5000))
        server.ask("PUT", f"/ac/{key()}", result(digest))
        server.get(f"/cas/{digest.hex}")
        server.get(f"/cas/{key()}")

        status = server.json("/status")
        answer = server.get("/metrics")

    assert {
        "bytes": 12288,
        "max_bytes": 10 << 20,
        "blobs": 1,
        "results": 1,
        "hits": 1,
        "misses": 1,
        "evictions": 0,
    } == {
        name: status[name]
        for name in ("bytes", "max_bytes", "blobs", "results", "hits", "misses", "evictions")
    }
    assert 4 == status["requests"]
    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    text = answer.body.decode()
    assert 12288 == value(text, "kitbuild_cache_bytes")
    assert 5000 == value(text, "kitbuild_cache_sent_bytes_total")
    assert 1 == value(text, "kitbuild_cache_requests_total", method="PUT", kind="ac", status="201")
    assert 1 == value(text, "kitbuild_cache_request_seconds_count", method="PUT", kind="cas")


def test_nothing_is_said_of_requests_unless_asked_for(tmp_path: Path) -> None:
    for flags, expected in (((), 0), (("--access-log",), 2)):
        with served(tmp_path / "kept", *flags) as server:
            server.put(fresh())
            server.get("/cas/none")
            said = [line for line in server.lines() if line["event"] == "request"]

        assert expected == len(said)
    assert ("GET", "/cas/none", 404) == (said[1]["method"], said[1]["path"], said[1]["status"])


def curl(*arguments: str) -> bytes:
    return subprocess.run(
        [tool("curl"), "-sS", *arguments], check=True, capture_output=True, timeout=60
    ).stdout


def listens(host: str) -> bool:
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name, int(port)), 1).close()
        return True
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
