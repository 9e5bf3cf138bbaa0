"""The engine, with tiny rules over a store in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitbuild.cache.memory import MemoryStore
from kitbuild.digest import Digest
from kitbuild.engine import Settings, build
from kitbuild.errors import BuildError, MissingBlobError, RuleError, StoreError
from kitbuild.event import (
    Event,
    NodeCached,
    NodeFinished,
    NodeProgressed,
    NodesFinished,
    NodeStarted,
    RunsExpected,
    Warned,
)
from kitbuild.extents import Extents, Slice
from kitbuild.graph import Graph
from kitbuild.history import Builds
from kitbuild.lookup import status
from kitbuild.node import Key, Node
from kitbuild.rule import Artifact, Work
from kitbuild.store import Result
from kitbuild.tree import Entry, Tree
from tests.support.nodes import (
    Counted,
    TextOptions,
    built,
    content_of,
    joined,
    lose,
    node,
    reporter,
    told,
    uppercase,
)

SECONDS = 20  # how long a test waits for another thread before it gives up


@pytest.fixture
def store(tmp_path: Path) -> MemoryStore:
    return MemoryStore(tmp_path / "store")


def failing(work: Work[TextOptions]) -> Digest:
    raise RuleError(f"no {work.options.text or 'luck'}")


def waiting_for(barrier: threading.Barrier) -> Callable[[Work[TextOptions]], Digest]:
    def run(work: Work[TextOptions]) -> Digest:
        barrier.wait(SECONDS)
        return joined(work)

    return run


def summary(events: list[Event]) -> tuple[int, int, int, int]:
    (finished,) = [event for event in events if isinstance(event, NodesFinished)]
    return finished.ran, finished.cached, finished.failed, finished.left


def why(events: list[Event], name: str) -> tuple[str, ...]:
    (found,) = {event.why for event in events if isinstance(event, NodeStarted) and event.node.name == name}
    return found


# -- what is run, and in what order


def test_result_of_an_output_is_what_its_rule_made_of_its_inputs(store: MemoryStore) -> None:
    first, second = node("first", text="a"), node("second", text="b")
    whole = node("whole", needs=[second, first], text="<")

    results = built({"out": whole, "part": first}, store)

    assert list(results) == ["out", "part"]
    assert content_of(results["out"], store) == b"<ba"
    assert results["part"] == Result(Artifact("blob", Digest.of(b"a")), (), results["part"].seconds)


def test_inputs_run_before_what_uses_them(store: MemoryStore) -> None:
    bottom = node("bottom", text="a")
    left, right = node("left", needs=[bottom]), node("right", needs=[bottom])
    top = node("top", needs=[left, right])
    events: list[Event] = []

    built({"out": top}, store, report=events.append)

    names = told(events)
    for needed, user in [("bottom", "left"), ("bottom", "right"), ("left", "top"), ("right", "top")]:
        assert names.index(f"NodeFinished {needed}") < names.index(f"NodeStarted {user}")


def test_nodes_that_do_not_need_each_other_run_at_the_same_time(store: MemoryStore) -> None:
    run = waiting_for(threading.Barrier(2))
    nodes = {name: node(name, run) for name in ("first", "second")}

    results = built(nodes, store, jobs=2)

    assert len(results) == 2  # alone, each would wait for the other


def test_no_more_nodes_run_at_once_than_jobs_say(store: MemoryStore) -> None:
    running = threading.Semaphore(1)

    def alone(work: Work[TextOptions]) -> Digest:
        assert running.acquire(blocking=False)
        digest = joined(work)
        running.release()
        return digest

    nodes = {str(number): node(str(number), alone, text=str(number)) for number in range(20)}

    results = built(nodes, store, jobs=1)

    assert len(results) == 20


def test_a_node_counts_as_started_when_it_runs_not_when_it_is_ready(store: MemoryStore) -> None:
    events: list[Event] = []
    started: list[int] = []

    def run(work: Work[TextOptions]) -> Digest:
        started.append(sum(isinstance(event, NodeStarted) for event in events))
        return joined(work)

    built({name: node(name, run) for name in "abc"}, store, report=events.append, jobs=1)

    assert started == [1, 2, 3]


def test_without_jobs_as_many_nodes_run_as_there_are_processors(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    run = waiting_for(threading.Barrier(3))

    results = built({name: node(name, run) for name in "abc"}, store, jobs=0)

    assert len(results) == 3


def test_nodes_with_equal_ingredients_run_once(store: MemoryStore) -> None:
    counted, events = Counted(), list[Event]()
    twins = {name: node(name, counted, rule="twin", text="same") for name in ("one", "other")}
    users = {f"{name} user": node(f"{name} user", uppercase, needs=[twin]) for name, twin in twins.items()}

    results = built({**twins, **users}, store, report=events.append)

    assert counted.texts == ["same"]
    assert results["one"] == results["other"]
    assert content_of(results["other user"], store) == b"SAME"
    assert "NodeCached other" in told(events)


@pytest.mark.parametrize("use_cache", [True, False])
def test_node_equal_to_one_that_ran_before_does_not_run(store: MemoryStore, use_cache: bool) -> None:
    counted = Counted()
    early = node("early", counted, rule="twin", text="x")
    after = node("after", uppercase, needs=[early])
    # Its input turns out to be what `early` has none of, so both are made of the same: nothing but a text.
    late = node("late", counted, rule="twin", needs=[node("empty", text="")], text="x")
    later = node(
        "later", counted, rule="twin", needs=[node("empty again", needs=[after], run=_empty)], text="x"
    )

    built({"after": after, "late": late, "later": later}, store, use_cache=use_cache)

    assert counted.texts == ["x", "x"]


def _empty(work: Work[TextOptions]) -> Digest:
    return work.put(b"")


def test_second_build_runs_nothing(store: MemoryStore) -> None:
    counted, events = Counted(), list[Event]()
    graph = {"out": node("top", counted, needs=[node("bottom", counted)])}
    first = built(graph, store)

    second = built(graph, store, report=events.append)

    assert second == first
    assert len(counted.texts) == 2
    assert told(events) == ["NodesStarted", "NodeCached bottom", "NodeCached top", "NodesFinished"]


def test_input_made_anew_with_the_same_bytes_stops_the_rebuild(store: MemoryStore) -> None:
    counted = Counted()
    built({"out": node("top", counted, needs=[node("bottom", text="a", rule="one")])}, store)

    built({"out": node("top", counted, needs=[node("bottom", text="a", rule="two")])}, store)

    assert len(counted.texts) == 1


def test_users_of_users_are_found_once_an_input_is_made_anew(store: MemoryStore) -> None:
    counted, events = Counted(), list[Event]()

    def outputs(rule: str) -> dict[str, Node]:
        bottom = node("bottom", text="a", rule=rule)
        middle = node("middle", counted, needs=[bottom])
        return {
            "top": node("top", counted, needs=[bottom, middle]),
            "side": node("side", counted, needs=[bottom]),
        }

    built(outputs("one"), store)

    built(outputs("two"), store, report=events.append)

    assert len(counted.texts) == 3
    assert [name for name in told(events) if "Cached" in name] == [
        "NodeCached middle",
        "NodeCached top",
        "NodeCached side",
    ]


def test_without_the_cache_every_node_runs_and_is_recorded(store: MemoryStore) -> None:
    counted, events = Counted(), list[Event]()
    graph = {"out": node("top", counted, needs=[node("bottom", counted)])}
    built(graph, store)

    built(graph, store, use_cache=False, report=events.append)

    assert len(counted.texts) == 4
    assert summary(events) == (2, 0, 0, 0)
    assert why(events, "top") == ("the cache is switched off",)


def test_graph_of_a_thousand_nodes_in_a_row_is_no_trouble(store: MemoryStore) -> None:
    last = node("0", text="x")
    for number in range(1, 1000):
        last = node(str(number), rule="pass", needs=[last])

    results = built({"out": last}, store)

    assert content_of(results["out"], store) == b"x"


# -- what a rule may give


def test_tree_and_extents_are_kept_in_canonical_bytes_with_the_blobs_they_refer_to(
    store: MemoryStore,
) -> None:
    def tree(work: Work[TextOptions]) -> Tree:
        blob = work.put(b"content")
        return Tree.of([Entry("file", "file", 0o644, content=Slice(blob, 0, 7))])

    def extents(work: Work[TextOptions]) -> Extents:
        (entry,) = work.entries(work.artifacts("inputs")[0])
        return Extents.of([entry.content] if entry.content else [])

    made = node("tree", tree, output="tree")

    results = built({"tree": made, "file": node("file", extents, needs=[made], output="extents")}, store)

    content = Digest.of(b"content")
    whole = Extents.whole(content)
    assert results["file"].artifact == Artifact("extents", Digest.of(whole.encode()))
    assert [results["file"].blobs, results["tree"].blobs] == [(content,), (content,)]
    assert content_of(results["file"], store) == whole.encode()


def test_input_given_back_keeps_its_blobs(store: MemoryStore) -> None:
    def extents(work: Work[TextOptions]) -> Extents:
        return Extents.whole(work.put(work.options.text.encode()))

    def second(work: Work[TextOptions]) -> Artifact:
        return work.artifacts("inputs")[1]

    needed = [node(name, extents, text=name, output="extents") for name in ("a", "b")]

    results = built({"out": node("chosen", second, needs=needed, output="extents"), "b": needed[1]}, store)

    assert results["out"].artifact == results["b"].artifact
    assert results["out"].blobs == (Digest.of(b"b"),)


def test_artifact_that_is_no_input_is_a_bug(store: MemoryStore) -> None:
    def stranger(work: Work[TextOptions]) -> Artifact:
        return Artifact("blob", Digest.of(b"from nowhere"))

    with pytest.raises(ValueError):
        built({"out": node("odd", stranger)}, store)


# -- failures


def test_failed_node_leaves_its_users_and_lets_the_others_finish(store: MemoryStore) -> None:
    events: list[Event] = []
    bad, good = node("bad", failing, text="kernel"), node("good", text="x")
    user = node("user", needs=[bad, good])
    worse = node("worse", failing)

    with pytest.raises(BuildError) as raised:
        built(
            {"user": user, "other": node("other", uppercase, needs=[good]), "worse": worse},
            store,
            report=events.append,
        )

    failures = {name: str(error) for name, error in raised.value.failures}
    assert failures == {"bad": "no kernel", "worse": "no luck"}
    assert summary(events) == (2, 0, 2, 1)
    assert {"NodeFinished other", "NodeFailed bad", "NodeFailed worse"} <= set(told(events))
    assert "NodeStarted user" not in told(events)
    assert isinstance(events[-1], NodesFinished)


def test_failed_node_is_not_recorded_and_runs_again(store: MemoryStore) -> None:
    counted = Counted(failing)
    outputs = {"out": node("bad", counted)}

    for _ in range(2):
        with pytest.raises(BuildError):
            built(outputs, store)

    assert len(counted.texts) == 2
    assert status(Graph.of(outputs), store) == {outputs["out"]: None}


def test_nodes_with_equal_ingredients_fail_together(store: MemoryStore) -> None:
    counted, events = Counted(failing), list[Event]()
    twins = {name: node(name, counted, rule="twin") for name in ("one", "other")}

    with pytest.raises(BuildError) as raised:
        built(twins, store, report=events.append)

    assert sorted(name for name, _ in raised.value.failures) == ["one", "other"]
    assert summary(events) == (0, 0, 2, 0)


def test_store_that_cannot_be_written_ends_the_build_with_one_error(store: MemoryStore) -> None:
    barrier = threading.Barrier(2)

    def full(work: Work[TextOptions]) -> Digest:
        barrier.wait(SECONDS)
        raise StoreError("no space")

    with pytest.raises(StoreError, match="no space") as raised:
        built({"a": node("a", full), "b": node("b", full)}, store)

    assert not isinstance(raised.value, BuildError)


def test_unexpected_exception_surfaces_with_the_place_it_came_from(store: MemoryStore) -> None:
    def buggy(work: Work[TextOptions]) -> Digest:
        return dict[str, Digest]()["nothing"]

    with pytest.raises(KeyError) as raised:
        built({"out": node("buggy", buggy)}, store)

    assert "buggy" in [entry.name for entry in raised.traceback]


def test_warning_of_a_rule_is_told_with_its_node(store: MemoryStore) -> None:
    def warning(work: Work[TextOptions]) -> Digest:
        work.warn("careful")
        return joined(work)

    events: list[Event] = []
    odd = node("odd", warning)

    built({"out": odd}, store, report=events.append)

    assert Warned("careful", odd) in events


# -- content that is gone


def test_content_of_a_cached_output_is_made_again(store: MemoryStore) -> None:
    events: list[Event] = []
    outputs = {"out": node("top", uppercase, needs=[node("bottom", text="a")])}
    built(outputs, store)
    lose(store, b"A")

    results = built(outputs, store, report=events.append)

    assert content_of(results["out"], store) == b"A"
    assert why(events, "top") == ("its content is no longer in the cache",)
    assert summary(events) == (1, 1, 0, 0)


def test_content_is_made_again_from_the_lowest_node_that_lost_it(store: MemoryStore) -> None:
    events: list[Event] = []
    middle = node("middle", uppercase, needs=[node("bottom", text="a")])
    outputs = {"out": node("top", needs=[middle], text="x")}
    built(outputs, store)
    lose(store, b"a", b"A", b"xA")

    results = built(outputs, store, report=events.append)

    assert content_of(results["out"], store) == b"xA"
    assert [name for name in told(events) if "Started " in name] == [
        "NodeStarted bottom",
        "NodeStarted middle",
        "NodeStarted top",
    ]


def test_content_nobody_reads_is_not_made_again(store: MemoryStore) -> None:
    counted = Counted()
    outputs = {"out": node("top", needs=[node("bottom", counted, text="a")], text="x")}
    built(outputs, store)
    lose(store, b"a")

    built(outputs, store)

    assert counted.texts == ["a"]


def test_output_that_is_not_wanted_needs_no_content(store: MemoryStore) -> None:
    asked, counted = [], Counted()
    outputs = {"out": node("top", counted, text="a")}
    built(outputs, store)
    lose(store, b"a")

    def wanted(name: str, artifact: Artifact) -> bool:
        asked.append((name, artifact))
        return False

    results = built(outputs, store, wanted=wanted)

    assert results["out"].artifact.digest == Digest.of(b"a")
    assert counted.texts == ["a"]
    assert set(asked) == {("out", Artifact("blob", Digest.of(b"a")))}


def test_blob_a_tree_refers_to_is_made_again_with_the_tree(store: MemoryStore) -> None:
    def tree(work: Work[TextOptions]) -> Tree:
        return Tree.of([Entry("file", "file", 0o644, content=Slice(work.put(b"content"), 0, 7))])

    def size(work: Work[TextOptions]) -> Digest:
        (entry,) = work.entries(work.artifacts("inputs")[0])
        assert entry.content
        return work.put(work.options.text.encode() + work.read(entry.content))

    made = node("tree", tree, output="tree")
    built({"out": node("size", size, needs=[made])}, store)
    lose(store, b"content")

    results = built({"out": node("size", size, needs=[made], text="new ")}, store)

    assert content_of(results["out"], store) == b"new content"


def test_content_lost_while_a_node_runs_is_made_again(store: MemoryStore) -> None:
    events: list[Event] = []
    lost: list[bool] = []

    def unlucky(work: Work[TextOptions]) -> Digest:
        if not lost:
            lost.append(True)
            lose(store, b"a")
        return uppercase(work)

    bottom = node("bottom", text="a")

    results = built({"out": node("top", unlucky, needs=[bottom])}, store, report=events.append)

    assert content_of(results["out"], store) == b"A"
    assert [name for name in told(events) if "bottom" in name or "top" in name] == [
        "NodeStarted bottom",
        "NodeFinished bottom",
        "NodeStarted top",
        "NodeStarted bottom",
        "NodeFinished bottom",
        "NodeStarted top",
        "NodeFinished top",
    ]
    assert summary(events) == (2, 0, 0, 0)


def test_content_lost_under_nodes_with_equal_ingredients_is_made_again_for_both(store: MemoryStore) -> None:
    lost: list[bool] = []

    def unlucky(work: Work[TextOptions]) -> Digest:
        if not lost:
            lost.append(True)
            lose(store, b"a")
        return uppercase(work)

    twins = {
        name: node(name, unlucky, rule="twin", needs=[node(f"under {name}", text="a")])
        for name in ("one", "other")
    }

    results = built(twins, store)

    assert content_of(results["one"], store) == b"A"
    assert results["one"].artifact == results["other"].artifact


def test_node_whose_inputs_always_vanish_fails(store: MemoryStore) -> None:
    def losing(work: Work[TextOptions]) -> Digest:
        lose(store, b"a")
        return uppercase(work)

    counted = Counted(losing)

    with pytest.raises(BuildError) as raised:
        built({"out": node("top", counted, needs=[node("bottom", text="a")])}, store)

    ((name, error),) = raised.value.failures
    assert name == "top"
    assert isinstance(error, MissingBlobError)
    assert len(counted.texts) == 11


def test_node_waits_for_all_inputs_that_are_made_again(store: MemoryStore) -> None:
    inputs = [node(name, text=name) for name in "abc"]
    built({"out": node("top", needs=inputs, text="x")}, store)
    lose(store, b"a", b"c")

    results = built({"out": node("top", needs=inputs, text="y")}, store)

    assert content_of(results["out"], store) == b"yabc"


def test_several_nodes_wait_for_one_that_is_made_again(store: MemoryStore) -> None:
    counted = Counted()
    bottom = node("bottom", counted, text="a")
    built({"out": bottom}, store)
    lose(store, b"a")

    results = built({name: node(name, needs=[bottom], text=name) for name in "xyz"}, store)

    assert [content_of(result, store) for result in results.values()] == [b"xa", b"ya", b"za"]
    assert counted.texts == ["a", "a"]


def test_node_that_cannot_be_made_again_leaves_those_that_wait_for_it(store: MemoryStore) -> None:
    calls, events = [], list[Event]()

    def once(work: Work[TextOptions]) -> Digest:
        calls.append(work)
        return joined(work) if len(calls) == 1 else failing(work)

    bottom = node("bottom", once, text="a")
    built({"out": bottom}, store)
    lose(store, b"a")
    outputs = {"out": node("user", needs=[bottom], text="x"), "bottom": bottom}

    with pytest.raises(BuildError) as raised:
        built(outputs, store, report=events.append)

    assert [name for name, _ in raised.value.failures] == ["bottom"]
    assert summary(events) == (0, 0, 1, 1)


def test_node_made_again_with_other_bytes_is_used_with_those(store: MemoryStore) -> None:
    numbers = iter(range(100))

    def different(work: Work[TextOptions]) -> Digest:
        return work.put(b"%d" % next(numbers))

    bottom = node("bottom", different)
    built({"out": node("top", needs=[bottom], text="x")}, store)
    lose(store, b"0")

    results = built({"out": node("top", needs=[bottom], text="y"), "bottom": bottom}, store)

    assert content_of(results["out"], store) == b"y1"
    assert content_of(results["bottom"], store) == b"1"


def test_build_gives_up_when_content_keeps_changing_and_vanishing(store: MemoryStore) -> None:
    numbers = iter(range(100))

    def different(work: Work[TextOptions]) -> Digest:
        return work.put(b"%d" % next(numbers))

    def emptying(work: Work[TextOptions]) -> Digest:
        lose(store, *(given.digest for given in work.artifacts("inputs")))
        return uppercase(work)

    with pytest.raises(StoreError, match="keeps changing"):
        built({"out": node("top", emptying, needs=[node("bottom", different)])}, store)


# -- order of writing, and interruption


class Watched(MemoryStore):
    """Checks that a result's content is there before the result is."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.recorded: list[Result] = []

    def record(self, key: Key, result: Result) -> None:
        assert not self.missing(result.content())
        self.recorded.append(result)
        super().record(key, result)


