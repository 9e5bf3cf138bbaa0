from __future__ import annotations

import io
import re
import time

import pytest

from kitbuild.event import (
    BuildFinished,
    Counts,
    Event,
    NodesStarted,
    NodeStarted,
    Outcome,
    RemoteUsed,
)
from kitbuild.node import Node
from kitbuild.report.activity import Activity
from kitbuild.report.lines import LinesReport, QuietReport, life
from kitbuild.rule import NoOptions
from tests.unit.report import events
from tests.unit.report.events import Broken, Clock, Terminal, tell

SHA256 = "ab" * 32


def told(*happened: Event, verbosity: int = 0) -> list[str]:
    stream = io.StringIO()
    report = LinesReport(stream, verbosity=verbosity)
    tell(report, *happened)
    report.close()
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(events.STARTED, [], id="start"),
        pytest.param(events.CACHED, [], id="cached node"),
        pytest.param(events.RUN, [], id="running node"),
        pytest.param(events.DONE, [], id="finished node"),
        pytest.param(events.WARNED, ["warning: the clock is wrong"], id="warning"),
        pytest.param(
            events.NODE_WARNED, ["warning: kernel: image: no kernel modules"], id="warning of a node"
        ),
        pytest.param(events.PLAIN_FAILED, ["error: services[0] redis: segment: no space"], id="failure"),
        pytest.param(
            events.FAILED,
            [
                "error: x.yml:3:5: services[0] redis: segment: a file too large",
                "      - big",
                "        ^",
                "hint: make it small",
            ],
            id="failure with a place",
        ),
        pytest.param(
            events.WRITTEN,
            [f"out/linuxkit-initrd.img  1.5 KiB  sha256:{SHA256}  1 of 2 nodes cached  0.10 s"],
            id="output",
        ),
        pytest.param(
            events.WRITTEN._replace(cached=0),
            [f"out/linuxkit-initrd.img  1.5 KiB  sha256:{SHA256}  0.10 s"],
            id="output of nodes that ran",
        ),
        pytest.param(
            events.WRITTEN._replace(cached=2),
            [f"out/linuxkit-initrd.img  1.5 KiB  sha256:{SHA256}  all 2 nodes cached  0.10 s"],
            id="output of cached nodes",
        ),
        pytest.param(
            events.UP_TO_DATE,
            [f"out/linuxkit-initrd.img  1.5 KiB  sha256:{SHA256}  up to date"],
            id="output that was there",
        ),
        pytest.param(
            events.REMOTE,
            [
                "https://cache.example  took 9 of 11 results, 3.0 MiB; kept 4 results, 1.5 KiB; 2 results not kept"
            ],
            id="remote cache",
        ),
        pytest.param(RemoteUsed("x", 0, 0, 0, 0, 0, 0, 0, left=0, seconds=0.0), [], id="idle remote cache"),
        pytest.param(events.FETCHING, [], id="fetching"),
        pytest.param(events.FINISHED, ["2 nodes: 1 run, 1 cached (1.50 s saved), 0.42 s"], id="end"),
        pytest.param(events.ERRED, [], id="error, which whoever ends the program tells"),
        pytest.param(events.PROGRESSED, [], id="progress"),
    ],
)
def test_only_what_matters_is_told(event: Event, expected: list[str]) -> None:
    assert expected == told(event)


def test_verbose_tells_each_node_and_why_it_runs() -> None:
    lines = told(events.CACHED, events.RUN, events.DONE, verbosity=1)

    expected = [
        "cached: kernel: image",
        "run: services[0] redis: segment: input `tree` changed (sha256:1 -> sha256:2); isal changed (1 -> 2)",
    ]
    assert expected == lines


