"""Runs `kitbuild cache serve` from outside, and talks to it over plain sockets.

    with served(tmp_path / "kept", "--read-only") as server:
        assert 404 == server.get(f"/cas/{digest.hex}").status
        server.process.send_signal(...)

`ask` gives an answer as a whole; `conversation` is a connection to be written to byte by byte.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from tests.support.command import PROGRAM

_PATIENCE_SECONDS = 20


class Answer(NamedTuple):
    """A status, headers with names in lower case, and a body."""

    status: int
    headers: dict[str, str]
    body: bytes


class Served:
    """A running server; `said` is the file it writes to, a JSON object a line."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes], said: Path) -> None:
        self.folder = folder
        self.process = process
        self._said = said
        self.url = self._first_line()["url"]
        self.host = self.url.partition("://")[2]

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection(self.host, timeout=_PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, dict(headers or {}))
            return answer_of(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to GET."""
        return self.ask("GET", path, headers=headers)

    def put(self, content: bytes, *, namespace: str = "", headers: Mapping[str, str] | None = None) -> Digest:
        """Puts content, which must be taken."""
        digest = Digest.of(content)
        answer = self.ask("PUT", f"{namespace}/cas/{digest.hex}", content, headers)
        assert answer.status in (201, 204), answer
        return digest

    @contextmanager
    def conversation(self) -> Iterator[socket.socket]:
        """A connection to say anything on."""
        host, _, port = self.host.rpartition(":")
        with socket.create_connection((host, int(port)), _PATIENCE_SECONDS) as connection:
            yield connection

    def json(self, path: str) -> dict[str, Any]:
        """The answer to GET as JSON."""
        found: dict[str, Any] = json.loads(self.get(path).body)
        return found

    def text(self) -> str:
        """Everything it has said so far."""
        return self._said.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """What it has said so far."""
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{")]

    def wait(self) -> int:
        """Waits for it to end; gives its exit status."""
        return self.process.wait(_PATIENCE_SECONDS)

    def _first_line(self) -> dict[str, Any]:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (found := [line for line in self._listening() if "url" in line]):
            ended = self.process.poll() is not None
            assert not ended and time.monotonic() < deadline, f"it does not start: {self._said.read_text()}"
            time.sleep(0.01)
        return found[0]

    def _listening(self) -> list[dict[str, Any]]:
        text = self._said.read_text()
        return self.lines() if text.startswith("{") and text.endswith("\n") else []


@contextmanager
def served(
    folder: Path,
    *arguments: str,
    options: str = "",
    before: Sequence[str] = (),
    listen: str = "127.0.0.1:0",
) -> Iterator[Served]:
    """A server of `folder` until the block ends; it is killed if it does not end by itself.

    `options` are Python keywords for Options that have no flag. `before` is a command to run it with.
    """
    said = folder.with_name(f"{folder.name}.said")
    if options:
        code = (
            "from pathlib import Path; from kitbuild.cache.server_listening import Options, serve; import json\n"
            f"serve(Options(folder=Path({str(folder)!r}), address={listen!r}, {options}), version='test', "
            "tell=lambda kind, sentence, facts: print(json.dumps({'event': kind, 'message': sentence, **facts}), "
            "flush=True))"
        )
        command = [sys.executable, "-c", code]
    else:
        command = [
            str(PROGRAM),
            "cache",
            "serve",
            "--dir",
            str(folder),
            "--listen",
            listen,
            "--json",
            *arguments,
        ]
    with said.open("wb") as log:
        process = subprocess.Popen([*before, *command], stdout=log, stderr=log, cwd=folder.parent)
    try:
        yield Served(folder, process, said)
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_PATIENCE_SECONDS)


def answer_of(response: http.client.HTTPResponse) -> Answer:
    """A response with all of its body."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, headers, response.read())


def read_answer(connection: socket.socket) -> Answer:
    """The next response on a connection."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    return answer_of(response)
