"""Servers that answer as a test says: for remote caches that misbehave on purpose.

with answering(lambda request: (503, {}, b"")) as host:
    ...
"""

from __future__ import annotations

import http.server
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.registry import serving, tool

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def answering(
    answer: Callable[[http.server.BaseHTTPRequestHandler], Answer | None],
    *,
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """A server that answers everything with `answer`, and closes the connection where that gives None."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            if tls:
                self.request = tls.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            if tls:
                self.request.close()

        def do(self) -> None:
            answered = answer(self)
            self.close_connection = True
            if answered is None:
                return
            status, headers, body = answered
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body)), "Connection": "close"} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = do

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as host:
        yield host


def certificates_in(folder: Path) -> None:
    """Makes two certificates that sign themselves, of `server` and of `client`, in .pem and .key files."""
    for name in ("server", "client"):
        options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1"]
        files = ["-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem")]
        command = [tool("openssl"), "req", "-x509", *options, *names, *files]
        subprocess.run(command, check=True, capture_output=True)


def showing(folder: Path) -> ssl.SSLContext:
    """TLS of a server that shows the one of these certificates, and lets in whom the other one opens it."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(folder / "server.pem", folder / "server.key")
    trust.load_verify_locations(folder / "client.pem")
    trust.verify_mode = ssl.CERT_REQUIRED
    return trust
