"""Questions about a graph: what of it is known, what needs what, what to show of it, what takes longest.

An edge always points the way the content goes: from an input to the node that uses it.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kitbuild.digest import Digest
from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Node
from kitbuild.rule import Artifact
from kitbuild.store import Result

if TYPE_CHECKING:
    import networkx

State = Literal["near", "far", "gone", "run", "unknown"]
"""What is known of a node before it is built: its result and content are here; its result is known, but its content
is in the remote cache, or it is known there only; its content is nowhere, and nothing needs it; it must run; it must
run and waits for a registry or a mirror."""

Edge = tuple[Node, Node]
STATES: tuple[State, ...] = ("near", "far", "gone", "run", "unknown")


class NodeStatus(NamedTuple):
    """What is known of a node before it is built.

    `size` is what it gives in bytes: of a blob its own, of a tree that of all its files, of extents that of the file
    they describe; if `at_most`, only what all that is referred to takes is known. `seconds` is how long it took to
    make when it was last made; without an artifact too, then judging by the last build.
    """

    state: State
    artifact: Artifact | None = None
    size: int = 0
    seconds: float = 0.0
    at_most: bool = False


class Found(NamedTuple):
    """What a cache knows: of every node its result, or None.

    Of all content of the results, `away` is not here, and `lost` is not in the remote cache either. `waiting` are
    nodes that a registry or mirror must be asked for. `sizes` are those of artifacts, by their digest; `last` is what
    nodes took in the last build.
    """

    results: Mapping[Node, Result | None]
    away: Container[Digest] = frozenset()
    lost: Container[Digest] = frozenset()
    waiting: Container[Node] = frozenset()
    sizes: Mapping[Digest, int] = {}
    last: Mapping[Node, float] = {}


Status = Mapping[Node, NodeStatus]
_KINDS = ("kernel", "init", "onboot", "onshutdown", "services", "volumes", "files")
UNKNOWN = NodeStatus("unknown")


def status_of(graph: Graph, found: Found) -> dict[Node, NodeStatus]:
    """The status of every node, in the graph's order.

    As in a build, content that is nowhere is made again only for a node that runs, or for an output.
    """
    status: dict[Node, NodeStatus] = {}
    outputs = set(graph.outputs.values())
    wanted = set(outputs)
    for node in reversed(graph.nodes):
        result = found.results.get(node)
        state = _state(node, result, found, wanted=node in wanted, output=node in outputs)
        if state in ("run", "unknown"):
            wanted.update(inputs_of(node))
        if result is None:
            status[node] = NodeStatus(state, seconds=found.last.get(node, 0.0))
        else:
            status[node] = _of_result(state, result, found.sizes)
    return {node: status[node] for node in graph}


def _state(node: Node, result: Result | None, found: Found, *, wanted: bool, output: bool) -> State:
    if result is None:
        return "unknown" if node in found.waiting else "run"
    # An output may be written from either of its forms.
    forms = [result.content(), *([result.dense] if output and result.dense else [])]
    if not result.far and any(all(digest not in found.away for digest in form) for form in forms):
        return "near"
    if any(all(digest not in found.lost for digest in form) for form in forms):
        return "far"
    return "run" if wanted else "gone"


def _of_result(state: State, result: Result, sizes: Mapping[Digest, int]) -> NodeStatus:
    artifact = result.artifact
    if artifact.kind == "blob":
        return NodeStatus(state, artifact, artifact.digest.size, result.seconds)
    size = sizes.get(artifact.digest)
    if size is not None:
        return NodeStatus(state, artifact, size, result.seconds)
    return NodeStatus(state, artifact, sum(blob.size for blob in result.blobs), result.seconds, at_most=True)


def edges_of(graph: Graph) -> tuple[Edge, ...]:
    """All (input, user) pairs, each once, users in the graph's order."""
    return tuple((needed, node) for node in graph for needed in dict.fromkeys(inputs_of(node)))


