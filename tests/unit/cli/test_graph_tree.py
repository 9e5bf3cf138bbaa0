from __future__ import annotations

import io
import re
import sys
import time
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.cli import graph_tree as tree
from kitbuild.digest import Digest
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import NodeStatus, view_of, with_chain
from kitbuild.rule import Artifact, Input, NoOptions, Rule, Value, Work


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE = Rule("test/join", 1, "Joins.", NoOptions, "blob", ran, {"pieces": Input("blob", many=True)})


def node(name: str, *pieces: Node, section: str = "") -> Node:
    return Node(name, RULE, NoOptions(), {"pieces": pieces}, section)


LAYER = node("layer 12", section="images")
IMAGE = node("image redis", LAYER, section="images")
KERNEL = node("kernel: boot", IMAGE, section="kernel")
BUNDLE = node("services redis: bundle", IMAGE, section="services redis")
SEGMENT = node("services redis: segment", BUNDLE, KERNEL, section="services redis")
INITRD = node("initrd", node("kernel: segment", KERNEL, section="kernel"), SEGMENT, BUNDLE)
GRAPH = Graph.of({"-initrd.img": INITRD})
NEAR = NodeStatus("near", Artifact("tree", Digest.of(b"bytes")), 1536, 1.5)
STATUS = {
    IMAGE: NEAR,
    LAYER: NEAR._replace(seconds=2.0, at_most=True),
    KERNEL: NodeStatus("run", None, 0, 0.25),
    SEGMENT: NodeStatus("run"),
}
VIEW = view_of(GRAPH)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_tree_shows_sections_in_order_and_shared_nodes_once() -> None:
    lines = list(tree.plain(tree.outline("x.yml", VIEW), STATUS))

    expected = [
        "x.yml",
        "  kernel",
        "    segment  [not fetched]",
        "      boot  [must run]  0.25 s last time",
        "        image redis  [near]  1.5 KiB  1.50 s",
        "          layer 12  [near]  at most 1.5 KiB  2.00 s",
        "  services redis",
        "    segment  [must run]",
        "      bundle  [not fetched]",
        "        -> image redis",
        "      -> kernel: boot",
        "  initrd  [not fetched]",
        "    -> kernel: segment",
        "    -> services redis: segment",
        "    -> services redis: bundle",
    ]
    assert expected == lines


def test_node_used_by_many_sections_counts_most_of_them() -> None:
    pieces = [node(f"services {number}: segment", section=f"services {number}") for number in range(1000)]

    lines = list(tree.plain(tree.outline("x.yml", view_of(Graph.of({"out": node("initrd", *pieces)}))), {}))

    assert lines[-5:] == [
        "  initrd  [not fetched]",
        "    -> services 0: segment",
        "    -> services 1: segment",
        "    -> services 2: segment",
        "    -> and 997 more",
    ]


def test_node_that_is_left_over_is_shown_last() -> None:
    graph = Graph.of({"out": node("alone", section="images"), "boot": node("kernel: boot", section="kernel")})

    lines = list(tree.plain(tree.outline("x.yml", view_of(graph)), {}))

    assert [line.strip().split("  ")[0] for line in lines] == ["x.yml", "kernel", "boot", "images", "alone"]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 12))):
        pieces = draw(st.lists(st.sampled_from(nodes), max_size=3)) if nodes else []
        section = draw(st.sampled_from(["", "images", "kernel", "services a", "services b"]))
        nodes.append(node(f"{number}", *pieces, section=section))
    return Graph.of({f"{number}": one for number, one in enumerate(nodes)})


@given(graphs())
def test_every_node_is_shown_exactly_once(graph: Graph) -> None:
    lines = tree.outline("x.yml", view_of(graph))

    shown = [line.node for line in lines if line.node]
    assert len(graph) == len(shown)
    assert set(graph) == set(shown)


@given(graphs())
def test_no_line_is_more_than_one_level_deeper_than_the_one_above(graph: Graph) -> None:
    depths = [line.depth for line in tree.outline("x.yml", view_of(graph))]

    assert depths[0] == 0
    assert all(0 < below <= above + 1 for above, below in pairwise(depths))


def test_chain_longer_than_the_recursion_limit_is_shown() -> None:
    last = node("0")
    for number in range(1, 3000):
        last = node(str(number), last)

    lines = tree.outline("x.yml", view_of(Graph.of({"out": last})))

    assert len(lines) == 3001


