"""Starts the real docker-registry on a free port of this machine.

    with registry(tmp_path, mode="htpasswd") as server:
        server.push("t/hello:v1", image({"hello": "world"}))
        ... f"{server.host}/t/hello:v1" ...

Modes: "plain" asks nobody; "htpasswd" wants HTTP basic authentication for everything; "token" sends clients to a
token server, which lets everybody pull and only USER push, unless it is made `private`.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import http.server
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.support import images

USER = "user"
PASSWORD = "pass:word"  # a colon, for that is where it could be split wrongly

Mode = Literal["plain", "htpasswd", "token"]


def tool(name: str) -> str:
    """The path of a program; the test is skipped if it is not there, and fails where nothing may be skipped."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("KITBUILD_NO_SKIP") == "1":
            pytest.fail(f"{name} is not installed")
        pytest.skip(f"{name} is not installed")
    return path


class RegistryServer:
    """A running registry; `host` is 127.0.0.1 and its port, `folder` what it keeps."""

    def __init__(self, host: str, folder: Path, *, mode: Mode, tokens: TokenServer | None) -> None:
        self.host = host
        self.folder = folder
        self._mode = mode
        self._tokens = tokens
        self._log = folder / "log"

    def push(self, name: str, made: images.Made) -> str:
        """Pushes an image or index as `path:tag`; gives its whole reference."""
        return images.push(self.host, name, made, headers=self._headers(name.partition(":")[0]))

    def _headers(self, path: str) -> dict[str, str]:
        if self._mode == "htpasswd":
            return {"Authorization": basic(USER, PASSWORD)}
        if self._tokens:
            access = [{"type": "repository", "name": path, "actions": ["pull", "push"]}]
            return {"Authorization": f"Bearer {self._tokens.signed(USER, access)}"}
        return {}

    @property
    def tokens(self) -> TokenServer:
        """The token server of mode "token"."""
        assert self._tokens, "only mode token has a token server"
        return self._tokens

    def requests(self) -> list[str]:
        """What was asked so far, as `GET /v2/...`, without pings; in the order it was answered."""
        time.sleep(0.02)  # the line is written after the answer
        lines = re.findall(r'"((?:GET|HEAD|PUT|POST) /v2/[^ ?"]+)[^"]*HTTP', self._log.read_text())
        return [line for line in lines if not line.endswith("/v2/")]

    def blob_file(self, hexdigits: str) -> Path:
        """Where the registry keeps a blob: tests break it there."""
        return self.folder / "data/docker/registry/v2/blobs/sha256" / hexdigits[:2] / hexdigits / "data"


@contextlib.contextmanager
def registry(folder: Path, mode: Mode = "plain") -> Iterator[RegistryServer]:
    """A registry that keeps everything below `folder` and is gone afterwards."""
    program = tool("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    host = f"127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        tokens = stack.enter_context(token_server(folder)) if mode == "token" else None
        config = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": False}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": host},
            **({"auth": _auth(mode, folder, tokens)} if mode != "plain" else {}),
        }
        # JSON is YAML.
        (folder / "config.yml").write_text(json.dumps(config))
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            [program, "serve", str(folder / "config.yml")],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], "OTEL_TRACES_EXPORTER": "none"},
        )
        try:
            _wait_for(port, process, folder / "log")
            yield RegistryServer(host, folder, mode=mode, tokens=tokens)
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    """A port nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def basic(user: str, password: str) -> str:
    """The header of basic authentication."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def docker_config(folder: Path, host: str, *, user: str = USER, password: str = PASSWORD) -> Path:
    """Writes a Docker config file with credentials for `host`; gives the folder for DOCKER_CONFIG."""
    folder.mkdir(parents=True, exist_ok=True)
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth}}}))
    return folder


def _auth(mode: Mode, folder: Path, tokens: TokenServer | None) -> dict[str, Any]:
    if tokens:
        return {
            "token": {
                "realm": f"http://{tokens.host}/token",
                "service": TokenServer.service,
                "issuer": TokenServer.issuer,
                "rootcertbundle": str(folder / "cert.pem"),
            }
        }
    # bcrypt is the only kind docker-registry reads; cost 4 is the least there is.
    line = subprocess.run(
        [tool("htpasswd"), "-nbBC", "4", USER, PASSWORD], check=True, capture_output=True, text=True
    ).stdout
    (folder / "htpasswd").write_text(line)
    return {"htpasswd": {"realm": "tests, all of them", "path": str(folder / "htpasswd")}}


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/v2/")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.01)
        finally:
            connection.close()
    process.kill()
    pytest.fail(f"docker-registry does not start: {log.read_text()[-2000:]}")


class TokenServer:
    """Signs what may be done, in the way of the registry's token specification (a JWT, RS256)."""

    service = "tests"
    issuer = "kitbuild tests"

    def __init__(self, folder: Path) -> None:
        self._openssl = tool("openssl")
        self._key = folder / "key.pem"
        self.host = ""
        self.private = False
        self.token_field = "token"
        self.expires_in: int | None = 300
        self.asked: list[str] = []  # one "user scope" for every token given
        certificate = folder / "cert.pem"
        options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"]
        subprocess.run(
            [self._openssl, "req", "-x509", *options, "-keyout", str(self._key), "-out", str(certificate)],
            check=True,
            capture_output=True,
        )
        self._x5c = "".join(certificate.read_text().splitlines()[1:-1])

    def answer(self, query: str, authorization: str) -> dict[str, Any] | None:
        """The JSON answer to a request for a token; None for wrong credentials."""
        if authorization not in ("", basic(USER, PASSWORD)):
            return None
        user = USER if authorization else ""
        access = []
        for scope in " ".join(urllib.parse.parse_qs(query).get("scope", [])).split():
            kind, name, actions = scope.split(":", 2)
            allowed = {"pull", "push"} if user else set() if self.private else {"pull"}
            granted = [action for action in actions.split(",") if action in allowed]
            access.append({"type": kind, "name": name, "actions": granted})
            self.asked.append(f"{user or 'anonymous'} {scope}")
        answer: dict[str, Any] = {self.token_field: self.signed(user, access)}
        return answer | ({"expires_in": self.expires_in} if self.expires_in is not None else {})

    def signed(self, user: str, access: list[dict[str, Any]]) -> str:
        """A token that allows `access`."""
        now = int(time.time())
        header = {"alg": "RS256", "typ": "JWT", "x5c": [self._x5c]}
        claims = {
            "iss": self.issuer,
            "sub": user,
            "aud": self.service,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": str(time.monotonic_ns()),
            "access": access,
        }
        text = f"{_base64url(json.dumps(header).encode())}.{_base64url(json.dumps(claims).encode())}"
        signature = subprocess.run(
            [self._openssl, "dgst", "-sha256", "-sign", str(self._key)],
            input=text.encode(),
            check=True,
            capture_output=True,
        ).stdout
        return f"{text}.{_base64url(signature)}"


@contextlib.contextmanager
def token_server(folder: Path) -> Iterator[TokenServer]:
    """A token server on a free port."""
    tokens = TokenServer(folder)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = urllib.parse.urlsplit(self.path).query
            answer = tokens.answer(query, self.headers.get("Authorization", ""))
            content = json.dumps(answer).encode()
            self.send_response(200 if answer else 401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as host:
        tokens.host = host
        yield tokens


@contextlib.contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """An HTTP server in a thread; gives its host and port. For registries that misbehave on purpose."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
