from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from kitbuild.errors import KitbuildError, RuleError, Where
from kitbuild.event import NodeFailed
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.record import Origin, Origins
from kitbuild.report import BuildReport
from kitbuild.report.json import JsonReport
from kitbuild.report.places import Places
from tests.support.pages import node

LAYER = node("layer 1234: tar", section="images")
OTHER = node("layer 5678: tar", section="images")
IMAGE = node("image kit/web:v1", LAYER, section="images")
ROOT = node("root: conflicts", section="root")
BUNDLE = node("services web: bundle", IMAGE, ROOT, section="services web")
LOOSE = node("services bare: bundle", OTHER, section="services bare")
INITRD = node("initrd", BUNDLE, LOOSE)
GRAPH = Graph.of({"-initrd.img": INITRD})
FAULT = RuleError("expected a gzip, got none", hint="push it again")


def origins(file: str = "web.yml") -> Origins:
    return Origins(
        places={
            "image kit/web:v1": Origin(file, 3, 12),
            "services web": Origin(file, 2, 5),
            "services bare": Origin(file, 4, 5),
        }
    )


@pytest.mark.parametrize(
    ("failed", "line"),
    [
        pytest.param(IMAGE, 3, id="an image by its name"),
        pytest.param(BUNDLE, 2, id="a node by its section"),
        pytest.param(LAYER, 3, id="a layer by the image that uses it"),
        pytest.param(OTHER, 4, id="what no image uses by the section"),
    ],
)
def test_a_node_is_written_where_what_it_is_for_is(failed: Node, line: int) -> None:
    found = Places(GRAPH, origins()).origin_of(failed)

    assert found is not None
    assert line == found.line


@pytest.mark.parametrize("whole", [INITRD, ROOT])
def test_what_is_of_the_whole_system_has_no_place(whole: Node) -> None:
    assert Places(GRAPH, origins()).placed(whole, FAULT) is FAULT


def test_an_error_keeps_the_place_it_has() -> None:
    error = KitbuildError("no", where=Where("other.yml", 1, 1))

    assert Places(GRAPH, origins()).placed(IMAGE, error) is error


def test_an_error_is_shown_with_the_line(tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text("services:\n  - name: web\n    image: kit/web:v1\n")

    error = Places(GRAPH, origins(str(config))).placed(LAYER, FAULT)

    assert error.where == Where(str(config), 3, 12, "    image: kit/web:v1")
    assert (error.message, error.hint) == (FAULT.message, FAULT.hint)


def test_a_config_that_cannot_be_read_again_has_a_place_without_a_line(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for file in ("-", "https://example.com/web.yml", str(tmp_path / "none.yml"), str(tmp_path / "pipe")):
        error = Places(GRAPH, origins(file)).placed(LAYER, FAULT)

        assert error.where == Where(file, 3, 12)


def test_failed_nodes_are_told_with_their_places_which_are_worked_out_once() -> None:
    stream, asked = io.StringIO(), []

    def given() -> Origins:
        asked.append(1)
        return origins()

    report = BuildReport([JsonReport(stream)])
    report.locate(GRAPH, given)
    assert not asked
    for failed in (LAYER, BUNDLE):
        report(NodeFailed(failed, FAULT))

    places = [json.loads(line)["where"] for line in stream.getvalue().splitlines()]
    assert places == [
        {"file": "web.yml", "line": 3, "column": 12},
        {"file": "web.yml", "line": 2, "column": 5},
    ]
    assert [1] == asked
