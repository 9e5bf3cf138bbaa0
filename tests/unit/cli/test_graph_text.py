from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.cli.graph_text import dot, mermaid
from kitbuild.digest import Digest
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import NodeStatus, reduced, view_of, with_chain
from kitbuild.rule import Artifact, Input, NoOptions, Rule, Value, Work


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE = Rule("test/join", 3, "Joins.", NoOptions, "blob", ran, {"pieces": Input("blob", many=True)})


def node(name: str, *pieces: Node, section: str = "") -> Node:
    return Node(name, RULE, NoOptions(), {"pieces": pieces}, section)


IMAGE = node("image redis", section="images")
KERNEL = node("kernel: boot", IMAGE, section="kernel")
SERVICE = node("services redis: segment", IMAGE, section="services redis")
INITRD = node("initrd", KERNEL, SERVICE, SERVICE, IMAGE)
GRAPH = Graph.of({"-initrd.img": INITRD})
DIGEST = Digest.of(b"some bytes")
CACHED = NodeStatus("near", Artifact("tree", DIGEST), 5000, 1.5)
STATUS = {IMAGE: CACHED, KERNEL: NodeStatus("run", None, 0, 2.5), SERVICE: NodeStatus("unknown")}


VIEW = view_of(GRAPH)
NO_NAMES = st.just("")


@st.composite
def graphs(draw: st.DrawFn, names: st.SearchStrategy[str] = NO_NAMES) -> Graph:
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 10))):
        pieces = draw(st.lists(st.sampled_from(nodes), max_size=4)) if nodes else []
        text = draw(names)
        section = draw(st.sampled_from(["", "kernel", "services a", f"odd {text}"]))
        nodes.append(node(f"{number} {text}", *pieces, section=section))
    return Graph.of(
        {f"output {number}": nodes[-1 - number] for number in range(draw(st.integers(1, len(nodes))))}
    )


def test_dot_has_a_box_a_section_and_a_colour_a_status() -> None:
    expected = """\
digraph kitbuild {
  rankdir=LR;
  node [shape=box];
  subgraph cluster_0 {
    label="kernel";
    n1 [label="boot\\nmust run, 2.50 s last time", style="filled,bold", fillcolor="#ffe3b0"];
  }
  subgraph cluster_1 {
    label="services redis";
    n2 [label="segment\\nnot fetched", style="filled,dashed", fillcolor="#f0d5ee"];
  }
  subgraph cluster_2 {
    label="images";
    n0 [label="image redis\\nnear, 4.9 KiB, 1.50 s", style="rounded,filled", fillcolor="#d5f0d5"];
  }
  n3 [label="initrd\\nnot fetched", style="filled,dashed", fillcolor="#f0d5ee"];
  n0 -> n1;
  n0 -> n2;
  n1 -> n3;
  n2 -> n3;
  n0 -> n3;
  o0 [label="-initrd.img", shape=note, style="", penwidth=2];
  n3 -> o0;
}
"""
    assert expected == dot(VIEW, STATUS)


def test_dot_escapes_what_ends_a_text() -> None:
    graph = Graph.of({'"out\\': node('a "b" \\ \x1b\udcff')})

    text = dot(view_of(graph), {})

    assert 'label="a \\"b\\" \\\\ ??\\nnot fetched"' in text
    assert 'label="\\"out\\\\"' in text


@given(graphs(st.text(max_size=8)))
def test_dot_texts_always_end_where_they_should(graph: Graph) -> None:
    without_texts = re.sub(r'"(?:[^"\\]|\\.)*"', "T", dot(view_of(graph), {}))

    assert '"' not in without_texts
    assert without_texts.isascii()


