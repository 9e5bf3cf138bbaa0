"""Events of a small build, and streams to report it to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from kitbuild.digest import Digest
from kitbuild.errors import RuleError, UsageError, Where
from kitbuild.event import (
    BuildFinished,
    BuildStarted,
    Counts,
    Downloaded,
    Event,
    Failed,
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
    Reporter,
    RunsExpected,
    Warned,
)
from kitbuild.node import Node
from kitbuild.rule import Artifact, NoOptions, Rule, Value, Work


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE: Rule[NoOptions] = Rule("test/rule", 1, "A rule.", NoOptions, "blob", ran)
IMAGE = Node("kernel: image", RULE, NoOptions(), section="kernel")
SEGMENT = Node("services[0] redis: segment", RULE, NoOptions(), section="services[0] redis")
DIGEST = Digest("ab" * 32, 1536)
ARTIFACT = Artifact("tree", DIGEST)

BEGUN = BuildStarted("1.0", ("x.yml", "-"))
STARTED = NodesStarted(2, 4)
CACHED = NodeCached(IMAGE, ARTIFACT, seconds=1.5)
EXPECTED = RunsExpected({"services[0] redis: segment": 2.0})
RUN = NodeStarted(SEGMENT, ("input `tree` changed (sha256:1 -> sha256:2)", "isal changed (1 -> 2)"))
PROGRESSED = NodeProgressed(SEGMENT, 3 << 20, 12 << 20)
DONE = NodeFinished(SEGMENT, ARTIFACT, 0.25)
FAILED = NodeFailed(
    SEGMENT, RuleError("a file too large", where=Where("x.yml", 3, 5, "  - big"), hint="make it small")
)
PLAIN_FAILED = NodeFailed(SEGMENT, RuleError("no space"))
WARNED = Warned("the clock is wrong")
NODE_WARNED = Warned("no kernel modules", IMAGE)
NODES_DONE = NodesFinished(ran=1, cached=1, failed=0, left=0, seconds=0.4)
FETCHING = FetchStarted(3, 50 << 20)
DOWNLOADED = Downloaded(20 << 20)
FETCHED = FetchFinished(1)
KEEPING = KeepStarted("https://cache.example", 6)
REMOTE = RemoteUsed("https://cache.example", 11, 9, 2, 3 << 20, 4, 1, 1536, left=2, seconds=0.5)
WRITING = OutputStarted(Path("out/disk.raw"), 100 << 30)
WRITTEN = OutputWritten(Path("out/linuxkit-initrd.img"), DIGEST, True, 0.1, nodes=2, cached=1)
UP_TO_DATE = WRITTEN._replace(fresh=False)
ERRED = Failed(UsageError("expected a config, got none", hint="give one"))
FINISHED = BuildFinished("done", 0, Counts(2, ran=1, near=1, saved=1.5), 0.42)
ALL: tuple[Event, ...] = (
    BEGUN,
    STARTED,
    CACHED,
    EXPECTED,
    RUN,
    PROGRESSED,
    DONE,
    FAILED,
    WARNED,
    NODE_WARNED,
    FETCHING,
    DOWNLOADED,
    FETCHED,
    NODES_DONE,
    WRITING,
    WRITTEN,
    KEEPING,
    REMOTE,
    ERRED,
    FINISHED,
)


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose reader went away."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        raise BrokenPipeError


class BrokenTerminal(Broken):
    """A terminal that was closed."""

    def isatty(self) -> bool:
        return True


def tell(report: Reporter, *events: Event) -> None:
    for event in events:
        report(event)
