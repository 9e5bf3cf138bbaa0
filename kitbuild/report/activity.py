"""Activity: what goes on in a build at this moment, how far it is, and how long it may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kitbuild.event import (
    Downloaded,
    Event,
    FetchFinished,
    FetchStarted,
    KeepStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeProgressed,
    NodesFinished,
    NodesStarted,
    NodeStarted,
    OutputStarted,
    OutputWritten,
    RemoteUsed,
    RunsExpected,
)
from kitbuild.node import Node
from kitbuild.report.text import human_size, printable

# How much the newest of several measurements of a speed counts.
_WEIGHT = 0.3
# A speed is no longer one when nothing came for so long.
_STALE_SECONDS = 2.0
# The speed of the first bytes says little of the rest.
_LEAST_SHARE = 0.05
# Of the nodes that are left so many must be known from an earlier build for a guess.
_KNOWN_SHARE = 0.75


class Task(NamedTuple):
    """One thing that goes on since `started`: `done` bytes of `size` (0: nobody knows), at `rate` bytes a second.

    `at` is when bytes were last told of. It stands for a node, or for something the build as a whole does.
    """

    title: str
    started: float
    elsewhere: bool = False
    done: int = 0
    size: int = 0
    rate: float = 0.0
    at: float = 0.0

    def progressed(self, done: int, size: int, now: float) -> Task:
        """The same, further on."""
        seconds = now - (self.at or self.started)
        rate = (done - self.done) / seconds if seconds > 0 else self.rate
        # A node that runs again begins anew.
        rate = max(0.0, rate if not self.rate else self.rate + _WEIGHT * (rate - self.rate))
        # What tells how far it is runs here, whoever was given it.
        return self._replace(elsewhere=False, done=done, size=size, rate=rate, at=now)

    def seconds_left(self) -> float | None:
        """How long it goes on at this speed, None if nobody knows."""
        is_known = self.size and self.rate and self.done >= _LEAST_SHARE * self.size
        return (self.size - self.done) / self.rate if is_known else None


class Activity:
    """What goes on, by the events of a build. Another thread may look at any time: every value is replaced whole."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.nodes = 0
        self.jobs = 1
        self.running: dict[Node, Task] = {}
        # What the build as a whole does besides: bring content here, keep it elsewhere, write an output.
        self.task: Task | None = None
        self.download: Task | None = None
        self._fates: dict[str, str] = {}
        self._expected: Mapping[str, float] = {}

    def __call__(self, event: Event) -> None:  # noqa: C901 (a table)
        """Takes one event."""
        match event:
            case NodesStarted(nodes, jobs):
                self.nodes, self.jobs = nodes, jobs or 1
                self.running, self._fates = {}, {}
            case RunsExpected(seconds):
                self._expected = seconds
            case NodeStarted(node, _, elsewhere):
                self.running[node] = Task(title(node), self.clock(), elsewhere)
            case NodeProgressed(node, done, size) if node in self.running:
                self.running[node] = self.running[node].progressed(done, size, self.clock())
            case NodeCached(node):
                self._ended(node, "cached")
            case NodeFinished(node):
                self._ended(node, "done")
            case NodeFailed(node):
                self._ended(node, "failed")
            case NodesFinished():
                self.running = {}
            case FetchStarted(_, size):
                self._begun("fetch outputs from the remote cache", size)
            case KeepStarted(place, results):
                self._begun(f"keep {results} results in {printable(place)}")
            case OutputStarted(path, size):
                self._begun(f"write {printable(str(path))}, {human_size(size)}")
            case FetchFinished() | RemoteUsed() | OutputWritten():
                self.task = None
            case Downloaded(size):
                self._downloaded(size)

    def counts(self) -> dict[str, int]:
        """How many nodes are `cached`, `done` and `failed`, and how many are `left`, those that run among them."""
        fates = list(self._fates.values())
        counts = {name: fates.count(name) for name in ("cached", "done", "failed")}
        return {**counts, "left": max(0, self.nodes - len(fates))}

    def is_idle(self) -> bool:
        """True if nothing goes on."""
        return not self.running and self.task is None

    def downloading(self) -> Task | None:
        """What comes from the remote cache, if anything does."""
        download = self.download
        return download if download and self.clock() - download.at < _STALE_SECONDS else None

    def seconds_left(self) -> float | None:
        """About how long the nodes that are left take, by how long they took when they ran last; None: who knows."""
        now = self.clock()
        running = list(self.running.items())
        names = {node.name for node, _ in running}
        waiting = [
            seconds
            for name, seconds in self._expected.items()
            if name not in self._fates and name not in names
        ]
        rests = [self._rest(node, task, now) for node, task in running]
        known = [rest for rest in rests if rest is not None]
        left = self.counts()["left"]
        if not left or len(known) + len(waiting) < _KNOWN_SHARE * left:
            return None
        return max([sum(known + waiting) / self.jobs, *known, *waiting])

    def _rest(self, node: Node, task: Task, now: float) -> float | None:
        seconds = task.seconds_left()
        if seconds is None and node.name in self._expected:
            return max(0.0, self._expected[node.name] - (now - task.started))
        return seconds

    def _ended(self, node: Node, fate: str) -> None:
        self.running.pop(node, None)
        self._fates[node.name] = fate

    def _begun(self, text: str, size: int = 0) -> None:
        self.task = Task(text, self.clock(), size=size)

    def _downloaded(self, size: int) -> None:
        now, before = self.clock(), self.download or Task("", self.clock())
        self.download = before.progressed(size, 0, now)
        if self.task is not None and self.task.size:
            more = self.task.done + size - before.done
            self.task = self.task.progressed(min(more, self.task.size), self.task.size, now)


def title(node: Node) -> str:
    """A node as its user knows it: a layer, whose name is a digest, behind its image."""
    name = printable(node.name)
    if not node.name.startswith("layer "):
        return name
    sources = (node, *(needed for given in node.inputs.values() for needed in given))
    image = next((found for one in sources if (found := getattr(one.options, "image", ""))), "")
    return f"{printable(str(image)).removeprefix('docker.io/')}: {name}" if image else name
