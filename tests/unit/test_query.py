from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Node
from kitbuild.query import (
    Found,
    NodeStatus,
    about,
    between,
    critical_path,
    edges_of,
    graph_json,
    label_of,
    needed_by,
    reduced,
    sections_of,
    status_of,
    to_networkx,
    users_of,
    view_of,
    with_chain,
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
CACHED = NodeStatus("near", Artifact("tree", DIGEST), 5000, 1.5)
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

NEAR, LOST, AWAY = Digest("0" * 64, 400), Digest("1" * 64, 30), Digest("2" * 64, 7)


def states(results: Mapping[Node, Result | None], **known: Any) -> list[str]:
    """Of image, kernel, service and initrd."""
    status = status_of(GRAPH, Found(results, **known))
    return [status[one].state for one in (IMAGE, KERNEL, SERVICE, INITRD)]


def made(*blobs: Digest, far: bool = False, dense: tuple[Digest, ...] = ()) -> Result:
    return Result(Artifact("tree", DIGEST), blobs, 2.0, dense, far)


def test_results_become_status() -> None:
    blob = Result(Artifact("blob", DIGEST), (), 0.5)
    results = {IMAGE: made(NEAR, LOST), KERNEL: blob, SERVICE: None, INITRD: None}

    status = status_of(GRAPH, Found(results, waiting={SERVICE}, sizes={DIGEST: 77}, last={INITRD: 3.0}))

    expected = {
        IMAGE: NodeStatus("near", Artifact("tree", DIGEST), 77, 2.0),
        KERNEL: NodeStatus("near", blob.artifact, DIGEST.size, 0.5),
        SERVICE: NodeStatus("unknown"),
        INITRD: NodeStatus("run", None, 0, 3.0),
    }
    assert expected == status
    assert list(GRAPH) == list(status)


def test_size_of_a_tree_nobody_read_is_at_most_that_of_its_blobs() -> None:
    status = status_of(GRAPH, Found({IMAGE: made(NEAR, LOST)}))

    assert NodeStatus("near", Artifact("tree", DIGEST), 430, 2.0, at_most=True) == status[IMAGE]


def test_result_known_elsewhere_only_is_far() -> None:
    results = {IMAGE: made(far=True), KERNEL: made(NEAR), SERVICE: made(AWAY), INITRD: made()}

    assert ["far", "near", "far", "near"] == states(results, away={AWAY})


def test_content_that_is_nowhere_is_made_again_only_for_who_needs_it() -> None:
    results = {IMAGE: made(LOST), KERNEL: made(LOST), SERVICE: made(), INITRD: made()}
    lost: dict[str, Any] = {"away": {LOST}, "lost": {LOST}}

    assert ["gone", "gone", "near", "near"] == states(results, **lost)
    assert ["run", "run", "near", "run"] == states(results | {INITRD: None}, **lost)
    assert ["run", "run", "near", "run"] == states(results | {INITRD: made(LOST)}, **lost)


def test_output_is_near_in_either_of_its_forms() -> None:
    results = {
        IMAGE: made(LOST, dense=(NEAR,)),
        KERNEL: made(),
        SERVICE: made(),
        INITRD: made(LOST, dense=(NEAR,)),
    }

    assert ["gone", "near", "near", "near"] == states(results, away={LOST}, lost={LOST})


def test_node_with_a_result_is_known_whatever_it_waits_for() -> None:
    assert states({IMAGE: made()}, waiting={IMAGE})[0] == "near"


# -- questions


def test_edges_lead_from_inputs_to_users_once_each() -> None:
    expected = ((IMAGE, KERNEL), (IMAGE, SERVICE), (KERNEL, INITRD), (SERVICE, INITRD), (IMAGE, INITRD))

    assert expected == edges_of(GRAPH)


@given(graphs())
def test_networkx_sees_the_same_graph(graph: Graph) -> None:
    directed = to_networkx(graph, edges_of(graph))

    assert list(graph) == list(directed.nodes)
    assert set(edges_of(graph)) == set(directed.edges)
    assert networkx.is_directed_acyclic_graph(directed)


def test_node_alone_is_a_graph_too() -> None:
    graph = Graph.of({"only": IMAGE})

    assert list(to_networkx(graph, ()).nodes) == [IMAGE]
    assert critical_path(graph, {}) == (IMAGE,)
    assert reduced(view_of(graph)).edges == ()


def test_edge_implied_by_a_longer_way_is_left_out() -> None:
    expected = ((IMAGE, KERNEL), (IMAGE, SERVICE), (KERNEL, INITRD), (SERVICE, INITRD))

    assert expected == reduced(view_of(GRAPH)).edges


@given(graphs())
def test_reduction_keeps_who_needs_whom(graph: Graph) -> None:
    kept: networkx.DiGraph[Node] = networkx.DiGraph(reduced(view_of(graph)).edges)
    kept.add_nodes_from(graph)

    whole = to_networkx(graph, edges_of(graph))
    assert all(networkx.ancestors(whole, one) == networkx.ancestors(kept, one) for one in graph)


@given(graphs())
def test_what_is_needed_and_what_uses_mirror_each_other(graph: Graph) -> None:
    needed = {one: needed_by(graph, [one]) for one in graph}

    for one in graph:
        assert {other for other in graph if one in needed[other]} == users_of(graph, [one])
        assert {one, *inputs_of(one)} <= needed[one]


def test_depth_counts_edges() -> None:
    assert needed_by(GRAPH, [INITRD], depth=0) == {INITRD}
    assert needed_by(GRAPH, [SERVICE], depth=1) == {SERVICE, IMAGE}
    assert users_of(GRAPH, [IMAGE], depth=1) == {IMAGE, KERNEL, SERVICE, INITRD}
    assert users_of(GRAPH, [KERNEL], depth=5) == {KERNEL, INITRD}


def test_all_ways_between_two_nodes_are_found_whichever_comes_first() -> None:
    assert between(GRAPH, [IMAGE], [SERVICE]) == {IMAGE, SERVICE}
    assert between(GRAPH, [INITRD], [IMAGE]) == set(GRAPH)
    assert between(GRAPH, [KERNEL], [SERVICE]) == set()


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


def test_layer_says_which_image_it_is_of() -> None:
    class Labelled(NamedTuple):
        label: str

    rule = Rule("test/layer", 1, "Is a layer.", Labelled, "blob", ran)
    layer = Node("layer 12", rule, Labelled("kit/redis:v1: layer 1 of 2"), section="images")

    assert about(layer) == "kit/redis:v1: layer 1 of 2"
    assert (about(IMAGE), about(KERNEL), about(INITRD)) == ("", "", "")


def test_label_leaves_out_the_section() -> None:
    assert label_of(SERVICE) == "segment"
    assert label_of(IMAGE) == "image redis"
    assert label_of(INITRD) == "initrd"


# -- what to show


def test_whole_graph_is_shown_without_a_choice() -> None:
    view = view_of(GRAPH)

    assert (GRAPH.nodes, edges_of(GRAPH), frozenset(), ()) == view[1:]
    assert {"-initrd.img": INITRD} == view.outputs()


def test_way_through_nodes_not_shown_is_an_indirect_edge() -> None:
    view = view_of(GRAPH, {IMAGE, KERNEL})
    without = view_of(GRAPH, {IMAGE, INITRD})
    around = view_of(Graph.of({"out": SERVICE}), {SERVICE})

    assert (((IMAGE, KERNEL),), frozenset(), {}) == (view.edges, view.indirect, view.outputs())
    assert (((IMAGE, INITRD),), frozenset()) == (without.edges, without.indirect)
    assert around.edges == ()
    chain = view_of(Graph.of({"out": node("last", SERVICE)}), {IMAGE, *Graph.of({"out": KERNEL})})
    assert chain.edges == ()


def test_indirect_edge_stands_for_a_chain_of_hidden_nodes() -> None:
    first = node("first")
    last = node("last", node("third", node("second", first)))

    view = view_of(Graph.of({"out": last}), {first, last})

    assert ((first, last),) == view.edges
    assert frozenset({(first, last)}) == view.indirect


@given(graphs(), st.data())
def test_view_keeps_who_needs_whom(graph: Graph, data: st.DataObject) -> None:
    shown = data.draw(st.sets(st.sampled_from(graph.nodes)))

    view = view_of(graph, shown)

    whole, kept = to_networkx(graph, edges_of(graph)), to_networkx(view.nodes, view.edges)
    for one in shown:
        assert networkx.ancestors(whole, one) & shown == networkx.ancestors(kept, one)
    assert view.indirect == set(view.edges) - set(edges_of(graph))
    assert set(reduced(view).edges) <= set(view.edges)


def test_chain_is_that_of_the_nodes_shown() -> None:
    status = {one: NodeStatus("near", None, 0, 1.0) for one in GRAPH}

    chain = with_chain(view_of(GRAPH, {IMAGE, KERNEL}), status)

    assert (IMAGE, KERNEL) == chain.chain
    assert {(IMAGE, KERNEL)} == chain.in_chain()


def test_json_says_all_that_is_known_of_a_node() -> None:
    document = graph_json(view_of(GRAPH, {IMAGE, INITRD}), STATUS)

    artifact = {"kind": "tree", "digest": DIGEST.oci, "size": 10}
    known = {"rule": "test/join", "version": 3, "about": "", "size_at_most": False}
    assert document["nodes"] == [
        {
            **known,
            "name": "image redis",
            "section": "images",
            "status": "near",
            "artifact": artifact,
            "size": 5000,
            "seconds": 1.5,
            "inputs": {"pieces": []},
        },
        {
            **known,
            "name": "initrd",
            "section": "",
            "status": "unknown",
            "artifact": None,
            "size": None,
            "seconds": 0.0,
            "inputs": {"pieces": ["kernel: boot", *["services redis: segment"] * 2, "image redis"]},
        },
    ]
    assert document["edges"] == [{"from": "image redis", "to": "initrd", "indirect": False}]
    assert document["outputs"] == {"-initrd.img": "initrd"}
    assert document["counts"] == {"near": 1, "far": 0, "gone": 0, "run": 0, "unknown": 1}
    assert (document["total"], document["critical_path"]) == (4, None)


@given(graphs(st.text(max_size=8)))
def test_json_is_json_with_inputs_first(graph: Graph) -> None:
    document = json.loads(json.dumps(graph_json(with_chain(view_of(graph), {}), {})))

    seen: set[str] = set()
    for one in document["nodes"]:
        assert seen.issuperset(one["inputs"]["pieces"])
        seen.add(one["name"])
    assert seen.issuperset(document["outputs"].values())
    assert seen.issuperset(document["critical_path"])
    assert len(graph) == sum(document["counts"].values())


def test_view_and_json_do_without_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "networkx", None)

    assert "initrd" in json.dumps(graph_json(view_of(GRAPH, {INITRD}), STATUS))
