"""What the page about a build holds, as JSON values: facts of nodes, places in the drawing, outputs, images, files.

    {"kind": "build" | "graph", "name", "configs": [...], "flags": {...}, "version", "began", "seconds", "id",
     "sections": [...], "rules": {name: [version, summary]}, "nodes": [a node, inputs first],
     "groups": [[title, x, y, width, height, [number]]], "blocks": [[number of a group]], "box": [width, height],
     "outputs": [{"name", "path", "node", "size", "digest"}], "images": [{"reference", ...}], "warnings": [...],
     "selected": [numbers of the nodes that were asked for; empty: all],
     "content": {"rows": [[section, package, path, size, count]], "files", "size", "missing", "parts"}}

Sections and packages of rows are numbers into lists beside them. Nodes refer to each other by number; what is empty
is left out of a node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from kitbuild.content import Content
from kitbuild.graph import Graph, inputs_of
from kitbuild.node import Ingredients, Node, plain
from kitbuild.query import about
from kitbuild.record import ImageOrigin, Origins, Record
from kitbuild.report.html_layout import NODE, Arrangement, Lay, arranged
from kitbuild.report.text import printable
from kitbuild.rule import Artifact

# A container's configuration alone is several kilobytes: with thousands of nodes, that is most of the page.
_LONGEST_TEXT = 2_000
_LONGEST_TEXT_OF_MANY = 160
_MANY_NODES = 500
_MOST_LOG_CHARACTERS = 20_000


class Facts(NamedTuple):
    """What the page says of a node; `state` is a Fate, or for a graph nobody built a State of kitbuild.query.

    `last` is what became of it in the last build, if the page is about none.
    """

    state: str
    artifact: Artifact | None = None
    size: int = 0
    seconds: float = 0.0
    began: float = 0.0
    why: tuple[str, ...] = ()
    log: tuple[str, ...] = ()
    ingredients: Ingredients | None = None
    last: str = ""


class Output(NamedTuple):
    """A file of the user's: `digest` (hex digits) is empty and `size` None if it was not written or not looked at."""

    name: str
    path: str
    node: Node
    size: int | None = None
    digest: str = ""


class Filling(NamedTuple):
    """The content of the root file system, as far as it is at hand: of `parts` trees, those of `missing` are not."""

    content: Content = Content()
    parts: int = 0
    missing: tuple[str, ...] = ()


class Subject(NamedTuple):
    """What a page is about. `facts` are those of every node by its name; nodes `selected`, if any, are marked.

    `record` is that of the build, or of the last one, if there was one.
    """

    kind: Literal["build", "graph"]
    name: str
    graph: Graph
    facts: Mapping[str, Facts]
    sections: Sequence[str]
    origins: Origins
    record: Record | None = None
    outputs: Sequence[Output] = ()
    warnings: Sequence[str] = ()
    filling: Filling = Filling()
    selected: Sequence[Node] = ()


def facts_of(record: Record) -> dict[str, Facts]:
    """The facts of every node of a build, by name."""
    return {
        name: Facts(
            node.fate,
            node.artifact,
            node.size,
            node.seconds,
            node.began,
            node.why,
            node.log,
            node.ingredients,
        )
        for name, node in record.nodes.items()
    }


def document_of(subject: Subject, *, version: str, lay: Lay) -> dict[str, Any]:
    """The document; its texts hold nothing that a terminal or a page would obey."""
    graph, record = subject.graph, subject.record
    numbers = {node: number for number, node in enumerate(graph)}
    longest = _LONGEST_TEXT if len(graph) <= _MANY_NODES else _LONGEST_TEXT_OF_MANY
    arrangement = _arrangement(graph, numbers, lay)
    document = {
        "kind": subject.kind,
        "name": subject.name,
        "configs": list(subject.origins.configs),
        "flags": dict(subject.origins.flags),
        "version": record.version if record and subject.kind == "build" else version,
        "began": record.began if record else 0,
        "seconds": record.seconds if record else 0,
        "id": record.id if record else "",
        "sections": list(subject.sections),
        "rules": {node.rule.name: [node.rule.version, node.rule.summary] for node in graph},
        "nodes": [
            _node(node, subject, numbers=numbers, place=place, longest=longest)
            for node, place in zip(graph, arrangement.nodes, strict=True)
        ],
        "groups": [list(group) for group in arrangement.groups],
        "blocks": arrangement.blocks,
        "box": NODE,
        "outputs": [
            {
                "name": output.name,
                "path": output.path,
                "node": numbers[output.node],
                "size": output.size,
                "digest": output.digest,
            }
            for output in subject.outputs
        ],
        "images": [_image(name, found, subject.origins) for name, found in subject.origins.images.items()],
        "warnings": list(subject.warnings),
        "selected": [numbers[node] for node in subject.selected],
        "content": _content(subject.filling),
    }
    cleaned: dict[str, Any] = _harmless(document)
    return cleaned


