from __future__ import annotations

import json
import re
import sys
from itertools import pairwise
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Node
from kitbuild.query import (
    NodeStatus,
    ancestors,
    critical_path,
    descendants,
    dot,
    edges_of,
    graph_json,
    label_of,
    mermaid,
    reduced,
    sections_of,
    status_of,
    to_networkx,
)
from kitbuild.rule import Artifact, Input, NoOptions, Rule, Value, Work
from kitbuild.store import Result


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
CACHED = NodeStatus("cached", Artifact("tree", DIGEST), 5000, 1.5)
STATUS = {IMAGE: CACHED, KERNEL: NodeStatus("run"), SERVICE: NodeStatus("unknown")}


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


# -- status


def test_results_become_status() -> None:
    blob = Result(Artifact("blob", DIGEST), (), 0.5)
    tree = Result(Artifact("tree", DIGEST), (Digest("0" * 64, 400), Digest("1" * 64, 30)), 2.0)
    results = {IMAGE: tree, KERNEL: blob, SERVICE: None, INITRD: None}

    status = status_of(results, unknown=[SERVICE])

    expected = {
        IMAGE: NodeStatus("cached", tree.artifact, 430, 2.0),
        KERNEL: NodeStatus("cached", blob.artifact, DIGEST.size, 0.5),
        SERVICE: NodeStatus("unknown"),
        INITRD: NodeStatus("run"),
    }
    assert expected == status


def test_node_with_a_result_is_known_whatever_it_waits_for() -> None:
    result = Result(Artifact("blob", DIGEST))

    assert status_of({IMAGE: result}, unknown=[IMAGE])[IMAGE].state == "cached"


# -- questions


def test_edges_lead_from_inputs_to_users_once_each() -> None:
    expected = ((IMAGE, KERNEL), (IMAGE, SERVICE), (KERNEL, INITRD), (SERVICE, INITRD), (IMAGE, INITRD))

    assert expected == edges_of(GRAPH)


@given(graphs())
def test_networkx_sees_the_same_graph(graph: Graph) -> None:
    directed = to_networkx(graph)

    assert list(graph) == list(directed.nodes)
    assert set(edges_of(graph)) == set(directed.edges)
    assert networkx.is_directed_acyclic_graph(directed)


def test_node_alone_is_a_graph_too() -> None:
    graph = Graph.of({"only": IMAGE})

    assert list(to_networkx(graph).nodes) == [IMAGE]
    assert critical_path(graph, {}) == (IMAGE,)
    assert reduced(graph) == ()


def test_edge_implied_by_a_longer_way_is_left_out() -> None:
    expected = ((IMAGE, KERNEL), (IMAGE, SERVICE), (KERNEL, INITRD), (SERVICE, INITRD))

    assert expected == reduced(GRAPH)


@given(graphs())
def test_reduction_keeps_who_needs_whom(graph: Graph) -> None:
    kept: networkx.DiGraph[Node] = networkx.DiGraph(reduced(graph))
    kept.add_nodes_from(graph)

    whole = to_networkx(graph)
    assert all(networkx.ancestors(whole, one) == networkx.ancestors(kept, one) for one in graph)


@given(graphs())
def test_ancestors_and_descendants_mirror_each_other(graph: Graph) -> None:
    above = {one: ancestors(graph, one) for one in graph}

    for one in graph:
        assert tuple(other for other in graph if one in above[other]) == descendants(graph, one)
        assert set(inputs_of(one)) <= set(above[one])
        assert one not in above[one]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        pytest.param({KERNEL: 2.0, SERVICE: 1.0}, (IMAGE, KERNEL, INITRD), id="through the kernel"),
        pytest.param({KERNEL: 1.0, SERVICE: 2.0}, (IMAGE, SERVICE, INITRD), id="through the service"),
        pytest.param({IMAGE: 9.0, SERVICE: 0.1, INITRD: 4.0}, (IMAGE, SERVICE, INITRD), id="all counted"),
    ],
)
def test_critical_path_is_the_chain_that_takes_longest(
    seconds: dict[Node, float], expected: tuple[Node, ...]
) -> None:
    assert expected == critical_path(GRAPH, seconds)


