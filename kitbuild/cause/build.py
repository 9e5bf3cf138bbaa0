"""Why the nodes of a whole build ran: the causes of each, the way from a cause to a node, the causes of all."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kitbuild.cause.inputs import is_known
from kitbuild.cause.nodes import Comparison
from kitbuild.cause.value import Cause
from kitbuild.record import NodeRecord, Record

RAN = frozenset(("ran", "sent", "failed"))
"""The fates of nodes that ran, or tried to."""
_CACHED = frozenset(("near", "far"))

# Records of earlier builds in which a node is looked for: formats of one config are built in turns.
MOST_BEFORE = 4
FIRST = Cause("first-build", "this is the first build of these configs that is remembered")


class Reason(NamedTuple):
    """A cause of a node, with the nodes on the way from it, the one it touches first and the node itself included."""

    cause: Cause
    way: tuple[str, ...]


class Root(NamedTuple):
    """A cause of a build, and the nodes that ran because of it, inputs first."""

    cause: Cause
    nodes: tuple[str, ...]


class Explanation:
    """Why the nodes of `record` ran, compared with the builds before it, latest first.

    A node is compared with the latest of them that has it; where that tells of flags, with the latest that was made
    with the same flags, if there is one: flags changed to and fro made nothing run. Nothing is worked out before
    it is asked for. With `differences_only` it is said how nodes differ, whether they ran or not.
    """

    def __init__(self, record: Record, before: Sequence[Record], *, differences_only: bool = False) -> None:
        self.record = record
        self._comparisons = [
            Comparison(earlier, record, differences_only=differences_only) for earlier in before[:MOST_BEFORE]
        ]
        flags = record.origins.flags
        alike = next((earlier for earlier in before if earlier.origins.flags == flags), None)
        self._alike = (
            Comparison(alike, record, differences_only=differences_only) if alike is not None else None
        )
        self._causes: dict[Comparison, dict[str, Mapping[str, Cause]]] = {}

    def before(self, name: str) -> Record | None:
        """The record a node is compared with, None if there is none."""
        comparison = self._comparison(name)
        return comparison.before if comparison else None

    def causes(self, name: str) -> tuple[Cause, ...]:
        """All root causes of what a node is made of now; none if it is what it was."""
        comparison = self._comparison(name)
        if comparison is None:
            return () if self.record.nodes[name].fate in _CACHED else (FIRST,)
        return tuple(self._all(comparison)[name].values())

    def reasons(self, name: str) -> tuple[Reason, ...]:
        """The causes of a node, each with the shortest way from it."""
        comparison = self._comparison(name)
        if comparison is None:
            return tuple(Reason(cause, (name,)) for cause in self.causes(name))
        ways = _ways(comparison, name)
        return tuple(
            Reason(cause, ways.get(cause.sentence, (name,))) for cause in self._all(comparison)[name].values()
        )

    def roots(self, nodes: Iterable[str] | None = None) -> tuple[Root, ...]:
        """The causes of `nodes`, of all that ran if none are given; what most nodes ran for comes first."""
        ran = (name for name, node in self.record.nodes.items() if node.fate in RAN)
        touched: dict[str, tuple[Cause, list[str]]] = {}
        for name in ran if nodes is None else nodes:
            for cause in self.causes(name):
                touched.setdefault(cause.sentence, (cause, []))[1].append(name)
        found = [Root(cause, tuple(names)) for cause, names in touched.values()]
        return tuple(sorted(found, key=lambda root: -len(root.nodes)))

    def _comparison(self, name: str) -> Comparison | None:
        known = (one for one in self._comparisons if is_known(one.before.nodes.get(name)))
        found = next(known, self._comparisons[0] if self._comparisons else None)
        alike = self._alike
        if found is None or alike is None or not is_known(alike.before.nodes.get(name)):
            return found
        # Without a cause since then it would go unexplained.
        blamed = any(cause.kind == "flag" for cause in self._all(found)[name].values())
        return alike if blamed and self._all(alike)[name] else found

    def _all(self, comparison: Comparison) -> Mapping[str, Mapping[str, Cause]]:
        """The root causes of every node, by sentence, against one build before; inputs come first in a record."""
        found = self._causes.get(comparison)
        if found is None:
            found = self._causes[comparison] = {}
            for name in self.record.nodes:
                causes = {cause.sentence: cause for cause in comparison.own(name)}
                if not _ends(causes.values()):
                    for needed in comparison.changed(name):
                        causes.update(found.get(needed, {}))
                found[name] = causes
        return found


def _ends(causes: Iterable[Cause]) -> bool:
    """True if one of the causes makes it pointless to look at inputs."""
    return any(cause.kind in ("no-cache", "kitbuild") for cause in causes)


def _ways(comparison: Comparison, name: str) -> dict[str, tuple[str, ...]]:
    """For every cause of a node, by its sentence, the shortest way from the node that it touches first."""
    ways: dict[str, tuple[str, ...]] = {}
    seen = {name}
    queue: deque[tuple[str, ...]] = deque([(name,)])
    while queue:
        way = queue.popleft()
        own = comparison.own(way[0])
        for cause in own:
            # A new node has the cause of what uses it: the way from there is as long.
            ways.setdefault(cause.sentence, way)
        if _ends(own):
            continue
        for needed in comparison.changed(way[0]):
            if needed in comparison.now.nodes and needed not in seen:
                seen.add(needed)
                queue.append((needed, *way))
    return ways


def last_ran(name: str, records: Sequence[Record]) -> int | None:
    """The position among `records` of the first in which a node of this name ran, None if in none."""
    for position, record in enumerate(records):
        node: NodeRecord | None = record.nodes.get(name)
        if node is not None and node.fate in RAN:
            return position
    return None
