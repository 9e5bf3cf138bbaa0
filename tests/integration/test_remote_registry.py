"""A remote cache in a real registry, open and closed, and in registries that misbehave."""

from __future__ import annotations

import http.server
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from kitbuild.cache.namespaced import NamespacedRemote
from kitbuild.cache.registry import open_remote
from kitbuild.cache.registry_record import MANIFEST_TYPE, RECORD_TYPE, tag_of
from kitbuild.cache.remote import NO_ACCESS, Access, Record, Remote
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError, MissingBlobError, RemoteError, StoreError, UsageError
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import RemoteContract, assert_same, fresh, fresh_key, got, in_pieces, put
from tests.support.answers import Answer, answering, certificates_in, showing
from tests.support.images import image
from tests.support.registry import (
    PASSWORD,
    USER,
    RegistryServer,
    docker_config,
    free_port,
    registry,
    serving,
    tool,
)

pytestmark = pytest.mark.integration

REPOSITORY = "kit/cache"
SECRET = "zzsecretzz"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("plain")) as server:
        yield server


@pytest.fixture(scope="module")
def with_passwords(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("passwords"), "htpasswd") as server:
        yield server


@pytest.fixture(scope="module")
def with_tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("tokens"), "token") as server:
        yield server


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))


@contextmanager
def opened(host: str, *, access: Access = NO_ACCESS, login: str = "") -> Iterator[Remote]:
    with closing(open_remote(f"oci://{login}{host}/{REPOSITORY}", access)) as remote:
        yield remote


LOGIN = f"{USER}:{quote(PASSWORD)}@"


class TestOpenRegistry(RemoteContract):
    @pytest.fixture
    def remote(self, plain: RegistryServer) -> Iterator[Remote]:
        with opened(plain.host) as remote:
            yield remote


class TestRegistryWithTokens(RemoteContract):
    @pytest.fixture
    def remote(self, with_tokens: RegistryServer) -> Iterator[Remote]:
        with opened(with_tokens.host, login=LOGIN) as remote:
            yield remote


def kept(remote: Remote, number: int = 2) -> tuple[str, Record]:
    """Keeps a record of new content; gives its tag."""
    key = fresh_key()
    artifact, *blobs = (put(remote, fresh()) for _ in range(number))
    result = Result(Artifact("tree", artifact), tuple(blobs), 1.5)
    record = Record(result, result.content())
    remote.keep(key, record)
    return tag_of(key), record


# --- what others see of it ---


def test_skopeo_inspects_and_copies_a_record(plain: RegistryServer, tmp_path: Path) -> None:
    with opened(plain.host) as remote:
        tag, record = kept(remote)
    place = f"docker://{plain.host}/{REPOSITORY}:{tag}"

    said = skopeo("inspect", "--raw", "--tls-verify=false", place)
    skopeo("copy", "--insecure-policy", "--src-tls-verify=false", place, f"dir:{tmp_path}/copy")

    manifest = json.loads(said)
    assert (MANIFEST_TYPE, RECORD_TYPE) == (manifest["mediaType"], manifest["artifactType"])
    assert [digest.oci for digest in record.present] == [layer["digest"] for layer in manifest["layers"]]
    assert all((tmp_path / "copy" / digest.hex).stat().st_size == digest.size for digest in record.present)


def skopeo(*arguments: str) -> str:
    return subprocess.run([tool("skopeo"), *arguments], check=True, capture_output=True, text=True).stdout


def test_garbage_collection_of_the_registry_keeps_what_records_name(tmp_path: Path) -> None:
    key = fresh_key()
    with registry(tmp_path / "registry") as server, opened(server.host) as remote:
        replaced = put(remote, fresh())
        remote.keep(key, Record(Result(Artifact("blob", replaced)), (replaced,)))
        named = put(remote, fresh())
        remote.keep(key, Record(Result(Artifact("blob", named)), (named,)))
        left_over = put(remote, fresh())
        config = server.folder / "config.yml"

        subprocess.run(
            [tool("docker-registry"), "garbage-collect", "--delete-untagged", str(config)],
            check=True,
            capture_output=True,
        )

        assert server.blob_file(named.hex).exists()
        assert not server.blob_file(replaced.hex).exists()
        assert not server.blob_file(left_over.hex).exists()
        assert_same(Record(Result(Artifact("blob", named)), (named,)), remote.record(key))