def test_mermaid_has_a_box_a_section_and_a_class_a_status() -> None:
    expected = """\
flowchart LR
  subgraph s0["kernel"]
    n1["boot<br/>must run, 2.50 s last time"]:::run
  end
  subgraph s1["services redis"]
    n2["segment<br/>not fetched"]:::unknown
  end
  subgraph s2["images"]
    n0["image redis<br/>near, 4.9 KiB, 1.50 s"]:::near
  end
  n3["initrd<br/>not fetched"]:::unknown
  n0 --> n1
  n0 --> n2
  n1 --> n3
  n2 --> n3
  n0 --> n3
  n3 --> o0(["-initrd.img"])
  classDef near fill:#d5f0d5,stroke:#555,color:#000
  classDef far fill:#cfe8f7,stroke:#555,color:#000,stroke-dasharray:5 3
  classDef gone fill:#eeeeee,stroke:#555,color:#000,stroke-dasharray:1 3
  classDef run fill:#ffe3b0,stroke:#555,color:#000,stroke-width:3px
  classDef unknown fill:#f0d5ee,stroke:#555,color:#000,stroke-width:3px,stroke-dasharray:5 3
"""
    assert expected == mermaid(VIEW, STATUS)


# The part of Mermaid's grammar the export uses; a text holds nothing but entities for what has a meaning.
TEXT = r'"(?:[^"#<>&`\\]|#[0-9]+;|<br/>)*"'
MERMAID_LINE = re.compile(
    rf"  subgraph s[0-9]+\[{TEXT}\]|  end"
    rf"|(?:  |    )n[0-9]+\[{TEXT}\]:::(?:near|far|gone|run|unknown)"
    rf"|  n[0-9]+ --> (?:n[0-9]+|o[0-9]+\(\[{TEXT}\]\))"
    r"|  classDef (?:near|far|gone|run|unknown) fill:#[0-9a-f]{6},stroke:#555,color:#000[-a-z0-9:, ]*"
)


@given(graphs(st.text(max_size=8)))
def test_mermaid_stays_inside_its_grammar(graph: Graph) -> None:
    first, *lines = mermaid(view_of(graph), {}).split("\n")[:-1]

    assert first == "flowchart LR"
    assert [line for line in lines if not MERMAID_LINE.fullmatch(line)] == []
    assert sum(line.startswith("  subgraph") for line in lines) == lines.count("  end")
    declared = [line.split("[")[0].strip() for line in lines if re.match(r" +n[0-9]+\[", line)]
    assert sorted(f"n{number}" for number in range(len(graph))) == sorted(declared)


def test_mermaid_writes_entities_for_what_has_a_meaning() -> None:
    graph = Graph.of({"out": node('a#b "c" <d> & `e` \\n')})

    assert '"a#35;b #34;c#34; #60;d#62; #38; #96;e#96; #92;n<br/>not fetched"' in mermaid(view_of(graph), {})


@pytest.mark.parametrize("export", [dot, mermaid])
def test_edges_are_those_of_the_view(export: Any) -> None:
    whole, less = export(VIEW, STATUS), export(reduced(VIEW), STATUS)

    (left_out,) = set(whole.splitlines()) - set(less.splitlines())
    assert left_out.strip(" ;") in ("n0 -> n3", "n0 --> n3")


@pytest.mark.parametrize(("export", "edge"), [(dot, "n0 -> n1 [style=dashed];"), (mermaid, "n0 -.-> n1")])
def test_way_through_hidden_nodes_is_dashed(export: Any, edge: str) -> None:
    first = node("first")
    graph = Graph.of({"out": node("last", node("hidden", first))})

    text = export(view_of(graph, {first, graph.outputs["out"]}), {})

    assert f"  {edge}" in text.splitlines()


@pytest.mark.parametrize(
    ("export", "lines"),
    [
        (dot, ['  n0 -> n1 [color="#c0392b", penwidth=3];', '  n1 -> n3 [color="#c0392b", penwidth=3];']),
        (
            mermaid,
            ["  linkStyle 0,2 stroke:#c0392b,stroke-width:3px", "  style n1 stroke:#c0392b,stroke-width:4px"],
        ),
    ],
)
def test_longest_chain_is_bold(export: Any, lines: list[str]) -> None:
    text = export(with_chain(VIEW, STATUS), STATUS)

    assert set(lines) <= set(text.splitlines())


def test_exports_do_without_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)

    assert all("initrd" in text for text in (dot(VIEW, STATUS), mermaid(VIEW, STATUS)))
