"""Times builds with a remote cache: what a second machine fetches and how fast, and what one costs that is no help.

    python bench/remote.py [--megabytes 300] [--runs 5] [--only fetch,idle,down,cold] [--check]

The system is the starter kit's examples/minimal.yml (`python examples/kit/make.py` makes its images), by itself and
with a service of so many megabytes that nothing can compress. The remote cache is nginx on this machine, which also
gives curl, in the same run, a file of as many bytes as a build asked for. What is compared runs in turn; figures are
medians of whole processes. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from formats import EXAMPLES, config
from run import MEGABYTE, Bench, Figure

FORMATS = ("kernel+initrd", "tar", "qcow2-bios")
IDLE_RUNS = 30
# Routers pass these addresses nowhere (RFC 5737): what is sent there is never answered.
NOWHERE = "192.0.2.1"
_NGINX = """\
{user} daemon off; pid {folder}/pid; error_log {folder}/errors;
events {{ worker_connections 256; }}
http {{
  log_format sent '$request_method $uri $bytes_sent'; access_log {folder}/log sent; sendfile on; tcp_nopush on;
  keepalive_requests 100000; client_max_body_size 0; client_body_temp_path {folder}/t/c; proxy_temp_path {folder}/t/p;
  fastcgi_temp_path {folder}/t/f; uwsgi_temp_path {folder}/t/u; scgi_temp_path {folder}/t/s;
  server {{
    listen 127.0.0.1:{port}; root {folder}/root;
    location / {{ dav_methods PUT; create_full_put_path on; dav_access user:rw group:r all:r; }}
  }}
}}
"""


class Nginx:
    """A server of files; what is below `root` is below `url`."""

    def __init__(self, folder: Path, port: int) -> None:
        self.root = folder / "root"
        self.url = f"http://127.0.0.1:{port}"
        self._log = folder / "log"

    def sent(self) -> int:
        """How many bytes it sent since it was asked last, headers included."""
        time.sleep(0.05)
        total = sum(int(line.split(" ")[2]) for line in self._log.read_text().splitlines())
        os.truncate(self._log, 0)
        return total


@contextmanager
def nginx(folder: Path) -> Iterator[Nginx]:
    for name in ("root", "t"):
        (folder / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "config").write_text(_NGINX.format(folder=folder, port=port, user=user))
    process = subprocess.Popen(["nginx", "-e", folder / "errors", "-c", folder / "config"])
    try:
        while not (folder / "pid").exists():
            time.sleep(0.01)
        yield Nginx(folder, port)
    finally:
        process.terminate()
        process.wait()


class Machines:
    """Builds of one system with local caches by name."""

    def __init__(self, folder: Path, runs: int, megabytes: int) -> None:
        self.bench = Bench(folder, runs)
        self.bench.more_images = (EXAMPLES / "kit/images",)
        (folder / "system.yml").write_text(config(self.bench, megabytes))
        self.out = folder / "out"

    def build(self, cache: str, *arguments: str, formats: str = "kernel+initrd") -> float:
        """A build into an empty folder; gives its wall seconds."""
        shutil.rmtree(self.out, True)
        self.out.mkdir()
        return self.again(cache, *arguments, formats=formats)

    def again(self, cache: str, *arguments: str, formats: str = "kernel+initrd") -> float:
        """A build, its outputs perhaps in place already; gives its wall seconds."""
        return self.bench.run(
            *("build", "--format", formats, "--dir", "out", *arguments, "system.yml"), cache=cache
        )

    def forget(self, cache: str) -> None:
        """Removes a local cache and lets the disk come to rest."""
        shutil.rmtree(self.bench.folder / cache, True)
        os.sync()

    def alternate(self, runs: int, ways: Mapping[str, Callable[[], float]]) -> dict[str, float]:
        """The median of each of some ways to build, run in turn."""
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(runs):
            for name, way in ways.items():
                seconds[name].append(way())
        return {name: statistics.median(found) for name, found in seconds.items()}


def fetch(machines: Machines, server: Nginx, what: str) -> Iterator[Figure]:
    """A machine that has nothing, with everything in the remote cache."""
    reading = ("--remote-cache", f"{server.url}/{what}")
    for formats in FORMATS:
        machines.build("first", *reading, "--remote-cache-write", formats=formats)
    for formats in FORMATS:
        yield from _fetched(machines, server, reading, formats, what)


def _fetched(
    machines: Machines, server: Nginx, reading: tuple[str, str], formats: str, what: str
) -> Iterator[Figure]:
    sent: list[int] = []
    machines.build("second", *reading, formats=formats)
    outputs = sorted(machines.out.iterdir())
    asked_for = sum(min(file.stat().st_size, 512 * file.stat().st_blocks) for file in outputs)
    plain = server.root / "plain"
    with plain.open("wb") as file:
        file.writelines(output.read_bytes() for output in outputs)
    os.truncate(plain, asked_for)

    def build() -> float:
        machines.forget("second")
        server.sent()
        seconds = machines.build("second", *reading, formats=formats)
        sent.append(server.sent())
        return seconds

    def curl() -> float:
        copy = machines.bench.folder / "copy"
        copy.unlink(missing_ok=True)
        os.sync()
        started = time.perf_counter()
        subprocess.run(["curl", "-sS", "-o", copy, f"{server.url}/plain"], check=True)
        return time.perf_counter() - started

    medians = machines.alternate(machines.bench.runs, {"build": build, "curl": curl})
    limit = 1.3 * medians["curl"] + 0.3
    name = f"{what}, {formats}"
    yield Figure(f"{name}: asked for", asked_for / MEGABYTE, "MB")
    yield Figure(f"{name}: fetched / asked for", statistics.median(sent) / asked_for, "times", "<= 1.02")
    yield Figure(f"{name}: `curl` of as much", medians["curl"], "s")
    yield Figure(f"{name}: second machine", medians["build"], "s", f"<= {limit:.2f}")


def idle(machines: Machines, server: Nginx, what: str) -> Iterator[Figure]:
    """Nothing to do."""
    reading = ("--remote-cache", f"{server.url}/idle")
    writing = (*reading, "--remote-cache-write")
    machines.forget("cache")
    machines.build("cache", *writing)
    medians = machines.alternate(
        IDLE_RUNS,
        {
            "without": lambda: machines.again("cache"),
            "reading": lambda: machines.again("cache", *reading),
            "writing": lambda: machines.again("cache", *writing),
        },
    )
    yield Figure(f"{what}, nothing to do: no remote cache", 1000 * medians["without"], "ms")
    for way in ("reading", "writing"):
        more = 1000 * (medians[way] - medians["without"])
        yield Figure(f"{what}, nothing to do: a {way} build takes longer by", more, "ms", "<= 50")


def down(machines: Machines, server: Nginx, what: str) -> Iterator[Figure]:
    """Nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        places = {
            "a port nobody listens on": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "a server that never answers": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "an address nobody has": f"http://{NOWHERE}/cache",
            "a host name nobody has": "http://nowhere.invalid/cache",
        }

        def build(*arguments: str) -> float:
            machines.forget("cache")
            return machines.build("cache", *arguments)

        ways: dict[str, Callable[[], float]] = {"": build}
        for name, url in places.items():
            ways[name] = lambda url=url: build("--remote-cache", url, "--remote-cache-write")  # type: ignore[misc]
        medians = machines.alternate(machines.bench.runs, ways)
    yield Figure(f"{what}, first build: no remote cache", medians[""], "s")
    for name in places:
        more = medians[name] - medians[""]
        yield Figure(f"{what}, first build: {name} takes longer by", more, "s", "<= 2")


