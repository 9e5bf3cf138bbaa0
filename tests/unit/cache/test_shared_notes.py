"""SharedNotes: why a node is not cached, on a machine that never built it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.remote import Record
from kitbuild.cache.shared_notes import SharedNotes, publish
from kitbuild.errors import RemoteError
from kitbuild.node import Key
from tests.support.nodes import built, node
from tests.support.remotes import MemoryRemote

THERE, HERE = "/builds/site.yml", "/srv/site.yml"


@pytest.fixture
def local(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path)


def test_node_is_explained_by_what_another_machine_made_it_of(local: MemoryStore) -> None:
    remote = MemoryRemote()
    publish(remote, THERE, {"init": b'["there"]'})

    assert SharedNotes(local, remote, HERE).note("node", f"{HERE}\0init") == b'["there"]'


def test_note_of_this_machine_counts_first(local: MemoryStore) -> None:
    remote = MemoryRemote()
    publish(remote, THERE, {"init": b'["there"]'})
    local.keep("node", f"{HERE}\0init", b'["here"]')

    assert SharedNotes(local, remote, HERE).note("node", f"{HERE}\0init") == b'["here"]'


def test_other_config_is_not_mixed_up(local: MemoryStore) -> None:
    remote = MemoryRemote()
    publish(remote, "/builds/other.yml", {"init": b'["there"]'})

    assert SharedNotes(local, remote, HERE).note("node", f"{HERE}\0init") is None


def test_other_notes_stay_on_this_machine(local: MemoryStore) -> None:
    remote = MemoryRemote()
    notes = SharedNotes(local, remote, HERE)

    notes.keep("stat", f"{HERE}\0init", b"x")

    assert notes.note("stat", f"{HERE}\0init") == b"x"
    assert local.note("stat", f"{HERE}\0init") == b"x"
    assert remote.records == {}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"init": 3}', b"\xff"], ids=repr)
def test_malformed_notes_explain_nothing(local: MemoryStore, content: bytes) -> None:
    remote = MemoryRemote()
    publish(remote, THERE, {"init": b'["there"]'})
    (hexdigits,) = remote.content
    remote.content[hexdigits] = content

    assert SharedNotes(local, remote, HERE).note("node", f"{HERE}\0init") is None


def test_remote_that_fails_explains_nothing_and_is_asked_once(local: MemoryStore) -> None:
    class Down(MemoryRemote):
        asked = 0

        def record(self, key: Key) -> Record | None:
            self.asked += 1
            raise RemoteError("down")

    remote = Down()
    notes = SharedNotes(local, remote, HERE)

    found = [notes.note("node", f"{HERE}\0{name}") for name in ("init", "kernel")]

    assert found == [None, None]
    assert remote.asked == 1


def test_build_says_what_differs_from_the_machine_that_built_it(local: MemoryStore, tmp_path: Path) -> None:
    from kitbuild.engine import Settings
    from kitbuild.event import Event, NodeStarted
    from kitbuild.graph import Graph
    from kitbuild.lookup import made_of

    remote, there = MemoryRemote(), MemoryStore(tmp_path / "there")
    graph = Graph.of({"out": node("top", text="there")})
    built({"out": graph.outputs["out"]}, there)
    publish(remote, THERE, {name: made.encode() for name, made in made_of(graph, there).items()})
    events: list[Event] = []

    class Local(MemoryStore):
        def note(self, space: str, name: str) -> bytes | None:
            return SharedNotes(local, remote, HERE).note(space, name)

    built(
        {"out": node("top", text="here")},
        Local(tmp_path / "here"),
        settings=Settings(scope=HERE),
        report=events.append,
    )

    (event,) = [event for event in events if isinstance(event, NodeStarted)]
    assert event.why == ('option `text` changed from "there" to "here"',)
