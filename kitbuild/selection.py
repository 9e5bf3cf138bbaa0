"""Selection: the nodes of a graph that somebody means, by the names people use."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from kitbuild.cause import names
from kitbuild.errors import UsageError
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import between, needed_by, users_of
from kitbuild.suggest import did_you_mean

_MOST_NAMED = 4


class Selection(NamedTuple):
    """What to show of a graph: the nodes that all of what is given have in common, all if nothing is.

    `nodes` are patterns over the names of nodes, sections, outputs, images and files; `needed` and `users` name nodes
    whose inputs or users are wanted, at most `depth` edges away; `path` is what a way begins and ends with.
    """

    nodes: Sequence[str] = ()
    needed: Sequence[str] = ()
    users: Sequence[str] = ()
    depth: int | None = None
    path: tuple[str, str] | None = None


def selected(graph: Graph, selection: Selection, *, output_name: str = "") -> set[Node] | None:
    """The nodes selected, None for all; raises UsageError for what names nothing.

    Outputs may be named as files, if what they begin with is `output_name`.
    """
    if selection.depth is not None and not (selection.needed or selection.users):
        raise UsageError("expected `--deps` or `--rdeps` with `--depth`, got neither")
    known = Names(graph, output_name)
    groups: list[set[Node]] = []
    if selection.nodes:
        groups.append({node for pattern in selection.nodes for node in known.matching(pattern)})
    for given, around in ((selection.needed, needed_by), (selection.users, users_of)):
        if given:
            starts = dict.fromkeys(node for text in given for node in known.named(text))
            groups.append(around(graph, starts, depth=selection.depth))
    if selection.path is not None:
        first, last = selection.path
        found = between(graph, known.named(first), known.named(last))
        if not found:
            raise UsageError(
                f"expected a way between two nodes, got none from `{first}` to `{last}` or back",
                hint=f"`--deps '{first}'` and `--rdeps '{first}'` show what is connected with it",
            )
        groups.append(found)
    return set.intersection(*groups) if groups else None


class Names:
    """All names there are in a graph, and the nodes they mean."""

    def __init__(self, graph: Graph, output_name: str = "") -> None:
        self._names = names.Names.of_graph(graph, output_name)
        self._nodes = {node.name: node for node in graph}

    def named(self, text: str) -> tuple[Node, ...]:
        """What `text` names: one node, by whatever name, all of a section or kind of sections; raises UsageError.

        A pattern has to fit the names of one of these alone.
        """
        if exact := self._names.called(text):
            return self._of(exact)
        found = self._names.fitting(text)
        means = dict.fromkeys(found.values())
        # A pattern of a section fits its nodes as well.
        sections = [self._names.sections[name] for name in found if name in self._names.sections]
        if len(sections) == 1 and all(set(nodes) <= set(sections[0]) for nodes in means):
            return self._of(sections[0])
        if len(means) == 1:
            return self._of(next(iter(means)))
        if found:
            first = ", ".join(f"`{name}`" for name in list(found)[:_MOST_NAMED])
            more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            raise UsageError(
                f"expected a pattern of one node or section, got `{text}`, which fits {first}{more}",
                hint="name one of them, or choose with `--nodes`",
            )
        raise self._unknown(text)

    def matching(self, pattern: str) -> set[Node]:
        """The nodes of all names that `pattern` is or fits; raises UsageError if there are none."""
        found = self._names.matching(pattern)
        if not found:
            raise self._unknown(pattern)
        return set(self._of(found))

    def _of(self, found: Iterable[str]) -> tuple[Node, ...]:
        return tuple(self._nodes[name] for name in found)

    def _unknown(self, text: str) -> UsageError:
        known = self._names.all()
        hint = did_you_mean(text, known) or _containing(text.strip("*"), known)
        return UsageError(
            f"expected a node, section or output, got `{text}`",
            hint=hint or "`kitbuild graph CONFIG` shows their names",
        )


def _containing(text: str, known: Collection[str]) -> str | None:
    """The hint for what is only a part of a name."""
    found = [name for name in known if text and text.casefold() in name.casefold()]
    return f"did you mean `{min(found, key=len)}`?" if found else None
