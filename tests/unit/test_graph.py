from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Node
from kitbuild.rule import Input, NoOptions, Rule, Value, Work


def ran(work: Work[Any]) -> Value:
    raise AssertionError("these rules are never run")


RULE = Rule(
    "test/join",
    1,
    "Joins.",
    NoOptions,
    "blob",
    ran,
    {"first": Input("blob", many=True), "second": Input("blob", many=True)},
)


def node(name: str, *first: Node, second: tuple[Node, ...] = ()) -> Node:
    return Node(name, RULE, NoOptions(), {"second": second, "first": first})


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 12))):
        given_nodes = draw(st.lists(st.sampled_from(nodes), max_size=4)) if nodes else []
        cut = draw(st.integers(0, len(given_nodes)))
        nodes.append(node(f"node {number}", *given_nodes[:cut], second=tuple(given_nodes[cut:])))
    wanted = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3))
    return Graph.of({f"output {number}": output for number, output in enumerate(wanted)})


@given(graphs())
def test_inputs_come_before_what_uses_them(graph: Graph) -> None:
    places = {needed: place for place, needed in enumerate(graph)}

    assert all(places[needed] < places[user] for user in graph for needed in inputs_of(user))


@given(graphs())
def test_every_node_is_there_once_and_is_needed(graph: Graph) -> None:
    needed = set(graph.outputs.values()) | {one for user in graph for one in inputs_of(user)}

    assert len(graph) == len(set(graph))
    assert needed == set(graph)


@given(graphs())
def test_users_are_the_inputs_turned_round(graph: Graph) -> None:
    users = graph.users()

    assert list(users) == list(graph)
    for needed, found in users.items():
        assert [user for user in graph if needed in inputs_of(user)] == found


def test_order_follows_outputs_then_input_names_then_positions() -> None:
    one, two, three = node("1"), node("2"), node("3")
    last = node("last", two, one, second=(three,))

    graph = Graph.of({"other": node("other", three), "wanted": last})

    assert [found.name for found in graph] == ["3", "other", "2", "1", "last"]


def test_node_used_twice_is_one_user_once() -> None:
    shared = node("shared")
    user = node("user", shared, shared, second=(shared,))

    graph = Graph.of({"output": user})

    assert [shared, user] == list(graph)
    assert [user] == graph.users()[shared]


def test_two_outputs_may_be_one_node() -> None:
    one = node("1")

    graph = Graph.of({"a": one, "b": one})

    assert (one,) == graph.nodes
    assert {"a": one, "b": one} == graph.outputs


def test_no_outputs_need_no_nodes() -> None:
    assert len(Graph.of({})) == 0


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two nodes are named 'twin'"):
        Graph.of({"output": node("top", node("twin"), node("twin"))})


def test_outputs_are_those_given_even_if_the_mapping_changes() -> None:
    outputs = {"output": node("1")}

    graph = Graph.of(outputs)
    outputs.clear()

    assert list(graph.outputs) == ["output"]


def test_chain_longer_than_the_recursion_limit_is_walked() -> None:
    last = node("0")
    for number in range(1, 5000):
        last = node(str(number), last)

    graph = Graph.of({"output": last})

    assert [str(number) for number in range(5000)] == [found.name for found in graph]
