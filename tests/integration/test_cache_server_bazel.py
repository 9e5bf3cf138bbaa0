"""`kitbuild cache serve` as the remote cache of a real Bazel."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.cache_servers import bundle
from tests.support.served import Served, served

pytestmark = pytest.mark.integration

BUILD = """\
genrule(name = "a", outs = ["a.txt"], cmd = "echo made by a > $@")
genrule(name = "b", srcs = [":a"], outs = ["b.txt"], cmd = "cat $< $< > $@")
genrule(name = "big", srcs = [":b"], outs = ["big.bin"], cmd = "cat $< > $@; head -c 3000000 /dev/zero >> $@")
"""


class Workspace:
    """A Bazel workspace with three genrules, and Bazel itself, which stays running between builds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "workspace"
        self.folder.mkdir()
        (self.folder / "WORKSPACE").touch()
        (self.folder / "BUILD").write_text(BUILD)
        program = bundle("bazel-2.1.0") / "node_modules/@bazel/bazel-linux_x64/bazel-2.1.0-linux-x86_64"
        self._command = [str(program), f"--output_user_root={folder / 'root'}", "--max_idle_secs=60"]
        self._environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}

    def build(self, *flags: str) -> tuple[int, int]:
        """Builds everything from nothing; gives how many of the three came from a cache, and how many were run."""
        self.run("clean")
        said = self.run("build", "//:all", "--noshow_progress", *flags)
        assert "WARNING" not in said, said
        (processes,) = re.findall(r"INFO: (\d+ processes?: .*)\.$", said, re.MULTILINE)
        hits, run = (
            sum(map(int, re.findall(rf"(\d+) {kind}", processes)))
            for kind in ("remote cache hit", "linux-sandbox|processwrapper-sandbox")
        )
        assert 3_000_000 < (self.folder / "bazel-bin/big.bin").stat().st_size
        return hits, run

    def run(self, *arguments: str) -> str:
        """Runs Bazel, which must succeed; gives what it says."""
        ended = subprocess.run(
            [*self._command, *arguments],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stderr


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    workspace = Workspace(tmp_path_factory.mktemp("bazel"))
    yield workspace
    workspace.run("shutdown")


def errors(server: Served) -> list[str]:
    return [line["message"] for line in server.lines() if line["event"] == "error"]


def test_second_build_takes_everything_from_the_server(workspace: Workspace, tmp_path: Path) -> None:
    with served(tmp_path / "kept") as server:
        builds = [workspace.build(f"--remote_cache={server.url}") for _ in range(2)]
        in_a_namespace = workspace.build(f"--remote_cache={server.url}/pr-1")
        status = server.json("/status")

    assert [(0, 3), (3, 0), (0, 3)] == [*builds, in_a_namespace]
    assert 6 == status["results"]
    assert [] == errors(server)


def test_token_is_a_password_in_the_url(workspace: Workspace, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("writing-token write\nreading-token read\n")
    tokens.chmod(0o600)
    with served(tmp_path / "kept", "--token-file", str(tokens)) as server:
        write, read = (
            f"--remote_cache=http://ci:{right}-token@{server.host}" for right in ("writing", "reading")
        )

        builds = [workspace.build(write), workspace.build(read, "--noremote_upload_local_results")]

    assert [(0, 3), (3, 0)] == builds


def test_build_goes_on_when_results_are_gone(workspace: Workspace, tmp_path: Path) -> None:
    with served(tmp_path / "kept") as server:
        url = f"--remote_cache={server.url}"
        workspace.build(url)
        for path in (server.folder / "cas").rglob("*"):
            if path.is_file() and path.stat().st_size > 1_000_000:
                path.unlink()

        again, healed = workspace.build(url), workspace.build(url)

    assert [(2, 1), (3, 0)] == [again, healed]


def test_eviction_while_it_builds_breaks_nothing(workspace: Workspace, tmp_path: Path) -> None:
    ended = threading.Event()

    def fill(server: Served) -> None:
        while not ended.is_set():
            server.put(os.urandom(200_000))

    with served(tmp_path / "kept", "--max-size", "20M") as server, ThreadPoolExecutor() as threads:
        filling = threads.submit(fill, server)
        try:
            builds = [workspace.build(f"--remote_cache={server.url}") for _ in range(4)]
        finally:
            ended.set()
        filling.result()
        status = server.json("/status")

    assert [3] * 4 == [hits + run for hits, run in builds]
    assert 0 < status["evictions"]
    assert [] == errors(server)
