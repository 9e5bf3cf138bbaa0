"""Why nodes run, said while they do: one sentence or a few a node, for reports and records."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from kitbuild import __version__
from kitbuild.cause.inputs import input_sentences, is_known
from kitbuild.cause.nodes import Comparison
from kitbuild.cause.value import cut
from kitbuild.node import Ingredients, Node
from kitbuild.record import NEVER_BUILT, NodeRecord, Origins, Record

# A line of a log has room for a few; one changed flag can bring hundreds.
_MOST_SENTENCES = 4


class LiveExplanation:
    """Why nodes of a graph run. `origins`, what the user gave, is asked for once there is anything to compare."""

    def __init__(self, nodes: Iterable[Node], origins: Callable[[], Origins]) -> None:
        self._nodes = nodes
        self._origins = origins
        self._now: Record | None = None
        self._comparisons: dict[int, Comparison] = {}

    def why(
        self,
        node: Node,
        ingredients: Ingredients,
        before: Record | None,
        *,
        alike: Callable[[], Record | None] = lambda: None,
    ) -> tuple[str, ...]:
        """Sentences, at least one; `before` is the last build that knows the node, or the last one, or None.

        `alike` gives the last one that knows it and had the same flags: it is asked where flags are to blame.
        """
        if before is None:
            return (NEVER_BUILT,)
        if self._now is None:
            made = {one.name: _made(one) for one in self._nodes}
            self._now = Record(__version__, "", 0.0, 0.0, made, {}, self._origins())
        nodes = self._now.nodes
        assert isinstance(nodes, dict)
        nodes[node.name] = nodes[node.name]._replace(ingredients=ingredients)
        comparison = self._compared(before, self._now)
        if _is_flagged(comparison, node.name) and (same := alike()):
            before, comparison = same, self._compared(same, self._now)
        found = [cut(cause.sentence) for cause in comparison.own(node.name)]
        if is_known(before.nodes.get(node.name)):
            found += input_sentences(before, self._now, node.name, comparison.inputs(node.name))
        more = len(found) - _MOST_SENTENCES
        if more > 0:
            found[_MOST_SENTENCES:] = [f"{more} more change{'s' if more > 1 else ''}"]
        return tuple(found) or (NEVER_BUILT,)

    def _compared(self, before: Record, now: Record) -> Comparison:
        comparison = self._comparisons.get(id(before))
        if comparison is None:
            comparison = self._comparisons[id(before)] = Comparison(before, now)
        return comparison


def _is_flagged(comparison: Comparison, name: str) -> bool:
    """True if flags made a node what it is, or may have made its inputs."""
    if any(cause.kind == "flag" for cause in comparison.own(name)):
        return True
    return bool(comparison.changes.flags and comparison.inputs(name).other)


def _made(node: Node) -> NodeRecord:
    """A node as records have it, as far as it is known before it runs; it will run if it is asked about."""
    inputs = {name: tuple(one.name for one in given) for name, given in node.inputs.items()}
    return NodeRecord(node.rule.name, node.section, "ran", inputs)
