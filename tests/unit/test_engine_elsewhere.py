"""The engine over a store whose content is partly elsewhere, and with runs that happen elsewhere."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.engine import Settings
from kitbuild.errors import BuildError, MissingBlobError, StoreError
from kitbuild.event import Event, FetchStarted, NodeFailed, NodeFinished, NodesFinished, NodeStarted
from kitbuild.export import export
from kitbuild.extents import Extents, Literal, Slice
from kitbuild.node import Key, Node
from kitbuild.rule import Artifact, Work
from kitbuild.store import Result
from tests.support.nodes import Counted, TextOptions, built, content_of, joined, lose, node, uppercase


class Elsewhere(MemoryStore):
    """A store with content elsewhere: `away` by digest, each `seconds` away; what is in `broken` cannot be had."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.away: dict[Digest, bytes] = {}
        self.seconds = 0.01
        self.broken: set[Digest] = set()
        self.fetched: list[Digest] = []
        self.asked: list[int] = []

    def send_away(self, *digests: Digest) -> None:
        for digest in digests:
            self.away[digest] = super().path(digest).read_bytes()
            lose(self, digest)

    def path(self, digest: Digest) -> Path:
        if self.missing([digest]) and self.fetch([digest]):
            raise MissingBlobError("not to be had")
        return super().path(digest)

    def distance(self, digests: Iterable[Digest]) -> float:
        missing = self.missing(digests)
        return math.inf if missing - self.away.keys() else len(missing) * self.seconds

    def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
        for digest in self.missing(digests) & self.away.keys():
            if digest in self.broken:
                del self.away[digest]
                continue
            self.fetched.append(digest)
            with self.writer() as writer:
                writer.write(self.away[digest])
                writer.commit()
        return self.missing(digests)

    def results(self, keys: Sequence[Key]) -> list[Result | None]:
        self.asked.append(len(keys))
        return super().results(keys)


@pytest.fixture
def store(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path / "store")


def started(events: list[Event]) -> list[str]:
    return [event.node.name for event in events if isinstance(event, NodeStarted)]


def chain() -> tuple[Node, Node, Node]:
    bottom = node("bottom", text="a")
    middle = node("middle", text="b", needs=[bottom])
    return bottom, middle, node("top", text="c", needs=[middle])


# -- asking


def test_results_of_a_level_are_asked_for_at_once(store: Elsewhere) -> None:
    leaves = [node(str(number), text=str(number)) for number in range(5)]
    graph = {"out": node("top", needs=leaves)}
    built(graph, store)
    store.asked.clear()

    built(graph, store)

    assert store.asked == [5, 1]


# -- bringing content


def test_only_the_content_of_outputs_is_brought_here(store: Elsewhere) -> None:
    bottom, middle, top = chain()
    first = built({"out": top, "bottom": bottom, "middle": middle}, store)
    store.send_away(*(result.artifact.digest for result in first.values()))
    events: list[Event] = []

    results = built({"out": top}, store, report=events.append)

    assert store.fetched == [first["out"].artifact.digest]
    assert content_of(results["out"], store) == b"cba"
    assert started(events) == []
    assert FetchStarted(1, 3) in events


def test_output_that_nobody_wants_is_not_brought_here(store: Elsewhere) -> None:
    *_, top = chain()
    first = built({"out": top}, store)
    store.send_away(first["out"].artifact.digest)

    built({"out": top}, store, wanted=lambda name, artifact: False)

    assert store.fetched == []


def test_input_is_brought_here_when_the_rule_reads_it(store: Elsewhere) -> None:
    bottom, middle, _ = chain()
    first = built({"bottom": bottom, "middle": middle}, store)
    store.send_away(*(result.artifact.digest for result in first.values()))
    changed = node("top", text="z", needs=[middle])

    results = built({"out": changed}, store)

    assert store.fetched == [first["middle"].artifact.digest]
    assert content_of(results["out"], store) == b"zba"


def test_content_that_turns_out_to_be_lost_is_made_again(store: Elsewhere) -> None:
    *_, top = chain()
    first = built({"out": top}, store)
    digest = first["out"].artifact.digest
    store.send_away(digest)
    store.broken.add(digest)
    events: list[Event] = []

    results = built({"out": top}, store, report=events.append)

    assert started(events) == ["top"]
    assert content_of(results["out"], store) == b"cba"