def test_result_is_recorded_after_its_content_and_before_it_is_told(tmp_path: Path) -> None:
    store = Watched(tmp_path)
    recorded_when_told = []

    def report(event: Event) -> None:
        if isinstance(event, NodeFinished):
            recorded_when_told.append(event.artifact in [result.artifact for result in store.recorded])

    def extents(work: Work[TextOptions]) -> Extents:
        return Extents.whole(work.put(b"abc"))

    built({"out": node("top", extents, output="extents", needs=[node("bottom")])}, store, report=report)

    assert recorded_when_told == [True, True]


def test_result_that_cannot_be_recorded_ends_the_build(tmp_path: Path) -> None:
    class Full(MemoryStore):
        def record(self, key: Key, result: Result) -> None:
            raise StoreError("no space")

    with pytest.raises(StoreError, match="no space"):
        built({"out": node("top")}, Full(tmp_path))


@pytest.mark.parametrize("stopping", ["write", "open", "pieces"])
def test_interrupt_stops_runs_and_leaves_nothing_unfinished(tmp_path: Path, stopping: str) -> None:
    store = MemoryStore(tmp_path / "store")
    started, ends = threading.Event(), []

    def endless(work: Work[TextOptions]) -> Digest:
        given = work.artifacts("inputs")[0].digest
        scratch = work.scratch()
        (scratch / "file").write_bytes(b"x")
        try:
            with work.writer() as writer:
                while True:
                    started.set()
                    if stopping == "write":
                        writer.write(b"x")
                    elif stopping == "open":
                        work.open(given).close()
                    else:
                        list(work.pieces(Slice(given, 0, given.size)))
        finally:
            ends.append(scratch)

    def report(event: Event) -> None:
        # The event of the second node comes in the main thread, while the first one runs.
        if isinstance(event, NodeFinished) and event.node.name == "quick":
            started.wait(SECONDS)
            raise KeyboardInterrupt

    needed = node("needed", text="a")
    built({"out": needed}, store)
    slow = node("slow", endless, needs=[needed])
    counted = Counted()
    queued = node("queued", counted, needs=[slow])

    with pytest.raises(KeyboardInterrupt):
        built({"slow": slow, "quick": node("quick", text="q"), "queued": queued}, store, report=report)

    assert [scratch.exists() for scratch in ends] == [False]
    assert counted.texts == []
    assert list((tmp_path / "store" / "tmp").iterdir()) == []
    assert status(Graph.of({"out": slow}), store)[slow] is None