def test_time_of_the_first_node_of_a_chain_counts() -> None:
    slow, quick, last = node("slow"), node("quick", node("before quick")), node("other")
    graph = Graph.of({"output": node("last", slow, quick, last)})

    path = critical_path(graph, {slow: 3.0, quick: 2.0})

    assert [one.name for one in path] == ["slow", "last"]


@given(graphs(), st.randoms(use_true_random=False))
def test_no_chain_takes_longer_than_the_critical_path(graph: Graph, chance: Any) -> None:
    seconds = {one: chance.randint(0, 9) * 1.0 for one in graph}
    longest: dict[Node, float] = {}
    for one in graph:
        longest[one] = seconds[one] + max((longest[needed] for needed in inputs_of(one)), default=0.0)

    path = critical_path(graph, seconds)

    assert max(longest.values()) == sum(seconds[one] for one in path)
    assert all(needed in inputs_of(user) for needed, user in pairwise(path))


# -- sections


def test_sections_come_in_the_order_in_which_they_boot() -> None:
    names = ["images", "files", "services b", "services a", "", "root", "onboot a", "init[1] x", "kernel"]
    pieces = [node(f"node {number}", section=name) for number, name in enumerate(names)]
    graph = Graph.of({str(number): one for number, one in enumerate(pieces)})

    expected = ["kernel", "init[1] x", "onboot a", "services b", "services a", "files", "images", "", "root"]
    assert expected == list(sections_of(graph))


@given(graphs())
def test_sections_hold_every_node_once(graph: Graph) -> None:
    held = [one for nodes in sections_of(graph).values() for one in nodes]

    assert len(graph) == len(held)
    assert set(graph) == set(held)


def test_label_leaves_out_the_section() -> None:
    assert label_of(SERVICE) == "segment"
    assert label_of(IMAGE) == "image redis"
    assert label_of(INITRD) == "initrd"


# -- exports


def test_dot_has_a_box_a_section_and_a_colour_a_status() -> None:
    expected = """\
digraph kitbuild {
  rankdir=LR;
  node [shape=box, style="rounded,filled"];
  subgraph cluster_0 {
    label="kernel";
    n1 [label="boot\\ntest/join", fillcolor="#ffe3b0"];
  }
  subgraph cluster_1 {
    label="services redis";
    n2 [label="segment\\ntest/join", fillcolor="#e4e4e4"];
  }
  subgraph cluster_2 {
    label="images";
    n0 [label="image redis\\ntest/join", fillcolor="#d5f0d5"];
  }
  n3 [label="initrd\\ntest/join", fillcolor="#e4e4e4"];
  n0 -> n1;
  n0 -> n2;
  n1 -> n3;
  n2 -> n3;
  n0 -> n3;
  o0 [label="-initrd.img", shape=note, style="", penwidth=2];
  n3 -> o0;
}
"""
    assert expected == dot(GRAPH, STATUS)


def test_dot_escapes_what_ends_a_text() -> None:
    graph = Graph.of({'"out\\': node('a "b" \\ \x1b\udcff')})

    text = dot(graph, {})

    assert 'label="a \\"b\\" \\\\ ??\\ntest/join"' in text
    assert 'label="\\"out\\\\"' in text


@given(graphs(st.text(max_size=8)))
def test_dot_texts_always_end_where_they_should(graph: Graph) -> None:
    without_texts = re.sub(r'"(?:[^"\\]|\\.)*"', "T", dot(graph, {}))

    assert '"' not in without_texts
    assert without_texts.isascii()


