"""Builds stopped at any moment: outputs are old or whole, nothing lies about, and the next build is right."""

from __future__ import annotations

import http.server
import json
import os
import pty
import random
import signal
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyte
import pytest

from tests.support import images
from tests.support.command import CONFIG, OUTPUTS, PROGRAM, Site, digest_of, executable, small_images
from tests.support.registry import serving

pytestmark = pytest.mark.integration

# Enough to meet every part of a build, which takes some 0.3 s here.
GENTLE_STOPS = 24
KILLS = 40
OLD = b"the output of an earlier build"
# How long a stopped build may take to end; it takes a tenth of that.
SECONDS = 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with some megabytes to unpack, pack and write."""
    site = Site(tmp_path_factory.mktemp("interrupt") / "site")
    chance = random.Random(1)
    layer = {f"data/{number}": executable(chance.randbytes(400_000)) for number in range(12)}
    big = images.image(layer, {"more": chance.randbytes(2_000_000)}, cmd=["/data/0"])
    images.layout(site.folder / "images", {**small_images(), "t/web:v1": big})
    return site


@pytest.fixture(scope="module")
def expected(site: Site) -> dict[str, str]:
    """The outputs of a build nobody disturbed, in a cache of its own."""
    site.run("build", "--cache-dir", "another", "linuxkit.yml")
    return {name: digest_of(site.folder / name) for name in OUTPUTS}


@pytest.fixture(scope="module")
def duration(site: Site, expected: dict[str, str]) -> float:
    """The seconds from the first node of a build to its end, when nothing else holds it up."""

    def one() -> float:
        process = site.start("build", "-v", "--no-cache", "linuxkit.yml")
        begun = _first_line(process)
        process.communicate(timeout=60)
        return time.monotonic() - begun

    return min(one() for _ in range(3))


def _first_line(process: subprocess.Popen[str]) -> float:
    assert process.stderr is not None
    assert process.stderr.readline().startswith("run: ")
    return time.monotonic()


def stopped(site: Site, how: signal.Signals, after_seconds: float) -> tuple[int, str, float]:
    """Builds everything over old outputs, and stops that; gives exit status, stderr and seconds to the end."""
    for name in OUTPUTS:
        (site.folder / name).write_bytes(OLD)
    process = site.start("build", "-v", "--no-cache", "linuxkit.yml")
    _first_line(process)
    time.sleep(after_seconds)
    process.send_signal(how)
    sent = time.monotonic()
    _, stderr = process.communicate(timeout=60)
    return process.returncode, stderr, time.monotonic() - sent


def moments(count: int, duration: float, *, seed: int) -> Iterator[float]:
    chance = random.Random(seed)
    for number in range(count):
        yield duration * (number + chance.random()) / count


def check_outputs(site: Site, expected: dict[str, str]) -> None:
    for name in OUTPUTS:
        content = (site.folder / name).read_bytes()
        assert content == OLD or digest_of(site.folder / name) == expected[name], f"{name} is half-written"


def check_next_build(site: Site, expected: dict[str, str]) -> None:
    site.run("build", "linuxkit.yml")
    assert {name: digest_of(site.folder / name) for name in OUTPUTS} == expected


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda how: how.name)
def test_stopped_build_leaves_old_or_whole_outputs_and_nothing_else(
    site: Site, expected: dict[str, str], duration: float, how: signal.Signals
) -> None:
    before = sorted(path.name for path in site.folder.iterdir())
    ends = []

    for moment in moments(GENTLE_STOPS // 2, duration, seed=how):
        status, stderr, seconds = stopped(site, how, moment)
        ends.append(status)
        assert status in (130, 0), stderr
        assert status == 0 or stderr.endswith("interrupted\n")
        assert "Traceback" not in stderr, stderr
        assert seconds < SECONDS
        assert sorted({path.name for path in site.folder.iterdir()} - {"cache"}) == [
            name for name in before if name != "cache"
        ]
        check_outputs(site, expected)
        assert list((site.folder / "cache" / "tmp").iterdir()) == []
        assert list((site.folder / "cache" / "leases").iterdir()) == []
        check_next_build(site, expected)

    assert ends.count(130) >= GENTLE_STOPS // 4
    site.run("cache", "verify")


def test_killed_build_leaves_old_or_whole_outputs_and_a_sound_cache(
    site: Site, expected: dict[str, str], duration: float
) -> None:
    ends = []

    for number, moment in enumerate(moments(KILLS, duration, seed=9)):
        status, stderr, _ = stopped(site, signal.SIGKILL, moment)
        ends.append(status)
        assert status in (-signal.SIGKILL, 0), stderr
        check_outputs(site, expected)
        if number % 4 == 0:
            check_next_build(site, expected)

    check_next_build(site, expected)
    assert ends.count(-signal.SIGKILL) >= KILLS // 2
    site.run("cache", "verify")
    site.run("cache", "gc")
    assert list((site.folder / "cache" / "tmp").iterdir()) == []


@contextmanager
def silent_registry(silent: str) -> Iterator[tuple[str, threading.Event]]:
    """A registry that has t/web and never answers when it is asked for a manifest, or a layer; says when it was."""
    asked, ended = threading.Event(), threading.Event()
    made = small_images()["t/web:v1"]
    known = {
        made.digest: made.manifest,
        "v1": made.manifest,
        f"sha256:{images.hex_of(made.config)}": made.config,
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = known.get(self.path.rpartition("/")[2])
            if content is None or silent != "layer":
                asked.set()
                ended.wait(30)
                return
            self.send_response(200)
            self.send_header("Content-Type", made.media_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    with serving(Handler) as host:
        try:
            yield host, asked
        finally:
            ended.set()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
@pytest.mark.parametrize("silent", ["manifest", "several manifests", "layer"])
def test_build_that_waits_for_a_silent_registry_ends_soon(
    tmp_path: Path, how: signal.Signals, silent: str
) -> None:
    with silent_registry(silent) as (host, asked):
        config = CONFIG.replace("t/web:v1", f"{host}/t/web:v1")
        if silent == "several manifests":
            config = config.replace("t/hello:v1", f"{host}/t/hello:v1")
        site = Site(tmp_path / "site", config=config)
        process = site.start("build", "linuxkit.yml")
        try:
            assert asked.wait(20)
            process.send_signal(how)
            sent = time.monotonic()
            _, stderr = process.communicate(timeout=25)
            seconds = time.monotonic() - sent
        finally:
            process.kill()
            process.communicate()

    assert (process.returncode, stderr) == (130, "interrupted\n")
    assert seconds < SECONDS
    assert site.outputs() == {}


@pytest.mark.parametrize("moment", ["build-started", "nodes-started", "node-started", "node-finished"])
def test_interrupted_build_ends_with_an_event_and_a_trace(
    site: Site, expected: dict[str, str], moment: str
) -> None:
    process = subprocess.Popen(
        [str(PROGRAM), "build", "--json", "--profile", "trace.json", "--no-cache", "linuxkit.yml"],
        cwd=site.folder,
        env=site.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    events = []
    for line in process.stdout:
        events.append(json.loads(line))
        if events[-1]["event"] == moment:
            process.send_signal(signal.SIGINT)
            break
    rest, stderr = process.communicate(timeout=60)
    events += [json.loads(line) for line in rest.splitlines()]

    assert (process.returncode, stderr) == (130, "interrupted\n")
    assert (events[0]["event"], events[-1]["event"]) == ("build-started", "build-finished")
    assert (events[-1]["outcome"], events[-1]["status"]) == ("interrupted", 130)
    assert [event["event"] for event in events].count("build-finished") == 1
    assert json.loads((site.folder / "trace.json").read_text())["traceEvents"]
    (site.folder / "trace.json").unlink()
    assert not list(site.folder.glob(".trace*"))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=lambda how: how.name)
def test_interrupted_terminal_is_left_clean(tmp_path: Path, how: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (10, 60))
    said, drawn = b"", b" nodes"
    with silent_registry("layer") as (host, _):
        site = Site(tmp_path / "site", config=CONFIG.replace("t/web:v1", f"{host}/t/web:v1"))
        process = subprocess.Popen(
            [str(PROGRAM), "build", "linuxkit.yml"],
            cwd=site.folder,
            env={**site.environment, "TERM": "xterm-256color"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        with suppress(OSError):
            while piece := os.read(ours, 1 << 16):
                if drawn not in said and drawn in said + piece:
                    process.send_signal(how)
                said += piece
        status = process.wait(SECONDS)
    os.close(ours)
    screen = pyte.Screen(60, 10)
    pyte.Stream(screen).feed(said.decode())

    assert status == 130, said
    assert f"  {host}/t/web:v1: layer" in said.decode()
    assert [line.rstrip() for line in screen.display if line.strip()] == ["interrupted"]
    assert (screen.cursor.y, screen.cursor.x, screen.cursor.hidden) == (1, 0, False)


def test_signals_the_parent_ignores_stay_ignored(site: Site, expected: dict[str, str]) -> None:
    finished = site.run(
        "build",
        "--no-cache",
        "linuxkit.yml",
        shell='trap "" INT TERM; "$@" & sleep 0.3; kill -INT $!; kill $!; wait $!',
    )

    assert "interrupted" not in finished.stderr
    assert {name: digest_of(site.folder / name) for name in OUTPUTS} == expected


def test_stopped_build_is_not_told_as_the_one_before(tmp_path: Path) -> None:
    with silent_registry("layer") as (host, asked):
        site = Site(tmp_path / "site")
        site.run("build", "linuxkit.yml")
        site.change("linuxkit.yml", "t/web:v1", f"{host}/t/web:v1")
        flags = ["-v", "--no-cache", "--report", "r.html", "--record", "r.json"]
        process = site.start("build", *flags, "linuxkit.yml")
        assert asked.wait(SECONDS)
        _first_line(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)

    assert process.returncode == 130
    assert not (site.folder / "r.json").exists()
    assert not (site.folder / "r.html").exists()