def test_record_of_thousands_of_blobs_comes_back(plain: RegistryServer) -> None:
    with opened(plain.host) as remote:
        artifact = put(remote, fresh())
        blobs = tuple(Digest(f"{number:064x}", 7) for number in range(20_000))
        record = Record(Result(Artifact("tree", artifact), blobs), (artifact,))
        key = fresh_key()

        remote.keep(key, record)

        assert_same(record, remote.record(key))


def test_record_that_nobody_would_read_is_not_kept(plain: RegistryServer) -> None:
    blobs = tuple(Digest(f"{number:064x}", 7) for number in range(65_000))

    with opened(plain.host) as remote, pytest.raises(RemoteError, match="expected at most 4194304 bytes"):
        remote.keep(fresh_key(), Record(Result(Artifact("tree", Digest.of(b"")), blobs)))


def test_record_is_one_request_to_read_and_one_to_write(tmp_path: Path) -> None:
    with registry(tmp_path / "registry") as server, opened(server.host) as remote:
        kept(remote)
        key = fresh_key()
        digest = put(remote, fresh())
        before = len(server.requests())

        remote.keep(key, Record(Result(Artifact("blob", digest)), (digest,)))
        remote.record(key)

        path = f"/v2/{REPOSITORY}/manifests/{tag_of(key)}"
        assert [f"PUT {path}", f"GET {path}"] == server.requests()[before:]


def test_record_whose_content_was_never_put_is_refused(plain: RegistryServer) -> None:
    digest = Digest.of(fresh())
    with opened(plain.host) as remote, pytest.raises(RemoteError, match="UNKNOWN") as caught:
        remote.keep(fresh_key(), Record(Result(Artifact("blob", digest)), (digest,)))

    assert not caught.value.lasting


def test_repositories_of_one_registry_do_not_see_each_other(plain: RegistryServer) -> None:
    with (
        opened(plain.host) as remote,
        closing(open_remote(f"oci://{plain.host}/{REPOSITORY}/pr-7", NO_ACCESS)) as other,
    ):
        digest = put(other, fresh())

        assert {digest} == remote.missing([digest])


# --- who may ---


def test_namespace_keeps_a_record_of_what_is_in_the_repository_above(plain: RegistryServer) -> None:
    with (
        opened(plain.host) as trusted,
        closing(open_remote(f"oci://{plain.host}/{REPOSITORY}/pull-7", NO_ACCESS)) as own,
    ):
        remote = NamespacedRemote(trusted, own, namespace="pull-7")
        digest = put(trusted, fresh())
        record = Record(Result(Artifact("blob", digest)), (digest,))
        key = fresh_key()

        remote.keep(key, record)

        found = remote.record(key)
        assert found is not None
        assert found.result == record.result
        assert trusted.record(key) is None


def test_password_of_the_url_opens_a_registry(with_passwords: RegistryServer) -> None:
    content = fresh()

    with opened(with_passwords.host, login=LOGIN) as remote:
        assert content == got(remote, put(remote, content))


def test_docker_login_opens_a_registry(
    with_passwords: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path, with_passwords.host)))
    content = fresh()

    with opened(with_passwords.host) as remote:
        assert content == got(remote, put(remote, content))


def test_header_opens_a_registry(with_passwords: RegistryServer) -> None:
    import base64

    value = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    content = fresh()

    with opened(with_passwords.host, access=Access(headers=(("authorization", value),))) as remote:
        assert content == got(remote, put(remote, content))


def test_token_given_opens_a_registry(with_tokens: RegistryServer) -> None:
    rights: list[dict[str, Any]] = [{"type": "repository", "name": REPOSITORY, "actions": ["pull", "push"]}]
    token = with_tokens.tokens.signed(USER, rights)
    content = fresh()

    with opened(with_tokens.host, access=Access(token=token)) as remote:
        assert content == got(remote, put(remote, content))


def test_reading_and_writing_have_tokens_of_their_own(with_tokens: RegistryServer) -> None:
    with_tokens.tokens.asked.clear()

    with opened(with_tokens.host, login=LOGIN) as remote:
        for _ in range(2):
            got(remote, put(remote, fresh()))
            remote.missing([Digest.of(fresh())])

    scope = f"{USER} repository:{REPOSITORY}"
    assert [f"{scope}:pull", f"{scope}:pull,push"] == sorted(
        line.replace("push,pull", "pull,push") for line in with_tokens.tokens.asked
    )


