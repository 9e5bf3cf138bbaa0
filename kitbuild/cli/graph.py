"""kitbuild graph: what a config turns into, and what of it is cached. Nothing is built or fetched."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kitbuild.cli.configs import DEFAULT_FORMAT, add_config_arguments, lowered
from kitbuild.errors import KitbuildError
from kitbuild.event import Event, Warned
from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Node
from kitbuild.query import UNKNOWN, NodeStatus, State, Status, label_of, sections_of, status_of
from kitbuild.report.text import encodable, human_seconds, human_size, plural, printable

if TYPE_CHECKING:
    from argparse import _SubParsersAction

MARKS: dict[State, str] = {"cached": "[cached]", "run": "[run]", "unknown": "[not fetched]"}
_STYLES: dict[State, str] = {"cached": "green", "run": "yellow", "unknown": "bright_black"}
# A node that joins a thousand sections (the initrd) need not name them all again.
_MOST_REFERENCES = 4
_FORMATS = ("tree", "dot", "mermaid", "json")
# Sections whose nodes are no part of the config of their own: they are shown below what uses them.
_SHARED = ("", "images")


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "graph", help="show what a config turns into and what of it is cached", description=__doc__
    )
    add_config_arguments(parser)
    parser.add_argument(
        "-f", "--format", choices=_FORMATS, default="tree", help="tree for people, the others for programs"
    )
    parser.add_argument(
        "--image-format",
        action="append",
        default=[],
        metavar="FORMAT[,FORMAT]",
        help=f"show what these formats are made of (repeatable; default: {DEFAULT_FORMAT})",
    )
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE instead of stdout")
    parser.add_argument(
        "--reduced", action="store_true", help="dot, mermaid: leave out edges that others imply"
    )
    parser.add_argument(
        "--critical-path", action="store_true", help="tree: also the chain of nodes that took longest"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the graph and gives the exit status."""
    from kitbuild.cli.remote import Purpose, caches
    from kitbuild.lookup import status as known_results

    names = [name for text in arguments.image_format for name in text.split(",") if name]
    found = lowered(arguments, formats=names or (DEFAULT_FORMAT,), offline=True)
    # To look is not to write, nor to run anything.
    settings = found.settings._replace(remote_cache_write=False, executor="none")
    with caches(settings, found.store, _tell_warnings, Purpose(complete=True)) as using:
        known = known_results(found.graph, using.store)
    show(found.graph, status_of(known, filter(_is_far, found.graph)), arguments)
    return 0


def _tell_warnings(event: Event) -> None:
    if isinstance(event, Warned):
        sys.stderr.write(f"warning: {event.message}\n")


def show(graph: Graph, status: Status, arguments: Namespace) -> None:
    """Writes the graph to where and in the format the command line says."""
    if arguments.format != "tree":
        _write(text_of(arguments.format, graph, status=status, reduced=arguments.reduced), arguments)
        return
    from kitbuild.config.sources import name_of

    lines = outline(" ".join(map(name_of, arguments.configs)), graph)
    endings = [summary(graph, status)]
    if arguments.critical_path:
        endings.append(critical_line(graph, status))
    if arguments.output == "-" and sys.stdout.isatty():
        _print_rich(lines, status, endings)
    else:
        _write("\n".join([*plain(lines, status), *endings]) + "\n", arguments)


def _is_far(node: Node) -> bool:
    """Whether a node without a result waits for a registry or a mirror."""
    source = getattr(node.options, "source", "")
    return node.rule.name == "unpack/absent" or source.startswith(("registry:", "package:"))


def text_of(text_format: str, graph: Graph, *, status: Status, reduced: bool = False) -> str:
    """The graph as `dot`, `mermaid` or `json` text."""
    from kitbuild import query

    if text_format == "json":
        import json

        return json.dumps(query.graph_json(graph, status), indent=2) + "\n"
    edges = query.reduced(graph) if reduced else None
    export = query.dot if text_format == "dot" else query.mermaid
    return export(graph, status, edges=edges)