def cold(machines: Machines, server: Nginx, what: str) -> Iterator[Figure]:
    """A first build, everything kept in a remote cache that has nothing."""

    def build(*arguments: str) -> float:
        machines.forget("cache")
        shutil.rmtree(server.root / "cold", True)
        return machines.build("cache", *arguments)

    place = ("--remote-cache", f"{server.url}/cold")
    medians = machines.alternate(
        machines.bench.runs,
        {
            "": build,
            "reading": lambda: build(*place),
            "writing": lambda: build(*place, "--remote-cache-write"),
        },
    )
    yield Figure(f"{what}, first build: no remote cache", medians[""], "s")
    for way in ("reading", "writing"):
        yield Figure(
            f"{what}, first build: empty cache, {way}, takes longer by", medians[way] - medians[""], "s"
        )


PARTS = {"fetch": fetch, "idle": idle, "down": down, "cold": cold}


def told(figures: Iterator[Figure]) -> int:
    """Prints the figures as rows of a table; gives the number of those that miss their limit."""
    missed = 0
    for figure in figures:
        mark = "" if figure.fits() else " MISSED"
        missed += not figure.fits()
        value = re.sub(r"\.?0+$", "", f"{figure.value:.3f}") or "0"
        print(f"| {figure.name} | {value} {figure.unit} | {figure.limit}{mark} |", flush=True)
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=300, help="size of the large service; 0 for none")
    parser.add_argument(
        "--runs", type=int, default=5, help="runs of everything but builds with nothing to do"
    )
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a figure misses its limit")
    arguments = parser.parse_args()
    # What Python compiles is then kept, as it is where kitbuild is installed.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    missed = 0
    print("| what | figure | goal |\n|---|---|---|")
    for megabytes in dict.fromkeys((0, arguments.megabytes)):
        what = f"{megabytes} MB" if megabytes else "minimal"
        with (
            tempfile.TemporaryDirectory(prefix="kitbuild-bench-") as folder,
            nginx(Path(folder, "n")) as server,
        ):
            machines = Machines(Path(folder), arguments.runs, megabytes)
            for part in arguments.only.split(","):
                missed += told(PARTS[part](machines, server, what.replace(" ", "")))
    return 1 if missed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())