def test_interrupt_drops_nodes_that_wait_for_a_worker(store: MemoryStore) -> None:
    counted = Counted()
    nodes = {str(number): node(str(number), counted, text=str(number)) for number in range(500)}

    def report(event: Event) -> None:
        if isinstance(event, NodeFinished):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(nodes, store, report=report, jobs=1)

    assert len(counted.texts) < 500


# -- events


def test_every_node_is_told_once_and_the_end_counts_them(store: MemoryStore) -> None:
    events: list[Event] = []
    bottom = node("bottom")
    built({"out": bottom}, store)
    top = node("top", needs=[bottom], text="x")

    built({"out": top}, store, report=events.append)

    assert told(events) == [
        "NodesStarted",
        "NodeCached bottom",
        "NodeStarted top",
        "NodeFinished top",
        "NodesFinished",
    ]
    assert summary(events) == (1, 1, 0, 0)
    finished = events[3]
    assert isinstance(finished, NodeFinished)
    assert finished.artifact == Artifact("blob", Digest.of(b"x"))
    assert finished.seconds >= 0


def test_events_come_one_at_a_time(store: MemoryStore) -> None:
    inside = threading.Semaphore(1)

    def warning(work: Work[TextOptions]) -> Digest:
        for _ in range(50):
            work.warn("again")
        return joined(work)

    def report(event: Event) -> None:
        assert inside.acquire(blocking=False)
        inside.release()

    results = built(
        {str(n): node(str(n), warning, text=str(n)) for n in range(8)}, store, report=report, jobs=4
    )

    assert len(results) == 8