def _arrangement(graph: Graph, numbers: Mapping[Node, int], lay: Lay) -> Arrangement:
    edges = [(numbers[needed], numbers[node]) for node in graph for needed in dict.fromkeys(inputs_of(node))]
    names = [node.name for node in graph]
    return arranged(names, [node.section for node in graph], edges, lay=lay)


def _node(
    node: Node,
    subject: Subject,
    *,
    numbers: Mapping[Node, int],
    place: tuple[float, float],
    longest: int,
) -> dict[str, Any]:
    facts = subject.facts[node.name]
    artifact, ingredients = facts.artifact, facts.ingredients
    options = plain(node.options) if ingredients is None else ingredients.options
    fields: dict[str, Any] = {
        "name": node.name,
        "about": about(node),
        "rule": node.rule.name,
        "section": node.section,
        "state": facts.state,
        "last": facts.last,
        "at": place,
        "inputs": {name: [numbers[one] for one in given] for name, given in sorted(node.inputs.items())},
        "options": _shortened(options, longest),
        "tools": dict(ingredients.tools if ingredients else node.rule.tools(node.options)),
        "version": ingredients.version if ingredients else node.rule.version,
        "key": ingredients.key().hex if ingredients else "",
        "kind": artifact.kind if artifact else node.rule.output,
        "digest": artifact.digest.hex if artifact else "",
        "size": facts.size,
        "seconds": facts.seconds,
        "began": facts.began,
        "why": list(facts.why),
        "log": _shortened(list(facts.log), _MOST_LOG_CHARACTERS),
        "place": _place(subject.origins, node.name, node.section),
    }
    return {name: value for name, value in fields.items() if value not in ("", 0, 0.0, [], {}, None)}


def _place(origins: Origins, *names: str) -> str:
    """Where in a config the first of `names` is that is written in one: `web.yml:12`."""
    for name in names:
        if name in origins.places:
            found = origins.places[name]
            return f"{found.file}:{found.line}"
    return ""


def _image(reference: str, found: ImageOrigin, origins: Origins) -> dict[str, str]:
    place = _place(origins, f"image {reference}")
    return {"reference": reference, "place": place, **found._asdict()}


def _content(filling: Filling) -> dict[str, Any]:
    """Most files share a section and a package: those are numbers."""
    sections: dict[str, int] = {}
    packages: dict[str, int] = {}
    rows = [
        [
            sections.setdefault(row.section, len(sections)),
            packages.setdefault(row.package, len(packages)),
            row.path,
            row.size,
            row.files,
        ]
        for row in filling.content.rows
    ]
    return {
        "sections": list(sections),
        "packages": list(packages),
        "rows": rows,
        "files": filling.content.files,
        "size": filling.content.size,
        "left_out": filling.content.left_out,
        "parts": filling.parts,
        "missing": list(filling.missing),
    }


def _shortened(value: Any, longest: int) -> Any:
    def short(text: str) -> str:
        return text if len(text) <= longest else f"{text[:longest]}… ({len(text):,} characters)"

    return _changed(value, short)


def _harmless(value: Any) -> Any:
    return _changed(value, printable)


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """The JSON value with `change` done to all texts in it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(name): _changed(item, change) for name, item in value.items()}
    if isinstance(value, Iterable):
        return [_changed(item, change) for item in value]
    return value
