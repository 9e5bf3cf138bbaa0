"""What a build would do now, as a record: what is in the cache, what would run, as far as that can be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from kitbuild import __version__
from kitbuild.graph import Graph, inputs_of
from kitbuild.lookup import artifacts_of, status
from kitbuild.node import Node, ingredients_of
from kitbuild.record import CACHE_OFF, CONTENT_GONE, Fate, NodeRecord, Origins, Record
from kitbuild.store import Result, Store


class Plan(NamedTuple):
    """A record of a build that was not made. `runs` are the nodes that would run, `follow` those of them that may
    not: what they are made of is known only when others have run, and may turn out to be what it was.
    """

    record: Record
    runs: tuple[str, ...]
    follow: frozenset[str]


def planned(
    graph: Graph,
    store: Store,
    origins: Origins,
    *,
    use_cache: bool = True,
    wanted: Callable[[str, Result], bool] = lambda name, result: True,
) -> Plan:
    """What would run if the graph were built now from this store; nothing is built or fetched.

    `wanted(name, result)` is false for an output that is in place already, whose content nobody needs.
    """
    known = status(graph, store) if use_cache else dict.fromkeys(graph)
    lost = _lost(graph, store, known, wanted)
    nodes = {node.name: _node(node, known, lost=node in lost, use_cache=use_cache) for node in graph}
    record = Record(
        __version__, "", 0.0, 0.0, nodes, {name: node.name for name, node in graph.outputs.items()}, origins
    )
    runs = tuple(name for name, node in nodes.items() if node.fate in ("ran", "left"))
    follow = frozenset(name for name in runs if nodes[name].fate == "left") if use_cache else frozenset()
    return Plan(record, runs, follow)


def _lost(
    graph: Graph,
    store: Store,
    known: Mapping[Node, Result | None],
    wanted: Callable[[str, Result], bool],
) -> set[Node]:
    """Nodes with a result whose content somebody needs and nobody has."""
    needed = {one for node in graph if known[node] is None for one in inputs_of(node)}
    for name, node in graph.outputs.items():
        result = known[node]
        if result is not None and wanted(name, result):
            needed.add(node)
    lost: set[Node] = set()
    stack = [node for node in needed if known[node] is not None]
    while stack:
        node = stack.pop()
        result = known[node]
        if node in lost or result is None or not math.isinf(store.distance(result.content())):
            continue
        lost.add(node)
        stack.extend(inputs_of(node))
    return lost


def _node(node: Node, known: Mapping[Node, Result | None], *, lost: bool, use_cache: bool) -> NodeRecord:
    inputs = {name: tuple(one.name for one in given) for name, given in node.inputs.items()}
    artifacts, result = artifacts_of(node, known), known[node]
    # What is known of a node whose inputs are not is told too: its options may differ besides.
    ingredients = ingredients_of(node, artifacts if artifacts is not None else {})
    if not use_cache:
        return NodeRecord(node.rule.name, node.section, "ran", inputs, ingredients, why=(CACHE_OFF,))
    if result is None:
        fate: Fate = "left" if artifacts is None else "ran"
        return NodeRecord(node.rule.name, node.section, fate, inputs, ingredients)
    return NodeRecord(
        node.rule.name,
        node.section,
        "ran" if lost else "far" if result.far else "near",
        inputs,
        ingredients,
        result.artifact,
        result.size(),
        result.seconds,
        why=(CONTENT_GONE,) if lost else (),
    )