def reasons_of(store: MemoryStore, text: str, *, scope: str = "") -> list[tuple[str, ...]]:
    """Builds one node with a text and gives why it ran, if it did."""
    events: list[Event] = []
    graph = Graph.of({"out": node("top", text=text)})
    build(graph, store, history=Builds(store, scope), report=reporter(events.append), settings=Settings(1))
    return [event.why for event in events if isinstance(event, NodeStarted)]


def test_reason_compares_with_the_last_build_of_the_same_scope(store: MemoryStore) -> None:
    reasons = [
        reasons_of(store, "a", scope="one"),
        reasons_of(store, "b", scope="one"),
        reasons_of(store, "c"),
    ]

    assert reasons == [
        [("never built before",)],
        [('option `text` changed from "a" to "b"',)],
        [("never built before",)],
    ]


def test_reason_compares_with_the_last_build_though_that_was_cached(store: MemoryStore) -> None:
    for text in ("a", "b", "a"):
        reasons_of(store, text)

    assert reasons_of(store, "c") == [('option `text` changed from "a" to "c"',)]


def test_build_like_the_last_one_writes_nothing(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons_of(store, "a")
    monkeypatch.setattr(store, "keep", None)
    monkeypatch.setattr(store, "record", None)

    assert reasons_of(store, "a") == []


def test_node_that_failed_first_is_remembered_once_it_is_made(store: MemoryStore) -> None:
    with pytest.raises(BuildError):
        built({"out": node("top", failing, text="a")}, store)
    reasons_of(store, "a")

    assert reasons_of(store, "c") == [('option `text` changed from "a" to "c"',)]


def test_reason_compares_with_the_last_build_though_that_failed(store: MemoryStore) -> None:
    reasons_of(store, "a")
    with pytest.raises(BuildError):
        built({"out": node("top", failing, text="b")}, store)

    assert reasons_of(store, "c") == [('option `text` changed from "b" to "c"',)]


def test_node_that_failed_runs_again_for_that_alone(store: MemoryStore) -> None:
    with pytest.raises(BuildError):
        built({"out": node("top", failing, text="a")}, store)

    assert reasons_of(store, "a") == [("it failed in the build before: no a",)]


def test_defaults_build_everything_that_is_wanted(store: MemoryStore) -> None:
    outputs = {"out": node("top", text="a")}
    graph = Graph.of(outputs)
    build(graph, store, report=lambda event: None)
    lose(store, b"a")

    results = build(graph, store, report=lambda event: None)

    assert content_of(results["out"], store) == b"a"


# -- status


def test_status_knows_results_as_far_as_they_can_be_known(store: MemoryStore) -> None:
    bottom = node("bottom", text="a")
    known = built({"out": bottom}, store)["out"]
    top = node("top", needs=[bottom])
    beyond = node("beyond", needs=[top])

    assert status(Graph.of({"out": beyond}), store) == {bottom: known, top: None, beyond: None}


# -- several builds at once


def test_builds_in_several_threads_share_a_store(store: MemoryStore) -> None:
    def outputs() -> dict[str, Node]:
        nodes = [node(str(number), text=str(number)) for number in range(20)]
        return {"out": node("top", needs=nodes)}

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: built(outputs(), store)["out"].artifact, range(8)))

    assert set(results) == {Artifact("blob", Digest.of("".join(map(str, range(20))).encode()))}