def test_threads_ask_for_one_token(with_tokens: RegistryServer) -> None:
    with opened(with_tokens.host, login=LOGIN) as remote:
        with_tokens.tokens.asked.clear()

        remote.missing([Digest.of(fresh()) for _ in range(30)])

    assert 1 == len(with_tokens.tokens.asked)


ALL: list[Callable[[Remote], object]] = [
    lambda remote: remote.missing([Digest.of(fresh())]),
    lambda remote: remote.missing([Digest.of(fresh()), Digest.of(fresh())]),
    lambda remote: got(remote, Digest.of(fresh())),
    lambda remote: remote.record(fresh_key()),
]
WRITES: list[Callable[[Remote], object]] = [
    lambda remote: put(remote, fresh()),
    lambda remote: put(remote, b""),
    lambda remote: remote.keep(fresh_key(), Record(Result(Artifact("blob", Digest.of(b""))))),
]


@pytest.mark.parametrize("login", ["", f"me:{SECRET}@"], ids=["nobody", "wrong"])
def test_closed_registry_says_who_to_be(with_passwords: RegistryServer, login: str) -> None:
    for ask in ALL:
        with opened(with_passwords.host, login=login) as remote, pytest.raises(RemoteError) as caught:
            ask(remote)

        assert f"oci://{with_passwords.host}/{REPOSITORY} denies access" == str(caught.value)
        assert (True, False) == (caught.value.lasting, caught.value.writing)
        assert caught.value.hint
        assert_secret(caught.value)


def test_who_may_only_read_is_refused_writing(with_tokens: RegistryServer) -> None:
    with opened(with_tokens.host, login=LOGIN) as remote:
        put(remote, fresh())
    with opened(with_tokens.host) as remote:
        assert remote.record(fresh_key()) is None
        with pytest.raises(RemoteError, match="denies access to write") as caught:
            put(remote, fresh())

    assert (True, True) == (caught.value.lasting, caught.value.writing)


def test_wrong_token_is_refused(with_tokens: RegistryServer) -> None:
    with (
        opened(with_tokens.host, access=Access(token=SECRET)) as remote,
        pytest.raises(RemoteError, match="denies access") as caught,
    ):
        remote.record(fresh_key())

    assert caught.value.lasting
    assert_secret(caught.value)


def assert_secret(error: KitbuildError) -> None:
    assert SECRET not in f"{error} {error.message} {error.hint} {error!r}"


# --- registries that misbehave ---


@pytest.mark.parametrize("status", [302, 400, 404, 405, 429, 500, 502, 503, 507])
def test_refusal_is_a_remote_error(status: int) -> None:
    with answering(lambda _: (status, {}, SECRET.encode())) as host:
        for ask in ALL if status != 404 else []:
            with opened(host, login=f"me:{SECRET}@") as remote, pytest.raises(RemoteError) as caught:
                ask(remote)
            assert f"oci://{host}/{REPOSITORY} answers {status}" == str(caught.value)
            assert (status in (302, 400, 405), False) == (caught.value.lasting, caught.value.writing)
            assert_secret(caught.value)
        for ask in WRITES[:2]:
            with opened(host, login=f"me:{SECRET}@") as remote, pytest.raises(RemoteError) as caught:
                ask(remote)
            assert f"oci://{host}/{REPOSITORY} answers {status} to a write" == str(caught.value)
            refused = status in (404, 405, 507)
            assert (refused, refused) == (caught.value.lasting, caught.value.writing)
            assert_secret(caught.value)


def test_tag_that_cannot_be_replaced_is_a_refused_write() -> None:
    refusal = json.dumps({"errors": [{"code": "TAG_INVALID", "message": SECRET}]}).encode()

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        return (200, {}, b"{}") if request.command == "HEAD" else (400, {}, refusal)

    said = r"answers 400 \(TAG_INVALID\) to a write"
    with (
        answering(answer) as host,
        opened(host) as remote,
        pytest.raises(RemoteError, match=said) as caught,
    ):
        remote.keep(fresh_key(), Record(Result(Artifact("blob", Digest.of(b"")))))

    assert (True, True) == (caught.value.lasting, caught.value.writing)
    assert_secret(caught.value)


CONTENT = bytes(range(256)) * 400
DIGEST = Digest.of(CONTENT)


def test_content_of_the_wrong_size_counts_as_missing() -> None:
    with answering(lambda _: (200, {}, CONTENT[:-1])) as host, opened(host) as remote:
        assert {DIGEST} == remote.missing([DIGEST])


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


