from __future__ import annotations

import io
import json
import re
import sys
import time
from argparse import Namespace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.cli import graph as command
from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import NodeStatus
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
CACHED = NodeStatus("cached", Artifact("tree", Digest.of(b"bytes")), 1536, 1.5)
STATUS = {
    IMAGE: CACHED,
    LAYER: CACHED._replace(seconds=2.0),
    KERNEL: NodeStatus("run"),
    SEGMENT: NodeStatus("run"),
}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def arguments(**changes: Any) -> Namespace:
    known = {"configs": ["x.yml"], "format": "tree", "output": "-", "reduced": False, "critical_path": False}
    return Namespace(**{**known, **changes})


def test_tree_shows_sections_in_order_and_shared_nodes_once() -> None:
    lines = list(command.plain(command.outline("x.yml", GRAPH), STATUS))

    expected = [
        "x.yml",
        "  kernel",
        "    segment  [not fetched]",
        "      boot  [run]",
        "        image redis  [cached]  1.5 KiB",
        "          layer 12  [cached]  1.5 KiB",
        "  services redis",
        "    segment  [run]",
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

    lines = list(command.plain(command.outline("x.yml", Graph.of({"out": node("initrd", *pieces)})), {}))

    assert lines[-5:] == [
        "  initrd  [not fetched]",
        "    -> services 0: segment",
        "    -> services 1: segment",
        "    -> services 2: segment",
        "    -> and 997 more",
    ]


def test_node_that_is_left_over_is_shown_last() -> None:
    graph = Graph.of({"out": node("alone", section="images"), "boot": node("kernel: boot", section="kernel")})

    lines = list(command.plain(command.outline("x.yml", graph), {}))

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
    lines = command.outline("x.yml", graph)

    shown = [line.node for line in lines if line.node]
    assert len(graph) == len(shown)
    assert set(graph) == set(shown)


@given(graphs())
def test_no_line_is_more_than_one_level_deeper_than_the_one_above(graph: Graph) -> None:
    depths = [line.depth for line in command.outline("x.yml", graph)]

    assert depths[0] == 0
    assert all(0 < below <= above + 1 for above, below in pairwise(depths))


def test_chain_longer_than_the_recursion_limit_is_shown() -> None:
    last = node("0")
    for number in range(1, 3000):
        last = node(str(number), last)

    lines = command.outline("x.yml", Graph.of({"out": last}))

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

    text = "\n".join(command.plain(command.outline("x.yml", graph), {}))

    assert time.process_time() - started < 0.5
    assert text.count("\n") > 5000


def test_summary_counts_the_states() -> None:
    assert command.summary(GRAPH, STATUS) == "7 nodes: 2 cached, 2 to run, 3 not fetched"


def test_summary_leaves_out_that_nothing_is_to_fetch() -> None:
    status = dict.fromkeys(GRAPH, NodeStatus("run"))

    assert command.summary(GRAPH, status) == "7 nodes: 0 cached, 7 to run"


def test_critical_line_names_the_chain_that_took_longest() -> None:
    line = command.critical_line(Graph.of({"out": KERNEL}), STATUS)

    assert line == "longest chain, 3.50 s: layer 12 > image redis > kernel: boot"


def test_names_cannot_speak_to_the_terminal() -> None:
    graph = Graph.of({"out": node("a\x1b[2J", section="b\x07")})

    text = "\n".join(command.plain(command.outline("x\x1b.yml", graph), {}))

    assert text.replace("\n", "").isprintable()


def written(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, **changes: Any) -> str:
    monkeypatch.setattr(sys, "stdout", stream)
    command.show(GRAPH, STATUS, arguments(**changes))
    return stream.getvalue()


def test_pipe_gets_plain_text_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)

    command.show(GRAPH, STATUS, arguments(critical_path=True))
    stream.flush()

    lines = raw.getvalue().decode("ascii").splitlines()
    assert lines[0] == "x.yml"
    assert lines[-2] == "7 nodes: 2 cached, 2 to run, 3 not fetched"
    assert lines[-1].startswith("longest chain, 3.50 s: layer 12 > image redis > ")


def test_terminal_gets_a_drawn_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    lines = re.sub(r"\x1b\[[0-9;]*m", "", written(monkeypatch, Terminal())).splitlines()

    assert [line.rstrip() for line in lines[:4]] == [
        "x.yml",
        "├── kernel",
        "│   └── segment  [not fetched]",
        "│       └── boot  [run]",
    ]
    assert lines[-1] == "7 nodes: 2 cached, 2 to run, 3 not fetched"


def test_terminal_gets_every_line_of_the_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")

    text = written(monkeypatch, Terminal())

    assert text.count("\n") == 1 + len(command.outline("x.yml", GRAPH))


@pytest.mark.parametrize(
    ("text_format", "first"), [("dot", "digraph kitbuild {"), ("mermaid", "flowchart LR"), ("json", "{")]
)
def test_other_formats_are_written_as_they_are(
    text_format: str, first: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)

    command.show(GRAPH, STATUS, arguments(format=text_format))
    command.show(GRAPH, STATUS, arguments(format=text_format, output=str(tmp_path / "file")))
    stream.flush()

    assert raw.getvalue().decode().splitlines()[0] == first
    assert raw.getvalue() == (tmp_path / "file").read_bytes()


def test_reduced_graph_has_fewer_edges() -> None:
    whole = command.text_of("dot", GRAPH, status=STATUS)
    less = command.text_of("dot", GRAPH, status=STATUS, reduced=True)

    assert less.count(" -> ") < whole.count(" -> ")


def test_json_reads_back() -> None:
    document = json.loads(command.text_of("json", GRAPH, status=STATUS))

    assert [one["name"] for one in document["nodes"]] == [one.name for one in GRAPH]


def test_file_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(KitbuildError, match=r"cannot write `.*nowhere/file`: No such file or directory"):
        command.show(GRAPH, STATUS, arguments(output=str(tmp_path / "nowhere" / "file")))