def test_node_another_build_finished_meanwhile_is_found(store: MemoryStore) -> None:
    counted = Counted()
    top = node("top", counted, needs=[node("bottom", text="a")])

    def report(event: Event) -> None:
        # Somebody else builds the same, between the two nodes of this build.
        if isinstance(event, NodeFinished) and event.node.name == "bottom":
            built({"out": top}, store)

    built({"out": top}, store, report=report)

    assert len(counted.texts) == 1


def test_failure_of_the_disk_under_a_rule_fails_its_node_alone() -> None:
    def broken(work: Work[TextOptions]) -> Digest:
        raise OSError(5, "Input/output error", "/dev/disk")

    bad, good = node("bad", broken), node("good", text="x")

    with pytest.raises(BuildError) as raised:
        built({"bad": bad, "good": good}, MemoryStore())

    ((name, error),) = raised.value.failures
    assert (name, str(error)) == ("bad", "`/dev/disk`: Input/output error")


# -- how far it is


def test_times_of_the_last_build_are_told_once_before_anything_runs(store: MemoryStore) -> None:
    events: list[Event] = []
    bottom = node("bottom", text="x")
    settings = Settings(expected=lambda: {"bottom": 1.5, "top": 2.0})

    built({"out": node("top", needs=[bottom])}, store, settings=settings, report=events.append)

    names = [type(event).__name__ for event in events]
    assert [event for event in events if isinstance(event, RunsExpected)] == [
        RunsExpected({"bottom": 1.5, "top": 2.0})
    ]
    assert names.index("RunsExpected") < names.index("NodeStarted")


