from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from kitbuild.cli.graph_svg import svg
from kitbuild.digest import Digest
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import NodeStatus, View, view_of, with_chain
from kitbuild.rule import Artifact, Input, NoOptions, Rule, Value, Work

pytest.importorskip("fast_sugiyama", reason="the extra `drawing` is not installed")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def no_graphviz(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE = Rule("test/join", 1, "Joins.", NoOptions, "blob", ran, {"pieces": Input("blob", many=True)})


def node(name: str, *pieces: Node, section: str = "") -> Node:
    return Node(name, RULE, NoOptions(), {"pieces": pieces}, section)


IMAGE = node("image redis", section="images")
SEGMENT = node("services redis: segment", IMAGE, section="services redis")
INITRD = node("initrd", SEGMENT)
GRAPH = Graph.of({"-initrd.img": INITRD})
STATUS = {IMAGE: NodeStatus("near", Artifact("tree", Digest.of(b"x")), 2048, 1.5), SEGMENT: NodeStatus("run")}


def drawn(view: View, title: str = "x.yml") -> ElementTree.Element:
    return ElementTree.fromstring(svg(view, STATUS, title=title))


def titles(drawing: ElementTree.Element, kind: str) -> list[str]:
    found = [one for one in drawing.iter() if kind in one.get("class", "").split()]
    return [one.findtext(f"{SVG}title") or "" for one in found]


def test_every_node_says_what_is_known_of_it() -> None:
    drawing = drawn(view_of(GRAPH))

    digest = Digest.of(b"x").oci
    assert titles(drawing, "node") == [
        f"image redis\ntest/join\nnear, 2.0 KiB, 1.50 s\ntree {digest}",
        "services redis: segment\ntest/join\nmust run",
        "initrd\ntest/join\nnot fetched",
    ]
    texts = {"".join(text.itertext()) for text in drawing.iter(f"{SVG}text")}
    assert {
        "services redis: segment",
        "near \u00b7 2.0 KiB \u00b7 1.50 s",
        "must run",
        "-initrd.img",
    } <= texts
    assert "3 nodes: 1 near, 1 to run, 1 not fetched" in texts


def test_a_name_that_the_box_was_measured_for_is_whole() -> None:
    for length in range(4, 45):
        name = "l" * length
        graph = Graph.of({"-out": node(name)})

        texts = {"".join(text.itertext()) for text in drawn(view_of(graph)).iter(f"{SVG}text")}

        assert name in texts


def test_lines_say_what_needs_what() -> None:
    expected = [
        "services redis: segment needs image redis",
        "initrd needs services redis: segment",
        "-initrd.img is initrd",
    ]
    assert expected == titles(drawn(view_of(GRAPH)), "line")
    assert titles(drawn(view_of(GRAPH, {IMAGE, INITRD})), "indirect") == [
        "initrd needs image redis, by way of others"
    ]


def test_longest_chain_is_marked() -> None:
    drawing = drawn(with_chain(view_of(GRAPH), STATUS))

    assert len(titles(drawing, "chain")) == 5
    assert "longest chain, 1.50 s (bold)" in (drawing.findtext(f"{SVG}desc") or "")


def test_file_needs_nothing_else_and_suits_dark_ground() -> None:
    text = svg(view_of(GRAPH), STATUS, title="x.yml")

    assert text.count("http") == 1  # the name of the language
    assert "@media(prefers-color-scheme:dark)" in text


@pytest.mark.parametrize(
    "name", ["\"<&>]]>'", "\x00\x1b[2J", "\udcff", "caf\u00e9\ufffe", "a\tb\nc", "l" * 300]
)
def test_names_are_no_markup(name: str) -> None:
    graph = Graph.of({name: node(f"node {name}", section=name)})

    drawing = drawn(view_of(graph), name)

    assert len(titles(drawing, "node")) == 1


def test_nothing_is_drawn_too() -> None:
    assert titles(drawn(view_of(GRAPH, set())), "node") == []
