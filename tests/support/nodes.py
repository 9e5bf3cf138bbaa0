"""Tiny rules and nodes, to test the engine without images.

words = node("words", text="a b")
upper = node("upper", uppercase, needs=[words])
results = built({"out": upper}, MemoryStore(), report=events.append)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.engine import Settings, build
from kitbuild.event import Event, NodeProgressed, Reporter, RunsExpected
from kitbuild.extents import Slice
from kitbuild.graph import Graph
from kitbuild.history import Builds
from kitbuild.node import Node
from kitbuild.rule import Artifact, ArtifactKind, Input, Rule, Value, Work
from kitbuild.store import Notes, Result, Store


class TextOptions(NamedTuple):
    """A text that shapes the result, and a note that does not."""

    text: str = ""
    note: str = ""


class StoreWithNotes(Store, Notes, Protocol):
    """What a build works with."""


Run = Callable[[Work[TextOptions]], Value]


def joined(work: Work[TextOptions]) -> Digest:
    """A blob: the text, then the content of the inputs."""
    return work.put(work.options.text.encode() + b"".join(contents(work)))


def uppercase(work: Work[TextOptions]) -> Digest:
    """A blob: the content of the inputs in capitals; two inputs that differ in case alone give the same."""
    return work.put(b"".join(contents(work)).upper())


def contents(work: Work[Any]) -> list[bytes]:
    """The bytes of every input."""
    return [work.read(Slice(given.digest, 0, given.digest.size)) for given in work.artifacts("inputs")]


class Counted:
    """A rule's function that knows how often it ran, and with what text."""

    def __init__(self, run: Run = joined) -> None:
        self._run = run
        self._lock = Lock()
        self.texts: list[str] = []

    def __call__(self, work: Work[TextOptions]) -> Value:
        with self._lock:
            self.texts.append(work.options.text)
        return self._run(work)


def node(
    name: str,
    run: Run = joined,
    *,
    needs: Iterable[Node] = (),
    text: str = "",
    rule: str = "",
    output: ArtifactKind = "blob",
    version: int = 1,
    section: str = "",
) -> Node:
    """A node with a rule of its own name, `test/<name>`, unless `rule` says another; its inputs are of one kind."""
    given = tuple(needs)
    kind = given[0].rule.output if given else "blob"
    made: Rule[TextOptions] = Rule(
        f"test/{rule or name}",
        version,
        "for tests",
        TextOptions,
        output,
        run,
        {"inputs": Input(kind, many=True)},
        unkeyed=("note",),
    )
    return Node(name, made, TextOptions(text), {"inputs": given} if given else {}, section)


def built(
    outputs: Mapping[str, Node],
    store: StoreWithNotes,
    *,
    report: Callable[[Event], object] = lambda event: None,
    wanted: Callable[[str, Artifact], bool] = lambda name, artifact: True,
    jobs: int = 2,
    use_cache: bool = True,
    settings: Settings | None = None,
) -> dict[str, Result]:
    """The results of a build; `settings`, if given, counts instead of `jobs` and `use_cache`."""
    return build(
        Graph.of(outputs),
        store,
        history=Builds(store, ""),
        report=reporter(report),
        settings=settings or Settings(jobs, use_cache=use_cache),
        wanted=wanted,
    )


def reporter(report: Callable[[Event], object]) -> Reporter:
    """Any function of an event as a Reporter."""

    def tell(event: Event) -> None:
        report(event)

    return tell


def content_of(result: Result, store: Store) -> bytes:
    """The bytes of a result's artifact."""
    return store.path(result.artifact.digest).read_bytes()


def lose(store: Store, *contents: bytes | Digest) -> None:
    """Removes blobs from a store, as a clean-up would."""
    for content in contents:
        store.path(content if isinstance(content, Digest) else Digest.of(content)).unlink()


def told(events: Iterable[Event]) -> list[str]:
    """Events as short texts, "NodeStarted upper", but for those that say how far things are."""
    return [
        f"{type(event).__name__} {found.name}"
        if (found := getattr(event, "node", None))
        else type(event).__name__
        for event in events
        if not isinstance(event, (NodeProgressed, RunsExpected))
    ]