def sections_of(nodes: Iterable[Node]) -> dict[str, list[Node]]:
    """The nodes by section: sections in the order in which they boot, nodes in the graph's.

    Sections of one kind ("services a", "services b") keep the graph's order, which is the config's; those that
    are no part of a config come last.
    """
    sections: dict[str, list[Node]] = {}
    for node in nodes:
        sections.setdefault(node.section, []).append(node)

    def rank(section: str) -> int:
        kind = section.partition(" ")[0].partition("[")[0]
        return _KINDS.index(kind) if kind in _KINDS else len(_KINDS)

    return {section: sections[section] for section in sorted(sections, key=rank)}


def label_of(node: Node) -> str:
    """The node's name without its section, for places that show the section around it."""
    return node.name.removeprefix(f"{node.section}: ") if node.section else node.name


def about(node: Node) -> str:
    """What a node whose name does not say it is about: the image of a layer. Empty for the others."""
    if node.section != "images" or node.name.startswith("image "):
        return ""
    text = getattr(node.options, "label", "") or getattr(node.options, "image", "")
    return text if isinstance(text, str) else ""


# -- what needs what


def to_networkx(nodes: Iterable[Node], edges: Iterable[Edge]) -> networkx.DiGraph[Node]:
    """The graph for networkx, nodes and edges in their order."""
    import networkx

    directed: networkx.DiGraph[Node] = networkx.DiGraph()
    directed.add_nodes_from(nodes)
    directed.add_edges_from(edges)
    return directed


def needed_by(graph: Graph, nodes: Collection[Node], *, depth: int | None = None) -> set[Node]:
    """`nodes` and everything they are made from, at most `depth` edges away."""
    return _around(to_networkx(graph, edges_of(graph)).reverse(copy=False), nodes, depth)


def users_of(graph: Graph, nodes: Collection[Node], *, depth: int | None = None) -> set[Node]:
    """`nodes` and everything made from them, at most `depth` edges away."""
    return _around(to_networkx(graph, edges_of(graph)), nodes, depth)


def _around(directed: networkx.DiGraph[Node], nodes: Collection[Node], depth: int | None) -> set[Node]:
    import networkx

    layers = networkx.bfs_layers(directed, list(nodes))
    return {
        node for distance, layer in enumerate(layers) if depth is None or distance <= depth for node in layer
    }


def between(graph: Graph, first: Collection[Node], last: Collection[Node]) -> set[Node]:
    """All nodes on a way from one of `first` to one of `last`, or the other way round; none if there is no way."""
    import networkx

    directed = to_networkx(graph, edges_of(graph))
    for starts, ends in ((first, last), (last, first)):
        below = set(starts).union(*(networkx.descendants(directed, node) for node in starts))
        above = set(ends).union(*(networkx.ancestors(directed, node) for node in ends))
        found = below & above
        if found:
            return found
    return set()


def critical_path(graph: Graph, seconds: Mapping[Node, float]) -> tuple[Node, ...]:
    """The chain of nodes, first to last, that takes longest; no number of jobs makes a build faster than it.

    A node without an entry in `seconds` takes no time.
    """
    return longest_chain(graph.nodes, edges_of(graph), seconds)


def longest_chain(
    nodes: Sequence[Node], edges: Iterable[Edge], seconds: Mapping[Node, float]
) -> tuple[Node, ...]:
    """The chain of `nodes` along `edges` that takes longest."""
    import networkx

    # networkx weighs edges and we weigh nodes: an edge weighs what the node it leads to takes, and one more
    # node before all others gives the first of a chain its edge.
    weighed: networkx.DiGraph[Node | str] = networkx.DiGraph()
    # A nanosecond more than it took: nodes that take no time belong to the chain as well.
    weights = {node: seconds.get(node, 0.0) + 1e-9 for node in nodes}
    for node in nodes:
        weighed.add_edge("start", node, weight=weights[node])
    for needed, node in edges:
        weighed.add_edge(needed, node, weight=weights[node])
    path = networkx.dag_longest_path(weighed)
    return tuple(node for node in path if isinstance(node, Node))


# -- what to show