def test_lost_blob_of_an_output_is_made_again_by_the_node_that_gave_it(store: Elsewhere) -> None:
    bottom = node("bottom", text="large")
    sliced = Counted(lambda work: Extents.whole(work.artifacts("inputs")[0].digest))
    top = node("top", sliced, needs=[bottom], output="extents")
    built({"out": top}, store)
    digest = Digest.of(b"large")
    store.send_away(digest)
    store.broken.add(digest)
    events: list[Event] = []

    results = built({"out": top}, store, report=events.append)

    assert started(events) == ["bottom", "top"]
    assert store.missing(results["out"].content()) == set()


def test_input_that_turns_out_to_be_lost_is_made_again(store: Elsewhere) -> None:
    bottom, middle, _ = chain()
    first = built({"bottom": bottom, "middle": middle}, store)
    lost = first["middle"].artifact.digest
    store.send_away(lost)
    store.broken.add(lost)
    changed = node("top", text="z", needs=[middle])
    events: list[Event] = []

    results = built({"out": changed}, store, report=events.append)

    assert content_of(results["out"], store) == b"zba"
    assert "middle" in started(events)


def test_store_that_loses_everything_ends_the_build_with_an_error(store: Elsewhere) -> None:
    class Losing(Elsewhere):
        def fetch(self, digests: Iterable[Digest]) -> set[Digest]:
            return set(digests)

        def missing(self, digests: Iterable[Digest]) -> set[Digest]:
            return set(digests)

        def distance(self, digests: Iterable[Digest]) -> float:
            return 0.5

    with pytest.raises(StoreError, match="keeps changing"):
        built({"out": node("top")}, Losing(Path(store.path(put(store, b"x"))).parents[2] / "losing"))


def put(store: MemoryStore, content: bytes) -> Digest:
    with store.writer() as writer:
        writer.write(content)
        return writer.commit()


# -- weighing


def recorded(store: Elsewhere, graph: Mapping[str, Node], seconds: float) -> dict[str, Result]:
    """Builds, and says of every result that it took so long to make."""
    keys: list[tuple[Key, Result]] = []
    record = store.record

    def slow(key: Key, result: Result) -> None:
        keys.append((key, result))
        record(key, result._replace(seconds=seconds))

    store.record = slow  # type: ignore[method-assign]
    results = built(graph, store)
    store.record = record  # type: ignore[method-assign]
    return results


@pytest.mark.parametrize(("made_in", "brought"), [(0.1, False), (100.0, True)], ids=["quick", "slow"])
def test_content_far_away_is_made_again_if_that_is_sooner(
    store: Elsewhere, made_in: float, brought: bool
) -> None:
    bottom, _, _ = chain()
    top = node("up", uppercase, needs=[bottom])
    results = recorded(store, {"out": top, "bottom": bottom}, made_in)
    store.send_away(results["out"].artifact.digest)
    store.seconds = 30.0

    built({"out": top}, store)

    assert (results["out"].artifact.digest in store.fetched) is brought


def test_making_again_counts_what_its_inputs_take(store: Elsewhere) -> None:
    bottom, middle, top = chain()
    results = recorded(store, {"out": top, "bottom": bottom, "middle": middle}, 20.0)
    store.send_away(*(result.artifact.digest for result in results.values()))
    store.seconds = 30.0

    built({"out": top}, store)

    assert store.fetched == [results["out"].artifact.digest]


def test_content_a_moment_away_is_never_made_again(store: Elsewhere) -> None:
    bottom, *_ = chain()
    results = recorded(store, {"out": bottom}, 0.0)
    store.send_away(results["out"].artifact.digest)
    store.seconds = 0.9

    built({"out": bottom}, store)

    assert store.fetched == [results["out"].artifact.digest]


# -- the denser form of a file