def test_content_is_not_sent_to_another_machine_in_the_clear() -> None:
    answer: Answer = (202, {"Location": "http://203.0.113.1/upload"}, b"")
    with (
        answering(lambda _: answer) as host,
        opened(host) as remote,
        pytest.raises(RemoteError, match=r"`203\.0\.113\.1` over plain http") as caught,
    ):
        put(remote, fresh())

    assert caught.value.lasting


@pytest.mark.parametrize(
    "location", ["", "http://[", "http://", "ftp://a.invalid/b", "//", "/\r\nX: y", "::"]
)
def test_upload_that_is_sent_nowhere_is_an_error(location: str) -> None:
    with (
        answering(lambda _: (202, {"Location": location}, b"")) as host,
        opened(host) as remote,
        pytest.raises(RemoteError),
    ):
        put(remote, fresh())


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 100_000, b'{"annotations": 7}', b"x" * (5 << 20)])
def test_other_answers_are_no_records(body: bytes) -> None:
    with answering(lambda _: (200, {}, body)) as host, opened(host) as remote:
        assert remote.record(fresh_key()) is None


def test_registry_that_closes_every_connection_is_an_error() -> None:
    with answering(lambda _: None) as host, opened(host) as remote:
        for ask in ALL + WRITES:
            with pytest.raises(RemoteError) as caught:
                ask(remote)
            assert not caught.value.lasting


def test_nobody_listening_is_an_error_at_once() -> None:
    started = time.monotonic()
    for ask in ALL + WRITES:
        with (
            opened(f"127.0.0.1:{free_port()}") as remote,
            pytest.raises(RemoteError, match="refuses") as caught,
        ):
            ask(remote)
        assert not caught.value.lasting

    assert time.monotonic() - started < 2


def test_silent_registry_is_given_up_in_time() -> None:
    def answer(_request: http.server.BaseHTTPRequestHandler) -> None:
        time.sleep(2.5)

    with answering(answer) as host, opened(host) as remote:
        started = time.monotonic()
        with pytest.raises(RemoteError, match="in time"):
            remote.record(fresh_key())

        assert 1.9 < time.monotonic() - started < 2.4


# --- what other hosts learn ---


class Seen:
    """A host that content comes from or goes to: what it was asked, and with which headers."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []
        self.content = b""

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> Answer:
        self.headers.append(dict(request.headers))
        if request.command == "PUT":
            self.content = request.rfile.read(int(request.headers["Content-Length"]))
            return 201, {}, b""
        return 200, {}, CONTENT

    def assert_told_no_secret(self) -> None:
        assert self.headers
        assert not [headers for headers in self.headers if SECRET in str(headers)]


OPENING = [
    pytest.param(Access(token=SECRET), id="token"),
    pytest.param(Access(headers=(("X-Key", SECRET),)), id="header"),
]


@pytest.mark.parametrize("access", OPENING)
def test_host_that_content_comes_from_learns_no_secret(access: Access) -> None:
    seen = Seen()
    own: list[str] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        own.append(str(request.headers))
        return 307, {"Location": f"http://{other}/data?signature=1"}, b""

    with answering(seen.answer) as other, answering(answer) as host, opened(host, access=access) as remote:
        assert CONTENT == got(remote, DIGEST)
        assert set() == remote.missing([DIGEST])

    assert all(SECRET in headers for headers in own)
    seen.assert_told_no_secret()


@pytest.mark.parametrize("access", OPENING)
def test_host_that_content_goes_to_learns_no_secret(access: Access) -> None:
    seen = Seen()
    with answering(seen.answer) as other:
        location = f"http://{other}/upload?state=a%2Bb"
        with (
            answering(lambda _: (202, {"Location": location}, b"")) as host,
            opened(host, access=access) as remote,
        ):
            remote.put(DIGEST, in_pieces(CONTENT, 70_000))

    assert CONTENT == seen.content
    seen.assert_told_no_secret()


@pytest.mark.parametrize("form", ["/v2/up/1?state=a%2Bb", "1?state=a%2Bb", "http://{}/v2/up/1?state=a%2Bb"])
def test_upload_goes_where_the_registry_says(form: str) -> None:
    asked: list[str] = []

    def answer(request: http.server.BaseHTTPRequestHandler) -> Answer:
        if request.command == "POST":
            return 202, {"Location": form.format(host)}, b""
        asked.append(request.path)
        assert SECRET in str(request.headers)
        assert CONTENT == request.rfile.read(int(request.headers["Content-Length"]))
        return 201, {}, b""

    with answering(answer) as host, opened(host, access=Access(token=SECRET)) as remote:
        remote.put(DIGEST, in_pieces(CONTENT))

    (path,) = asked
    assert path.endswith(f"1?state=a%2Bb&digest={DIGEST.oci}") or path.endswith(
        f"1?state=a%2Bb&digest={DIGEST.oci.replace(':', '%3A')}"
    )


def test_missing_content_is_not_an_error_of_the_registry(plain: RegistryServer) -> None:
    with closing(open_remote(f"oci://{plain.host}/never/pushed", NO_ACCESS)) as remote:
        digest = Digest.of(fresh())

        assert {digest} == remote.missing([digest])
        assert remote.record(fresh_key()) is None
        with pytest.raises(MissingBlobError):
            got(remote, digest)


def test_url_that_is_none_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(UsageError):
        open_remote("oci://cache.example.com", NO_ACCESS)
    with pytest.raises(UsageError):
        open_remote("oci://cache.example.com/kit", Access(headers=(("X", "a\nb"),)))


def test_wrong_bytes_never_come_in(plain: RegistryServer) -> None:
    content = fresh(1000)
    with opened(plain.host) as remote, pytest.raises(StoreError):
        remote.put(Digest.of(content), in_pieces(content[:-1] + b"x"))


# --- TLS ---


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    certificates_in(folder)
    return folder


@contextmanager
def in_tls(certificates: Path) -> Iterator[str]:
    """The URL of a registry that has CONTENT alone, and lets in whom the client's certificate opens it."""
    with answering(lambda _: (200, {}, CONTENT), tls=showing(certificates)) as host:
        yield f"oci://{host}/{REPOSITORY}?insecure=false"


