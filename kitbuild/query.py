"""Questions about a graph, and the graph for other programs: Graphviz, Mermaid, JSON.

An edge always points the way the content goes: from an input to the node that uses it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.store import Result

if TYPE_CHECKING:
    import networkx

State = Literal["cached", "run", "unknown"]
Edge = tuple[Node, Node]


class NodeStatus(NamedTuple):
    """What is known of a node before it is built.

    `unknown`: not even its key can be told yet, for instance because its image was not fetched. `size` is the
    content in bytes, of a tree or extents that of all blobs it refers to. `seconds` is how long it took to make.
    """

    state: State
    artifact: Artifact | None = None
    size: int = 0
    seconds: float = 0.0


Status = Mapping[Node, NodeStatus]
_KINDS = ("kernel", "init", "onboot", "onshutdown", "services", "volumes", "files")
UNKNOWN = NodeStatus("unknown")


def status_of(results: Mapping[Node, Result | None], unknown: Iterable[Node] = ()) -> dict[Node, NodeStatus]:
    """The status of every node of `results`; None there means it must run, unless it is one of `unknown`."""
    not_known = frozenset(unknown)
    status = {}
    for node, result in results.items():
        if result is not None:
            status[node] = NodeStatus("cached", result.artifact, result.size(), result.seconds)
        else:
            status[node] = UNKNOWN if node in not_known else NodeStatus("run")
    return status


def edges_of(graph: Graph) -> tuple[Edge, ...]:
    """All (input, user) pairs, each once, users in the graph's order."""
    return tuple((needed, node) for node in graph for needed in dict.fromkeys(inputs_of(node)))


# -- questions


def to_networkx(graph: Graph) -> networkx.DiGraph[Node]:
    """The graph for networkx, nodes and edges in the graph's order."""
    import networkx

    directed: networkx.DiGraph[Node] = networkx.DiGraph()
    directed.add_nodes_from(graph)
    directed.add_edges_from(edges_of(graph))
    return directed


def critical_path(graph: Graph, seconds: Mapping[Node, float]) -> tuple[Node, ...]:
    """The chain of nodes, first to last, that takes longest; no number of jobs makes a build faster than it.

    A node without an entry in `seconds` takes no time.
    """
    import networkx

    # networkx weighs edges and we weigh nodes: an edge weighs what the node it leads to takes, and one more
    # node before all others gives the first of a chain its edge.
    weighed: networkx.DiGraph[Node | str] = networkx.DiGraph()
    for node in graph:
        # A nanosecond more than it took: nodes that take no time belong to the chain as well.
        weight = seconds.get(node, 0.0) + 1e-9
        weighed.add_edge("start", node, weight=weight)
        for needed in inputs_of(node):
            weighed.add_edge(needed, node, weight=weight)
    path = networkx.dag_longest_path(weighed)
    return tuple(node for node in path if isinstance(node, Node))


def reduced(graph: Graph) -> tuple[Edge, ...]:
    """The edges without those that a longer way between the same two nodes already implies."""
    import networkx

    kept = networkx.transitive_reduction(to_networkx(graph))
    return tuple(edge for edge in edges_of(graph) if kept.has_edge(*edge))


def ancestors(graph: Graph, node: Node) -> tuple[Node, ...]:
    """Everything `node` is made from, in the graph's order, without itself."""
    import networkx

    found = networkx.ancestors(to_networkx(graph), node)
    return tuple(other for other in graph if other in found)


def descendants(graph: Graph, node: Node) -> tuple[Node, ...]:
    """Everything made from `node`, in the graph's order, without itself."""
    import networkx

    found = networkx.descendants(to_networkx(graph), node)
    return tuple(other for other in graph if other in found)


# -- the graph by sections


def sections_of(graph: Graph) -> dict[str, list[Node]]:
    """The nodes by section: sections in the order in which they boot, nodes in the graph's.

    Sections of one kind ("services a", "services b") keep the graph's order, which is the config's; those that
    are no part of a config come last.
    """
    sections: dict[str, list[Node]] = {}
    for node in graph:
        sections.setdefault(node.section, []).append(node)

    def rank(section: str) -> int:
        kind = section.partition(" ")[0].partition("[")[0]
        return _KINDS.index(kind) if kind in _KINDS else len(_KINDS)

    return {section: sections[section] for section in sorted(sections, key=rank)}


# -- exports


