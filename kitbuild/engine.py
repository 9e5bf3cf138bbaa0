"""The engine: for every node look its key up, and run what has no result, in parallel, once a key.

It is lazy from the top. A result found in the store is taken by its digest alone; whether its content can be had,
and how soon, is asked only when a node that has to run reads it, or when it is an output somebody wants. Content that
is gone, or takes longer to bring here than to make, is made again in the same build.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.errors import BuildError, KitbuildError, MissingBlobError, StoreError
from kitbuild.event import (
    Event,
    FetchFinished,
    FetchStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodesFinished,
    NodesStarted,
    NodeStarted,
    Reporter,
    RunsExpected,
    Warned,
)
from kitbuild.graph import Graph, inputs_of
from kitbuild.journal import Journal, Outcome
from kitbuild.lookup import artifacts_of, levels_of
from kitbuild.node import Ingredients, Key, Node, ingredients_of
from kitbuild.record import CACHE_OFF, CONTENT_GONE, History, NoHistory
from kitbuild.rule import Artifact
from kitbuild.store import Result, Store
from kitbuild.work import StoreWork, kept

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

# Content that vanishes again and again means somebody empties the cache while we build: say so, do not spin.
_MOST_RERUNS = 3
# A run may fail so often for content that was here or made again, and vanished; inputs lost elsewhere do not count.
_MOST_TRIES = 10
# What is made again may need what turns out to be lost in its turn, once a level of the graph.
_MOST_FETCHES = 32
# What comes sooner is not weighed against making it again; both are guesses, so that has to be this much quicker.
_SOON_SECONDS = 2.0
_WORTH_TIMES = 2.0
# Nodes above a node that are looked at to guess what making it again takes.
_MOST_LEVELS = 32


class Executor(Protocol):
    """Runs nodes elsewhere, `jobs` at once. A run may fail there for any reason: then the node runs here."""

    @property
    def jobs(self) -> int:
        """How many runs it takes at once."""

    def takes(self, node: Node) -> bool:
        """True for a node worth sending away."""

    def run(self, node: Node, inputs: Mapping[str, tuple[Result, ...]]) -> Result | None:
        """The result of a run elsewhere, its content in the store or where that can get it; None: run it here."""


class Settings(NamedTuple):
    """How to build: `jobs` nodes at once (0: one a processor); without `use_cache` every node runs.

    With `require_cached` the first node that would have to run fails the build. What `executor` takes runs there.
    `stop` is called when the build ends early, before runs are waited for: it ends what they may wait for.
    `expected` gives, by name, how many seconds nodes took when they ran last; it is asked if any has to run.
    """

    jobs: int = 0
    use_cache: bool = True
    require_cached: bool = False
    executor: Executor | None = None
    stop: Callable[[], None] = lambda: None
    expected: Callable[[], Mapping[str, float]] = dict


_DEFAULTS = Settings()
_NO_HISTORY = NoHistory()


def build(
    graph: Graph,
    store: Store,
    *,
    report: Reporter,
    history: History = _NO_HISTORY,
    settings: Settings = _DEFAULTS,
    wanted: Callable[[str, Artifact], bool] = lambda name, artifact: True,
) -> dict[str, Result]:
    """The results of the graph's outputs, by output name.

    What `Result.file` takes of an output is here if `wanted(name, artifact)` said so; `history` is told what became
    of every node. Raises BuildError when nodes failed, after all that do not need them have run, and StoreError at
    once when the store cannot be used; KeyboardInterrupt passes through once every run has stopped.
    """
    for _ in range(_MOST_RERUNS):
        run = _Build(graph, store, history, report, settings, wanted)
        try:
            return run.all()
        except _ChangedError:
            continue
    raise _changing()


def _changing() -> MissingBlobError:
    return MissingBlobError(
        "the content of the cache keeps changing under this build", hint="look for what else writes to it"
    )


class _ChangedError(Exception):
    """A node made again gave other bytes than before, so keys worked out from the old ones are void."""


class _Run:
    """A node that has to run: its key, and the inputs whose content is being made again first."""

    def __init__(self, ingredients: Ingredients, why: tuple[str, ...]) -> None:
        self.ingredients = ingredients
        self.why = why
        self.blocked_by: set[Node] = set()
        self.tries = 0


class _Task(NamedTuple):
    """What a run in another thread needs to know; without `why` its start was told already."""

    node: Node
    inputs: Mapping[str, tuple[Result, ...]]
    ingredients: Ingredients
    why: tuple[str, ...]


class _Done(NamedTuple):
    node: Node
    result: Result | None
    error: BaseException | None
    elsewhere: bool = False


class _Build:
    """One pass over a graph. All state belongs to the thread that calls `all`; workers only report back."""

    def __init__(
        self,
        graph: Graph,
        store: Store,
        history: History,
        report: Reporter,
        settings: Settings,
        wanted: Callable[[str, Artifact], bool],
    ) -> None:
        self._graph = graph
        self._store = store
        self._history = history
        self._journal = Journal()
        self._report_lock = threading.Lock()
        self._report = report
        self._settings = settings
        self._wanted = wanted
        self._executor = settings.executor
        self._users = graph.users()
        self._results: dict[Node, Result] = {}
        self._present: set[Node] = set()
        self._runs: dict[Node, _Run] = {}
        self._in_flight: dict[Key, list[Node]] = {}
        self._failures: dict[Node, KitbuildError] = {}
        # By a node whose content is being made again, those that wait for it.
        self._waiting: dict[Node, list[Node]] = {}
        # What was looked up, and what it is made of.
        self._looked_up: dict[Node, tuple[Ingredients, Key]] = {}
        # What ran in this build, so that nothing runs twice even without a cache.
        self._made: dict[Key, Result] = {}
        self._done: SimpleQueue[_Done] = SimpleQueue()
        self._cancelled = threading.Event()
        # Threads for runs here and elsewhere.
        self._pools: dict[bool, ThreadPoolExecutor] = {}
        self._pools_lock = threading.Lock()
        self._ran: set[Node] = set()
        self._expected = False
        self._fetches = 0
        # How often the content of a node was lost in this build.
        self._remade: dict[Node, int] = {}

    def all(self) -> dict[str, Result]:
        started = time.monotonic()
        self._tell(NodesStarted(len(self._graph), self._jobs()))
        try:
            for level in levels_of(self._graph):
                self._visit(level)
            self._want_outputs()
            while self._in_flight:
                self._take(self._done.get())
                if not self._in_flight:
                    self._want_outputs()
        except _ChangedError:
            raise
        except BaseException:
            self._settings.stop()
            raise
        finally:
            self._stop()
        self._remember()
        self._tell(self._summary(time.monotonic() - started))
        if self._failures:
            raise BuildError([(node.name, error) for node, error in self._failures.items()])
        return {name: self._results[node] for name, node in self._graph.outputs.items()}

    def _summary(self, seconds: float) -> NodesFinished:
        # A node whose content could not be made again has a result of old all the same.
        unfinished = {node for node in self._graph if node not in self._results or node in self._runs}
        assert self._failures or not unfinished, f"never run: {unfinished}"
        ran, failed = len(self._ran - unfinished), len(self._failures)
        cached = len(self._graph) - ran - len(unfinished)
        return NodesFinished(ran, cached, failed, len(unfinished) - failed, seconds)

    # -- deciding

    def _visit(self, nodes: Sequence[Node]) -> None:
        """Looks those up whose inputs are known, all at once, and lets run what has no result."""
        found: dict[Node, Result | None] = {}
        asked: dict[Node, Key] = {}
        for node in nodes:
            inputs = artifacts_of(node, self._results)
            if inputs is None:
                continue
            ingredients = ingredients_of(node, inputs)
            key = ingredients.key()
            self._looked_up[node] = ingredients, key
            found[node] = self._made.get(key)
            if found[node] is None and self._settings.use_cache:
                asked[node] = key
        found.update(zip(asked, self._store.results(tuple(asked.values())), strict=True))
        for node, result in found.items():
            if result is not None:
                self._results[node] = result
                self._tell(NodeCached(node, result.artifact, result.far, result.seconds))
            else:
                self._need_run(node, self._looked_up[node][0])

    def _need_run(self, node: Node, ingredients: Ingredients, why: tuple[str, ...] = ()) -> None:
        if self._settings.require_cached:
            self._refuse(node, why or self._reasons(node, ingredients))
        run = self._runs.setdefault(node, _Run(ingredients, why))
        for needed in dict.fromkeys(inputs_of(node)):
            if not self._is_present(needed):
                self._make_again(needed)
                run.blocked_by.add(needed)
                self._waiting.setdefault(needed, []).append(node)
        if not run.blocked_by:
            self._submit(node)

    def _refuse(self, node: Node, why: tuple[str, ...]) -> None:
        error = KitbuildError(
            f"expected it in the cache: {'; '.join(why)}", hint="build without `--require-cached` to run it"
        )
        self._tell(NodeFailed(node, error))
        raise BuildError([(node.name, error)])

    def _is_present(self, node: Node) -> bool:
        if node not in self._present and node not in self._runs:
            if not self._is_worth(node, self._store.distance(self._results[node].content())):
                return False
            self._present.add(node)
        return node in self._present

    def _is_worth(self, node: Node, distance: float) -> bool:
        """True if content `distance` seconds away is had no later than by making it again."""
        if distance <= _SOON_SECONDS or math.isinf(distance):
            return not math.isinf(distance)
        return distance <= _WORTH_TIMES * self._remaking(node, distance)

    def _remaking(self, node: Node, most: float, levels: int = _MOST_LEVELS) -> float:
        """About how many seconds it takes to make a node again; not looked into once that is more than `most`."""
        seconds = self._results[node].seconds
        for needed in dict.fromkeys(inputs_of(node)):
            if seconds > most or not levels:
                return math.inf
            distance = self._store.distance(self._results[needed].content())
            if distance > 0:
                seconds += min(distance, self._remaking(needed, most - seconds, levels - 1))
        return seconds

    def _make_again(self, node: Node) -> None:
        if node not in self._runs:
            self._remade[node] = self._remade.get(node, 0) + 1
            if self._remade[node] > _MOST_FETCHES:
                raise _changing()
            inputs = artifacts_of(node, self._results)
            assert inputs is not None
            self._need_run(node, ingredients_of(node, inputs), (CONTENT_GONE,))

    def _want_outputs(self) -> None:
        """Makes again the wanted outputs that nobody has, and brings the others here once nothing runs."""
        brought: dict[Node, tuple[Digest, ...]] = {}
        for name, node in self._graph.outputs.items():
            result = self._results.get(node)
            if result is None or node in self._runs or not self._wanted(name, result.artifact):
                continue
            form = result.nearest(self._store)
            if self._is_worth(node, self._store.distance(form)):
                brought[node] = form
            else:
                self._forget_lost()
                self._make_again(node)
        if self._in_flight or not brought:
            return
        digests = dict.fromkeys(digest for form in brought.values() for digest in form)
        away = self._store.missing(digests)
        if not away:
            return
        self._fetches += 1
        if self._fetches > _MOST_FETCHES:
            raise _changing()
        self._tell(FetchStarted(len(away), sum(digest.size for digest in away)))
        lost = self._store.fetch(away)
        self._tell(FetchFinished(len(lost)))
        if lost:
            self._forget_lost()
        self._bring_or_make({node: form for node, form in brought.items() if not lost.isdisjoint(form)})

    def _bring_or_make(self, outputs: Mapping[Node, tuple[Digest, ...]]) -> None:
        """Makes outputs that turned out to be lost, and those that came too slowly if that is quicker."""
        for node, form in outputs.items():
            if not self._is_worth(node, self._store.distance(form)):
                self._make_again(node)
        if outputs and not self._in_flight:
            self._want_outputs()

    def _forget_lost(self) -> None:
        """Looks again at what was present: a remote cache may have failed since, and its content be nowhere."""
        self._present = {
            node
            for node in self._present
            if math.isfinite(self._store.distance(self._results[node].content()))
        }

    # -- running

    def _submit(self, node: Node) -> None:
        run = self._runs[node]
        key = run.ingredients.key()
        twins = self._in_flight.setdefault(key, [])
        twins.append(node)
        if len(twins) > 1:
            return
        why = run.why or self._reasons(node, run.ingredients)
        self._tell_expected()
        inputs = {
            name: tuple(self._results[needed] for needed in given) for name, given in node.inputs.items()
        }
        task = _Task(node, inputs, run.ingredients, why)
        if self._executor is not None and self._executor.takes(node):
            self._in_pool(self._work_elsewhere, task, jobs=self._executor.jobs)
        else:
            self._in_pool(self._work, task)

    def _in_pool(self, work: Callable[[_Task], None], task: _Task, *, jobs: int = 0) -> None:
        """Submits to the pool for runs elsewhere if it is to have `jobs`, else to the one for runs here."""
        elsewhere = bool(jobs)
        with self._pools_lock:
            if elsewhere not in self._pools:
                # Ten milliseconds that a build with nothing to do need not spend.
                from concurrent.futures import ThreadPoolExecutor

                self._pools[elsewhere] = ThreadPoolExecutor(jobs or self._jobs(), "kitbuild")
            # A pool that was shut down is that of a build that is over.
            with suppress(RuntimeError):
                self._pools[elsewhere].submit(work, task)

    def _work_elsewhere(self, task: _Task) -> None:
        """In a thread that waits for a run elsewhere: records what it gave, or lets the node run here."""
        assert self._executor is not None
        try:
            self._journal.started(task.node, task.why, elsewhere=True)
            self._tell(NodeStarted(task.node, task.why, elsewhere=True))
            result = self._executor.run(task.node, task.inputs)
            if result is None:
                self._in_pool(self._work, task._replace(why=()))
                return
            self._store.record(task.ingredients.key(), result)
            self._done.put(_Done(task.node, result, None, elsewhere=True))
        except BaseException as error:
            self._done.put(_Done(task.node, None, error))

    def _work(self, task: _Task) -> None:
        """In a worker: runs the rule, keeps what it gave, then records it; reports back whatever happens."""
        node, inputs = task.node, task.inputs
        try:
            self._journal.started(node, task.why)
            if task.why:
                self._tell(NodeStarted(node, task.why))
            started = time.monotonic()
            with StoreWork(
                options=node.options,
                inputs={name: tuple(given.artifact for given in results) for name, results in inputs.items()},
                store=self._store,
                cancelled=self._cancelled.is_set,
                warn=lambda message: self._warn(message, node),
                progress=lambda done, size: self._tell(NodeProgressed(node, done, size)),
            ) as work:
                artifact, blobs = kept(node.rule.run(work), work, inputs)
            result = Result(artifact, blobs, round(time.monotonic() - started, 6))
            self._store.record(task.ingredients.key(), result)
            self._done.put(_Done(node, result, None))
        except OSError as error:
            # The disk or a source failed under the rule, which is nobody's bug.
            place = f"`{error.filename}`: " if error.filename else ""
            self._done.put(_Done(node, None, KitbuildError(f"{place}{error.strerror or error}")))
        except BaseException as error:
            self._done.put(_Done(node, None, error))

    def _take(self, done: _Done) -> None:
        run = self._runs[done.node]
        twins = self._in_flight.pop(run.ingredients.key())
        if done.result is not None:
            self._made[run.ingredients.key()] = done.result
            self._ran.add(done.node)
            self._tell(
                NodeFinished(done.node, done.result.artifact, done.result.seconds, elsewhere=done.elsewhere)
            )
            for node in twins:
                if node is not done.node:
                    self._tell(NodeCached(node, done.result.artifact))
                self._finish(node, done.result)
            return
        if isinstance(done.error, MissingBlobError) and run.tries < _MOST_TRIES:
            self._present.difference_update(inputs_of(done.node))
            self._forget_lost()
            for node in twins:
                self._need_run(node, run.ingredients)
            # Of many inputs one a run may turn out to be lost. That ends; what had to be made once already may not.
            run.tries += all(self._looked_up[needed][1] in self._made for needed in run.blocked_by)
            return
        # Without a store that works no node has a chance; one that keeps losing content is this node's trouble.
        ends_all = isinstance(done.error, StoreError) and not isinstance(done.error, MissingBlobError)
        if ends_all or not isinstance(done.error, KitbuildError):
            assert done.error is not None
            raise done.error
        for node in twins:
            self._tell(NodeFailed(node, done.error))
            self._failures[node] = done.error

    def _finish(self, node: Node, result: Result) -> None:
        before = self._results.get(node)
        if before is not None and before.artifact != result.artifact:
            raise _ChangedError
        del self._runs[node]
        self._results[node] = result
        self._present.add(node)
        for other in self._waiting.pop(node, ()):
            run = self._runs[other]
            run.blocked_by.discard(node)
            if not run.blocked_by:
                self._submit(other)
        if before is None:
            self._visit_users(node)

    def _visit_users(self, node: Node) -> None:
        """Visits what uses a node and, as long as there are results, what uses that."""
        stack = list(reversed(self._users[node]))
        while stack:
            user = stack.pop()
            if user in self._results or user in self._runs:
                continue
            self._visit([user])
            if user in self._results:
                stack.extend(reversed(self._users[user]))

    def _stop(self) -> None:
        self._cancelled.set()
        for elsewhere in (True, False):
            with self._pools_lock:
                pool = self._pools.get(elsewhere)
            if pool is not None:
                pool.shutdown(wait=True, cancel_futures=True)

    def _reasons(self, node: Node, ingredients: Ingredients) -> tuple[str, ...]:
        if not self._settings.use_cache:
            return (CACHE_OFF,)
        return self._history.why(node, ingredients, self._graph)

    def _tell_expected(self) -> None:
        """Tells once, before the first run, how long nodes took when they ran last."""
        if not self._expected:
            self._expected = True
            if seconds := self._settings.expected():
                self._tell(RunsExpected(seconds))

    def _jobs(self) -> int:
        """How many nodes run here at once."""
        return self._settings.jobs or os.cpu_count() or 1

    def _remember(self) -> None:
        outcome = Outcome(self._looked_up, self._results, self._failures, self._ran)
        if self._history.wants(outcome.state(), ran=bool(self._ran or self._failures)):
            self._history.keep(self._journal.record(self._graph, outcome))

    def _warn(self, message: str, node: Node) -> None:
        self._journal.warned(node, message)
        self._tell(Warned(message, node))

    def _tell(self, event: Event) -> None:
        with self._report_lock:
            self._report(event)
