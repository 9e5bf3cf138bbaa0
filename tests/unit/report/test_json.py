from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from kitbuild.event import Event, Failed
from kitbuild.report.json import JsonReport
from kitbuild.report.schema import EVENTS, event_schema, reference
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
        pytest.param(
            events.BEGUN, {"event": "build-started", "version": "1.0", "configs": ["x.yml", "-"]}, id="start"
        ),
        pytest.param(events.STARTED, {"event": "nodes-started", "nodes": 2, "jobs": 4}, id="nodes"),
        pytest.param(
            events.EXPECTED, {"event": "runs-expected", "seconds": {SEGMENT["node"]: 2.0}}, id="expected"
        ),
        pytest.param(
            events.PROGRESSED,
            {"event": "node-progressed", **SEGMENT, "done": 3 << 20, "size": 12 << 20},
            id="progress",
        ),
        pytest.param(
            events.NODES_DONE,
            {"event": "nodes-finished", "ran": 1, "cached": 1, "failed": 0, "left": 0, "seconds": 0.4},
            id="nodes are done",
        ),
        pytest.param(events.FETCHED, {"event": "fetch-finished", "lost": 1}, id="content came"),
        pytest.param(events.DOWNLOADED, {"event": "downloaded", "bytes": 20 << 20}, id="bytes came"),
        pytest.param(
            events.KEEPING,
            {"event": "keep-started", "place": "https://cache.example", "results": 6},
            id="results to keep",
        ),
        pytest.param(
            events.ERRED,
            {"event": "error", "message": "expected a config, got none", "where": None, "hint": "give one"},
            id="error",
        ),
        pytest.param(
            Failed(ValueError("a bug")),
            {"event": "error", "message": "ValueError: a bug", "where": None, "hint": None},
            id="bug",
        ),
        pytest.param(
            events.CACHED,
            {"event": "node-cached", **IMAGE, "artifact": ARTIFACT, "far": False, "seconds": 1.5},
            id="cached node",
        ),
        pytest.param(
            events.RUN,
            {
                "event": "node-started",
                **SEGMENT,
                "rule": "test/rule",
                "why": ["input `tree` changed (sha256:1 -> sha256:2)", "isal changed (1 -> 2)"],
                "elsewhere": False,
            },
            id="running node",
        ),
        pytest.param(
            events.DONE,
            {
                "event": "node-finished",
                **SEGMENT,
                "artifact": ARTIFACT,
                "seconds": 0.25,
                "elsewhere": False,
            },
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
                "nodes": 2,
                "cached": 1,
            },
            id="output",
        ),
        pytest.param(
            events.FINISHED,
            {
                "event": "build-finished",
                "outcome": "done",
                "status": 0,
                "nodes": 2,
                "ran": 1,
                "sent": 0,
                "near": 1,
                "far": 0,
                "failed": 0,
                "left": 0,
                "saved": 1.5,
                "seconds": 0.42,
            },
            id="end",
        ),
    ],
)
def test_event_is_one_object(event: Event, expected: dict[str, Any]) -> None:
    assert [expected] == told(event)


def test_every_event_is_a_line_in_order() -> None:
    names = [facts["event"] for facts in told(*events.ALL)]

    assert (names[0], names[-1], len(names)) == ("build-started", "build-finished", len(events.ALL))


def test_every_event_there_is_is_declared_and_nothing_else() -> None:
    assert {facts["event"] for facts in told(*events.ALL)} == set(EVENTS)
    assert set(get_args(Event)) == {type(event) for event in events.ALL}


@pytest.mark.parametrize("event", events.ALL, ids=lambda event: type(event).__name__)
def test_event_has_the_fields_its_schema_declares(event: Event) -> None:
    schema = event_schema()
    for one in schema["oneOf"]:
        one["additionalProperties"] = False

    (facts,) = told(event)

    jsonschema.validate(facts, schema)


def test_schema_takes_no_event_with_a_wrong_field() -> None:
    (facts,) = told(events.FINISHED)

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**facts, "outcome": "fine"}, event_schema())


def test_reference_has_every_field() -> None:
    for name, told_of in EVENTS.items():
        assert f"**`{name}`**" in reference()
        assert all(f"- `{field}`: " in reference() for field in told_of.fields)


def test_what_a_runner_would_obey_is_escaped() -> None:
    stream = io.StringIO()

    JsonReport(stream)(events.WARNED._replace(message="##[error]##[x] ::set::"))

    assert "##[" not in stream.getvalue()
    assert json.loads(stream.getvalue())["message"] == "##[error]##[x] ::set::"


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


def test_page_about_events_is_what_is_declared() -> None:
    page = (Path(__file__).parents[3] / "docs" / "progress.md").read_text()

    # To write it anew, put what `reference` gives in the place of everything behind the section's first paragraphs.
    assert page.endswith("\n" + reference().rstrip() + "\n")
