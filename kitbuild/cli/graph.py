"""kitbuild graph: what a config turns into, and what of it is cached. Nothing is built or fetched."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.cli.configs import DEFAULT_FORMAT, add_config_arguments, lowered, output_name, scope_of
from kitbuild.errors import KitbuildError, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterator, Mapping

    from kitbuild.cli.configs import Lowered
    from kitbuild.digest import Digest
    from kitbuild.event import Event
    from kitbuild.graph import Graph
    from kitbuild.node import Node
    from kitbuild.query import Found, Status, View
    from kitbuild.record import Record
    from kitbuild.store import Result, Store

_DESCRIPTION = """\
Shows what a config turns into: its sections and nodes, and of each node whether it is cached here (near) or only in
the remote cache (far) or has to run, how large it is and how long it took. Nothing is built or fetched.

  kitbuild graph linuxkit.yml                             a tree
  kitbuild graph --deps initrd.img --depth 2 linuxkit.yml what the initrd is made of, two steps deep
  kitbuild graph --rdeps 'image *redis*' linuxkit.yml     what would have to run again if that image changed
  kitbuild graph --critical-path linuxkit.yml             also the chain of nodes that took longest
  kitbuild graph --reduce --format svg -o g.svg linuxkit.yml   a drawing, without lines that others imply
  kitbuild graph --json linuxkit.yml | jq '.counts'       for scripts

