"""Lookup: what a cache knows of the nodes of a graph, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Ingredients, Node, ingredients_of
from kitbuild.rule import Artifact
from kitbuild.store import Result, Store


def status(graph: Graph, store: Store) -> dict[Node, Result | None]:
    """What the cache knows of every node now; None if it must run or needs something that must."""
    known: dict[Node, Result | None] = {}
    for level in levels_of(graph):
        keys = {
            node: ingredients_of(node, inputs).key()
            for node in level
            if (inputs := artifacts_of(node, known)) is not None
        }
        known.update(dict.fromkeys(level))
        known.update(zip(keys, store.results(tuple(keys.values())), strict=True))
    return {node: known[node] for node in graph}


def made_of(graph: Graph, store: Store) -> dict[str, Ingredients]:
    """What every node is made of whose inputs the cache knows, by its name."""
    known = status(graph, store)
    inputs = ((node, artifacts_of(node, known)) for node in graph)
    return {node.name: ingredients_of(node, given) for node, given in inputs if given is not None}


def artifacts_of(node: Node, results: Mapping[Node, Result | None]) -> dict[str, tuple[Artifact, ...]] | None:
    """The artifacts of the node's inputs, or None while one is not known."""
    artifacts = {}
    for name, needed in node.inputs.items():
        given = []
        for source in needed:
            result = results.get(source)
            if result is None:
                return None
            given.append(result.artifact)
        artifacts[name] = tuple(given)
    return artifacts


def levels_of(graph: Graph) -> list[list[Node]]:
    """The nodes by the longest way to them from one without inputs; those of a level do not need each other."""
    level: dict[Node, int] = {}
    levels: list[list[Node]] = []
    for node in graph:
        level[node] = max((level[needed] + 1 for needed in inputs_of(node)), default=0)
        if level[node] == len(levels):
            levels.append([])
        levels[level[node]].append(node)
    return levels
