"""Registries behind mirrors: real ones, two of them, and mirrors that misbehave."""

from __future__ import annotations

import http.client
import http.server
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Image, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.connection import Connection
from kitbuild.rules.fetch.mirror import Mirror, Mirrored
from kitbuild.rules.fetch.registry import RegistrySource
from kitbuild.rules.fetch.transport import Transport
from tests.support.command import Site
from tests.support.images import MadeImage, image, index
from tests.support.registry import (
    PASSWORD,
    USER,
    RegistryServer,
    basic,
    docker_config,
    free_port,
    registry,
    serving,
    tool,
)

pytestmark = pytest.mark.integration

AMD64 = Platform("linux", "amd64")
HELLO = image({"hello": "from the registry"}, cmd=["/hello"], compression="plain")
OTHER = image({"hello": "from the mirror"}, cmd=["/hello"], compression="plain")
NAME = "t/hello:v1"


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("origin")) as server:
        yield server


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("near")) as server:
        yield server


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("locked"), mode="htpasswd") as server:
        yield server


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "nobody"))


class Source(RegistrySource):
    """The registry at `host` behind the mirror at `address`; notes its pauses instead of making them."""

    def __init__(self, host: str, address: str, path: str = "t/hello") -> None:
        self.host = host
        self.pauses: list[float] = []
        self.mirror = Mirror(address)
        transport = Transport(host, pause=self.pauses.append)
        super().__init__(Mirrored(self.mirror, Connection(transport)), path)

    def found(self, name: str = NAME) -> Image:
        return self.image(Reference.parse(f"{self.host}/{name}"), AMD64)

    def content(self, made: MadeImage = HELLO) -> bytes:
        with self.layer(Layer(made.diff_ids[0], "plain", Digest.of(made.layers[0]))) as pieces:
            return b"".join(pieces)