def test_own_authority_and_client_certificate_open_a_registry(certificates: Path) -> None:
    access = Access(
        authorities=(certificates / "server.pem",),
        client_certificate=certificates / "client.pem",
        client_key=certificates / "client.key",
    )

    with in_tls(certificates) as url, closing(open_remote(url, access)) as remote:
        assert CONTENT == got(remote, DIGEST)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_registry_that_nobody_vouches_for_is_an_error_for_good(certificates: Path) -> None:
    with (
        in_tls(certificates) as url,
        closing(open_remote(url, NO_ACCESS)) as remote,
        pytest.raises(RemoteError, match="not trusted") as caught,
    ):
        got(remote, DIGEST)

    assert caught.value.lasting


@pytest.mark.parametrize("name", ["authorities", "client_certificate"])
def test_certificate_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    file = tmp_path / "none.pem"
    access = Access(authorities=(file,)) if name == "authorities" else Access(client_certificate=file)

    with (
        closing(open_remote("oci://127.0.0.1:1/kit?insecure=false", access)) as remote,
        pytest.raises(RemoteError),
    ):
        got(remote, DIGEST)


def test_requests_one_after_another_share_a_connection() -> None:
    connections: set[tuple[str, int]] = set()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            connections.add(self.client_address)
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status = {"POST": 202, "PUT": 201, "HEAD": 200, "GET": 404}[self.command]
            body = b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}' if status == 404 else b""
            self.send_response(status)
            self.send_header("Location", "/v2/upload")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as host, opened(host) as remote:
        for _ in range(3):
            remote.record(fresh_key())
            remote.missing([Digest.of(fresh())])
            digest = put(remote, fresh())
            remote.keep(fresh_key(), Record(Result(Artifact("blob", digest)), (digest,)))

    assert 1 == len(connections)


def test_content_that_was_changed_at_the_registry_is_refused(plain: RegistryServer) -> None:
    content = fresh()
    with opened(plain.host) as remote:
        digest = put(remote, content)
        plain.blob_file(digest.hex).write_bytes(bytes(len(content)))

        with pytest.raises(StoreError):
            got(VerifiedRemote(remote), digest)


def test_record_of_a_manifest_that_somebody_else_made_is_none(plain: RegistryServer) -> None:
    key = fresh_key()
    other = image({"a file": "of an image"})
    plain.push(f"{REPOSITORY}:{tag_of(key)}", other)

    with opened(plain.host) as remote:
        assert remote.record(key) is None
