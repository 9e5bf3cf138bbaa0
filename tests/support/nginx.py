"""Starts the real nginx on a free port of this machine, as a remote cache that keeps files.

    with nginx(tmp_path, password=True) as server:
        ... open_remote(server.url, NO_ACCESS) ... server.file("cas", digest.hex) ...

It can want a password (`password`), speak TLS with a certificate of an authority of its own (`tls`), want a client
certificate of that authority (`client`), take no body larger than some bytes (`most_bytes`), and refuse what is put
(`readonly`). What it keeps is below `root`.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.registry import free_port, tool

USER = "user"
# Characters that a URL, a netrc file and a header could each split wrongly.
PASSWORD = "pass:w@rd/%2F"


class Certificates(NamedTuple):
    """PEM files: an authority, a server's certificate for 127.0.0.1 and localhost, a client's."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path


class NginxServer:
    """A running nginx; `url` is its address without user, `root` the folder it keeps things in."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.root = folder / "root"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def file(self, kind: str, name: str) -> Path:
        """Where it keeps what is under `/<kind>/<name>`: tests break it there."""
        return self.root / kind / name

    def url_of(self, user: str) -> str:
        """The URL with what stands before its `@`, as a URL has it."""
        scheme, _, place = self.url.partition("://")
        return f"{scheme}://{user}@{place}"

    def requests(self) -> list[str]:
        """What was asked so far, as `GET /cas/... 200 <number of the connection>`, as it was answered."""
        time.sleep(0.02)  # the line is written after the answer
        return (self._folder / "access.log").read_text().splitlines()

    def start(self) -> None:
        """Starts it; it listens when this returns."""
        options = ["-e", str(self._folder / "error.log"), "-c", str(self._folder / "nginx.conf")]
        with (self._folder / "output").open("wb") as output:
            self._process = subprocess.Popen([tool("nginx"), *options], stdout=output, stderr=output)
        deadline = time.monotonic() + 10
        while self._process.poll() is None and time.monotonic() < deadline:
            # nginx writes this file when it listens.
            if (self._folder / "pid").exists():
                return
            time.sleep(0.01)
        self.stop()
        pytest.fail(f"nginx does not start: {(self._folder / 'error.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Stops it at once, whoever is connected."""
        if self._process:
            self._process.terminate()
            self._process.wait(10)
            self._process = None


@contextlib.contextmanager
def nginx(
    folder: Path,
    *,
    password: bool = False,
    tls: Certificates | None = None,
    client: bool = False,
    most_bytes: int = 0,
    readonly: bool = False,
) -> Iterator[NginxServer]:
    """An nginx that keeps everything below `folder` and is gone afterwards."""
    server = ["root /srv/kitbuild-cache;", f"listen 8080{' ssl' if tls else ''};"]
    if tls:
        server += [f"ssl_certificate {tls.server};", f"ssl_certificate_key {tls.server_key};"]
    if tls and client:
        server += [f"ssl_client_certificate {tls.authority};", "ssl_verify_client on;"]
    if password:
        server += ['auth_basic "a cache";', "auth_basic_user_file /etc/nginx/cache.htpasswd;"]
    kept = ["create_full_put_path on;", f"client_max_body_size {most_bytes};"]
    kept += ["limit_except GET { deny all; }" if readonly else "dav_methods PUT;"]
    server += ["keepalive_requests 100000;", "client_body_temp_path /srv/kitbuild-cache/.uploads;"]
    server += [f'location ~ "/(ac|cas)/[0-9a-f]{{64}}$" {{ {" ".join(kept)} }}', "location / { return 404; }"]
    config = "\n".join(["events {}", "http {", "sendfile on;", "server {", *server, "}", "}"])
    with nginx_with(folder, config) as running:
        yield running


@contextlib.contextmanager
def nginx_with(folder: Path, config: str) -> Iterator[NginxServer]:
    """An nginx with a config as documents have it: the port 8080, the folder and the passwords are other ones."""
    tool("nginx")
    (folder / "root").mkdir(parents=True)
    (folder / "temporary").mkdir()
    port = free_port()
    for text, replacement in (
        ("listen 8080", f"listen 127.0.0.1:{port}"),
        ("/srv/kitbuild-cache", str(folder / "root")),
        ("/etc/nginx/cache.htpasswd", str(_passwords(folder)) if "htpasswd" in config else ""),
        ("http {", "\n".join(["http {", *_of_tests(folder)])),
    ):
        config = config.replace(text, replacement)
    # nginx started by root hands requests to a process of another user otherwise, who may not write there.
    user = "user root;" if folder.owner() == "root" else ""
    first = [user, "daemon off;", f"pid {folder}/pid;", f"error_log {folder}/error.log warn;"]
    (folder / "nginx.conf").write_text("\n".join([*first, config]))
    running = NginxServer(f"http{'s' if ' ssl;' in config else ''}://127.0.0.1:{port}", folder)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def _of_tests(folder: Path) -> Iterator[str]:
    yield "log_format asked '$request_method $uri $status $connection';"
    yield f"access_log {folder}/access.log asked;"
    for kind in ("proxy", "fastcgi", "uwsgi", "scgi"):
        yield f"{kind}_temp_path {folder}/temporary/{kind};"


def certificates(folder: Path) -> Certificates:
    """Makes an authority, and a server's and a client's certificate of it."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {name: folder / f"{name}.pem" for name in ("authority", "server", "client")}
    keys = {name: folder / f"{name}.key" for name in names}
    new = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    _openssl(*new, *usage, "-subj", "/CN=tests", "-keyout", keys["authority"], "-out", names["authority"])
    for name in ("server", "client"):
        by: list[str | Path] = ["-CA", names["authority"], "-CAkey", keys["authority"]]
        uses = [
            "-addext",
            "basicConstraints=CA:FALSE",
            "-addext",
            "subjectAltName=IP:127.0.0.1,DNS:localhost",
        ]
        _openssl(*new, *by, *uses, "-subj", f"/CN={name}", "-keyout", keys[name], "-out", names[name])
    return Certificates(names["authority"], names["server"], keys["server"], names["client"], keys["client"])


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(
        [tool("openssl"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _passwords(folder: Path) -> Path:
    # Salted SHA-1: nginx would compute bcrypt for each request.
    line = subprocess.run(
        [tool("htpasswd"), "-nbs", USER, PASSWORD], check=True, capture_output=True, text=True
    ).stdout
    (folder / "htpasswd").write_text(line)
    return folder / "htpasswd"