@contextmanager
def answering(
    status: int, headers: dict[str, str] | None = None, body: bytes = b""
) -> Iterator[tuple[str, list[str]]]:
    """A server that gives the same answer always; its host, and the `Authorization` of each request."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as host:
        yield host, asked


def test_mirror_is_asked_and_the_registry_is_not(origin: RegistryServer, near: RegistryServer) -> None:
    origin.push(NAME, HELLO)
    near.push(NAME, HELLO)
    before = len(origin.requests())
    source = Source(origin.host, f"http://{near.host}")

    found = source.found()

    assert list(HELLO.diff_ids) == [layer.diff_id for layer in found.layers]
    assert HELLO.tars[0] == source.content()
    assert origin.requests()[before:] == []


def test_image_is_named_for_the_registry_and_not_for_the_mirror(
    origin: RegistryServer, near: RegistryServer
) -> None:
    origin.push(NAME, HELLO)
    near.push(NAME, HELLO)

    over_mirror = Source(origin.host, f"http://{near.host}").found()
    direct = RegistrySource(Connection(Transport(origin.host))).image(over_mirror.reference, AMD64)

    assert over_mirror.encode() == direct.encode()
    assert over_mirror.source == f"registry:{origin.host}/t/hello"


def test_what_the_mirror_does_not_have_comes_from_the_registry(
    origin: RegistryServer, near: RegistryServer
) -> None:
    origin.push("t/alone:v1", HELLO)
    source = Source(origin.host, f"http://{near.host}", "t/alone")

    found = source.found("t/alone:v1")

    assert list(HELLO.diff_ids) == [layer.diff_id for layer in found.layers]
    assert HELLO.tars[0] == source.content()
    assert not source.mirror.is_down
    assert source.pauses == []


def test_what_neither_has_is_not_found(origin: RegistryServer, near: RegistryServer) -> None:
    with pytest.raises(ImageNotFoundError, match=f"t/none:v1 is not in the registry {origin.host}"):
        Source(origin.host, f"http://{near.host}").found("t/none:v1")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_mirror_that_cannot_answer_is_passed_over_at_once(origin: RegistryServer, status: int) -> None:
    origin.push(NAME, HELLO)
    with answering(status) as (host, asked):
        source = Source(origin.host, f"http://{host}")

        found = source.found()

    assert list(HELLO.diff_ids) == [layer.diff_id for layer in found.layers]
    assert len(asked) == 2  # the manifest and the config, each once
    assert source.pauses == []


def test_mirror_that_is_not_there_is_looked_for_once(origin: RegistryServer) -> None:
    origin.push(NAME, HELLO)
    source = Source(origin.host, f"http://127.0.0.1:{free_port()}")

    found = source.found()

    assert list(HELLO.diff_ids) == [layer.diff_id for layer in found.layers]
    assert source.mirror.is_down


def test_rest_of_a_layer_comes_from_the_registry_when_the_mirror_breaks_off(origin: RegistryServer) -> None:
    made = image({"data": bytes(range(256)) * 4096}, compression="plain")
    origin.push("t/large:v1", made)
    part = made.layers[0][:500_000]
    with answering(200, {"Content-Length": str(len(made.layers[0]))}, part) as (host, asked):
        source = Source(origin.host, f"http://{host}", "t/large")

        content = source.content(made)

    assert made.layers[0] == content
    assert len(asked) == 1


def test_mirror_that_denies_is_an_error_that_names_it(origin: RegistryServer, locked: RegistryServer) -> None:
    origin.push(NAME, HELLO)
    locked.push(NAME, HELLO)

    with pytest.raises(ImageError, match=f"{locked.host} denies access to t/hello") as caught:
        Source(origin.host, f"http://{locked.host}").found()

    assert caught.value.hint == f"check the name, or log in: `docker login {locked.host}`"


def test_mirror_is_opened_with_the_password_for_its_own_host(
    origin: RegistryServer, locked: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin.push(NAME, HELLO)
    locked.push(NAME, OTHER)
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "docker", locked.host)))

    found = Source(origin.host, f"http://{locked.host}").found()

    assert list(OTHER.diff_ids) == [layer.diff_id for layer in found.layers]


def test_neither_gets_the_password_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wants = {"WWW-Authenticate": 'Basic realm="x"'}
    with answering(401, wants) as (first, at_mirror), answering(401, wants) as (second, at_registry):
        folder = docker_config(tmp_path / "mirror", first)
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        with pytest.raises(ImageError, match="denies access"):
            Source(second, f"http://{second}").found()
        monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path / "registry", second)))
        with pytest.raises(ImageError, match="denies access"):
            Source(second, f"http://{first}").found()

    assert (at_mirror, at_registry) == ([""], [""])


def test_password_is_not_sent_over_http_to_another_machine(
    origin: RegistryServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(docker_config(tmp_path, "mirror.example")))
    with answering(401, {"WWW-Authenticate": 'Basic realm="x"'}) as (host, asked):
        # A proxy stands for the other machine.
        monkeypatch.setenv("http_proxy", f"http://{host}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")

        with pytest.raises(ImageError, match=r"mirror\.example denies access") as caught:
            Source(origin.host, "http://mirror.example").found()

    assert asked == [""]
    assert "https://" in str(caught.value.hint)
    assert basic(USER, PASSWORD) not in str(caught.value)


def test_when_both_fail_both_are_named() -> None:
    gone, away = (f"127.0.0.1:{free_port()}" for _ in range(2))

    with pytest.raises(ImageError, match=f"cannot reach the registry {gone}: .*mirror.*{away}"):
        Source(gone, f"http://{away}").found()


def test_path_of_a_mirror_comes_before_that_of_the_image(
    origin: RegistryServer, near: RegistryServer
) -> None:
    origin.push(NAME, HELLO)
    near.push("hub/t/hello:v1", OTHER)
    source = Source(origin.host, f"http://{near.host}/hub")

    found = source.found()

    assert list(OTHER.diff_ids) == [layer.diff_id for layer in found.layers]
    assert OTHER.tars[0] == source.content(OTHER)


def test_mirror_with_tokens_is_asked_for_the_image_under_its_own_path(
    origin: RegistryServer, tmp_path: Path
) -> None:
    with registry(tmp_path / "tokens", mode="token") as server:
        server.push("hub/t/hello:v1", OTHER)
        server.tokens.asked.clear()

        Source(origin.host, f"http://{server.host}/hub").found()

        assert server.tokens.asked == ["anonymous repository:hub/t/hello:pull"]


def test_index_comes_over_the_mirror_too(origin: RegistryServer, near: RegistryServer) -> None:
    near.push("t/many:v1", index(HELLO, attestations=True))
    reference = Reference.parse(f"{origin.host}/t/many:v1")

    found = Source(origin.host, f"http://{near.host}").index(reference, ())

    assert found.platforms == (AMD64,)
    assert found.source == f"registry:{origin.host}/t/many"


# The whole program.


@pytest.fixture
def site(tmp_path: Path, origin: RegistryServer) -> Site:
    reference = f"{origin.host}/{NAME}"
    return Site(tmp_path / "site", config=f'kernel: {{image: "t/kernel:v1"}}\ninit: ["{reference}"]\n')


def test_build_over_a_mirror_is_the_build_without(
    site: Site, origin: RegistryServer, near: RegistryServer
) -> None:
    origin.push(NAME, HELLO)
    near.push(NAME, HELLO)
    before = len(origin.requests())

    over_mirror = site.run("build", "--mirror", f"{origin.host}=http://{near.host}", "linuxkit.yml")
    outputs = site.outputs()
    without = site.run("build", "linuxkit.yml")
    asked = origin.requests()[before:]
    fresh = site.run("build", "linuxkit.yml", environment={"KITBUILD_CACHE_DIR": str(site.folder / "fresh")})

    assert asked == []
    assert len(origin.requests()) > before
    assert over_mirror.counts["run"] > 0
    assert without.counts["run"] == 0
    assert over_mirror.counts["run"] == fresh.counts["run"]
    assert outputs == site.outputs()


def test_build_asks_only_the_mirror(site: Site, origin: RegistryServer, near: RegistryServer) -> None:
    near.push(NAME, HELLO)
    before = len(origin.requests())

    site.run(
        "build", "linuxkit.yml", environment={"LINUXKIT_MIRROR": f"x.example=http://y, http://{near.host}/"}
    )

    assert origin.requests()[before:] == []


def test_flag_wins_over_the_variable(site: Site, origin: RegistryServer, near: RegistryServer) -> None:
    near.push(NAME, HELLO)
    before = len(origin.requests())
    variable = {"LINUXKIT_MIRROR": f"{origin.host}=http://127.0.0.1:9"}

    site.run(
        "--mirror",
        f"{origin.host}=http://{near.host}",
        "build",
        "--no-cache",
        "linuxkit.yml",
        environment=variable,
    )

    assert origin.requests()[before:] == []


# TLS, whose far end is in this process: docker-registry itself stays in the clear.


@contextmanager
def in_tls(server: RegistryServer, folder: Path) -> Iterator[tuple[str, Path]]:
    """A host that passes every GET on to `server`, and the certificate it shows."""
    folder.mkdir()
    certificate, key = folder / "my ca.pem", folder / "key.pem"
    options = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests")
    names = ("-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        [tool("openssl"), "req", "-x509", *options, *names, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            connection = http.client.HTTPConnection(server.host)
            connection.request("GET", self.path, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            body = answer.read()
            connection.close()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that does not trust us goes away in the middle

    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(certificate, key)
    listening = Server(("127.0.0.1", 0), Handler)
    listening.socket = trust.wrap_socket(listening.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{listening.server_address[1]}", certificate
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def test_certificate_file_opens_a_mirror_that_nobody_vouches_for(
    site: Site, origin: RegistryServer, near: RegistryServer, tmp_path: Path
) -> None:
    near.push(NAME, HELLO)
    origin.push(NAME, HELLO)
    before = len(origin.requests())
    with in_tls(near, tmp_path / "tls") as (host, certificate):
        flags = ("--mirror", f"https://{host}", "--cert-file", str(certificate))

        site.run("build", *flags, "linuxkit.yml")

    assert origin.requests()[before:] == []


def test_without_the_certificate_the_registry_is_asked(
    site: Site, origin: RegistryServer, near: RegistryServer, tmp_path: Path
) -> None:
    near.push(NAME, HELLO)
    origin.push(NAME, HELLO)
    before = len(origin.requests())
    with in_tls(near, tmp_path / "tls") as (host, _):
        site.run("build", "--mirror", f"https://{host}", "linuxkit.yml")

    assert len(origin.requests()) > before


def test_file_without_certificates_is_refused(site: Site) -> None:
    none = site.run("build", "--cert-file", "none.pem", "linuxkit.yml", status=2).stderr
    other = site.run("build", "--cert-file", "linuxkit.yml", "linuxkit.yml", status=2).stderr

    assert none.startswith(f"error: cannot read {site.folder}/none.pem: No such file")
    assert other.startswith(f"error: expected certificates (PEM) in {site.folder}/linuxkit.yml, got none")


def test_certificates_that_are_broken_are_an_error_of_the_image(site: Site) -> None:
    site.write("broken.pem", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n")

    stderr = site.run("build", "--cert-file", "broken.pem", "linuxkit.yml", status=1).stderr

    assert f"cannot read certificates in {site.folder}/broken.pem" in stderr


def test_mirror_stays_out_of_the_cache_and_of_the_graph(
    site: Site, origin: RegistryServer, near: RegistryServer
) -> None:
    near.push(NAME, HELLO)

    site.run("build", "--mirror", f"http://{near.host}", "linuxkit.yml")
    graph = site.run("graph", "--format", "json", "linuxkit.yml").stdout

    files = [path.read_bytes() for path in (site.folder / "cache").rglob("*") if path.is_file()]
    assert any(origin.host.encode() in content for content in files)
    assert not any(near.host.encode() in content for content in [*files, graph])
