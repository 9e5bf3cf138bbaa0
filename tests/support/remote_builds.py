"""Whole builds with a remote cache, in this process: a hundred a minute, through all of the command line.

    builds = Builds(tmp_path_factory.mktemp("builds"))
    built = builds.build(tmp_path / "first", "--remote-cache", url)
    assert built.outputs == builds.expected

What runs is `kitbuild.cli.main.main` with a fresh local cache, so that three hundred builds take no more than
minutes; a program of its own is started by who asks for `site`.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kitbuild.cache.directory import open_directory
from kitbuild.cache.gc import verify
from kitbuild.cli.main import main
from tests.support.command import Site, digest_of
from tests.support.loaders import loader_settings

# A file that is extents over blobs, blobs, and one that nobody can make of slices.
FORMATS = "kernel+initrd,kernel+squashfs,iso-bios"


@dataclass(frozen=True)
class Built:
    """How a build ended: `events` are those of `--json`, `outputs` the sha256 of every file by name."""

    status: int
    events: tuple[Mapping[str, Any], ...]
    stdout: str
    stderr: str
    outputs: Mapping[str, str]
    seconds: float

    @property
    def warnings(self) -> list[str]:
        """What it warned of, through the report or past it."""
        told = [event["message"] for event in self.events if event["event"] == "warned"]
        return told + [line for line in self.stderr.splitlines() if line.startswith("warning:")]

    @property
    def ran(self) -> int:
        """How many nodes ran."""
        return int(self.events_of("build-finished")[0]["ran"])

    def events_of(self, kind: str) -> list[Mapping[str, Any]]:
        """The events of a kind."""
        return [event for event in self.events if event["event"] == kind]


class Builds:
    """Builds of one small config; `expected` is what they must give, made without a remote cache."""

    def __init__(self, folder: Path, *, formats: str = FORMATS) -> None:
        self.folder = folder
        self.formats = formats
        self.site = Site(folder / "site")
        self.site.environment["KITBUILD_BOOT_LOADERS"] = loader_settings("amd64")
        # A config that shares all but one section with the first.
        self.site.write(
            "other.yml", (self.site.folder / "linuxkit.yml").read_text().replace("first", "other")
        )

    @cached_property
    def alone(self) -> Built:
        """The build without a remote cache."""
        built = self.build(self.folder / "alone")
        assert (0, []) == (built.status, built.warnings), built.stderr
        return built

    @property
    def expected(self) -> Mapping[str, str]:
        """The sha256 of every output."""
        return self.alone.outputs

    def build(self, folder: Path, *arguments: str, config: str = "linuxkit.yml") -> Built:
        """A build with its local cache and its outputs below `folder`."""
        out = folder / "out"
        out.mkdir(parents=True, exist_ok=True)
        command = ["build", "--json", "--format", self.formats, "--name", "linuxkit", "--dir", str(out)]
        command += ["--cache-dir", str(folder / "cache"), *arguments, str(self.site.folder / config)]
        stdout, stderr = io.StringIO(), io.StringIO()
        started = time.monotonic()
        with _environment(self.site.environment), redirect_stdout(stdout), redirect_stderr(stderr):
            status = main(command)
        seconds = time.monotonic() - started
        events = tuple(json.loads(line) for line in stdout.getvalue().splitlines())
        outputs = {path.name: digest_of(path) for path in sorted(out.iterdir())}
        return Built(status, events, stdout.getvalue(), stderr.getvalue(), outputs, seconds)


def wrong_content(folder: Path) -> tuple[str, ...]:
    """What of the local cache of a build is not what its name says."""
    store = open_directory(folder / "cache")
    try:
        return verify(store).wrong
    finally:
        store.close()


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith("KITBUILD_"):
            del os.environ[name]
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