def dot(graph: Graph, status: Status, *, edges: Iterable[Edge] | None = None) -> str:
    """The graph for Graphviz, a box a section; `edges` (of `edges_of` or `reduced`) are all of them if None.

    Source: Graphviz, "The DOT Language".
    """
    names = {node: f"n{number}" for number, node in enumerate(graph)}
    lines = ["digraph kitbuild {", "  rankdir=LR;", '  node [shape=box, style="rounded,filled"];']
    for number, (section, nodes) in enumerate(sections_of(graph).items()):
        indent = "    " if section else "  "
        if section:
            lines.append(f"  subgraph cluster_{number} {{")
            lines.append(f"    label={_dot_text(section)};")
        for node in nodes:
            state = status.get(node, UNKNOWN).state
            label = _dot_text(_label(node))
            lines.append(f'{indent}{names[node]} [label={label}, fillcolor="{_FILL[state]}"];')
        if section:
            lines.append("  }")
    for needed, node in edges_of(graph) if edges is None else edges:
        lines.append(f"  {names[needed]} -> {names[node]};")
    for number, (name, node) in enumerate(graph.outputs.items()):
        lines.append(f'  o{number} [label={_dot_text(name)}, shape=note, style="", penwidth=2];')
        lines.append(f"  {names[node]} -> o{number};")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(graph: Graph, status: Status, *, edges: Iterable[Edge] | None = None) -> str:
    """The graph as a Mermaid flow chart; arguments as in `dot`.

    Source: Mermaid, "Flowcharts - Basic Syntax", whose texts in quotes know entities such as `#quot;`.
    """
    names = {node: f"n{number}" for number, node in enumerate(graph)}
    lines = ["flowchart LR"]
    for number, (section, nodes) in enumerate(sections_of(graph).items()):
        indent = "    " if section else "  "
        if section:
            lines.append(f"  subgraph s{number}[{_mermaid_text(section)}]")
        for node in nodes:
            state = status.get(node, UNKNOWN).state
            lines.append(f"{indent}{names[node]}[{_mermaid_text(_label(node))}]:::{state}")
        if section:
            lines.append("  end")
    for needed, node in edges_of(graph) if edges is None else edges:
        lines.append(f"  {names[needed]} --> {names[node]}")
    for number, (name, node) in enumerate(graph.outputs.items()):
        lines.append(f"  {names[node]} --> o{number}([{_mermaid_text(name)}])")
    lines += [f"  classDef {state} fill:{color},stroke:#555,color:#000" for state, color in _FILL.items()]
    return "\n".join(lines) + "\n"


def graph_json(graph: Graph, status: Status) -> dict[str, Any]:
    """The graph as JSON values:

    {"nodes": [{"name", "rule", "version", "section", "status": "cached" | "run" | "unknown",
                "artifact": {"kind", "digest", "size"} | null,      the bytes of the artifact itself
                "size", "seconds",                                  the content's bytes, the time it took
                "inputs": {input name: [node name]}}],              nodes after their inputs
     "outputs": {output name: node name}}
    """
    return {
        "nodes": [_node_json(node, status.get(node, UNKNOWN)) for node in graph],
        "outputs": {name: node.name for name, node in graph.outputs.items()},
    }


_FILL: Mapping[State, str] = {"cached": "#d5f0d5", "run": "#ffe3b0", "unknown": "#e4e4e4"}


def label_of(node: Node) -> str:
    """The node's name without its section, for places that show the section around it."""
    return node.name.removeprefix(f"{node.section}: ") if node.section else node.name


def _label(node: Node) -> str:
    return f"{label_of(node)}\n{node.rule.name}"


def _dot_text(text: str) -> str:
    # Graphviz knows HTML's entities in every label.
    escaped = _shown(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n")
    return f'"{escaped}"'


# `#` first among its kind: it begins an entity. A backtick would begin a Markdown text.
_MERMAID = str.maketrans({character: f"#{ord(character)};" for character in '#"<>&`\\'} | {"\n": "<br/>"})


def _mermaid_text(text: str) -> str:
    return f'"{_shown(text).translate(_MERMAID)}"'


def _shown(text: str) -> str:
    """`text` without control characters and lone surrogates, which neither language can hold."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)


def _node_json(node: Node, status: NodeStatus) -> dict[str, Any]:
    artifact = status.artifact
    return {
        "name": node.name,
        "rule": node.rule.name,
        "version": node.rule.version,
        "section": node.section,
        "status": status.state,
        "artifact": {"kind": artifact.kind, "digest": artifact.digest.oci, "size": artifact.digest.size}
        if artifact
        else None,
        "size": status.size,
        "seconds": status.seconds,
        "inputs": {name: [needed.name for needed in given] for name, given in sorted(node.inputs.items())},
    }
