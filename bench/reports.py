"""What reports cost: the same build of some ten seconds, told in every way there is.

    python bench/reports.py [--quick] [--keep FOLDER]

The ways take turns, each round beginning with another, and the disk is let come to rest before each build: what
one build left to be written would slow the next. The quickest of several counts, for nothing makes a build quicker
than it is. The live display gets a terminal of its own, which is read as fast as it writes. `--keep` leaves the
images in a folder, and takes them from there.
"""

from __future__ import annotations

import argparse
import io
import os
import pty
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

from run import MEGABYTE, Images, config, layers

PROGRAM = Path(sys.executable).with_name("kitbuild")
IMAGES = ("kernel", "init0", "init1", *(f"service{number}" for number in range(7)))
# By name: flags, and whether they get a terminal.
WAYS: dict[str, tuple[list[str], bool]] = {
    "--quiet": (["--quiet"], False),
    "lines": ([], False),
    "-v": (["-v"], False),
    "live display": ([], True),
    "--json": (["--json"], False),
    "--profile": (["--quiet", "--profile", "trace.json"], False),
    "--record": (["--quiet", "--record", "build.record"], False),
}


def made(folder: Path, size: int) -> Path:
    """A folder with images of `size` bytes each and a config of them."""
    if not (folder / "images").exists():
        images = Images(folder / "images")
        *rest, modules = layers(len(IMAGES), size)
        kernel = io.BytesIO()
        with tarfile.open(fileobj=kernel, mode="w") as archive:
            for name, content in (("kernel", os.urandom(8 * MEGABYTE)), ("kernel.tar", modules)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        for name, layer in zip(IMAGES, (kernel.getvalue(), *rest), strict=True):
            images.image(name, layer)
        (folder / "bench.yml").write_text(config(7, "hello"))
    return folder


def timed(folder: Path, flags: list[str], *, terminal: bool) -> tuple[float, float]:
    """Wall and processor seconds of one build from nothing."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    os.sync()
    environment = {
        **os.environ,
        "KITBUILD_CACHE_DIR": str(folder / "cache"),
        "KITBUILD_IMAGES": str(folder / "images"),
        "TERM": "xterm-256color",
    }
    environment.pop("CI", None)
    ours, theirs = pty.openpty()
    reading = threading.Thread(target=_drained, args=(ours,), daemon=True)
    reading.start()
    stderr = theirs if terminal else subprocess.DEVNULL
    before = os.times()
    started = time.perf_counter()
    command = [str(PROGRAM), "build", *flags, "bench.yml"]
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=stderr, check=True)
    seconds, after = time.perf_counter() - started, os.times()
    os.close(theirs)
    reading.join()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, used


def _drained(terminal: int) -> None:
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:
        os.close(terminal)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a second's build, twice")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        size, runs = (8 * MEGABYTE, 2) if arguments.quick else (80 * MEGABYTE, arguments.runs)
        folder = made(arguments.keep or Path(scratch), size)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in WAYS}
        timed(folder, ["--quiet"], terminal=False)
        ways = list(WAYS.items())
        for turn in range(runs):
            for name, (flags, terminal) in ways[turn % len(ways) :] + ways[: turn % len(ways)]:
                found[name].append(timed(folder, flags, terminal=terminal))
    base, base_used = map(min, zip(*found["--quiet"], strict=True))
    for name, several in found.items():
        seconds, used = map(min, zip(*several, strict=True))
        more, more_used = 100 * (seconds / base - 1), 100 * (used / base_used - 1)
        print(
            f"{name:14} {seconds:6.2f} s ({more:+5.1f} %)   processor {used:6.2f} s ({more_used:+5.1f} %)",
            flush=True,
        )


if __name__ == "__main__":
    main()