def test_thousand_sections_are_shown_in_well_under_a_second() -> None:
    pieces = []
    for number in range(1000):
        section = f"services service-{number}"
        image = node(f"image {number}", node(f"layer {number}", section="images"), section="images")
        bundle = node(f"{section}: bundle", image, section=section)
        pieces.append(node(f"{section}: segment", bundle, section=section))
    graph = Graph.of({"out": node("initrd", *pieces)})
    started = time.process_time()

    text = "\n".join(tree.plain(tree.outline("x.yml", view_of(graph)), {}))

    assert time.process_time() - started < 0.5
    assert text.count("\n") > 5000


def test_layer_says_which_image_it_is_of() -> None:
    class Labelled(NamedTuple):
        label: str

    layer = Node(
        "layer 1",
        Rule("test/layer", 1, "Is a layer.", Labelled, "blob", ran),
        Labelled("kit/redis:v1: layer 1 of 2"),
        section="images",
    )

    lines = list(tree.plain(tree.outline("x.yml", view_of(Graph.of({"out": layer}))), {}))

    assert lines[-1] == "    layer 1  [not fetched]  (kit/redis:v1: layer 1 of 2)"


def test_way_through_hidden_nodes_is_shown_as_a_way() -> None:
    lines = list(tree.plain(tree.outline("x.yml", view_of(GRAPH, {LAYER, SEGMENT})), {}))

    expected = ["x.yml", "  services redis", "    segment  [not fetched]", "      layer 12  [not fetched]"]
    assert expected == lines


def test_summary_counts_the_states() -> None:
    status = {**STATUS, BUNDLE: NEAR._replace(state="far"), INITRD: NodeStatus("gone")}

    assert tree.summary(VIEW, status) == (
        "7 nodes: 2 near, 1 far, 1 gone, 2 to run, 1 not fetched; 1 of 3 took 0.25 s last time"
    )


def test_summary_says_how_long_it_takes_if_all_of_it_was_made_before() -> None:
    status = dict.fromkeys(GRAPH, NodeStatus("run", None, 0, 2.0))

    assert (
        tree.summary(VIEW, status) == "7 nodes: 0 near, 7 to run; about 14.0 s to run, judging by last time"
    )


def test_summary_of_a_part_says_of_how_many() -> None:
    assert tree.summary(view_of(GRAPH, {IMAGE, LAYER}), STATUS) == "2 of 7 nodes: 2 near, 0 to run"


def test_only_marks_that_are_shown_are_explained() -> None:
    endings = tree.endings(view_of(GRAPH, {IMAGE, KERNEL}), STATUS)

    assert endings[0] == "near: cached, and its content is here; must run: has to run"
    assert len(endings) == 2


def test_longest_chain_is_shown_with_what_each_takes() -> None:
    view = with_chain(view_of(Graph.of({"out": KERNEL})), STATUS)

    expected = [
        "longest chain, 3.75 s:",
        "  2.00 s  layer 12",
        "  1.50 s  image redis",
        "  0.25 s  kernel: boot",
    ]
    assert expected == tree.endings(view, STATUS)[:4]


def test_names_cannot_speak_to_the_terminal() -> None:
    graph = Graph.of({"out": node("a\x1b[2J", section="b\x07")})
    view = with_chain(view_of(graph), {})

    text = "".join([*tree.plain(tree.outline("x\x1b.yml", view), {}), *tree.endings(view, {})])

    assert text.isprintable()


def drawn(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    tree.print_rich(tree.outline("x.yml", VIEW), STATUS, tree.endings(VIEW, STATUS))
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue()).splitlines()]


def test_terminal_gets_a_drawn_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = drawn(monkeypatch)

    assert lines[:4] == [
        "x.yml",
        "├── kernel",
        "│   └── segment  [not fetched]",
        "│       └── boot  [must run]  0.25 s last time",
    ]
    assert len(lines) == 2 + len(tree.outline("x.yml", VIEW))


def test_names_with_line_breaks_begin_no_line() -> None:
    odd = node("a\n::warning::x: bundle", section="a\n::warning::x")
    lines = tree.outline("x.yml", view_of(Graph.of({"out": odd})))

    assert not [line for line in "\n".join(tree.plain(lines, {})).split("\n") if line.startswith("::")]
