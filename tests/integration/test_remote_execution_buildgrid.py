"""Nodes that run on BuildGrid, which queues them for workers, as clusters for many users do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.cache.execution import Workers
from kitbuild.cache.execution_run import Limits
from kitbuild.store import Result
from tests.support.buildgrid_execution import executing_buildgrid
from tests.support.casd import Server
from tests.support.execution import INPUTS, Breaking, There, compress

pytestmark = pytest.mark.integration

# No worker has it, but one could.
ELSEWHERE = Workers(2, (("ISA", "arm64"),), 0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    # Results are the workers' alone to give, as where people who do not trust each other share a cluster.
    with executing_buildgrid(tmp_path_factory.mktemp("buildgrid"), updates=False) as server:
        yield server


@pytest.fixture
def there(server: Server, tmp_path: Path) -> There:
    return There(server, tmp_path)


def test_node_gives_there_what_it_gives_here(there: There) -> None:
    with there.executor(workers=Workers(2, (("OSFamily", "linux"), ("ISA", "x86-64")), 0)) as executor:
        found = executor.run(compress(), INPUTS)

    assert found is not None, there.warnings
    assert (found.artifact, found.blobs) == there.here(compress())
    assert there.warnings == []


def test_run_goes_on_when_the_connection_breaks_while_it_is_queued(there: There) -> None:
    connection = Breaking(there.url, lambda: None, breaks=1)

    with there.executor(connection) as executor:
        found = executor.run(compress("zstd"), INPUTS)

    assert found is not None, there.warnings
    assert connection.asked == ["ExecuteRequest", "WaitExecutionRequest"]


def test_property_that_no_worker_has_lets_the_node_run_here(there: There) -> None:
    with there.executor(workers=Workers(2, (("gpu", "large"),), 0)) as executor:
        found = executor.run(compress(), INPUTS)

    assert found is None
    assert len(there.warnings) == 1
    assert "failed precondition" in there.warnings[0]


def test_node_that_no_worker_takes_runs_here(there: There) -> None:
    with there.executor(workers=ELSEWHERE, limits=Limits(queued=1.0, silent=0.2)) as executor:
        found = executor.run(compress(), INPUTS)

    assert found is None
    assert there.warnings == [f"a node runs here after all: {there.url}: no worker took a node in 1 seconds"]


def test_stop_does_not_wait_for_the_queue(there: There) -> None:
    begun = threading.Event()
    found: list[Result | None] = []
    with there.executor(Breaking(there.url, begun.set), workers=ELSEWHERE) as executor:
        thread = threading.Thread(target=lambda: found.append(executor.run(compress(), INPUTS)))
        thread.start()
        assert begun.wait(10)

        started = time.monotonic()
        executor.stop()
        thread.join(10)

    assert found == [None]
    assert time.monotonic() - started < 2
    assert there.warnings == []
