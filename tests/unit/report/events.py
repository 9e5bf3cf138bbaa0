"""Events of a small build, and streams to report it to."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from kitbuild.digest import Digest
from kitbuild.errors import RuleError, Where
from kitbuild.event import (
    BuildFinished,
    BuildStarted,
    Event,
    FetchStarted,
    NodeCached,
    NodeFailed,
    NodeFinished,
    NodeStarted,
    OutputStarted,
    OutputWritten,
    RemoteUsed,
    Warned,
)
from kitbuild.node import Node
from kitbuild.report import Report
from kitbuild.rule import Artifact, NoOptions, Rule, Value, Work


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE: Rule[NoOptions] = Rule("test/rule", 1, "A rule.", NoOptions, "blob", ran)
IMAGE = Node("kernel: image", RULE, NoOptions(), section="kernel")
SEGMENT = Node("services[0] redis: segment", RULE, NoOptions(), section="services[0] redis")
DIGEST = Digest("ab" * 32, 1536)
ARTIFACT = Artifact("tree", DIGEST)

STARTED = BuildStarted(2)
CACHED = NodeCached(IMAGE, ARTIFACT)
RUN = NodeStarted(SEGMENT, ("input `tree` changed (sha256:1 -> sha256:2)", "isal changed (1 -> 2)"))
DONE = NodeFinished(SEGMENT, ARTIFACT, 0.25)
FAILED = NodeFailed(
    SEGMENT, RuleError("a file too large", where=Where("x.yml", 3, 5, "  - big"), hint="make it small")
)
PLAIN_FAILED = NodeFailed(SEGMENT, RuleError("no space"))
WARNED = Warned("the clock is wrong")
NODE_WARNED = Warned("no kernel modules", IMAGE)
FETCHING = FetchStarted(3, 50 << 20)
REMOTE = RemoteUsed("https://cache.example", 11, 9, 2, 3 << 20, 4, 1, 1536, left=2, seconds=0.5)
WRITING = OutputStarted(Path("out/disk.raw"), 100 << 30)
WRITTEN = OutputWritten(Path("out/linuxkit-initrd.img"), DIGEST, True, 0.1)
UP_TO_DATE = WRITTEN._replace(fresh=False)
FINISHED = BuildFinished(ran=1, cached=1, failed=0, left=0, seconds=0.42)
ALL: tuple[Event, ...] = (
    STARTED,
    CACHED,
    RUN,
    DONE,
    FAILED,
    WARNED,
    NODE_WARNED,
    FETCHING,
    WRITING,
    WRITTEN,
    FINISHED,
    REMOTE,
)


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


def tell(report: Report, *events: Event) -> None:
    for event in events:
        report(event)