def test_nobody_is_asked_for_times_if_nothing_runs(store: MemoryStore) -> None:
    def expected() -> dict[str, float]:
        raise AssertionError("asked")

    nodes = {"out": node("only")}
    built(nodes, store)

    built(nodes, store, settings=Settings(expected=expected))


def test_cached_node_says_how_long_it_took(store: MemoryStore) -> None:
    events: list[Event] = []
    nodes = {"out": node("only")}
    built(nodes, store, report=events.append)

    built(nodes, store, report=events.append)

    (ran,) = [event.seconds for event in events if isinstance(event, NodeFinished)]
    assert [event.seconds for event in events if isinstance(event, NodeCached)] == [ran]


def test_node_that_runs_long_says_how_far_it_is(store: MemoryStore) -> None:
    def slow(work: Work[TextOptions]) -> Digest:
        with work.writer() as writer:
            for piece in work.passing([bytes(1 << 17)] * 2, 1 << 18):
                writer.write(piece)
                threading.Event().wait(0.11)
            return writer.commit()

    events: list[Event] = []
    only = node("only", slow)

    built({"out": only}, store, report=events.append)

    assert [event for event in events if isinstance(event, NodeProgressed)] == [
        NodeProgressed(only, 1 << 18, 1 << 18)
    ]