def with_dense(store: Elsewhere, top: Node) -> Result:
    """Builds extents that slice little of a large blob, and tells the same file densely."""
    result = built({"out": top}, store)["out"]
    dense = Extents.whole(put(store, b"middle"))
    recipe = put(store, dense.encode())
    told = result._replace(dense=(recipe, *dense.blobs()))
    (key,) = [key for key, found in store._results.items() if found == result]
    store.record(key, told)
    return told


def slicing(work: Work[TextOptions]) -> Extents:
    blob = work.artifacts("inputs")[0].digest
    return Extents.of([Slice(blob, 10, 6)])


def sliced() -> Node:
    return node(
        "top", slicing, needs=[node("bottom", text="0123456789middle" + "x" * 1000)], output="extents"
    )


def test_output_is_brought_in_the_form_that_is_nearer(store: Elsewhere, tmp_path: Path) -> None:
    result = with_dense(store, sliced())
    store.send_away(*result.content(), *result.dense)
    del store.away[result.blobs[0]]
    events: list[Event] = []

    found = built({"out": sliced()}, store, report=events.append)["out"]
    written = export(found, tmp_path / "out", store=store, notes=store)

    assert started(events) == []
    assert (tmp_path / "out").read_bytes() == b"middle"
    assert written.digest == Digest.of(b"middle")
    assert set(store.fetched) == set(result.dense)


def test_file_is_taken_from_the_artifact_while_that_is_here(store: Elsewhere) -> None:
    result = with_dense(store, sliced())

    assert result.file(store) == result.artifact


def test_output_written_from_its_denser_form_is_known_to_be_in_place(
    store: Elsewhere, tmp_path: Path
) -> None:
    result = with_dense(store, sliced())
    store.send_away(*result.content())
    store.away.clear()
    export(result, tmp_path / "out", store=store, notes=store)

    again = export(result, tmp_path / "out", store=store, notes=store)

    assert not again.fresh


# -- --require-cached


def test_require_cached_builds_what_is_cached(store: Elsewhere) -> None:
    *_, top = chain()
    built({"out": top}, store)

    results = built({"out": top}, store, settings=Settings(require_cached=True))

    assert content_of(results["out"], store) == b"cba"


def test_require_cached_fails_at_the_first_node_that_would_run_and_says_why(store: Elsewhere) -> None:
    bottom, _, top = chain()
    built({"out": top}, store)
    counted = Counted()
    changed = node("top", counted, text="other", needs=[node("middle", counted, text="x", needs=[bottom])])
    events: list[Event] = []

    with pytest.raises(BuildError) as raised:
        built({"out": changed}, store, settings=Settings(require_cached=True), report=events.append)

    ((name, error),) = raised.value.failures
    assert name == "middle"
    assert error.message == 'expected it in the cache: option `text` changed from "b" to "x"'
    assert counted.texts == []
    assert [event.node.name for event in events if isinstance(event, NodeFailed)] == ["middle"]


def test_require_cached_does_not_make_lost_content_again(store: Elsewhere) -> None:
    *_, top = chain()
    result = built({"out": top}, store)["out"]
    lose(store, result.artifact.digest)

    with pytest.raises(BuildError) as raised:
        built({"out": top}, store, settings=Settings(require_cached=True))

    ((_, error),) = raised.value.failures
    assert error.message == "expected it in the cache: its content is no longer in the cache"


# -- runs elsewhere


