"""A remote cache in a bucket: moto's S3, and stores that misbehave."""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from kitbuild.cache import s3
from kitbuild.cache.remote import NO_ACCESS, Access, Record, Remote
from kitbuild.cache.s3 import open_remote
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError, MissingBlobError, RemoteError, StoreError, UsageError
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import RemoteContract, fresh, fresh_key, got, in_pieces, put
from tests.support.answers import Answer, answering, certificates_in, showing
from tests.support.cache_servers import bundle, running
from tests.support.registry import free_port

pytestmark = pytest.mark.integration

SECRET = "zzsecretzz"
CONTENT = bytes(range(256)) * 2400
DIGEST = Digest.of(CONTENT)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    command = [str(bundle("moto") / "bin/moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with running(command, folder, port):
        assert 200 == asked(f"127.0.0.1:{port}", "PUT", "/kit")[0]
        yield f"127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@contextmanager
def opened(host: str, bucket: str = "kit/cache", *, access: Access = NO_ACCESS) -> Iterator[Remote]:
    with closing(open_remote(f"s3://{bucket}?endpoint=http://{host}", access)) as remote:
        yield remote


def asked(host: str, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    """What another client of HTTP is answered, by moto without a true signature."""
    signed = "AWS4-HMAC-SHA256 Credential=somebody/20260101/us-east-1/s3/aws4_request"
    with closing(http.client.HTTPConnection(host)) as connection:
        connection.request(method, path, body, {"Authorization": signed})
        answer = connection.getresponse()
        return answer.status, answer.read()


class TestS3(RemoteContract):
    @pytest.fixture
    def remote(self, store: str) -> Iterator[Remote]:
        with opened(store) as remote:
            yield remote

    def test_threads_may_put_the_same_content(self, remote: Remote) -> None:
        # moto closes an object it is still busy with when another takes its place, and answers 500.
        content = fresh(300_000)

        def put_it(_number: int) -> None:
            with suppress(RemoteError):
                put(remote, content)

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(put_it, range(8)))

        assert content == got(remote, put(remote, content))


def test_layout_is_the_one_of_an_http_cache(store: str) -> None:
    content, key = fresh(), fresh_key()
    with opened(store) as remote:
        digest = put(remote, content)
        remote.keep(key, Record(Result(Artifact("blob", digest)), (digest,)))

    assert (200, content) == asked(store, "GET", f"/kit/cache/cas/{digest.hex}")
    assert 200 == asked(store, "HEAD", f"/kit/cache/ac/{key.hex}")[0]


def test_bucket_without_a_prefix_has_the_folders_at_its_top(store: str) -> None:
    content = fresh()
    with opened(store, "kit") as remote:
        digest = put(remote, content)

    assert (200, content) == asked(store, "GET", f"/kit/cas/{digest.hex}")


@pytest.mark.parametrize("size", [40, 1 << 20])
def test_content_is_sent_with_its_sha256(size: int) -> None:
    seen: list[tuple[str | None, bytes]] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        seen.append((request.headers["x-amz-checksum-sha256"], body))
        return 400, {}, b"<Error><Code>BadDigest</Code></Error>"

    content = fresh(size)
    with (
        answering(answer) as host,
        opened(host) as remote,
        pytest.raises(RemoteError, match="BadDigest") as caught,
    ):
        put(remote, content)

    assert [(base64.b64encode(hashlib.sha256(content).digest()).decode(), content)] == seen
    assert not caught.value.lasting


def test_large_content_goes_in_parts(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MOST_SINGLE_BYTES", 6 << 20)
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    content = fresh(11 << 20)
    digest = Digest.of(content)

    with opened(store) as remote:
        remote.put(digest, in_pieces(content, 1_000_001))

        assert content == got(remote, digest)
    assert b"<Upload>" not in asked(store, "GET", "/kit?uploads")[1]


def test_parts_of_content_that_breaks_off_are_dropped(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MOST_SINGLE_BYTES", 6 << 20)
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    content = fresh(11 << 20)
    digest = Digest.of(content)

    with opened(store) as remote:
        with pytest.raises(RemoteError, match="to send"):
            remote.put(digest, in_pieces(content[:-1]))

        assert {digest} == remote.missing([digest])
    assert b"<Upload>" not in asked(store, "GET", "/kit?uploads")[1]


def test_part_that_is_refused_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MOST_SINGLE_BYTES", 1 << 20)
    started = b"<InitiateMultipartUploadResult><UploadId>7</UploadId></InitiateMultipartUploadResult>"
    asked: list[str] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        asked.append(request.command)
        request.rfile.read(int(request.headers.get("Content-Length", "0")))
        return (200, {}, started) if request.command == "POST" else (500, {}, b"")

    with answering(answer) as host, opened(host) as remote, pytest.raises(RemoteError, match="answers 500"):
        put(remote, fresh(2 << 20))

    assert ["POST", "PUT", "DELETE"] == asked


def test_object_of_the_wrong_size_counts_as_missing(store: str) -> None:
    content = fresh()
    digest = Digest.of(content)
    asked(store, "PUT", f"/kit/cache/cas/{digest.hex}", content[:-1])

    with opened(store) as remote:
        assert {digest} == remote.missing([digest])
        with pytest.raises(RemoteError, match="1 more bytes"):
            got(remote, digest)


def test_what_is_no_record_is_none(store: str) -> None:
    small, large = fresh_key(), fresh_key()
    asked(store, "PUT", f"/kit/cache/ac/{small.hex}", b"<html>")
    asked(store, "PUT", f"/kit/cache/ac/{large.hex}", b"x" * (5 << 20))

    with opened(store) as remote:
        assert remote.record(small) is None
        assert remote.record(large) is None


def test_record_that_nobody_would_read_is_not_kept(store: str) -> None:
    blobs = tuple(Digest(f"{number:064x}", 7) for number in range(65_000))

    with opened(store) as remote, pytest.raises(RemoteError, match="expected at most 4194304 bytes"):
        remote.keep(fresh_key(), Record(Result(Artifact("tree", Digest.of(b"")), blobs)))


READS: list[Callable[[Remote], object]] = [
    lambda remote: remote.missing([Digest.of(fresh())]),
    lambda remote: remote.missing([Digest.of(fresh()), Digest.of(fresh())]),
    lambda remote: got(remote, Digest.of(fresh())),
    lambda remote: remote.record(fresh_key()),
]
WRITES: list[Callable[[Remote], object]] = [
    lambda remote: put(remote, fresh()),
    lambda remote: put(remote, fresh(1 << 20)),
    lambda remote: put(remote, b""),
    lambda remote: remote.keep(fresh_key(), Record(Result(Artifact("blob", Digest.of(b""))))),
]


def test_bucket_that_is_not_there_is_an_error_for_good(store: str) -> None:
    with opened(store, "nobucket/cache") as remote:
        for ask in (*READS[2:], *WRITES):
            with pytest.raises(
                RemoteError, match=r"s3://nobucket/cache answers 404 \(NoSuchBucket\)"
            ) as caught:
                ask(remote)
            assert (True, False) == (caught.value.lasting, caught.value.writing)


def assert_secret(error: KitbuildError) -> None:
    assert SECRET not in f"{error} {error.message} {error.hint} {error!r}"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, ""),
        (403, "AccessDenied"),
        (403, "InvalidAccessKeyId"),
        (405, "MethodNotAllowed"),
        (429, "SlowDown"),
        (500, "InternalError"),
        (500, ""),
        (503, "SlowDown"),
        (507, "XMinioStorageFull"),
    ],
)
def test_refusal_is_a_remote_error(status: int, code: str) -> None:
    error = f"<Error><Code>{code}</Code><Message>{SECRET}</Message></Error>" if code else f"<html>{SECRET}"
    with answering(lambda _: (status, {}, error.encode())) as host, opened(host) as remote:
        for ask in READS:
            with pytest.raises(RemoteError, match=f"s3://kit/cache answers {status}") as caught:
                ask(remote)
            assert (status in (401, 403, 405), False) == (caught.value.lasting, caught.value.writing)
            assert_secret(caught.value)
        for ask in WRITES:
            with pytest.raises(RemoteError, match=f"answers {status}.* to a write") as caught:
                ask(remote)
            refused = status in (401, 403, 405, 507)
            assert (refused, refused) == (caught.value.lasting, caught.value.writing)
            assert_secret(caught.value)


def test_store_that_does_not_know_checksums_is_asked_without() -> None:
    asked: list[tuple[str, bool]] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        request.rfile.read(int(request.headers["Content-Length"]))
        has_checksum = "x-amz-checksum-sha256" in request.headers
        asked.append((request.command, has_checksum))
        error = b"<Error><Code>NotImplemented</Code></Error>"
        return (501, {}, error) if has_checksum else (200, {"ETag": '"1"'}, b"")

    with answering(answer) as host, opened(host) as remote:
        for size in (40, 1 << 20):
            put(remote, fresh(size))

    assert [("PUT", True), ("PUT", False), ("PUT", False)] == asked


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, CONTENT[:-1], id="short"),
        pytest.param({}, b"", id="empty"),
        pytest.param({}, CONTENT + b"x", id="long"),
        pytest.param({"Content-Length": str(len(CONTENT))}, CONTENT[:1000], id="broken-off"),
        pytest.param({"Transfer-Encoding": "chunked"}, b"ffffffffffffffffffff\r\n", id="chunked"),
    ],
)
def test_content_that_is_not_whole_is_an_error(headers: dict[str, str], body: bytes) -> None:
    with (
        answering(lambda _: (200, headers, body)) as host,
        opened(host) as remote,
        pytest.raises(RemoteError),
    ):
        got(remote, DIGEST)


