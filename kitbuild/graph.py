"""Graph is the nodes that some outputs need, inputs before what uses them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from kitbuild.node import Node


class Graph:
    """Nodes in dependency order and, by output name, those whose artifact the user gets.

    Made by `Graph.of`. A cycle cannot be written down: a node holds its inputs.
    """

    __slots__ = ("nodes", "outputs")

    def __init__(self, nodes: tuple[Node, ...], outputs: Mapping[str, Node]) -> None:
        self.nodes: Final = nodes
        self.outputs: Final = outputs

    @classmethod
    def of(cls, outputs: Mapping[str, Node]) -> Graph:
        """All nodes the outputs need, each once; raises ValueError if two nodes have one name."""
        nodes = tuple(_inputs_first(outputs.values()))
        names: dict[str, Node] = {}
        for node in nodes:
            if node.name in names:
                raise ValueError(f"two nodes are named {node.name!r}")
            names[node.name] = node
        return cls(nodes, dict(outputs))

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def users(self) -> dict[Node, list[Node]]:
        """For every node the nodes that take it as an input, in the graph's order, once each."""
        users: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for needed in dict.fromkeys(inputs_of(node)):
                users[needed].append(node)
        return users


def inputs_of(node: Node) -> Iterator[Node]:
    """The nodes `node` takes as inputs, in the order of their names."""
    for name in sorted(node.inputs):
        yield from node.inputs[name]


def _inputs_first(wanted: Iterable[Node]) -> Iterator[Node]:
    # Iterative: a chain of a thousand nodes must not meet Python's recursion limit.
    seen: set[Node] = set()
    for top in wanted:
        stack: list[tuple[Node, bool]] = [(top, False)]
        while stack:
            node, inputs_done = stack.pop()
            if inputs_done:
                yield node
            elif node not in seen:
                seen.add(node)
                stack.append((node, True))
                stack.extend((needed, False) for needed in reversed(list(inputs_of(node))))
