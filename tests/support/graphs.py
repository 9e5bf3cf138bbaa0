"""The graphs of configs as text, for golden files: every output and every node, and what each is given.

system = lowered(["linuxkit.yml"], layout)
text = text_of(graph_of(system))
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from kitbuild.cache.memory import MemoryStore
from kitbuild.config.load import load
from kitbuild.config.lower import Sbom, lower, references_of
from kitbuild.config.nodes import Sources
from kitbuild.config.volumes import index_names_of
from kitbuild.digest import Digest
from kitbuild.graph import Graph
from kitbuild.image import Platform
from kitbuild.node import Node
from kitbuild.registry import formats_named
from kitbuild.resolve import Resolver
from kitbuild.rules.fetch import open_source
from kitbuild.system import System

_FORMATS = ("kernel+initrd", "tar")


def lowered(
    configs: Sequence[str], layout: Path, *, present: Collection[str] | None = None, bill: Sbom | None = None
) -> System:
    """The system of configs with the images of an OCI layout, whose local files all say the same.

    `present` are those local files that are there, if not all of them are.
    """
    loaded = load(configs)
    platform = Platform("linux", "amd64")
    resolver = Resolver([f"layout:{layout}"], MemoryStore(), open_source=open_source, offline=True)
    found = resolver.images(references_of(loaded), platform)
    indexes = resolver.indexes(index_names_of(loaded), platform)
    named = {file.source for file in loaded.files if file.source}
    there = named if present is None else named.intersection(present)
    files = {source: Digest.of(b"some text") for source in there}
    return lower(loaded, Sources(found, files, indexes), bill=bill)


def graph_of(system: System) -> Graph:
    """The graph of the system as kernel, initrd and tar."""
    outputs: dict[str, Node] = {}
    for output_format in formats_named(_FORMATS):
        outputs.update(output_format.outputs(system))
    return Graph.of(outputs)


def text_of(graph: Graph) -> str:
    """The graph as text: every output and its node, every node with its rule, and what it is given as what."""
    return "\n".join([*_lines(graph), ""])


def _lines(graph: Graph) -> Iterator[str]:
    for name, node in graph.outputs.items():
        yield f"output {name}: {node.name}"
    for node in graph:
        yield ""
        yield f"{node.name} = {node.rule.name}"
        for name, given in node.inputs.items():
            for needed in given:
                yield f"    {name}: {needed.name}"