def test_more_verbose_tells_what_a_node_gave() -> None:
    lines = told(events.STARTED, events.DONE, verbosity=2)

    assert lines == [f"done: services[0] redis: segment: tree 1.5 KiB sha256:{SHA256[:12]}, 0.25 s"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        pytest.param(Counts(12, ran=3, near=9), "12 nodes: 3 run, 9 cached, 0.42 s", id="good"),
        pytest.param(Counts(1, near=1, saved=0.01), "1 node: 0 run, 1 cached, 0.42 s", id="one node"),
        pytest.param(
            Counts(12, ran=1, sent=2, near=5, far=4, saved=12.34),
            "12 nodes: 3 run (2 elsewhere), 9 cached (4 remote; 12.3 s saved), 0.42 s",
            id="caches and an executor",
        ),
        pytest.param(
            Counts(10, ran=1, near=2, failed=3, left=4),
            "10 nodes: 1 run, 2 cached, 3 failed, 4 left, 0.42 s",
            id="bad",
        ),
    ],
)
def test_closing_line_counts_the_nodes(counts: Counts, expected: str) -> None:
    assert [expected] == told(BuildFinished("done", 0, counts, 0.42))


@pytest.mark.parametrize(("outcome", "status"), [("interrupted", 130), ("refused", 2)])
def test_build_that_came_to_no_end_has_no_closing_line(outcome: Outcome, status: int) -> None:
    assert told(BuildFinished(outcome, status, Counts(3, left=3), 1.0)) == []


def test_build_that_found_no_nodes_has_no_closing_line() -> None:
    assert told(BuildFinished("failed", 1, Counts(), 1.0)) == []


# -- signs of life


def silent_for(seconds: float, report: LinesReport, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic() + seconds
    monkeypatch.setattr("time.monotonic", lambda: now)
    report.tell_life()


def test_long_work_shows_life(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    report = LinesReport(stream, verbosity=0)
    tell(report, events.STARTED, events.CACHED, events.RUN, events.PROGRESSED)

    silent_for(29.0, report, monkeypatch)
    early = stream.getvalue()
    silent_for(2.0, report, monkeypatch)
    report.close()

    assert early == ""
    assert re.fullmatch(
        r"still running: services\[0\] redis: segment, 3.0 of 12.0 MiB, [\d.]+ s \(1 of 2 nodes left\)\n",
        stream.getvalue(),
    )


def test_build_that_waits_for_nothing_shows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    report = LinesReport(stream, verbosity=0)
    tell(report, events.STARTED, events.RUN, events.DONE)

    silent_for(60.0, report, monkeypatch)
    report.close()
    silent_for(60.0, report, monkeypatch)

    assert stream.getvalue() == ""


def test_sign_of_life_names_a_few() -> None:
    activity = Activity(Clock())
    made = [Node(f"node {number}", events.RULE, NoOptions()) for number in range(5)]
    activity(NodesStarted(9))
    for node in made:
        activity(NodeStarted(node, ()))

    assert life(activity) == (
        "still running: node 0, 0.00 s; node 1, 0.00 s; node 2, 0.00 s; and 2 more (9 of 9 nodes left)"
    )
    activity(events.FETCHING)
    assert life(activity) == "still going on: fetch outputs from the remote cache, 0.00 s"


def test_pipe_gets_no_colours() -> None:
    assert not any("\x1b" in line for line in told(*events.ALL, verbosity=2))


def test_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()

    LinesReport(stream, verbosity=1)(events.CACHED)

    assert stream.getvalue() == "\x1b[32mcached:\x1b[0m kernel: image\n"


def test_reader_that_went_away_silences_the_report() -> None:
    stream = Broken()
    report = LinesReport(stream, verbosity=2)

    tell(report, *events.ALL)
    report.close()

    assert stream.writes == 1


def test_stream_that_cannot_write_a_letter_gets_an_escape() -> None:
    raw = io.BytesIO()
    report = LinesReport(io.TextIOWrapper(raw, encoding="ascii"), verbosity=0)

    report(events.WARNED._replace(message="caf\u00e9"))

    assert raw.getvalue() == b"warning: caf\\xe9\n"


def test_quiet_tells_failures_and_nothing_else() -> None:
    stream = io.StringIO()
    report = QuietReport(stream)

    tell(report, *events.ALL, events.PLAIN_FAILED)
    report.close()

    assert stream.getvalue().splitlines()[0].startswith("error: x.yml:3:5:")
    assert stream.getvalue().splitlines()[4:] == ["error: services[0] redis: segment: no space"]