class View(NamedTuple):
    """What is shown of a graph: some `nodes` in its order, and the edges between them.

    An edge of `indirect` stands for a way through nodes that are not shown. `chain` is the longest one, if it was
    asked for.
    """

    graph: Graph
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    indirect: frozenset[Edge] = frozenset()
    chain: tuple[Node, ...] = ()

    def outputs(self) -> dict[str, Node]:
        """The outputs whose nodes are shown, by name."""
        shown = set(self.nodes)
        return {name: node for name, node in self.graph.outputs.items() if node in shown}

    def inputs(self) -> dict[Node, list[Node]]:
        """For every node the nodes that an edge leads from."""
        inputs: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for needed, node in self.edges:
            inputs[node].append(needed)
        return inputs

    def in_chain(self) -> set[Edge]:
        """The edges of the longest chain."""
        return set(zip(self.chain, self.chain[1:], strict=False))


def view_of(graph: Graph, shown: Container[Node] | None = None) -> View:
    """The nodes `shown`, or all; ways through others become indirect edges."""
    if shown is None:
        return View(graph, graph.nodes, edges_of(graph))
    edges: list[Edge] = []
    indirect: set[Edge] = set()
    # Of a node that is not shown, the shown ones that its content comes from.
    behind: dict[Node, dict[Node, None]] = {}
    for node in graph:
        direct = [needed for needed in dict.fromkeys(inputs_of(node)) if needed in shown]
        hidden = dict.fromkeys(
            source for needed in inputs_of(node) if needed not in shown for source in behind[needed]
        )
        if node not in shown:
            behind[node] = dict.fromkeys(direct) | hidden
            continue
        edges += [(needed, node) for needed in direct]
        through = [(needed, node) for needed in hidden if needed not in direct]
        edges += through
        indirect.update(through)
    return View(graph, tuple(node for node in graph if node in shown), tuple(edges), frozenset(indirect))


def reduced(view: View) -> View:
    """The view without those edges that a longer way between the same two nodes already implies."""
    import networkx

    kept = networkx.transitive_reduction(to_networkx(view.nodes, view.edges))
    edges = tuple(edge for edge in view.edges if kept.has_edge(*edge))
    return view._replace(edges=edges, indirect=view.indirect.intersection(edges))


def with_chain(view: View, status: Status) -> View:
    """The view with the chain of its nodes that took longest."""
    seconds = {node: status.get(node, UNKNOWN).seconds for node in view.nodes}
    return view._replace(chain=longest_chain(view.nodes, view.edges, seconds))


def graph_json(view: View, status: Status) -> dict[str, Any]:
    """What is shown of a graph as JSON values:

    {"nodes": [{"name", "rule", "version", "section",       nodes after their inputs
                "about",                                    the image of a layer, or ""
                "status": "near" | "far" | "gone" | "run" | "unknown",
                "artifact": {"kind", "digest", "size"} | null,      the bytes of the artifact itself
                "size": bytes of what it gives | null, "size_at_most": bool,
                "seconds",                                  what it took when it was last made, 0 if nobody knows
                "inputs": {input name: [node name]}}],      all of them, shown or not
     "edges": [{"from", "to", "indirect": bool}],           between the nodes shown
     "outputs": {output name: node name},                   those shown
     "counts": {status: number of nodes shown}, "total": number of nodes of the whole graph,
     "critical_path": [node name] | null}                   null if it was not asked for
    """
    states = [status.get(node, UNKNOWN).state for node in view.nodes]
    return {
        "nodes": [_node_json(node, status.get(node, UNKNOWN)) for node in view.nodes],
        "edges": [
            {"from": needed.name, "to": node.name, "indirect": (needed, node) in view.indirect}
            for needed, node in view.edges
        ],
        "outputs": {name: node.name for name, node in view.outputs().items()},
        "counts": {state: states.count(state) for state in STATES},
        "total": len(view.graph),
        "critical_path": [node.name for node in view.chain] if view.chain else None,
    }


def _node_json(node: Node, status: NodeStatus) -> dict[str, Any]:
    artifact = status.artifact
    return {
        "name": node.name,
        "rule": node.rule.name,
        "version": node.rule.version,
        "section": node.section,
        "about": about(node),
        "status": status.state,
        "artifact": {"kind": artifact.kind, "digest": artifact.digest.oci, "size": artifact.digest.size}
        if artifact
        else None,
        "size": status.size if artifact else None,
        "size_at_most": status.at_most,
        "seconds": status.seconds,
        "inputs": {name: [needed.name for needed in given] for name, given in sorted(node.inputs.items())},
    }