def test_mermaid_has_a_box_a_section_and_a_class_a_status() -> None:
    expected = """\
flowchart LR
  subgraph s0["kernel"]
    n1["boot<br/>test/join"]:::run
  end
  subgraph s1["services redis"]
    n2["segment<br/>test/join"]:::unknown
  end
  subgraph s2["images"]
    n0["image redis<br/>test/join"]:::cached
  end
  n3["initrd<br/>test/join"]:::unknown
  n0 --> n1
  n0 --> n2
  n1 --> n3
  n2 --> n3
  n0 --> n3
  n3 --> o0(["-initrd.img"])
  classDef cached fill:#d5f0d5,stroke:#555,color:#000
  classDef run fill:#ffe3b0,stroke:#555,color:#000
  classDef unknown fill:#e4e4e4,stroke:#555,color:#000
"""
    assert expected == mermaid(GRAPH, STATUS)


# The part of Mermaid's grammar the export uses; a text holds nothing but entities for what has a meaning.
TEXT = r'"(?:[^"#<>&`\\]|#[0-9]+;|<br/>)*"'
MERMAID_LINE = re.compile(
    rf"  subgraph s[0-9]+\[{TEXT}\]|  end"
    rf"|(?:  |    )n[0-9]+\[{TEXT}\]:::(?:cached|run|unknown)"
    rf"|  n[0-9]+ --> (?:n[0-9]+|o[0-9]+\(\[{TEXT}\]\))"
    r"|  classDef (?:cached|run|unknown) fill:#[0-9a-f]{6},stroke:#555,color:#000"
)


@given(graphs(st.text(max_size=8)))
def test_mermaid_stays_inside_its_grammar(graph: Graph) -> None:
    first, *lines = mermaid(graph, {}).split("\n")[:-1]

    assert first == "flowchart LR"
    assert [line for line in lines if not MERMAID_LINE.fullmatch(line)] == []
    assert sum(line.startswith("  subgraph") for line in lines) == lines.count("  end")
    declared = [line.split("[")[0].strip() for line in lines if re.match(r" +n[0-9]+\[", line)]
    assert sorted(f"n{number}" for number in range(len(graph))) == sorted(declared)


def test_mermaid_writes_entities_for_what_has_a_meaning() -> None:
    graph = Graph.of({"out": node('a#b "c" <d> & `e` \\n')})

    assert '"a#35;b #34;c#34; #60;d#62; #38; #96;e#96; #92;n<br/>test/join"' in mermaid(graph, {})


@pytest.mark.parametrize("export", [dot, mermaid])
def test_edges_can_be_the_reduced_ones(export: Any) -> None:
    whole, less = export(GRAPH, STATUS), export(GRAPH, STATUS, edges=reduced(GRAPH))

    (left_out,) = set(whole.splitlines()) - set(less.splitlines())
    assert left_out.strip(" ;") in ("n0 -> n3", "n0 --> n3")


def test_json_says_all_that_is_known_of_a_node() -> None:
    document = graph_json(GRAPH, STATUS)

    artifact = {"kind": "tree", "digest": DIGEST.oci, "size": 10}
    known = {"rule": "test/join", "version": 3}
    assert document["nodes"][0] == {
        **known,
        "name": "image redis",
        "section": "images",
        "status": "cached",
        "artifact": artifact,
        "size": 5000,
        "seconds": 1.5,
        "inputs": {"pieces": []},
    }
    assert document["nodes"][1] == {
        **known,
        "name": "kernel: boot",
        "section": "kernel",
        "status": "run",
        "artifact": None,
        "size": 0,
        "seconds": 0.0,
        "inputs": {"pieces": ["image redis"]},
    }
    assert document["outputs"] == {"-initrd.img": "initrd"}


@given(graphs(st.text(max_size=8)))
def test_json_is_json_with_inputs_first(graph: Graph) -> None:
    document = json.loads(json.dumps(graph_json(graph, {})))

    seen: set[str] = set()
    for one in document["nodes"]:
        assert seen.issuperset(one["inputs"]["pieces"])
        seen.add(one["name"])
    assert seen.issuperset(document["outputs"].values())


def test_exports_do_without_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)

    texts = [dot(GRAPH, STATUS), mermaid(GRAPH, STATUS), json.dumps(graph_json(GRAPH, STATUS))]

    assert all("initrd" in text for text in texts)