def test_store_that_closes_every_connection_is_an_error() -> None:
    with answering(lambda _: None) as host, opened(host) as remote:
        for ask in READS + WRITES:
            with pytest.raises(RemoteError) as caught:
                ask(remote)
            assert not caught.value.lasting
            assert_secret(caught.value)


def test_nobody_listening_is_an_error_at_once() -> None:
    with opened(f"127.0.0.1:{free_port()}") as remote:
        started = time.monotonic()
        for ask in READS + WRITES:
            with pytest.raises(RemoteError, match="refuses connections") as caught:
                ask(remote)
            assert not caught.value.lasting

    assert time.monotonic() - started < 3


def test_silent_store_is_given_up_in_time() -> None:
    def answer(_request: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(2.5)

    with answering(answer) as host, opened(host) as remote:
        with pytest.raises(RemoteError):
            got(remote, DIGEST)  # what is needed is loaded
        started = time.monotonic()
        with pytest.raises(RemoteError, match="in time"):
            remote.record(fresh_key())

        assert 1.9 < time.monotonic() - started < 2.5


def test_who_has_no_credentials_asks_as_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    signed: list[str | None] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        signed.append(request.headers.get("Authorization"))
        if request.path.endswith(DIGEST.hex):
            return 200, {}, CONTENT
        return 403, {}, b"<Error><Code>AccessDenied</Code></Error>"

    with answering(answer) as host, opened(host) as remote:
        assert CONTENT == got(remote, DIGEST)
        with pytest.raises(RemoteError) as caught:
            remote.record(fresh_key())

    assert [None, None] == signed
    assert "AWS_ACCESS_KEY_ID" in str(caught.value.hint)


def test_profile_that_is_not_there_is_an_error_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    with opened("127.0.0.1:1") as remote, pytest.raises(RemoteError, match="no usable credentials") as caught:
        remote.record(fresh_key())

    assert caught.value.lasting


def test_headers_given_are_sent() -> None:
    seen: list[str | None] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        seen.append(request.headers.get("X-Team"))
        return 404, {}, b"<Error><Code>NoSuchKey</Code></Error>"

    with answering(answer) as host, opened(host, access=Access(headers=(("X-Team", "kernel"),))) as remote:
        with pytest.raises(MissingBlobError):
            got(remote, DIGEST)
        assert remote.record(fresh_key()) is None

    assert ["kernel", "kernel"] == seen


def test_opening_loads_nothing_and_asks_nothing() -> None:
    program = """
import sys
from kitbuild.cache.remote import NO_ACCESS
from kitbuild.cache.s3 import open_remote
open_remote("s3://kit/cache", NO_ACCESS).close()
assert not {"boto3", "botocore", "urllib3", "http.client"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_missing_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(UsageError, match="needs boto3") as caught:
        open_remote("s3://kit", NO_ACCESS)

    assert "run `pip install 'kitbuild[s3]'`" == caught.value.hint


def test_own_authority_and_client_certificate_open_a_store(tmp_path: Path) -> None:
    certificates_in(tmp_path)
    access = Access(
        authorities=(tmp_path / "server.pem",),
        client_certificate=tmp_path / "client.pem",
        client_key=tmp_path / "client.key",
    )

    with answering(lambda _: (200, {}, CONTENT), tls=showing(tmp_path)) as host:
        url = f"s3://kit?endpoint=https://{host}"
        with closing(open_remote(url, access)) as remote:
            assert CONTENT == got(remote, DIGEST)
        with (
            closing(open_remote(url, NO_ACCESS)) as remote,
            pytest.raises(RemoteError, match="not trusted") as caught,
        ):
            got(remote, DIGEST)

    assert caught.value.lasting


def test_content_that_was_changed_at_the_store_is_refused(store: str) -> None:
    content = fresh()
    with opened(store) as remote:
        digest = put(remote, content)
        asked(store, "PUT", f"/kit/cache/cas/{digest.hex}", bytes(len(content)))

        with pytest.raises(StoreError):
            got(VerifiedRemote(remote), digest)
