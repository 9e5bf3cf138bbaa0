"""Times `kitbuild cache serve`, and nginx beside it in the same run, with the clients on the same machine.

    python bench/server.py [--seconds 3] [--megabytes 500] [--check]

Two client processes ask over one kept-alive connection each, as builds do. Small is 1 KiB. Results refer to three
blobs each; our server looks whether they are there, nginx does not. Nothing is written to the disk at once by either:
uploads end in the page cache, with their sha256 checked by ours alone. nginx is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from kitbuild.cache.action_result import encode
from kitbuild.cache.remote import Record
from kitbuild.digest import Digest
from kitbuild.rule import Artifact
from kitbuild.store import Result

MEGABYTE = 1_000_000
CLIENTS = 2
RESULTS = 1000


class Client:
    """A kept-alive connection, with as little of its own work as can be."""

    def __init__(self, host: str) -> None:
        name, _, port = host.rpartition(":")
        self.socket = socket.create_connection((name, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(1 << 20)

    def ask(self, method: str, path: str, content: bytes = b"") -> int:
        """Asks and throws away what comes; gives its size."""
        length = f"Content-Length: {len(content)}\r\n" if method == "PUT" else ""
        self.socket.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n{length}\r\n".encode() + content)
        return self.answer(method)

    def upload(self, path: str, content: Path) -> None:
        with content.open("rb") as stream:
            size = content.stat().st_size
            head = f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n"
            self.socket.sendall(head.encode())
            self.socket.sendfile(stream)
        self.answer("PUT")

    def answer(self, method: str) -> int:
        received = self.socket.recv_into(self.buffer)
        while (end := self.buffer.find(b"\r\n\r\n", 0, received)) < 0:
            received += self.socket.recv_into(memoryview(self.buffer)[received:])
        head = bytes(self.buffer[:end]).lower()
        assert head[9:10] == b"2", head
        _, _, rest = head.partition(b"content-length: ")
        size = int(rest.partition(b"\r\n")[0]) if rest and method == "GET" else 0
        left = size - (received - end - 4)
        while left > 0:
            left -= self.socket.recv_into(self.buffer)
        return size


def rate(host: str, seconds: float, method: str, paths: list[str], contents: list[bytes]) -> float:
    """How many requests a second the clients get answered."""
    with multiprocessing.Pool(CLIENTS) as pool:
        work = [
            (host, seconds, method, paths[each::CLIENTS], contents[each::CLIENTS]) for each in range(CLIENTS)
        ]
        return sum(pool.starmap(_asked, work))


def _asked(host: str, seconds: float, method: str, paths: list[str], contents: list[bytes]) -> float:
    client = Client(host)
    start = time.perf_counter()
    number = 0
    while time.perf_counter() - start < seconds and (number < len(paths) or not contents):
        for _ in range(20):
            place = number % len(paths)
            client.ask(method, paths[place], contents[place] if contents else b"")
            number += 1
    return number / (time.perf_counter() - start)


def speed(host: str, path: str, rounds: int = 3) -> float:
    """Megabytes a second of one download, the best of some."""
    client = Client(host)
    rates = []
    for _ in range(rounds):
        start = time.perf_counter()
        size = client.ask("GET", path)
        rates.append(size / MEGABYTE / (time.perf_counter() - start))
    return max(rates)


def upload_speed(host: str, path: str, content: Path) -> float:
    """Megabytes a second of one upload."""
    client = Client(host)
    start = time.perf_counter()
    client.upload(path, content)
    return content.stat().st_size / MEGABYTE / (time.perf_counter() - start)


class Content(NamedTuple):
    """What is asked for: paths of small content, of results, of the large one, which lies in a file."""

    small: list[str]
    results: list[str]
    large: str
    file: Path


def filled(host: str, folder: Path, megabytes: int) -> Content:
    """Puts it all."""
    client = Client(host)

    def put(content: bytes) -> Digest:
        digest = Digest.of(content)
        client.ask("PUT", f"/cas/{digest.hex}", content)
        return digest

    digests = [put(os.urandom(1024)) for _ in range(3 * RESULTS)]
    results = []
    for number in range(RESULTS):
        present = tuple(digests[number * 3 : number * 3 + 3])
        record = Record(Result(Artifact("extents", present[0]), present[1:], 1.0), present)
        results.append(f"/ac/{hashlib.sha256(b'%d' % number).hexdigest()}")
        client.ask("PUT", results[-1], encode(record))
    file = folder / "large"
    with file.open("wb") as stream:
        for _ in range(megabytes):
            stream.write(os.urandom(MEGABYTE))
    with file.open("rb") as made:
        large = f"/cas/{hashlib.file_digest(made, 'sha256').hexdigest()}"
    return Content([f"/cas/{digest.hex}" for digest in digests], results, large, file)


def figures(host: str, folder: Path, *, seconds: float, megabytes: int) -> dict[str, float]:
    content = filled(host, folder, megabytes)
    new = [os.urandom(1024) for _ in range(int(4000 * seconds))]
    places = [f"/cas/{hashlib.sha256(each).hexdigest()}" for each in new]
    return {
        "GET of small content": rate(host, seconds, "GET", content.small, []),
        "HEAD of small content": rate(host, seconds, "HEAD", content.small, []),
        "GET of results": rate(host, seconds, "GET", content.results, []),
        "PUT of small content": rate(host, seconds, "PUT", places, new),
        f"PUT of {megabytes} MB": upload_speed(host, content.large, content.file),
        f"GET of {megabytes} MB": speed(host, content.large),
    }


@contextmanager
def ours(folder: Path) -> Iterator[str]:
    program = Path(sys.executable).with_name("kitbuild")
    command = [
        str(program),
        "cache",
        "serve",
        "--dir",
        str(folder / "kept"),
        "--listen",
        "127.0.0.1:0",
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())["url"].partition("://")[2]
        finally:
            process.terminate()


@contextmanager
def nginx(folder: Path) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (folder / "kept").mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = [
        "user root;" if os.geteuid() == 0 else "",
        f"worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log warn;",
        "events { worker_connections 256; }",
        "http { access_log off; default_type application/octet-stream; sendfile on; keepalive_requests 1000000;",
        *(f"{kind}_temp_path {folder}/kept/.{kind};" for kind in kinds),
        f"server {{ listen 127.0.0.1:{port}; root {folder}/kept;",
        'location ~ "^/(ac|cas)/[0-9a-f]{64}$" { dav_methods PUT; create_full_put_path on;',
        "client_max_body_size 0; } location / { return 404; } } }",
    ]
    (folder / "nginx.conf").write_text("\n".join(lines))
    with subprocess.Popen(["nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf"]) as process:
        try:
            while not (folder / "pid").exists():
                assert process.poll() is None, (folder / "error.log").read_text()
                time.sleep(0.02)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


GOALS = {"GET of small content": 2000.0}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=3, help="how long to ask for small things")
    parser.add_argument("--megabytes", type=int, default=500, help="size of the large content")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its goal")
    arguments = parser.parse_args()
    goals = {**GOALS, f"GET of {arguments.megabytes} MB": 500.0}
    servers = {"kitbuild": ours, **({"nginx": nginx} if shutil.which("nginx") else {})}
    found = {}
    for name, server in servers.items():
        with tempfile.TemporaryDirectory(prefix="kitbuild-bench-") as folder, server(Path(folder)) as host:
            found[name] = figures(
                host, Path(folder), seconds=arguments.seconds, megabytes=arguments.megabytes
            )
    print(f"| what | {' | '.join(found)} | goal |\n|---|{'---|' * len(found)}---|")
    missed = 0
    for what, value in found["kitbuild"].items():
        unit = "MB/s" if "MB" in what else "/s"
        goal = goals.get(what, 0.0)
        missed += value < goal
        cells = [f"{values[what]:,.0f} {unit}" for values in found.values()]
        print(f"| {what} | {' | '.join(cells)} | {f'{goal:,.0f} {unit}' if goal else ''} |")
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
