"""Selection: the nodes of a graph that somebody means, by the names people use."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from kitbuild.errors import UsageError
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import between, needed_by, users_of
from kitbuild.suggest import did_you_mean

_WILD = frozenset("*?[")
_MOST_NAMED = 4


class Selection(NamedTuple):
    """What to show of a graph: the nodes that all of what is given have in common, all if nothing is.

    `nodes` are patterns over the names of nodes, sections and outputs; `needed` and `users` name nodes whose inputs
    or users are wanted, at most `depth` edges away; `path` is what a way begins and ends with.
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
    names = Names(graph, output_name)
    groups: list[set[Node]] = []
    if selection.nodes:
        groups.append({node for pattern in selection.nodes for node in names.matching(pattern)})
    for given, around in ((selection.needed, needed_by), (selection.users, users_of)):
        if given:
            starts = dict.fromkeys(node for text in given for node in names.named(text))
            groups.append(around(graph, starts, depth=selection.depth))
    if selection.path is not None:
        first, last = selection.path
        found = between(graph, names.named(first), names.named(last))
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
        self._nodes: dict[str, tuple[Node, ...]] = {node.name: (node,) for node in graph}
        self._outputs = {name: (node,) for name, node in graph.outputs.items()}
        self._files = {f"{output_name}{name}": nodes for name, nodes in self._outputs.items()}
        sections: dict[str, list[Node]] = {}
        for node in graph:
            sections.setdefault(node.section, []).append(node)
        self._sections = {name: tuple(nodes) for name, nodes in sections.items() if name}
        # "-initrd.img" as `initrd.img`, ".tar" as `tar`.
        self._bare = {name.lstrip("-."): nodes for name, nodes in self._outputs.items()}

    def named(self, text: str) -> tuple[Node, ...]:
        """The one node `text` names, by its name, an output or a pattern, or all of a section; raises UsageError."""
        for names in self._kinds():
            if text in names:
                return names[text]
        found = self._matches(text) if _WILD.intersection(text) else {}
        means = dict.fromkeys(found.values())
        # A pattern of a section fits its nodes as well.
        sections = [self._sections[name] for name in found if name in self._sections]
        if len(sections) == 1 and all(set(nodes) <= set(sections[0]) for nodes in means):
            return sections[0]
        if len(means) == 1:
            return next(iter(means))
        if found:
            first = ", ".join(f"`{name}`" for name in list(found)[:_MOST_NAMED])
            more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
            raise UsageError(
                f"expected a pattern of one node or section, got `{text}`, which fits {first}{more}",
                hint="name one of them, or choose with `--nodes`",
            )
        raise self._unknown(text)

    def matching(self, pattern: str) -> set[Node]:
        """The nodes of all nodes, sections and outputs that `pattern` names; raises UsageError if there are none."""
        found = self._matches(pattern)
        if not found:
            raise self._unknown(pattern)
        return {node for nodes in found.values() for node in nodes}

    def all(self) -> list[str]:
        """Every name, most telling first; for suggestions and completion."""
        return list(dict.fromkeys(name for names in self._kinds() for name in names if name))

    def _kinds(self) -> tuple[Mapping[str, tuple[Node, ...]], ...]:
        return (self._nodes, self._outputs, self._files, self._sections, self._bare)

    def _matches(self, pattern: str) -> dict[str, tuple[Node, ...]]:
        matches: Callable[[str], bool] = (
            (lambda name: name == pattern or fnmatchcase(name, pattern))
            if _WILD.intersection(pattern)
            else (lambda name: name == pattern)
        )
        found: dict[str, tuple[Node, ...]] = {}
        for names in self._kinds():
            found.update(
                {name: nodes for name, nodes in names.items() if name not in found and matches(name)}
            )
        return found

    def _unknown(self, text: str) -> UsageError:
        known = self.all()
        hint = did_you_mean(text, known) or _containing(text.strip("*"), known)
        return UsageError(
            f"expected a node, section or output, got `{text}`",
            hint=hint or "`kitbuild graph CONFIG` shows their names",
        )


def _containing(text: str, names: Collection[str]) -> str | None:
    """The hint for what is only a part of a name."""
    found = [name for name in names if text and text.casefold() in name.casefold()]
    return f"did you mean `{min(found, key=len)}`?" if found else None
