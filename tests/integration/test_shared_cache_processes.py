"""Eight builds at once share a server and a local cache: each is right, and no one waits for another for ever."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cache.gc import info, verify
from tests.support.cache_servers import CacheServer, cache_server
from tests.support.command import CONFIG, PROGRAM, Site, digest_of
from tests.support.loaders import loader_settings

pytestmark = pytest.mark.integration

PROCESSES = 8
# What takes a second each; a deadlock takes for ever.
MOST_SECONDS = 60
# Some have formats in common with others, and none has all.
FORMATS = ("kernel+initrd", "kernel+initrd,iso-bios", "tar", "kernel+squashfs,qcow2-bios")


def config(number: int) -> str:
    """Half of the configs are twins of another; the others share what is in their images."""
    text = CONFIG.replace("contents: first", f"contents: number {number // 2}")
    return text if number % 3 else text.replace("t/init:v1\n  - t/tools:v1", "t/tools:v1\n  - t/init:v1")


class Team:
    """A site whose configs all build at once; `expected` is what they give one after the other, each by itself."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "site")
        self.site.environment["KITBUILD_BOOT_LOADERS"] = loader_settings("amd64")
        for number in range(PROCESSES):
            self.site.write(f"system{number}.yml", config(number))
        self.expected = []
        for number in range(PROCESSES):
            assert self.ran(number, f"cache{number}", [])
            self.expected.append(self.outputs(number, f"alone{number}"))

    def together(self, name: str, cache: str, arguments: list[str]) -> list[Mapping[str, str]]:
        """What every config gives when all are built at once, with one local cache."""
        deadline = time.monotonic() + MOST_SECONDS
        started = [self._start(number, f"{name}{number}", cache, arguments) for number in range(PROCESSES)]
        try:
            ended = [process.communicate(timeout=deadline - time.monotonic()) for process in started]
        finally:
            for process in started:
                process.kill()
                process.wait()
        said = "".join(stderr for _, stderr in ended)
        assert [0] * PROCESSES == [process.returncode for process in started], said
        assert "" == said
        # Nothing is said of warnings: eight at once on two processors may find that answers come slowly.
        return [self.outputs(number, f"{name}{number}") for number in range(PROCESSES)]

    def ran(self, number: int, cache: str, arguments: list[str]) -> list[str]:
        """The nodes that run when one config is built by itself."""
        process = self._start(number, f"alone{number}", cache, arguments)
        stdout, stderr = process.communicate(timeout=MOST_SECONDS)
        assert 0 == process.returncode, stderr
        events = [json.loads(line) for line in stdout.splitlines()]
        return [event["node"] for event in events if event["event"] == "node-finished"]

    def outputs(self, number: int, folder: str) -> Mapping[str, str]:
        """The sha256 of every output in a folder."""
        found = sorted((self.site.folder / folder).iterdir())
        assert len(found) >= 1
        return {path.name: digest_of(path) for path in found}

    def others(self, made: list[Mapping[str, str]]) -> list[str]:
        """The outputs that are not what they are when each config is built by itself."""
        assert [each.keys() for each in self.expected] == [each.keys() for each in made]
        pairs = zip(self.expected, made, strict=True)
        return [name for expected, found in pairs for name in expected if expected[name] != found[name]]

    def _start(self, number: int, folder: str, cache: str, arguments: list[str]) -> subprocess.Popen[str]:
        (self.site.folder / folder).mkdir(exist_ok=True)
        options = ["--json", "--format", FORMATS[number % len(FORMATS)], "--size", "64M", "--dir", folder]
        command = [str(PROGRAM), "build", *options, "--cache-dir", cache, *arguments, f"system{number}.yml"]
        return subprocess.Popen(
            command,
            cwd=self.site.folder,
            env=self.site.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Team:
    return Team(tmp_path_factory.mktemp("team"))


@pytest.mark.parametrize("kind", ["http", "server", "file"])
def test_eight_builds_at_once_are_right_and_leave_caches_that_are(
    team: Team, tmp_path: Path, kind: str
) -> None:
    local = tmp_path / "local"
    with cache_server(kind, tmp_path / "server") as server:
        writing = ["--remote-cache", server.url(), "--remote-cache-write"]

        cold = team.together(f"{kind} cold ", str(local), writing)
        # The same at once without a local cache: all of them fetch the same.
        fetched = team.together(f"{kind} fetched ", str(tmp_path / "second"), writing)

        assert [] == team.others(cold)
        assert [] == team.others(fetched)
        # What a busy machine made one of them give up is kept by the next build, and then all is there.
        team.ran(5, str(local), writing)
        assert [] == team.ran(5, str(tmp_path / "third"), ["--remote-cache", server.url()])
        assert [] == wrong(server)
    for folder in (local, tmp_path / "second"):
        store = open_directory(folder)
        assert ((), 0) == (verify(store).wrong, info(store).leftovers)
        store.close()


def wrong(server: CacheServer) -> list[str]:
    """The content of a server that is not what its name says."""
    paths = [path for path in server.folder.rglob("*") if path.is_file() and len(path.name) == 64]
    content = [path for path in paths if "cas" in path.parts]
    assert content
    return [path.name for path in content if hashlib.sha256(path.read_bytes()).hexdigest() != path.name]
