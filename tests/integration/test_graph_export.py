"""What the graph says to other programs, read by them."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Any
from xml.etree import ElementTree

import pytest

from kitbuild.cli.graph_text import dot
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import reduced, view_of
from kitbuild.rule import Input, NoOptions, Rule, Value, Work

pytestmark = pytest.mark.integration

SVG = "{http://www.w3.org/2000/svg}"
NAMES = [
    'say "hello"',
    "back\\slash",
    "trailing\\",
    "<b>&amp;</b>",
    "caf\u00e9 \u6587",
    "{a|b}",
    "; -> [x=y]",
    "\x1b\udcff",
]


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE = Rule("test/join", 1, "Joins.", NoOptions, "blob", ran, {"pieces": Input("blob", many=True)})


def graph_of_odd_names() -> Graph:
    nodes: list[Node] = []
    for number, name in enumerate(NAMES):
        nodes.append(
            Node(
                f"{number} {name}",
                RULE,
                NoOptions(),
                {"pieces": tuple(nodes)},
                f"{name}" if number % 2 else "",
            )
        )
    return Graph.of({f"-{NAMES[0]}.img": nodes[-1]})


def drawn(text: str) -> ElementTree.Element:
    if shutil.which("dot") is None:
        message = "Graphviz is not installed: no dot"
        if os.environ.get("KITBUILD_NO_SKIP") == "1":
            pytest.fail(message)
        pytest.skip(message)
    result = subprocess.run(
        ["dot", "-Tsvg"], input=text.encode(), capture_output=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")
    return ElementTree.fromstring(result.stdout)


def groups(svg: ElementTree.Element, kind: str) -> list[ElementTree.Element]:
    return [group for group in svg.iter(f"{SVG}g") if group.get("class") == kind]


def texts(group: ElementTree.Element) -> list[str]:
    return ["".join(text.itertext()).replace("\u00a0", " ") for text in group.iter(f"{SVG}text")]


def test_graphviz_draws_every_node_edge_and_section() -> None:
    graph = graph_of_odd_names()

    svg = drawn(dot(view_of(graph), {}))

    count = len(NAMES)
    assert len(groups(svg, "node")) == count + 1
    assert len(groups(svg, "edge")) == count * (count - 1) // 2 + 1
    assert len(groups(svg, "cluster")) == count // 2


def test_graphviz_shows_names_as_they_are() -> None:
    svg = drawn(dot(view_of(graph_of_odd_names()), {}))

    shown = {texts(group)[0] for group in groups(svg, "node")}
    expected = {f"{number} {name}" for number, name in enumerate(NAMES[:-1])} | {"7 ??", f"-{NAMES[0]}.img"}
    assert expected == shown


def test_graphviz_draws_the_reduced_graph_as_a_chain() -> None:
    graph = graph_of_odd_names()

    svg = drawn(dot(reduced(view_of(graph)), {}))

    assert len(groups(svg, "edge")) == len(NAMES)
