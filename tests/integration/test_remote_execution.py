"""Nodes that run on a real server of the Remote Execution API, in its sandbox, and what happens when that fails."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cache.connection import Connection
from kitbuild.cache.execution import ReapiExecutor, Workers
from kitbuild.cache.execution_cluster import Cluster
from kitbuild.cache.execution_content import content_of
from kitbuild.cache.execution_request import decode_request
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.reapi_messages import WaitExecutionRequest
from kitbuild.cache.remote import Access
from kitbuild.digest import Digest
from kitbuild.engine import Settings
from kitbuild.event import Event, NodeCached, NodeFinished
from kitbuild.node import Node
from kitbuild.registry import formats_named
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.boot import EXAMPLES, kit_images
from tests.support.casd import VERSIONS, Server, casd
from tests.support.command import Finished, Site
from tests.support.execution import CONTENT, EXTENTS, INPUTS, WORKERS, Breaking, There, compress
from tests.support.folder_cluster import FolderCluster
from tests.support.graphs import lowered
from tests.support.nodes import built
from tests.support.remotes import MemoryRemote

pytestmark = pytest.mark.integration

BOTH = pytest.mark.parametrize("version", VERSIONS)
# What a run may take to be given up; a run that is waited for takes minutes.
SOON_SECONDS = 10


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that leave it as it was."""
    with casd(tmp_path_factory.mktemp("casd"), executes=True) as server:
        yield server


@pytest.fixture
def there(server: Server, tmp_path: Path) -> There:
    return There(server, tmp_path)


# -- one node


@BOTH
def test_node_gives_there_what_it_gives_here(tmp_path: Path, version: str) -> None:
    nodes = [compress("gzip"), compress("zstd")]
    with casd(tmp_path, version, executes=True) as server:
        there = There(server, tmp_path)
        with there.executor() as executor:
            found = [executor.run(node, INPUTS) for node in nodes]

    assert [there.here(node) for node in nodes] == [one and (one.artifact, one.blobs) for one in found]
    assert there.warnings == []


def test_content_stays_there_until_it_is_wanted(there: There) -> None:
    with there.executor(lazy=True) as executor:
        found = executor.run(compress(), INPUTS)
    assert found is not None
    assert there.store.missing(found.content()) == set(found.content())

    remote = content_of(Connection(there.url, Access()))
    content = b"".join(remote.get(found.blobs[0]))
    remote.close()

    assert gzip.decompress(content) == CONTENT


def test_worker_runs_as_a_program_without_anything_installed(tmp_path: Path) -> None:
    remote, store = MemoryRemote(), MemoryStore(tmp_path / "store")
    for content in (CONTENT, EXTENTS):
        with store.writer() as writer:
            writer.write(content)
            writer.commit()
    cluster = FolderCluster(remote, tmp_path)
    ReapiExecutor(cluster, remote, Workers(1, least_bytes=0), store=store, warn=pytest.fail).run(
        compress(), INPUTS
    )
    (folder,), (command,) = cluster.folders, cluster.commands
    made = {path.name for path in (folder / "out/blobs").iterdir()}
    shutil.rmtree(folder / "out")

    # -S: without site-packages, where kitbuild may be installed.
    done = subprocess.run(
        [sys.executable, "-S", *command.arguments[1:]],
        cwd=folder,
        env={variable.name: variable.value for variable in command.environment_variables},
        capture_output=True,
        text=True,
    )

    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert made == {path.name for path in (folder / "out/blobs").iterdir()}
    assert {"blobs", "out", "program", "request.json"} == {path.name for path in folder.iterdir()}


# -- trouble


def test_run_goes_on_when_the_connection_breaks(there: There) -> None:
    connection = Breaking(there.url, lambda: None, breaks=2)

    with there.executor(connection) as executor:
        found = executor.run(compress(), INPUTS)

    assert found is not None, there.warnings
    assert connection.asked[:2] == ["ExecuteRequest", WaitExecutionRequest.__name__]
    assert there.warnings == []


def test_server_that_dies_during_a_run_lets_the_node_run_here(tmp_path: Path) -> None:
    with casd(tmp_path, executes=True) as server:
        there = There(server, tmp_path)
        started = time.monotonic()
        with there.executor(Breaking(there.url, server.kill)) as executor:
            found = executor.run(compress(), INPUTS)

    assert found is None
    assert len(there.warnings) == 1
    assert there.warnings[0].startswith(f"a node runs here after all: {there.url}: ")
    assert time.monotonic() - started < SOON_SECONDS


def test_inputs_that_went_away_are_sent_again(there: There) -> None:
    with there.executor() as executor:
        assert executor.run(compress("gzip"), INPUTS) is not None
        there.lose_content()

        found = executor.run(compress("zstd"), INPUTS)

    assert found is not None, there.warnings
    assert there.warnings == []


def test_workers_without_the_program_are_asked_once(there: There) -> None:
    with there.executor(workers=Workers(2, (("kitbuild", "1"),), 0)) as executor:
        found = [executor.run(compress(), INPUTS) for _ in range(3)]

    assert found == [None] * 3
    assert len(there.warnings) == 1
    assert "the workers cannot run kitbuild: " in there.warnings[0]


