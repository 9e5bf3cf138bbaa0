"""What registries and networks do to clients: redirects, breaks, refusals, lies."""

from __future__ import annotations

import http.server
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.connection import Connection
from kitbuild.rules.fetch.registry import RegistrySource
from kitbuild.rules.fetch.transport import Transport
from tests.support.images import blobs_of, hex_of, image
from tests.support.registry import basic, docker_config, free_port, serving

pytestmark = pytest.mark.integration

AMD64 = Platform("linux", "amd64")
MADE = image({"data": bytes(range(256)) * 4096}, compression="plain")
LAYER = Layer(MADE.diff_ids[0], "plain", Digest.of(MADE.layers[0]))

Answer = tuple[int, dict[str, str], bytes]
Answers = Callable[[http.server.BaseHTTPRequestHandler], Answer | None]


@contextmanager
def server(answers: Answers) -> Iterator[tuple[str, list[str]]]:
    """A registry that answers with `answers`, and with the image where those give None; and what it was asked."""
    asked: list[str] = []
    documents = {f"sha256:{name}": content for name, content in blobs_of(MADE).items()}
    documents["v1"] = MADE.manifest

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            content = documents.get(self.path.rpartition("/")[2])
            ordinary: Answer = (200, {}, content) if content is not None else (404, {}, b"")
            status, headers, body = answers(self) or ordinary
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as host:
        yield host, asked


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))


class Source(RegistrySource):
    """A source that notes its pauses instead of making them."""

    def __init__(self, host: str) -> None:
        self.pauses: list[float] = []
        self.host = host
        self.connection = Connection(Transport(host, pause=self.pauses.append))
        super().__init__(self.connection, "t/a")

    def manifest(self) -> Digest | None:
        return self.image(Reference.parse(f"{self.host}/t/a:v1"), AMD64).manifest

    def content(self) -> bytes:
        with self.layer(LAYER) as pieces:
            return b"".join(pieces)


def first(times: int, answer: Answer) -> Answers:
    """The same answer so many times, then the truth."""
    left = [answer] * times
    return lambda _: left.pop() if left else None


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_passing_failure_is_tried_again(status: int) -> None:
    with server(first(2, (status, {}, b""))) as (host, _):
        source = Source(host)

        manifest = source.manifest()

    assert manifest is not None
    assert MADE.digest == manifest.oci
    assert source.pauses == [0.2, 1.0]


def test_a_failure_that_stays_is_an_error_after_three_tries() -> None:
    with server(lambda _: (503, {}, b"")) as (host, asked):
        with pytest.raises(ImageError, match=f"{host} answers 503 Service Unavailable"):
            Source(host).manifest()

        assert len(asked) == 3


def test_retry_after_is_heeded_within_limits() -> None:
    with server(first(2, (429, {"Retry-After": "3600"}, b""))) as (host, _):
        source = Source(host)

        source.manifest()

    assert source.pauses == [10.0, 10.0]


def test_a_limit_that_stays_hints_at_logging_in() -> None:
    with server(lambda _: (429, {}, b"")) as (host, _), pytest.raises(ImageError, match="429") as caught:
        Source(host).manifest()

    assert "docker login" in str(caught.value.hint)


def test_nothing_listening_names_the_host_and_the_ways_without_it() -> None:
    host = f"127.0.0.1:{free_port()}"

    with pytest.raises(ImageError, match=f"cannot reach the registry {host}: .*refused") as caught:
        Source(host).manifest()

    assert not isinstance(caught.value, ImageNotFoundError)
    assert "--images" in str(caught.value.hint)
    assert "--cache" in str(caught.value.hint)


def test_redirects_without_end_are_an_error_at_once() -> None:
    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer:
        return 307, {"Location": request.path}, b""

    with server(answers) as (host, asked):
        with pytest.raises(ImageError, match=f"cannot reach the registry {host}: exceeded 30 redirects"):
            Source(host).manifest()

        assert len(asked) == 31


def test_a_registry_that_forbids_is_an_error() -> None:
    with server(lambda _: (403, {}, b"")) as (host, _), pytest.raises(ImageError, match="denies access"):
        Source(host).manifest()


def test_a_token_server_that_denies_is_an_error() -> None:
    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer:
        realm = f"http://{request.headers['Host']}/token"
        return 401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}, b""

    with server(answers) as (host, _), pytest.raises(ImageError, match="denies access"):
        Source(host).manifest()


def test_a_redirect_to_another_host_is_followed_without_the_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []

    def storage(request: http.server.BaseHTTPRequestHandler) -> None:
        seen.append(request.headers.get("Authorization"))

    with server(storage) as (far, _):

        def registry(request: http.server.BaseHTTPRequestHandler) -> Answer | None:
            if not request.headers.get("Authorization"):
                return 401, {"WWW-Authenticate": 'Basic realm="a, b"'}, b""
            if "/blobs/" in request.path:
                return 307, {"Location": f"http://{far}{request.path}"}, b""
            return None

        with server(registry) as (near, asked):
            monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", near)))

            content = Source(near).content()

    assert MADE.layers[0] == content
    assert len(asked) == 2
    assert seen == [None]


def test_a_token_server_that_is_busy_is_asked_again() -> None:
    busy = [503, 503, 200]

    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer | None:
        if request.path.startswith("/token"):
            return busy.pop(0), {}, b'{"token":"t"}'
        if request.headers.get("Authorization") == "Bearer t":
            return None
        return 401, {"WWW-Authenticate": f'Bearer realm="http://{request.headers["Host"]}/token"'}, b""

    with server(answers) as (host, _):
        assert Source(host).manifest() is not None


