"""The remote cache over REAPI against the real buildbox-casd and BuildGrid, and one that does everything wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cache.action_result import action_result, blob_digest
from kitbuild.cache.connection import CallError, Connection, library
from kitbuild.cache.reapi import ReapiRemote, open_remote
from kitbuild.cache.reapi_messages import (
    ActionResult,
    BatchReadBlobsResponse,
    BlobDigest,
    BlobRead,
    FindMissingBlobsResponse,
    ReadResponse,
    RequestMetadata,
    ServerCapabilities,
    Status,
    WriteResponse,
)
from kitbuild.cache.remote import NO_ACCESS, Access, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import RemoteContract, assert_same, fresh, fresh_key, got, in_pieces, put
from tests.support.buildgrid import buildgrid, token
from tests.support.casd import Server, casd
from tests.support.nginx import Certificates, certificates
from tests.support.reapi_server import Answer, capable, reapi_server

pytestmark = pytest.mark.integration

grpc = library()

LARGE = (1 << 20) + 1
STALL_SECONDS = 0.3


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with buildgrid(tmp_path_factory.mktemp("grid"), instances=("", "trusted", "trusted/pull/7")) as server:
        yield server


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with casd(tmp_path_factory.mktemp("newer"), "1.4.25") as server:
        yield server


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with casd(tmp_path_factory.mktemp("older"), "1.3.11") as server:
        yield server


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, papers: Certificates) -> Iterator[Server]:
    with buildgrid(tmp_path_factory.mktemp("secure"), secure=(papers.server, papers.server_key)) as server:
        yield server


def remote_at(host: str, *, access: Access = NO_ACCESS) -> ReapiRemote:
    return ReapiRemote(Connection(f"grpc://{host}", access, stall_seconds=STALL_SECONDS))


def refused(remote: Remote) -> RemoteError:
    """How a remote cache refuses what is asked first."""
    with pytest.raises(RemoteError) as caught:
        remote.missing([Digest.of(b"x")])
    remote.close()
    return caught.value


class TestCasd(RemoteContract):
    @pytest.fixture
    def remote(self, newer: Server) -> Iterator[Remote]:
        remote = open_remote(f"grpc://{newer.host}", NO_ACCESS)
        yield remote
        remote.close()


class TestOlderCasd(RemoteContract):
    @pytest.fixture
    def remote(self, older: Server) -> Iterator[Remote]:
        remote = open_remote(f"grpc://{older.host}", NO_ACCESS)
        yield remote
        remote.close()


class TestBuildGrid(RemoteContract):
    @pytest.fixture
    def remote(self, grid: Server) -> Iterator[Remote]:
        remote = open_remote(f"grpc://{grid.host}", NO_ACCESS)
        yield remote
        remote.close()


class TestBuildGridWithTokens(RemoteContract):
    @pytest.fixture
    def remote(self, secure: Server, papers: Certificates) -> Iterator[Remote]:
        remote = open_remote(f"grpcs://{secure.host}", Access(token=token(), authorities=(papers.authority,)))
        yield remote
        remote.close()


@pytest.fixture(params=["newer", "older", "grid"])
def real(request: pytest.FixtureRequest) -> Server:
    """Each of the real servers; to be left alive."""
    server: Server = request.getfixturevalue(request.param)
    return server


def test_record_whose_content_is_gone_is_none(real: Server) -> None:
    remote = open_remote(f"grpc://{real.host}", NO_ACCESS)
    here, gone = put(remote, fresh()), Digest.of(fresh())
    key = fresh_key()

    remote.keep(key, Record(Result(Artifact("extents", here), (gone,)), (here, gone)))
    record = remote.record(key)

    assert record is None
    remote.close()


def test_wrong_content_is_refused_by_servers_that_hash(real: Server) -> None:
    remote = open_remote(f"grpc://{real.host}", NO_ACCESS)
    for size in (1000, LARGE):
        digest = Digest.of(fresh(size))

        with pytest.raises(CallError, match="invalid argument"):
            remote.put(digest, in_pieces(fresh(size)))

        assert {digest} == remote.missing([digest])
    remote.close()


def test_large_content_travels_in_pieces(real: Server) -> None:
    remote = open_remote(f"grpc://{real.host}", NO_ACCESS)
    piece = fresh(1 << 20)
    content = piece * 64
    digest = Digest.of(content)

    remote.put(digest, lambda: [piece] * 64)

    assert content == got(remote, digest)
    remote.close()


def test_server_killed_while_content_is_read_is_a_remote_error(tmp_path: Path) -> None:
    with casd(tmp_path) as server:
        remote = open_remote(f"grpc://{server.host}", NO_ACCESS)
        digest = put(remote, fresh(48 << 20))

        pieces = remote.get(digest)
        next(pieces)
        server.kill()

        with pytest.raises(RemoteError) as caught:
            for _ in pieces:
                pass
        assert not caught.value.lasting
        remote.close()


def test_server_killed_while_content_is_put_is_a_remote_error(tmp_path: Path) -> None:
    with casd(tmp_path) as server:
        remote = open_remote(f"grpc://{server.host}", NO_ACCESS)
        content = fresh(8 << 20)

        def pieces() -> Iterator[bytes]:
            yield content[: 4 << 20]
            server.kill()
            yield content[4 << 20 :]

        with pytest.raises(RemoteError) as caught:
            remote.put(Digest.of(content), pieces)
        assert not caught.value.lasting
        remote.close()


def test_remote_is_used_again_when_its_server_is_back(tmp_path: Path) -> None:
    with casd(tmp_path) as server:
        remote = open_remote(f"grpc://{server.host}", NO_ACCESS)
        content = fresh()
        digest = put(remote, content)
        server.kill()
    with pytest.raises(RemoteError):
        remote.missing([digest])

    with casd(tmp_path, port=int(server.host.rpartition(":")[2])):
        deadline = time.monotonic() + 10
        while True:
            try:
                assert content == got(remote, digest)
                break
            except RemoteError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    remote.close()


def test_instances_keep_their_results_apart(grid: Server) -> None:
    # BuildGrid's instances here share one memory, as all do of servers that do not look at the name.
    trusted = open_remote(f"grpc://{grid.host}/trusted", NO_ACCESS)
    other = open_remote(f"grpc://{grid.host}/trusted/pull/7", NO_ACCESS)
    result = Result(Artifact("blob", put(other, fresh())))
    record = Record(result, result.content())
    key = fresh_key()

    other.keep(key, record)

    assert_same(record, other.record(key))
    assert trusted.record(key) is None
    trusted.close()
    other.close()


def test_named_instance_of_casd_is_the_path_of_the_url(tmp_path: Path) -> None:
    with casd(tmp_path, instance="team/main") as server:
        remote = open_remote(f"grpc://{server.host}/team/main", NO_ACCESS)
        content = fresh(LARGE)

        digest = put(remote, content)

        assert content == got(remote, digest)
        remote.close()


def test_unknown_instance_is_refused_for_good(real: Server) -> None:
    error = refused(open_remote(f"grpc://{real.host}/nobody", NO_ACCESS))

    assert error.lasting
    assert "nobody" in error.message


def test_server_that_takes_no_results_is_not_written_to(tmp_path: Path) -> None:
    with buildgrid(tmp_path, updates=False) as server:
        remote = open_remote(f"grpc://{server.host}", NO_ACCESS)

        assert remote.record(fresh_key()) is None
        with pytest.raises(RemoteError) as caught:
            put(remote, fresh())
        remote.close()

    assert caught.value.lasting and caught.value.writing


@pytest.mark.parametrize(
    "secret", [pytest.param("", id="none"), pytest.param(token(secret="another secret"), id="wrong")]
)
def test_wrong_token_is_refused_for_good_and_not_shown(
    secure: Server, papers: Certificates, secret: str
) -> None:
    access = Access(token=secret, authorities=(papers.authority,))

    error = refused(open_remote(f"grpcs://{secure.host}", access))

    assert error.lasting
    assert "unauthenticated" in error.message
    assert not secret or secret not in error.message


def test_certificate_of_an_unknown_authority_is_refused_for_good(secure: Server) -> None:
    error = refused(open_remote(f"grpcs://{secure.host}", Access(token=token())))

    assert error.lasting
    assert "CERTIFICATE_VERIFY_FAILED" in error.message


def test_plain_connection_to_a_secure_server_is_a_remote_error(secure: Server) -> None:
    error = refused(open_remote(f"grpc://{secure.host}", Access(token=token())))

    assert secure.host in error.message


def test_secure_connection_to_a_plain_server_is_refused_for_good(grid: Server) -> None:
    assert refused(open_remote(f"grpcs://{grid.host}", NO_ACCESS)).lasting


def test_client_certificate_is_shown_to_who_wants_one(papers: Certificates) -> None:
    credentials = grpc.ssl_server_credentials(
        [(papers.server_key.read_bytes(), papers.server.read_bytes())],
        root_certificates=papers.authority.read_bytes(),
        require_client_auth=True,
    )
    access = Access(
        authorities=(papers.authority,), client_certificate=papers.client, client_key=papers.client_key
    )
    with reapi_server({"FindMissingBlobs": nothing_missing}, credentials) as server:
        remote = open_remote(f"grpcs://{server.host}", access)

        assert set() == remote.missing([Digest.of(b"x")])
        remote.close()
        refused(open_remote(f"grpcs://{server.host}", Access(authorities=(papers.authority,))))


def test_host_nobody_knows_is_refused_for_good() -> None:
    assert refused(open_remote("grpc://nobody.invalid:50051", NO_ACCESS)).lasting


def test_port_nobody_listens_at_is_refused_at_once() -> None:
    started = time.monotonic()

    error = refused(open_remote("grpc://127.0.0.1:1", NO_ACCESS))

    assert not error.lasting
    assert time.monotonic() - started < 1


# A server that answers what it is told to.


def nothing_missing(_request: Any, _context: Any) -> FindMissingBlobsResponse:
    return FindMissingBlobsResponse()


def ends(code: str, details: str = "for a reason") -> Answer:
    def answer(_request: Any, context: Any) -> Any:
        context.abort(getattr(grpc.StatusCode, code), details)

    return answer


@pytest.mark.parametrize(
    ("said", "part"),
    [
        pytest.param(capable(functions=(2, 9)), "sha256", id="no sha256"),
        pytest.param(ServerCapabilities(), "sha256", id="no cache"),
        pytest.param(capable(version=3), "2.0 to 2.12, got 3.0 to 3.3", id="a later API"),
        pytest.param(capable(version=1), "2.0 to 2.12, got 1.0 to 1.3", id="an earlier API"),
    ],
)
def test_server_that_cannot_be_used_is_refused_for_good(said: ServerCapabilities, part: str) -> None:
    with reapi_server({"GetCapabilities": lambda request, context: said}) as server:
        error = refused(remote_at(server.host))

    assert error.lasting
    assert part in error.message


def test_capabilities_are_asked_once_by_many_threads() -> None:
    with reapi_server({"FindMissingBlobs": nothing_missing}) as server:
        remote = remote_at(server.host)
        threads = [threading.Thread(target=remote.missing, args=([Digest.of(b"x")],)) for _ in range(8)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert 1 == server.methods.count("GetCapabilities")
        remote.close()


def test_threads_that_wait_for_capabilities_share_the_failure() -> None:
    def late(_request: Any, _context: Any) -> ServerCapabilities:
        time.sleep(0.3)
        return ServerCapabilities()

    errors = []

    def ask(remote: Remote) -> None:
        with pytest.raises(RemoteError) as caught:
            remote.missing([Digest.of(b"x")])
        errors.append(caught.value)

    with reapi_server({"GetCapabilities": late}) as server:
        remote = remote_at(server.host)
        threads = [threading.Thread(target=ask, args=(remote,)) for _ in range(4)]

        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        remote.close()

    assert 4 == len(errors)
    assert ["GetCapabilities"] == server.methods


def test_capabilities_are_asked_again_after_a_failure() -> None:
    answers: Iterator[Answer] = iter([ends("UNAVAILABLE"), lambda request, context: capable()])
    with reapi_server(
        {
            "GetCapabilities": lambda request, context: next(answers)(request, context),
            "FindMissingBlobs": nothing_missing,
        }
    ) as server:
        remote = remote_at(server.host)

        with pytest.raises(RemoteError):
            remote.missing([Digest.of(b"x")])

        assert set() == remote.missing([Digest.of(b"x")])
        remote.close()


@dataclass(frozen=True)
class Outcome:
    lasting: bool
    writing: bool


@pytest.mark.parametrize(
    ("code", "reading", "writing"),
    [
        ("UNAUTHENTICATED", Outcome(True, False), Outcome(True, True)),
        ("PERMISSION_DENIED", Outcome(True, False), Outcome(True, True)),
        ("UNIMPLEMENTED", Outcome(True, False), Outcome(True, True)),
        ("RESOURCE_EXHAUSTED", Outcome(False, False), Outcome(True, True)),
        ("UNAVAILABLE", Outcome(False, False), Outcome(False, False)),
        ("INTERNAL", Outcome(False, False), Outcome(False, False)),
        ("FAILED_PRECONDITION", Outcome(False, False), Outcome(False, False)),
    ],
)
def test_status_says_whether_to_ask_again(code: str, reading: Outcome, writing: Outcome) -> None:
    result = Result(Artifact("blob", Digest.of(b"x")))
    with reapi_server({"GetActionResult": ends(code), "UpdateActionResult": ends(code)}) as server:
        remote = remote_at(server.host)

        with pytest.raises(CallError) as read:
            remote.record(fresh_key())
        with pytest.raises(CallError) as written:
            remote.keep(fresh_key(), Record(result))
        remote.close()

    assert reading == Outcome(read.value.lasting, read.value.writing)
    assert writing == Outcome(written.value.lasting, written.value.writing)
    assert code == read.value.code
    assert "for a reason" in read.value.message


@pytest.mark.parametrize(
    "access", [Access(token="hidden-token"), Access(headers=(("X-Key", "hidden-token"),))]
)
def test_what_a_server_says_is_not_shown_with_a_secret_in_it(access: Access) -> None:
    with reapi_server({"GetCapabilities": ends("UNAUTHENTICATED", "wrong: hidden-token")}) as server:
        error = refused(remote_at(server.host, access=access))

    assert "hidden" not in error.message
    assert "unauthenticated" in error.message


def test_every_call_says_who_asks() -> None:
    access = Access(headers=(("X-Team", "kit"),), token="secret")
    with reapi_server({"FindMissingBlobs": nothing_missing}) as server:
        remote = remote_at(server.host, access=access)
        remote.missing([Digest.of(b"x")])
        remote.close()

    method, metadata = server.calls[-1]
    said = metadata["build.bazel.remote.execution.v2.requestmetadata-bin"]
    assert isinstance(said, bytes)
    details = RequestMetadata.decode(said).tool_details
    assert details is not None
    assert ("FindMissingBlobs", "kitbuild", "kit", "Bearer secret") == (
        method,
        details.tool_name,
        metadata["x-team"],
        metadata["authorization"],
    )


def test_user_of_the_url_is_sent_and_not_shown() -> None:
    with reapi_server({"FindMissingBlobs": ends("INTERNAL")}) as server:
        error = refused(remote_at(f"user:p%40ss@{server.host}"))

    assert "Basic dXNlcjpwQHNz" == server.calls[-1][1]["authorization"]
    assert "p@ss" not in error.message and "user" not in error.message


def test_content_that_stalls_is_given_up() -> None:
    released = threading.Event()

    def stalls(_request: Any, _context: Any) -> Iterator[ReadResponse]:
        yield ReadResponse(data=bytes(1000))
        released.wait(20)

    with reapi_server({"Read": stalls}) as server:
        remote = remote_at(server.host)
        pieces = remote.get(Digest.of(bytes(LARGE)))
        next(pieces)
        started = time.monotonic()

        with pytest.raises(RemoteError, match="no data came in time") as caught:
            next(pieces)

        assert time.monotonic() - started < 3
        assert not caught.value.lasting
        released.set()
        remote.close()


def test_content_may_take_longer_than_a_stall_if_it_keeps_coming() -> None:
    def drips(_request: Any, _context: Any) -> Iterator[ReadResponse]:
        for _ in range(8):
            yield ReadResponse(data=bytes(LARGE // 8 + 1))
            time.sleep(STALL_SECONDS / 3)

    content = bytes((LARGE // 8 + 1) * 8)
    with reapi_server({"Read": drips}) as server:
        remote = remote_at(server.host)

        assert content == got(remote, Digest.of(content))
        remote.close()


def test_reader_may_take_its_time() -> None:
    def fast(_request: Any, _context: Any) -> Iterator[ReadResponse]:
        yield from [ReadResponse(data=bytes(LARGE))] * 3

    with reapi_server({"Read": fast}) as server:
        remote = remote_at(server.host)
        pieces = remote.get(Digest.of(bytes(3 * LARGE)))
        first = next(pieces)
        time.sleep(2 * STALL_SECONDS)

        assert 3 * LARGE == len(first) + sum(map(len, pieces))
        remote.close()


@pytest.mark.parametrize("reads", [False, True], ids=["before any is taken", "after all are taken"])
def test_put_that_stalls_is_given_up(reads: bool) -> None:
    released = threading.Event()

    def stalls(requests: Iterator[Any], _context: Any) -> WriteResponse:
        if reads:
            for _ in requests:
                pass
        released.wait(20)
        return WriteResponse()

    with reapi_server({"Write": stalls}) as server:
        remote = remote_at(server.host)
        started = time.monotonic()

        with pytest.raises(RemoteError, match="in time") as caught:
            put(remote, fresh(16 << 20))

        assert time.monotonic() - started < 3
        assert not caught.value.lasting
        released.set()
        remote.close()


def test_put_ends_early_if_the_server_has_it_already() -> None:
    taken = []

    def early(requests: Iterator[Any], _context: Any) -> WriteResponse:
        taken.append(next(requests))
        return WriteResponse(committed_size=64 << 20)

    piece = bytes(1 << 20)
    given = []

    def pieces() -> Iterator[bytes]:
        for number in range(64):
            given.append(number)
            yield piece

    with reapi_server({"Write": early}) as server:
        remote = remote_at(server.host)

        remote.put(Digest.of(piece * 64), pieces)

        assert len(given) < 64
        remote.close()
    name = taken[0].resource_name.split("/")
    assert ("uploads", "blobs", str(64 << 20)) == (name[0], name[2], name[4])


def test_put_of_which_the_server_has_less_is_a_remote_error() -> None:
    def less(requests: Iterator[Any], _context: Any) -> WriteResponse:
        return WriteResponse(committed_size=sum(len(request.data) for request in requests) - 1)

    with reapi_server({"Write": less}) as server:
        remote = remote_at(server.host)

        with pytest.raises(RemoteError, match=f"took {LARGE - 1} of {LARGE} bytes"):
            put(remote, fresh(LARGE))
        remote.close()


@pytest.mark.parametrize("size", [LARGE - 1, LARGE + 1, 1 << 30], ids=["fewer", "more", "without an end"])
def test_content_of_another_size_is_a_remote_error(size: int) -> None:
    def wrong(_request: Any, _context: Any) -> Iterator[ReadResponse]:
        for start in range(0, size, 1 << 20):
            yield ReadResponse(data=bytes(min(1 << 20, size - start)))

    with reapi_server({"Read": wrong}) as server:
        remote = remote_at(server.host)

        with pytest.raises(RemoteError, match=f"expected {LARGE} bytes"):
            got(remote, Digest.of(bytes(LARGE)))
        remote.close()


@pytest.mark.parametrize(
    ("response", "error"),
    [
        pytest.param(BlobRead(data=b"right"), RemoteError, id="of no digest"),
        pytest.param(BlobRead(digest=BlobDigest(hash="0" * 64), data=b"right"), RemoteError, id="of another"),
        pytest.param(
            BlobRead(digest=blob_digest(Digest.of(b"right")), status=Status(code=5)),
            MissingBlobError,
            id="gone",
        ),
        pytest.param(
            BlobRead(digest=blob_digest(Digest.of(b"right")), status=Status(code=99)), RemoteError, id="odd"
        ),
        pytest.param(
            BlobRead(digest=blob_digest(Digest.of(b"right")), data=b"right and more"),
            RemoteError,
            id="too many",
        ),
    ],
)
def test_small_content_is_given_only_if_it_was_asked_for(response: BlobRead, error: type[Exception]) -> None:
    answer = BatchReadBlobsResponse(responses=(response,))
    with reapi_server({"BatchReadBlobs": lambda request, context: answer}) as server:
        remote = remote_at(server.host)

        with pytest.raises(error):
            got(remote, Digest.of(b"right"))
        remote.close()


def test_small_limit_of_the_server_is_kept() -> None:
    def read(_request: Any, _context: Any) -> Iterator[ReadResponse]:
        yield ReadResponse(data=bytes(5000))

    with reapi_server(
        {"GetCapabilities": lambda request, context: capable(most=6000), "Read": read}
    ) as server:
        remote = remote_at(server.host)

        assert bytes(5000) == got(remote, Digest.of(bytes(5000)))
        remote.close()


def test_many_digests_are_asked_for_in_several_calls() -> None:
    asked = []

    def all_missing(request: Any, _context: Any) -> FindMissingBlobsResponse:
        asked.append(len(request.blob_digests))
        # One more than was asked for, which is none of ours.
        other = BlobDigest(hash="0" * 64, size_bytes=7)
        return FindMissingBlobsResponse(missing_blob_digests=(*request.blob_digests, other))

    digests = {Digest.of(b"%d" % number) for number in range(2500)}
    with reapi_server({"FindMissingBlobs": all_missing}) as server:
        remote = remote_at(server.host)

        assert digests == remote.missing(digests)
        remote.close()
    assert [1000, 1000, 500] == asked


def test_malformed_answer_is_a_remote_error() -> None:
    with reapi_server({"FindMissingBlobs": lambda request, context: b"\xff\xff<html>"}) as server:
        error = refused(remote_at(server.host))

    assert "malformed" in error.message


def test_digest_that_is_none_is_a_remote_error() -> None:
    answer = FindMissingBlobsResponse(
        missing_blob_digests=(BlobDigest(hash="../../etc/passwd", size_bytes=-1),)
    )
    with reapi_server({"FindMissingBlobs": lambda request, context: answer}) as server:
        error = refused(remote_at(server.host))

    assert "64 hex digits" in error.message


def test_record_of_another_tool_is_none() -> None:
    with reapi_server({"GetActionResult": lambda request, context: ActionResult(stdout_raw=b"hi")}) as server:
        remote = remote_at(server.host)

        assert remote.record(fresh_key()) is None
        remote.close()


@pytest.mark.parametrize("is_there", [True, False])
def test_record_is_found_where_a_server_has_moved_its_text(is_there: bool) -> None:
    result = Result(Artifact("blob", Digest.of(b"x")))
    record = Record(result, result.content(), "aa:bb")
    message = action_result(record)
    text = message.stdout_raw
    moved = ActionResult(output_files=message.output_files, stdout_digest=blob_digest(Digest.of(text)))
    status = Status() if is_there else Status(code=5)
    blob = BlobRead(digest=moved.stdout_digest, data=text if is_there else b"", status=status)
    with reapi_server(
        {
            "GetActionResult": lambda request, context: moved,
            "BatchReadBlobs": lambda request, context: BatchReadBlobsResponse(responses=(blob,)),
        }
    ) as server:
        remote = remote_at(server.host)

        assert (record if is_there else None) == remote.record(fresh_key())
        remote.close()


def test_record_whose_text_was_moved_and_is_too_large_is_none() -> None:
    moved = ActionResult(stdout_digest=BlobDigest(hash="0" * 64, size_bytes=1 << 40))
    with reapi_server({"GetActionResult": lambda request, context: moved}) as server:
        remote = remote_at(server.host)

        assert remote.record(fresh_key()) is None
        remote.close()


def test_record_of_too_many_bytes_is_none_or_refused() -> None:
    huge = ActionResult(stdout_raw=bytes(8 << 20))
    with reapi_server({"GetActionResult": lambda request, context: huge}) as server:
        remote = remote_at(server.host)

        with pytest.raises(RemoteError):
            remote.record(fresh_key())
        remote.close()


def test_closing_ends_what_is_under_way() -> None:
    released = threading.Event()

    def stalls(_request: Any, _context: Any) -> Iterator[ReadResponse]:
        yield ReadResponse(data=bytes(1000))
        released.wait(20)

    with reapi_server({"Read": stalls}) as server:
        remote = ReapiRemote(Connection(f"grpc://{server.host}", NO_ACCESS, stall_seconds=20))
        pieces = remote.get(Digest.of(bytes(LARGE)))
        next(pieces)
        closing = threading.Timer(0.1, remote.close)
        closing.start()

        with pytest.raises(CallError) as caught:
            next(pieces)

        released.set()
        closing.join()
    assert "CANCELLED" == caught.value.code


def test_closed_remote_raises_remote_errors() -> None:
    remote = remote_at("127.0.0.1:1")

    remote.close()

    assert "closed" in refused(remote).message


def test_process_ends_at_once_and_says_nothing(tmp_path: Path) -> None:
    # A reader left in the midst, a server killed, nothing closed: what a build does that is interrupted.
    with casd(tmp_path) as server:
        remote = open_remote(f"grpc://{server.host}", NO_ACCESS)
        digest = put(remote, fresh(32 << 20))
        remote.close()
        program = f"""
from kitbuild.cache.reapi import open_remote
from kitbuild.cache.remote import NO_ACCESS
from kitbuild.digest import Digest
import os, signal
remote = open_remote("grpc://{server.host}", NO_ACCESS)
pieces = remote.get(Digest("{digest.hex}", {digest.size}))
next(pieces)
os.kill({server.process.pid}, signal.SIGKILL)
try:
    for piece in pieces: pass
except Exception as error:
    print(type(error).__name__)
try:
    remote.put(Digest("{digest.hex}", {digest.size}), lambda: [bytes({digest.size})])
except Exception as error:
    print(type(error).__name__)
"""
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            env=os.environ,
            check=True,
        )

    assert ("CallError\nCallError\n", "") == (done.stdout, done.stderr)
    assert time.monotonic() - started < 5
