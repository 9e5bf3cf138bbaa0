"""The graph as a tree for people: sections, their nodes, and what is known of each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kitbuild.node import Node
from kitbuild.query import STATES, UNKNOWN, NodeStatus, State, Status, View, about, label_of, sections_of
from kitbuild.report.text import human_seconds, human_size, one_line, plural

MARKS: Mapping[State, str] = {
    "near": "near",
    "far": "far",
    "gone": "gone",
    "run": "must run",
    "unknown": "not fetched",
}
MEANINGS: Mapping[State, str] = {
    "near": "cached, and its content is here",
    "far": "cached, but in the remote cache only",
    "gone": "cached without its content, which nothing needs",
    "run": "has to run",
    "unknown": "waits for a registry or mirror",
}
_STYLES: Mapping[State, str] = {
    "near": "green",
    "far": "cyan",
    "gone": "bright_black",
    "run": "yellow",
    "unknown": "magenta",
}
# A node that joins a thousand sections (the initrd) need not name them all again.
_MOST_REFERENCES = 4
# Sections whose nodes are no part of the config of their own: they are shown below what uses them.
_SHARED = ("", "images")
# What takes less is not worth a number.
_LEAST_SECONDS = 0.005


class Line(NamedTuple):
    """One line of the tree: a node with its status, or just text."""

    depth: int
    text: str
    node: Node | None = None


def outline(title: str, view: View) -> list[Line]:
    """The tree: the config, its sections in the config's order, their nodes, each above its inputs.

    A node is shown once, in its own section, or below its first user if it is an image or has no section;
    wherever else it is used there is a reference, `-> name`.
    """
    lines = [Line(0, title)]
    inputs, shown = view.inputs(), set[Node]()
    used = {(needed, node.section) for needed, node in view.edges}
    # Shared nodes go below those that use them; what is left of them comes last.
    for section, nodes in sorted(sections_of(view.nodes).items(), key=lambda entry: entry[0] in _SHARED):
        tops = [node for node in nodes if node not in shown and (node, section) not in used]
        if section and tops:
            lines.append(Line(1, section))
        for top in tops:
            lines += _below(top, section, inputs, depth=2 if section else 1, shown=shown)
    return lines


def _below(
    top: Node, section: str, inputs: Mapping[Node, Sequence[Node]], *, depth: int, shown: set[Node]
) -> Iterator[Line]:
    # A stack of our own: a long chain of nodes must not meet Python's recursion limit.
    stack = [Line(depth, "", top)]
    while stack:
        depth, text, node = stack.pop()
        if node is None or node in shown:
            yield Line(depth, f"-> {node.name}" if node else text)
            continue
        shown.add(node)
        yield Line(depth, label_of(node) if node.section == section else node.name, node)
        elsewhere = [one for one in inputs[node] if one.section not in (section, *_SHARED)]
        own = [Line(depth + 1, "", one) for one in inputs[node] if one.section in (section, *_SHARED)]
        stack += reversed(own + list(_references(elsewhere, depth + 1)))


def _references(nodes: Sequence[Node], depth: int) -> Iterator[Line]:
    first = nodes if len(nodes) <= _MOST_REFERENCES else nodes[: _MOST_REFERENCES - 1]
    for node in first:
        yield Line(depth, f"-> {node.name}")
    if len(first) < len(nodes):
        yield Line(depth, f"-> and {len(nodes) - len(first)} more")


def plain(lines: Sequence[Line], status: Status) -> Iterator[str]:
    """The lines as text, two spaces a level, whatever the width of the terminal."""
    for depth, text, node in lines:
        yield "  " * depth + "  ".join([one_line(text), *(_facts(node, status) if node else ())])


def _facts(node: Node, status: Status) -> Iterator[str]:
    known = status.get(node, UNKNOWN)
    yield f"[{MARKS[known.state]}]"
    yield from facts_of(known)
    yield from _origin(node)


def facts_of(known: NodeStatus) -> Iterator[str]:
    """The size and the time of a node in words, as far as they are known."""
    if known.artifact:
        yield f"{'at most ' if known.at_most else ''}{human_size(known.size)}"
    if known.seconds >= _LEAST_SECONDS:
        yield f"{human_seconds(known.seconds)}{'' if known.artifact else ' last time'}"


def _origin(node: Node) -> Iterator[str]:
    if text := about(node):
        yield f"({one_line(text)})"


def endings(view: View, status: Status) -> list[str]:
    """What is said below the tree: the longest chain if there is one, what the marks mean, and how many there are."""
    states = {status.get(node, UNKNOWN).state for node in view.nodes}
    legend = "; ".join(f"{MARKS[state]}: {MEANINGS[state]}" for state in STATES if state in states)
    return [*chain_lines(view, status), *([legend] if legend else []), summary(view, status)]


def summary(view: View, status: Status) -> str:
    """How many nodes are near, far, to run and not fetched, and how long those to run took last time."""
    known = [status.get(node, UNKNOWN) for node in view.nodes]
    states = [one.state for one in known]
    counts = [f"{states.count('near')} near"]
    counts += [f"{states.count(state)} {state}" for state in ("far", "gone") if state in states]
    counts.append(f"{states.count('run')} to run")
    counts += [f"{states.count('unknown')} not fetched"] * ("unknown" in states)
    whole = plural(len(view.graph), "node")
    shown = whole if len(known) == len(view.graph) else f"{len(known)} of {whole}"
    return f"{shown}: {', '.join(counts)}{_work(known)}"


def _work(known: Sequence[NodeStatus]) -> str:
    """What is to be done, judging by the last build."""
    waiting = [one.seconds for one in known if one.state in ("run", "unknown")]
    told = [seconds for seconds in waiting if seconds]
    if not told:
        return ""
    if len(told) == len(waiting):
        return f"; about {human_seconds(sum(told))} to run, judging by last time"
    return f"; {len(told)} of {len(waiting)} took {human_seconds(sum(told))} last time"


def chain_lines(view: View, status: Status) -> Iterator[str]:
    """The chain of nodes that takes longest, with what each takes."""
    if not view.chain:
        return
    seconds = {node: status.get(node, UNKNOWN).seconds for node in view.chain}
    yield f"longest chain, {human_seconds(sum(seconds.values()))}:"
    width = max(len(human_seconds(one)) for one in seconds.values())
    for node in view.chain:
        yield "  ".join(["", human_seconds(seconds[node]).rjust(width), one_line(node.name), *_origin(node)])


def print_rich(lines: Sequence[Line], status: Status, after: Sequence[str]) -> None:
    """Writes the tree to a terminal."""
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    branches: list[Any] = []
    for depth, text, node in lines:
        style = "" if node else "dim" if text.startswith("-> ") else "bold"
        label = Text(one_line(text), style=style)
        if node:
            mark, *rest = _facts(node, status)
            label.append(f"  {mark}", style=_STYLES[status.get(node, UNKNOWN).state])
            label.append("".join(f"  {fact}" for fact in rest), style="dim")
        branch = branches[depth - 1].add(label) if depth else Tree(label, guide_style="dim")
        del branches[depth:]
        branches.append(branch)
    console = Console(file=sys.stdout, highlight=False)
    console.print(branches[0])
    for ending in after:
        console.print(Text(ending), soft_wrap=True)