class Cluster:
    """Runs nodes in a store of its own by `run`; None means that it cannot."""

    def __init__(
        self, run: Callable[[Node, Mapping[str, tuple[Result, ...]]], Result | None], jobs: int = 2
    ) -> None:
        self.jobs = jobs
        self.names: list[str] = []
        self._run = run

    def takes(self, node: Node) -> bool:
        return node.name.startswith("heavy")

    def run(self, node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> Result | None:
        self.names.append(node.name)
        return self._run(node, inputs)


def test_node_that_the_executor_takes_runs_there(store: Elsewhere) -> None:
    local = Counted()
    heavy = node("heavy", local, needs=[node("light", text="a")], text="b")
    made = Result(Artifact("blob", put(store, b"made elsewhere")), (), 1.5)
    cluster = Cluster(lambda node, inputs: made)
    events: list[Event] = []

    results = built({"out": heavy}, store, settings=Settings(executor=cluster), report=events.append)
    again = built({"out": heavy}, store, settings=Settings(executor=cluster))

    assert results == again == {"out": made}
    assert cluster.names == ["heavy"]
    assert local.texts == []
    assert started(events) == ["light", "heavy"]


def test_executor_is_given_the_results_of_the_inputs(store: Elsewhere) -> None:
    light = node("light", text="a")
    given: list[Mapping[str, tuple[Result, ...]]] = []

    def run(node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> None:
        given.append(inputs)

    results = built(
        {"out": node("heavy", needs=[light]), "light": light}, store, settings=Settings(executor=Cluster(run))
    )

    assert given == [{"inputs": (results["light"],)}]


def test_node_that_the_executor_gives_up_runs_here_and_is_told_once(store: Elsewhere) -> None:
    events: list[Event] = []
    heavy = node("heavy", text="b")

    results = built(
        {"out": heavy},
        store,
        settings=Settings(executor=Cluster(lambda node, inputs: None)),
        report=events.append,
    )

    assert content_of(results["out"], store) == b"b"
    assert started(events) == ["heavy"]


def test_runs_elsewhere_do_not_take_the_places_of_runs_here(store: Elsewhere) -> None:
    together = threading.Barrier(4)
    made = Result(Artifact("blob", put(store, b"x")))

    def run(node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> Result:
        together.wait(20)
        return made

    def here(work: Work[TextOptions]) -> Digest:
        together.wait(20)
        return joined(work)

    nodes = {name: node(name, here, text=name) for name in ("heavy 1", "heavy 2", "heavy 3", "light")}

    results = built(nodes, store, settings=Settings(jobs=1, executor=Cluster(run, jobs=3)))

    assert len(results) == 4


def test_bug_in_the_executor_is_not_taken_for_a_failed_node(store: Elsewhere) -> None:
    def run(node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> Result:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        built({"out": node("heavy")}, store, settings=Settings(executor=Cluster(run)))


def test_summary_counts_a_run_elsewhere_as_run(store: Elsewhere) -> None:
    made = Result(Artifact("extents", put(store, Extents.of([Literal(b"x")]).encode())))
    events: list[Event] = []

    built(
        {"out": node("heavy", output="extents")},
        store,
        settings=Settings(executor=Cluster(lambda node, inputs: made)),
        report=events.append,
    )

    (finished,) = [event for event in events if isinstance(event, NodesFinished)]
    assert (finished.ran, finished.cached) == (1, 0)
    assert [event.elsewhere for event in events if isinstance(event, (NodeStarted, NodeFinished))] == [
        True,
        True,
    ]


def test_interrupt_ends_what_runs_wait_for_elsewhere(store: Elsewhere) -> None:
    waiting, stopped = threading.Event(), threading.Event()

    def run(node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> None:
        waiting.set()
        assert stopped.wait(20)

    def report(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node.name == "light":
            assert waiting.wait(20)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(
            {"heavy": node("heavy", text="x"), "light": node("light")},
            store,
            settings=Settings(executor=Cluster(run), stop=stopped.set),
            report=report,
        )

    assert stopped.is_set()


def test_nothing_elsewhere_is_asked_about_a_form_that_is_here(store: Elsewhere, tmp_path: Path) -> None:
    result = with_dense(store, sliced())
    lose(store, *result.content())
    store.distance = None  # type: ignore[method-assign,assignment]

    assert result.nearest(store) == result.dense


def test_content_that_is_lost_whenever_it_was_made_ends_the_build(store: Elsewhere) -> None:
    """A store may say that what was just made is nowhere; no node is made again without end."""
    bottom = node("bottom", text="large")
    top = node(
        "top",
        lambda work: Extents.whole(work.artifacts("inputs")[0].digest),
        needs=[bottom],
        output="extents",
    )

    class Losing(Elsewhere):
        def distance(self, digests: Iterable[Digest]) -> float:
            return math.inf

        def missing(self, digests: Iterable[Digest]) -> set[Digest]:
            return set(digests)

    with pytest.raises(StoreError, match="keeps changing"):
        built({"out": top}, Losing(Path(store.path(put(store, b"x"))).parents[2] / "losing"))