def test_netrc_does_not_replace_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    seen: list[str | None] = []

    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer | None:
        seen.append(request.headers.get("Authorization"))
        return None if seen[-1] else (401, {"WWW-Authenticate": "Basic realm=x"}, b"")

    with server(answers) as (host, _):
        folder = docker_config(tmp_path / "docker", host, user="me", password="p")
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        source = Source(host)
        # For this machine's own registry the environment is left alone altogether; here it must not be.
        source.connection.transport.session().trust_env = True

        source.content()

    assert seen == [None, basic("me", "p")]


@pytest.mark.parametrize("heeds_ranges", [True, False])
def test_a_layer_is_taken_up_where_the_connection_broke(heeds_ranges: bool) -> None:
    whole = MADE.layers[0]
    ranges: list[str | None] = []

    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer | None:
        wanted = request.headers.get("Range")
        ranges.append(wanted)
        if not wanted:
            return 200, {"Content-Length": str(len(whole))}, whole[:600_000]
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        return (206, {}, whole[start:]) if heeds_ranges else None

    with server(answers) as (host, _):
        content = Source(host).content()

    assert whole == content
    assert ranges == [None, "bytes=600000-"]


def test_a_connection_that_always_breaks_is_an_error_in_the_end() -> None:
    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer:
        return 200, {"Content-Length": "1000000"}, b"x"

    with server(answers) as (host, asked):
        with pytest.raises(ImageError, match=f"the connection to the registry {host} broke"):
            Source(host).content()

        assert len(asked) == 3


def test_a_manifest_that_breaks_off_is_asked_for_again() -> None:
    torn: Answer = (200, {"Content-Length": str(len(MADE.manifest))}, MADE.manifest[:-5])

    with server(first(2, torn)) as (host, asked):
        Source(host).manifest()

        assert asked.count("/v2/t/a/manifests/v1") == 3


def test_a_manifest_that_always_breaks_off_is_an_error() -> None:
    torn: Answer = (200, {"Content-Length": "1000"}, b"{")

    with (
        server(lambda _: torn) as (host, _),
        pytest.raises(ImageError, match=r"the connection to the registry .* broke: ProtocolError"),
    ):
        Source(host).manifest()


def test_a_manifest_without_end_is_refused() -> None:
    with (
        server(lambda _: (200, {}, b" " * (4 << 20) + b"{}")) as (host, _),
        pytest.raises(ImageError, match="expected at most 4194304 bytes, got more"),
    ):
        Source(host).manifest()


def test_another_manifest_than_the_digest_asked_for_is_refused() -> None:
    other = f"sha256:{hex_of(b'other')}"

    with server(lambda _: (200, {}, MADE.manifest)) as (host, _):
        reference = Reference.parse(f"{host}/t/a@{other}")
        with pytest.raises(ImageError, match="expected that digest, got"):
            Source(host).image(reference, AMD64)


def test_a_page_instead_of_a_manifest_is_an_error() -> None:
    with (
        server(lambda _: (200, {"Content-Type": "text/html"}, b"<html>")) as (host, _),
        pytest.raises(ImageError, match="expected JSON"),
    ):
        Source(host).manifest()


def test_an_image_whose_config_is_gone_is_incomplete_rather_than_unknown() -> None:
    with (
        server(lambda request: (404, {}, b"") if "/blobs/" in request.path else None) as (host, _),
        pytest.raises(ImageError, match="is incomplete") as caught,
    ):
        Source(host).manifest()

    assert not isinstance(caught.value, ImageNotFoundError)


def test_credentials_are_not_sent_in_the_clear_to_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bearer = {"WWW-Authenticate": 'Bearer realm="http://tokens.invalid/token",service="s"'}

    with server(lambda _: (401, bearer, b"")) as (host, _):
        monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", host)))
        with pytest.raises(ImageError, match="not an https address"):
            Source(host).manifest()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((200, {}, b"{}"), id="no token"),
        pytest.param((200, {}, b"[]"), id="no object"),
        pytest.param((200, {}, b"<html>"), id="no JSON"),
        pytest.param((404, {}, b""), id="no page"),
        pytest.param((200, {"Content-Length": "1000"}, b"{"), id="cut off"),
        pytest.param((200, {}, b'{"token":"' + b"x" * (1 << 20) + b'"}'), id="no end"),
    ],
)
def test_a_token_server_that_gives_no_token_is_an_error(answer: Answer) -> None:
    def answers(request: http.server.BaseHTTPRequestHandler) -> Answer:
        if request.path.startswith("/token"):
            return answer
        realm = f"http://{request.headers['Host']}/token"
        return 401, {"WWW-Authenticate": f'Bearer realm="{realm}",service="s"'}, b""

    with server(answers) as (host, _), pytest.raises(ImageError, match=r"token|at most|broke"):
        Source(host).manifest()


def test_a_registry_that_denies_whatever_one_sends_is_asked_twice_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server(lambda _: (401, {"WWW-Authenticate": "Basic realm=x"}, b"")) as (host, asked):
        monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", host)))
        with pytest.raises(ImageError, match="denies access"):
            Source(host).manifest()

        assert len(asked) == 2
