"""Files about a build: its record, and the page that shows it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from kitbuild.errors import KitbuildError, MissingBlobError

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.cli.configs import Lowered
    from kitbuild.digest import Digest
    from kitbuild.extents import Slice
    from kitbuild.graph import Graph
    from kitbuild.node import Node
    from kitbuild.query import Status
    from kitbuild.record import Record
    from kitbuild.report.html_document import Facts, Filling, Output, Subject
    from kitbuild.report.html_layout import Edge, Point
    from kitbuild.rule import Artifact
    from kitbuild.store import Store

_NO_PATHS: Mapping[str, Path] = MappingProxyType({})


def write_record(path: Path, record: Record) -> None:
    """Writes the record of a build; raises KitbuildError if that cannot be done."""
    from kitbuild.export import write_whole

    write_whole(path, record.encode())


def write_report(path: Path, record: Record, found: Lowered, paths: Mapping[str, Path] = _NO_PATHS) -> None:
    """Writes the page about a build; raises KitbuildError if that cannot be done.

    `paths` are those of the outputs, by name; one that is in place is shown with its digest. What is not in the
    local cache is left out of the page: nothing is brought here for it.
    """
    from kitbuild.export import write_whole
    from kitbuild.query import sections_of
    from kitbuild.report.html_document import Subject, facts_of

    graph = found.graph
    facts = _sized(facts_of(record), found.store)
    artifacts = {node.name: facts[node.name].artifact for node in graph}
    subject = Subject(
        "build",
        _name_of(record.origins.configs),
        graph,
        facts,
        list(sections_of(graph)),
        record.origins,
        record,
        _outputs(found, artifacts, paths),
        found.warnings,
        _filling(found, artifacts),
    )
    write_whole(path, _page(subject).encode())


def graph_page(
    found: Lowered, status: Status, *, record: Record | None = None, selected: Sequence[Node] = ()
) -> str:
    """The page about a graph nobody built, and what of it is cached: HTML in one file.

    `record` is that of the last build of the same configs, for times, reasons and logs. Nodes `selected` are marked.
    """
    from kitbuild.query import sections_of
    from kitbuild.report.html_document import Subject

    facts = _graph_facts(found.graph, status, record)
    origins = found.origins()
    graph = found.graph
    artifacts = {node.name: facts[node.name].artifact for node in graph}
    subject = Subject(
        "graph",
        _name_of(origins.configs),
        graph,
        facts,
        list(sections_of(graph)),
        origins,
        record,
        _outputs(found, artifacts, _NO_PATHS),
        found.warnings,
        _filling(found, artifacts),
        selected,
    )
    return _page(subject)


def _page(subject: Subject) -> str:
    from kitbuild import __version__
    from kitbuild.report.html_document import document_of
    from kitbuild.report.html_page import page

    return page(document_of(subject, version=__version__, lay=laid))


def laid(sizes: Sequence[Point], edges: Sequence[Edge]) -> Sequence[Point]:
    """The best layout this machine has: a page with a plain one is better than none."""
    from kitbuild.drawing import positions
    from kitbuild.report.html_layout import layers

    try:
        layout = positions(
            {str(number): size for number, size in enumerate(sizes)},
            [(str(start), str(end)) for start, end in edges],
        )
    except KitbuildError:
        return layers(sizes, edges)
    return [layout.places[str(number)] for number in range(len(sizes))]


def _name_of(configs: Sequence[str]) -> str:
    return " ".join(os.path.basename(config) for config in configs)  # noqa: PTH119 - may be a URL


def _graph_facts(graph: Graph, status: Status, record: Record | None) -> dict[str, Facts]:
    from kitbuild.node import ingredients_of
    from kitbuild.query import UNKNOWN
    from kitbuild.report.html_document import Facts

    before = record.nodes if record else {}
    artifacts = {node: status.get(node, UNKNOWN).artifact for node in graph}
    facts = {}
    for node in graph:
        known, last = status.get(node, UNKNOWN), before.get(node.name)
        given = {
            name: tuple(one for source in needed if (one := artifacts[source]) is not None)
            for name, needed in node.inputs.items()
        }
        complete = all(len(given[name]) == len(needed) for name, needed in node.inputs.items())
        facts[node.name] = Facts(
            known.state,
            known.artifact,
            # What a tree of nothing refers to may be something.
            known.size if known.artifact else last.size if last else 0,
            known.seconds or (last.seconds if last else 0.0),
            last.began if last else 0.0,
            last.why if last else (),
            last.log if last else (),
            ingredients_of(node, given) if complete else None,
            last.fate if last else "",
        )
    return facts


def _sized(facts: dict[str, Facts], store: DirectoryStore) -> dict[str, Facts]:
    """The facts with what trees and files hold in place of what they refer to, where that is known."""
    from kitbuild.sizes import sizes_of

    artifacts = [one.artifact for one in facts.values() if one.artifact]
    sizes = sizes_of(artifacts, store, store, "report")
    return {
        name: one._replace(size=sizes.get(one.artifact.digest, one.size)) if one.artifact else one
        for name, one in facts.items()
    }


def _outputs(
    found: Lowered, artifacts: Mapping[str, Artifact | None], paths: Mapping[str, Path]
) -> list[Output]:
    from kitbuild.export import in_place
    from kitbuild.report.html_document import Output

    outputs = []
    for suffix, node in found.graph.outputs.items():
        artifact, path = artifacts[node.name], paths.get(suffix)
        there = in_place(path, artifact, found.store) if path and artifact else None
        size = there.size if there else _file_size(artifact, found.store)
        outputs.append(Output(suffix, str(path or ""), node, size, there.hex if there else ""))
    return outputs


def _file_size(artifact: Artifact | None, store: Store) -> int | None:
    from kitbuild.export import extents_of

    if artifact is None or artifact.kind == "tree":
        return None
    if artifact.kind == "blob":
        return artifact.digest.size
    try:
        return extents_of(artifact, store).size
    except KitbuildError:
        return None


def _filling(found: Lowered, artifacts: Mapping[str, Artifact | None]) -> Filling:
    """What the root file system holds, of the trees that are in the local cache."""
    from kitbuild.content import content_of
    from kitbuild.report.html_document import Filling
    from kitbuild.tree import Tree
    from kitbuild.work import OpenBlobs, decoding, opened

    trees: list[tuple[str, Tree]] = []
    missing = []
    # A part that no output has anything of (the command line as a file, for an initrd) is no part of these.
    parts = [part for part in found.parts if part.tree.name in artifacts]
    for part in parts:
        artifact = artifacts[part.tree.name]
        try:
            if artifact is None:
                raise MissingBlobError(part.name)
            with opened(artifact.digest, found.store) as lines, decoding(artifact):
                trees.append((_section_of(part.tree), Tree.decode(lines)))
        except KitbuildError:
            missing.append(part.name)
    with OpenBlobs(found.store) as blobs:
        content = content_of(trees, _reader(blobs.descriptor))
    return Filling(content, len(parts), tuple(missing))


def _section_of(tree: Node) -> str:
    return tree.section or tree.name


def _reader(descriptor: Callable[[Digest], int]) -> Callable[[Slice], bytes]:
    def read(part: Slice) -> bytes:
        try:
            return os.pread(descriptor(part.blob), part.size, part.offset)
        except (KitbuildError, OSError):
            return b""  # who owns a file is then not known

    return read
