"""The record of a build elsewhere: why a node is not cached, on a machine that never built it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.shared_record import publish, published
from kitbuild.engine import build
from kitbuild.errors import RemoteError
from kitbuild.event import Event, NodeStarted
from kitbuild.graph import Graph
from kitbuild.history import Builds
from kitbuild.node import Key
from kitbuild.record import Record
from tests.support.nodes import node, reporter
from tests.support.remotes import MemoryRemote

THERE, HERE = "/builds/site.yml\0amd64", "/srv/site.yml\0amd64"


def record_of(folder: Path, text: str) -> Record:
    store = MemoryStore(folder)
    builds = Builds(store, THERE)
    build(Graph.of({"out": node("top", text=text)}), store, report=lambda event: None, history=builds)
    record = builds.latest()
    assert record is not None
    return record


def test_record_of_another_machine_is_found_by_the_names_of_the_configs(tmp_path: Path) -> None:
    remote = MemoryRemote()
    record = record_of(tmp_path, "there")

    publish(remote, THERE, record)

    assert published(remote, HERE) == record
    assert published(remote, "/srv/other.yml\0amd64") is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"], ids=repr)
def test_malformed_record_explains_nothing(tmp_path: Path, content: bytes) -> None:
    remote = MemoryRemote()
    publish(remote, THERE, record_of(tmp_path, "there"))
    (hexdigits,) = remote.content
    remote.content[hexdigits] = content

    assert published(remote, HERE) is None


def test_remote_that_fails_explains_nothing() -> None:
    class Down(MemoryRemote):
        def record(self, key: Key) -> None:
            raise RemoteError("down")

    assert published(Down(), HERE) is None


def test_build_says_what_differs_from_the_machine_that_built_it(tmp_path: Path) -> None:
    record, asked = record_of(tmp_path / "there", "there"), []
    events: list[Event] = []

    def elsewhere() -> Record:
        asked.append(1)
        return record

    local = MemoryStore(tmp_path / "here")
    outputs = {"out": node("top", text="here"), "other": node("other", text="x")}
    history = Builds(local, HERE, elsewhere=elsewhere)
    build(Graph.of(outputs), local, report=reporter(events.append), history=history)

    why = {event.node.name: event.why for event in events if isinstance(event, NodeStarted)}
    assert why["top"] == ('option `text` changed from "there" to "here"',)
    assert why["other"] == ("never built before",)
    assert len(asked) == 1