NODE is the name of a node, of a section (`services redis`) or of an output (`initrd.img`), or a pattern that fits one
(`*redis: bundle`). Flags that choose nodes are combined: what is shown fits all of them.
"""
_MOST_RECORDS = 4
_FORMATS = ("tree", "dot", "mermaid", "json", "svg", "html")


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "graph",
        usage="kitbuild graph [flags] CONFIG [CONFIG ...]",
        help="show what a config turns into and what of it is cached",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_config_arguments(parser)
    parser.add_argument(
        "-f",
        "--format",
        choices=_FORMATS,
        help="tree (default), svg and html for people, dot (Graphviz), mermaid and json for programs",
    )
    parser.add_argument("--json", action="store_true", help="the same as --format json")
    parser.add_argument("-o", "--output", metavar="FILE", default="-", help="write to FILE instead of stdout")
    parser.add_argument(
        "--image-format",
        action="append",
        default=[],
        metavar="FORMAT[,FORMAT]",
        help=f"show what these formats are made of (repeatable; default: {DEFAULT_FORMAT})",
    )
    _add_selection(parser)
    parser.set_defaults(run=run)


def _add_selection(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--nodes",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only nodes whose name, section or output fits: 'services *', '*: segment' (repeatable)",
    )
    parser.add_argument(
        "--deps", action="append", default=[], metavar="NODE", help="NODE and all it needs (repeatable)"
    )
    parser.add_argument(
        "--rdeps", action="append", default=[], metavar="NODE", help="NODE and all that needs it (repeatable)"
    )
    parser.add_argument(
        "--depth", type=_depth, metavar="N", help="--deps, --rdeps: at most N steps away from NODE"
    )
    parser.add_argument("--path", nargs=2, metavar=("NODE", "NODE"), help="all ways between two nodes")
    parser.add_argument(
        "--critical-path", action="store_true", help="show the chain of nodes that took longest as well"
    )
    parser.add_argument("--reduce", action="store_true", help="leave out lines that longer ways imply")


def _depth(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"expected a number of steps with `--depth`, got `{text}`")
    return int(text)


def run(arguments: Namespace) -> int:
    """Writes the graph and gives the exit status."""
    from kitbuild.cli.remote import Purpose, caches
    from kitbuild.query import status_of

    _format_of(arguments)
    names = [name for text in arguments.image_format for name in text.split(",") if name]
    found = lowered(arguments, formats=names or (DEFAULT_FORMAT,), offline=True)
    # Before anything is asked elsewhere: a wrong name is a wrong command line.
    view = chosen(found.graph, arguments)
    # To look is not to write, nor to run anything.
    settings = found.settings._replace(remote_cache_write=False, executor="none")
    with caches(settings, found.store, _tell_warnings, Purpose(complete=True)) as using:
        known = known_of(found, using.store, scope_of(arguments), remote=using.remote)
    show(found, view, status_of(found.graph, known), arguments)
    return 0


def _format_of(arguments: Namespace) -> str:
    if arguments.json and arguments.format not in (None, "json"):
        raise UsageError(f"expected either `--json` or `--format {arguments.format}`, got both")
    return "json" if arguments.json else arguments.format or "tree"


def _tell_warnings(event: Event) -> None:
    from kitbuild.event import Warned

    if isinstance(event, Warned):
        from kitbuild.report.errors import format_warning

        sys.stderr.write(f"{format_warning(event.message, color=False)}\n")


def chosen(graph: Graph, arguments: Namespace) -> View:
    """What the command line wants to see of a graph; raises UsageError for names of nothing."""
    from kitbuild.query import reduced, view_of

    shown = None
    if arguments.nodes or arguments.deps or arguments.rdeps or arguments.path or arguments.depth is not None:
        from kitbuild.selection import Selection, selected

        selection = Selection(
            arguments.nodes,
            arguments.deps,
            arguments.rdeps,
            arguments.depth,
            tuple(arguments.path) if arguments.path else None,
        )
        shown = selected(graph, selection, output_name=output_name(arguments))
    view = view_of(graph, shown)
    return reduced(view) if arguments.reduce else view


def known_of(found: Lowered, store: Store, scope: str, *, remote: bool) -> Found:
    """What the caches know of every node, and the last build."""
    from kitbuild.lookup import status
    from kitbuild.query import Found
    from kitbuild.sizes import sizes_of

    results = status(found.graph, store)
    content = {
        digest for result in results.values() if result for digest in (*result.content(), *result.dense)
    }
    away = store.missing(content)
    lost = _lost(away, store) if remote and away else away
    artifacts = [
        result.artifact for result in results.values() if result and result.artifact.digest not in away
    ]
    sizes = sizes_of(artifacts, found.store, found.store, scope)
    waiting = {node for node, result in results.items() if result is None and _asks_elsewhere(node)}
    return Found(results, away, lost, waiting, sizes, _last(found, results, scope))


def _lost(away: set[Digest], store: Store) -> set[Digest]:
    """Those that the remote cache does not have either."""
    from math import isinf

    # All at once: what is asked one by one below is known then.
    if not isinf(store.distance(away)):
        return set()
    return {digest for digest in away if isinf(store.distance((digest,)))}


def _asks_elsewhere(node: Node) -> bool:
    """Whether a node without a result waits for a registry or a mirror."""
    source = getattr(node.options, "source", "")
    return node.rule.name == "unpack/absent" or source.startswith(("registry:", "package:"))


def _last(found: Lowered, results: Mapping[Node, Result | None], scope: str) -> dict[Node, float]:
    """How long the nodes that have to run took when they were last made."""
    unmade = {node.name: node for node, result in results.items() if result is None}
    seconds: dict[Node, float] = {}
    for record in _records(found, scope) if unmade else ():
        for name in list(unmade):
            before = record.nodes.get(name)
            if before is not None and before.artifact is not None:
                seconds[unmade.pop(name)] = before.seconds
    return seconds


def _records(found: Lowered, scope: str) -> Iterator[Record]:
    """The last builds of these configs; formats of one config are built in turns, so it takes a few."""
    from itertools import islice

    from kitbuild.history import earlier

    return islice(earlier(found.store, scope), _MOST_RECORDS)


def show(found: Lowered, view: View, status: Status, arguments: Namespace) -> None:
    """Writes the graph to where and in the format the command line says."""
    from kitbuild.query import with_chain

    if arguments.critical_path:
        view = with_chain(view, status)
    text_format = _format_of(arguments)
    if text_format == "tree":
        _show_tree(view, status, arguments)
    elif text_format == "html":
        from kitbuild.cli.report import graph_page

        record = next(_records(found, scope_of(arguments)), None)
        whole = _whole(view)
        chosen_nodes = view.nodes if len(view.nodes) < len(view.graph) else ()
        page = graph_page(found._replace(graph=whole), status, record=record, selected=chosen_nodes)
        _write(page, arguments)
    else:
        _write(text_of(text_format, view, status, title=title_of(arguments)), arguments)


def title_of(arguments: Namespace) -> str:
    """What the graph is of: the configs."""
    from kitbuild.config.sources import name_of

    return " ".join(map(name_of, arguments.configs))


def _show_tree(view: View, status: Status, arguments: Namespace) -> None:
    from kitbuild.cli.graph_tree import endings, outline, plain, print_rich
    from kitbuild.report.text import use_color

    lines, after = outline(title_of(arguments), view), endings(view, status)
    if arguments.output == "-" and (sys.stdout.isatty() or use_color(sys.stdout)):
        print_rich(lines, status, after)
    else:
        _write("\n".join([*plain(lines, status), *after]) + "\n", arguments)


def _whole(view: View) -> Graph:
    """What is shown and all that it needs, for a page that explains every node by its inputs."""
    from kitbuild.graph import Graph
    from kitbuild.query import needed_by

    if len(view.nodes) == len(view.graph):
        return view.graph
    needed = needed_by(view.graph, view.nodes)
    return Graph(tuple(node for node in view.graph if node in needed), view.outputs())


def text_of(text_format: str, view: View, status: Status, *, title: str) -> str:
    """The graph as `dot`, `mermaid`, `json` or `svg` text."""
    if text_format == "json":
        import json

        from kitbuild.query import graph_json

        return json.dumps(graph_json(view, status), indent=2) + "\n"
    if text_format == "svg":
        from kitbuild.cli.graph_svg import svg

        return svg(view, status, title=title)
    from kitbuild.cli.graph_text import dot, mermaid

    return dot(view, status) if text_format == "dot" else mermaid(view, status)


def _write(text: str, arguments: Namespace) -> None:
    if arguments.output == "-":
        from kitbuild.report.text import encodable

        try:
            sys.stdout.write(encodable(text, sys.stdout.encoding))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise KitbuildError(f"cannot write to stdout: {error.strerror}") from error
        return
    try:
        Path(arguments.output).write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise KitbuildError(f"cannot write `{arguments.output}`: {error.strerror}") from error