def test_cache_that_runs_nothing_is_told_as_such(tmp_path: Path) -> None:
    with casd(tmp_path) as server:
        there = There(server, tmp_path)
        with there.executor() as executor:
            found = executor.run(compress(), INPUTS)

    assert found is None
    assert there.warnings == [
        f"remote execution is off for the rest of this build: {there.url} runs nothing: it is a cache alone"
    ]


def test_stop_ends_a_run_at_once(there: There) -> None:
    begun, release = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        release.wait(SOON_SECONDS)

    found: list[Result | None] = []
    with there.executor(Breaking(there.url, wait)) as executor:
        thread = threading.Thread(target=lambda: found.append(executor.run(compress(), INPUTS)))
        thread.start()
        assert begun.wait(SOON_SECONDS)

        started = time.monotonic()
        executor.stop()
        release.set()
        thread.join(SOON_SECONDS)

    assert found == [None]
    assert time.monotonic() - started < 2
    assert there.warnings == []


# -- whole builds


def test_every_heavy_node_gives_on_a_worker_what_it_gives_here(tmp_path: Path) -> None:
    config = Site(tmp_path / "site").folder / "linuxkit.yml"
    system = lowered([str(config)], config.parent / "images")
    outputs: dict[str, Node] = {}
    for output_format in formats_named(["kernel+initrd", "kernel+squashfs", "oci"]):
        outputs |= output_format.outputs(system)
    here, store, remote = MemoryStore(), MemoryStore(), MemoryRemote()
    warnings: list[str] = []
    cluster = FolderCluster(remote, tmp_path)
    executor = ReapiExecutor(cluster, remote, WORKERS, store=store, warn=warnings.append)

    # Of every node, so that a difference is seen where it begins.
    made: list[dict[str, Artifact]] = [{}, {}]
    expected = built(outputs, here, report=artifacts_into(made[0]))
    found = built(outputs, store, report=artifacts_into(made[1]), settings=Settings(2, executor=executor))

    assert made[0] == made[1]
    assert contents_of(expected) == contents_of(found)
    assert warnings == []
    ran = {decode_request((folder / "request.json").read_bytes()).rule for folder in cluster.folders}
    assert ran == {"unpack/layer", "format/segment", "format/squashfs-data", "format/compress"}


def artifacts_into(made: dict[str, Artifact]) -> Callable[[Event], None]:
    def note(event: Event) -> None:
        if isinstance(event, (NodeCached, NodeFinished)):
            made[event.node.name] = event.artifact

    return note


def contents_of(results: Mapping[str, Result]) -> dict[str, tuple[Digest, ...]]:
    return {name: result.content() for name, result in results.items()}


def test_engine_runs_as_many_nodes_there_as_it_may(there: There) -> None:
    running, most, lock = 0, 0, threading.Lock()
    nodes = {str(number): compress("gzip", number) for number in range(5)}
    expected = built(nodes, MemoryStore())

    class Counting(ReapiExecutor):
        def run(self, *arguments: Any) -> Result | None:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            try:
                return super().run(*arguments)
            finally:
                with lock:
                    running -= 1

    cluster = Cluster(Connection(there.url, Access()))
    content = content_of(Connection(there.url, Access()))
    executor = Counting(cluster, content, WORKERS, store=there.store, warn=there.warnings.append)
    found = built(nodes, there.store, settings=Settings(1, executor=executor))
    executor.close()

    assert contents_of(expected) == contents_of(found)
    assert most == 2
    assert there.warnings == []


class Kit:
    """The smallest system of the starter kit, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder, config=(EXAMPLES / "minimal.yml").read_text())
        self.site.environment["KITBUILD_IMAGES"] = str(kit_images())

    def build(self, *arguments: str) -> Finished:
        return self.site.run("build", "--format", "kernel+initrd,kernel+squashfs", *arguments, "linuxkit.yml")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    kit = Kit(tmp_path_factory.mktemp("kit") / "here")
    kit.build()
    return kit.site.outputs()


@BOTH
def test_system_is_the_same_when_its_heavy_nodes_run_there(
    tmp_path: Path, expected: dict[str, str], version: str
) -> None:
    with casd(tmp_path, version, executes=True) as server:
        kit = Kit(tmp_path / "there")
        finished = kit.build("--executor", f"grpc://{server.host}", "--executor-jobs", "2")
        # Nothing is kept there but what runs need and give.
        made = [path for path in (server.folder / "content").rglob("*") if _is_gzip(path)]

    assert expected == kit.site.outputs()
    assert "warning" not in finished.stderr
    assert made


def test_system_is_the_same_when_the_server_dies(tmp_path: Path, expected: dict[str, str]) -> None:
    kit = Kit(tmp_path / "there")
    with casd(tmp_path, executes=True) as server:
        killer = threading.Thread(target=_kill_when_busy, args=(server,))
        killer.start()
        finished = kit.build("--executor", f"grpc://{server.host}")
        killer.join()

    assert expected == kit.site.outputs()
    assert "warning" in finished.stderr


def _is_gzip(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def _kill_when_busy(server: Server) -> None:
    """Kills the server once it stages a run."""
    deadline = time.monotonic() + SOON_SECONDS
    objects = server.folder / "content/cas/objects"
    while time.monotonic() < deadline and sum(1 for _ in objects.glob("*/*")) < 100:
        time.sleep(0.01)
    server.kill()