def _write(text: str, arguments: Namespace) -> None:
    if arguments.output == "-":
        sys.stdout.write(encodable(text, sys.stdout.encoding))
        return
    try:
        Path(arguments.output).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise KitbuildError(f"cannot write `{arguments.output}`: {error.strerror}") from error


class Line(NamedTuple):
    """One line of the tree: a node with its status, or just text."""

    depth: int
    text: str
    node: Node | None = None


def outline(title: str, graph: Graph) -> list[Line]:
    """The tree: the config, its sections in the config's order, their nodes, each above its inputs.

    A node is shown once, in its own section, or below its first user if it is an image or has no section;
    wherever else it is used there is a reference, `-> name`.
    """
    lines = [Line(0, title)]
    users, shown = graph.users(), set[Node]()
    # Shared nodes go below those that use them; what is left of them comes last.
    for section, nodes in sorted(sections_of(graph).items(), key=lambda entry: entry[0] in _SHARED):
        tops = [
            node
            for node in nodes
            if node not in shown and not any(user.section == section for user in users[node])
        ]
        if section and tops:
            lines.append(Line(1, section))
        for top in tops:
            lines += _below(top, section, depth=2 if section else 1, shown=shown)
    return lines


def _below(top: Node, section: str, *, depth: int, shown: set[Node]) -> Iterator[Line]:
    # A stack of our own: a long chain of nodes must not meet Python's recursion limit.
    stack = [Line(depth, "", top)]
    while stack:
        depth, text, node = stack.pop()
        if node is None or node in shown:
            yield Line(depth, f"-> {node.name}" if node else text)
            continue
        shown.add(node)
        yield Line(depth, label_of(node) if node.section == section else node.name, node)
        needed = list(dict.fromkeys(inputs_of(node)))
        elsewhere = [one for one in needed if one.section not in (section, *_SHARED)]
        own = [Line(depth + 1, "", one) for one in needed if one.section in (section, *_SHARED)]
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
        facts = _facts(status.get(node, UNKNOWN)) if node else ()
        yield "  " * depth + "  ".join([printable(text), *facts])


def _facts(known: NodeStatus) -> tuple[str, ...]:
    mark = MARKS[known.state]
    return (mark, human_size(known.size)) if known.artifact else (mark,)


def summary(graph: Graph, status: Status) -> str:
    """How many nodes are cached, how many would run, how many are not fetched."""
    states = [status.get(node, UNKNOWN).state for node in graph]
    counts = [f"{states.count('cached')} cached", f"{states.count('run')} to run"]
    if "unknown" in states:
        counts.append(f"{states.count('unknown')} not fetched")
    return f"{plural(len(states), 'node')}: {', '.join(counts)}"


def critical_line(graph: Graph, status: Status) -> str:
    """The chain of nodes that took longest when they were made, and how long."""
    from kitbuild.query import critical_path

    seconds = {node: known.seconds for node, known in status.items()}
    path = critical_path(graph, seconds)
    total = human_seconds(sum(seconds.get(node, 0.0) for node in path))
    return f"longest chain, {total}: {' > '.join(printable(node.name) for node in path)}"


def _print_rich(lines: Sequence[Line], status: Status, endings: Sequence[str]) -> None:
    from rich.console import Console
    from rich.text import Text
    from rich.tree import Tree

    branches: list[Any] = []
    for depth, text, node in lines:
        style = "" if node else "dim" if text.startswith("-> ") else "bold"
        label = Text(printable(text), style=style)
        if node:
            known = status.get(node, UNKNOWN)
            mark, *size = _facts(known)
            label.append(f"  {mark}", style=_STYLES[known.state])
            label.append("".join(f"  {fact}" for fact in size), style="dim")
        branch = branches[depth - 1].add(label) if depth else Tree(label, guide_style="dim")
        del branches[depth:]
        branches.append(branch)
    console = Console(file=sys.stdout, highlight=False)
    console.print(branches[0])
    for ending in endings:
        console.print(Text(ending), soft_wrap=True)
