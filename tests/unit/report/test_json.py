from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from kitbuild.event import Event
from kitbuild.report.json import JsonReport
from tests.unit.report import events
from tests.unit.report.events import Broken, tell

ARTIFACT = {"kind": "tree", "digest": f"sha256:{'ab' * 32}", "size": 1536}
SEGMENT = {"node": "services[0] redis: segment", "section": "services[0] redis"}
IMAGE = {"node": "kernel: image", "section": "kernel"}


def told(*happened: Event) -> list[dict[str, Any]]:
    stream = io.StringIO()
    report = JsonReport(stream)
    tell(report, *happened)
    report.close()
    assert stream.getvalue().isascii()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(events.STARTED, {"event": "build-started", "nodes": 2}, id="start"),
        pytest.param(
            events.CACHED,
            {"event": "node-cached", **IMAGE, "artifact": ARTIFACT, "far": False},
            id="cached node",
        ),
        pytest.param(
            events.RUN,
            {
                "event": "node-started",
                **SEGMENT,
                "rule": "test/rule",
                "why": ["input `tree` changed (sha256:1 -> sha256:2)", "isal changed (1 -> 2)"],
            },
            id="running node",
        ),
        pytest.param(
            events.DONE,
            {"event": "node-finished", **SEGMENT, "artifact": ARTIFACT, "seconds": 0.25},
            id="finished node",
        ),
        pytest.param(
            events.FAILED,
            {
                "event": "node-failed",
                **SEGMENT,
                "message": "a file too large",
                "where": {"file": "x.yml", "line": 3, "column": 5},
                "hint": "make it small",
            },
            id="failure",
        ),
        pytest.param(
            events.PLAIN_FAILED,
            {"event": "node-failed", **SEGMENT, "message": "no space", "where": None, "hint": None},
            id="failure without a place",
        ),
        pytest.param(
            events.WARNED,
            {"event": "warned", "message": "the clock is wrong", "node": None, "section": None},
            id="warning",
        ),
        pytest.param(
            events.NODE_WARNED,
            {"event": "warned", "message": "no kernel modules", **IMAGE},
            id="warning of a node",
        ),
        pytest.param(
            events.FETCHING, {"event": "fetch-started", "blobs": 3, "size": 50 << 20}, id="content to come"
        ),
        pytest.param(
            events.REMOTE,
            {
                "event": "remote-used",
                "place": "https://cache.example",
                "asked": 11,
                "results": 9,
                "blobs": 2,
                "bytes": 3 << 20,
                "kept_results": 4,
                "kept_blobs": 1,
                "kept_bytes": 1536,
                "left": 2,
                "seconds": 0.5,
            },
            id="remote cache",
        ),
        pytest.param(
            events.WRITING,
            {"event": "output-started", "path": "out/disk.raw", "size": 100 << 30},
            id="large output",
        ),
        pytest.param(
            events.UP_TO_DATE,
            {
                "event": "output-written",
                "path": "out/linuxkit-initrd.img",
                "digest": ARTIFACT["digest"],
                "size": 1536,
                "fresh": False,
                "seconds": 0.1,
            },
            id="output",
        ),
        pytest.param(
            events.FINISHED,
            {"event": "build-finished", "ran": 1, "cached": 1, "failed": 0, "left": 0, "seconds": 0.42},
            id="end",
        ),
    ],
)
def test_event_is_one_object(event: Event, expected: dict[str, Any]) -> None:
    assert [expected] == told(event)


def test_every_event_is_a_line_in_order() -> None:
    assert [facts["event"] for facts in told(*events.ALL)] == [
        "build-started",
        "node-cached",
        "node-started",
        "node-finished",
        "node-failed",
        "warned",
        "warned",
        "fetch-started",
        "output-started",
        "output-written",
        "build-finished",
        "remote-used",
    ]


def test_path_that_is_no_text_reads_back() -> None:
    path = Path("caf\udcff\n")

    (facts,) = told(events.WRITTEN._replace(path=path))

    assert str(path) == facts["path"]


def test_reader_that_went_away_silences_the_report() -> None:
    stream = Broken()
    report = JsonReport(stream)

    tell(report, *events.ALL)
    report.close()

    assert stream.writes == 1
