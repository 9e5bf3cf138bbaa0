"""What a user calls nodes: by their own names, a section, an output, an image, a file, or a pattern."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from kitbuild.cause.inputs import names_of
from kitbuild.graph import Graph, inputs_of
from kitbuild.record import Record

WILD = frozenset("*?[")
"""What makes a text a pattern."""
_IMAGE, _FILE = "image ", "files: "
_HOST, _LIBRARY, _LATEST = "docker.io/", "library/", ":latest"


class _Known(NamedTuple):
    """What a graph or a record says of its nodes.

    `nodes` are their sections and inputs, by name; `outputs` the nodes behind them; `title` is what files of outputs
    begin with; `paths` are those of the entries of `files`; `written` are images as a config has them, by node.
    """

    nodes: Mapping[str, tuple[str, tuple[str, ...]]]
    outputs: Mapping[str, str]
    title: str
    paths: tuple[str, ...]
    written: Mapping[str, str]


class Names:
    """All names there are for nodes, and the nodes they mean.

    A text is, whichever comes first: the name of a node; of an output, or of its file; a section ("services web"); an
    output without its dash; a section without its kind ("web"); an image or a file as the config has it; the path of
    an entry of `files`; a kind of sections ("services").
    """

    def __init__(self, known: _Known, *, ends: bool = False) -> None:
        self._order = known.nodes
        outputs = {name: (node,) for name, node in known.outputs.items() if node in known.nodes}
        self.sections = _sections(known.nodes, ends=ends)
        titles = ((name.partition(" ")[2], nodes) for name, nodes in self.sections.items())
        kinds = ((name.partition(" ")[0], nodes) for name, nodes in self.sections.items())
        self._files = _joined(_file_names(known))
        self.kinds: tuple[Mapping[str, tuple[str, ...]], ...] = (
            {name: (name,) for name in known.nodes},
            outputs,
            {f"{known.title}{name}": nodes for name, nodes in outputs.items()} if known.title else {},
            self.sections,
            # "-initrd.img" as `initrd.img`, ".tar" as `tar`.
            {name.lstrip("-."): nodes for name, nodes in outputs.items()},
            _joined(titles),
            _joined(_image_names(known)),
            self._files,
            _joined(kinds),
        )
        """By what they are, names with the nodes they mean; the first kinds come first."""

    @classmethod
    def of_graph(cls, graph: Graph, title: str = "") -> Names:
        """The names in a graph; a section means all of its nodes."""
        nodes = {
            node.name: (node.section, tuple(needed.name for needed in inputs_of(node))) for node in graph
        }
        paths = tuple(
            entry.path
            for node in graph
            if node.name == "files"
            for entry in getattr(node.options, "entries", ())
        )
        outputs = {name: node.name for name, node in graph.outputs.items()}
        return cls(_Known(nodes, outputs, title, paths, {}))

    @classmethod
    def of_record(cls, record: Record) -> Names:
        """The names in a record; a section means those of its nodes that lead out of it."""
        origins = record.origins
        nodes = {name: (node.section, names_of(node)) for name, node in record.nodes.items()}
        written = {
            name: place.value for name, place in origins.places.items() if isinstance(place.value, str)
        }
        files = origins.places.get("files")
        paths = tuple(_paths(files.value)) if files else ()
        known = _Known(nodes, record.outputs, origins.flags.get("--name", ""), paths, written)
        return cls(known, ends=True)

    def called(self, text: str) -> tuple[str, ...]:
        """The nodes that a name without wild cards means, none if it means nothing."""
        for names in self.kinds:
            if text in names:
                return names[text]
        return self._files.get(_path(text), ()) if text else ()

    def fitting(self, pattern: str) -> dict[str, tuple[str, ...]]:
        """Every name that is a pattern, or fits it with `*`, `?` or `[...]`, and the nodes it means."""
        found: dict[str, tuple[str, ...]] = {}
        if exact := self.called(pattern):
            found[pattern] = exact
        if WILD.intersection(pattern):
            for names in self.kinds:
                for name, nodes in names.items():
                    if fnmatchcase(name, pattern):
                        found.setdefault(name, nodes)
        return found

    def matching(self, pattern: str) -> tuple[str, ...]:
        """The nodes of all names that fit, in their order."""
        found = {node for nodes in self.fitting(pattern).values() for node in nodes}
        return tuple(name for name in self._order if name in found)

    def all(self) -> list[str]:
        """Every name, most telling first; for suggestions."""
        return list(dict.fromkeys(name for names in self.kinds for name in names if name))


def nodes_called(text: str, record: Record) -> tuple[str, ...]:
    """The nodes that a text means, in the record's order; none if it means nothing."""
    if text in record.nodes:  # without a look at all the others
        return (text,)
    names = Names.of_record(record)
    return names.called(text) or names.matching(text)


def all_names(record: Record) -> tuple[str, ...]:
    """Everything that `nodes_called` knows, for suggestions and completions."""
    return tuple(Names.of_record(record).all())


def _sections(
    nodes: Mapping[str, tuple[str, tuple[str, ...]]], *, ends: bool
) -> Mapping[str, tuple[str, ...]]:
    """By section its nodes; if the ends are wanted, those that no other node of it uses."""
    sections: dict[str, dict[str, None]] = {}
    for name, (section, inputs) in nodes.items():
        if section:
            inside = sections.setdefault(section, {})
            for needed in inputs if ends else ():
                inside.pop(needed, None)
            inside[name] = None
    return {section: tuple(inside) for section, inside in sections.items()}


def _image_names(known: _Known) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What images are called: as the config has them, in full, and short, as far as that means the same."""
    for node in known.nodes:
        if not node.startswith(_IMAGE):
            continue
        names = [node.removeprefix(_IMAGE)]
        if node in known.written:
            names.append(known.written[node])
        for text in (names[0], names[0].partition("@")[0]):
            short = text.removeprefix(_HOST)
            for name in (text, short, short.removeprefix(_LIBRARY)):
                names += (name, name.removesuffix(_LATEST))
        yield from ((name, (node,)) for name in dict.fromkeys(names))


def _file_names(known: _Known) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in known.nodes:
        if node.startswith(_FILE):
            source = node.removeprefix(_FILE)
            yield from ((name, (node,)) for name in dict.fromkeys((source, _path(source))))
    for path in known.paths if "files" in known.nodes else ():
        for name in dict.fromkeys((path, _path(path))):
            yield name, ("files",)
            yield f"{_FILE}{name}", ("files",)


def _paths(entries: Any) -> Iterator[str]:
    for entry in entries if isinstance(entries, list) else ():
        path = entry.get("path") if isinstance(entry, dict) else None
        if isinstance(path, str) and path:
            yield path


def _path(text: str) -> str:
    """A path as most people write it: `./a` and `/a` as `a`."""
    return posixpath.normpath(text).lstrip("/")


def _joined(pairs: Iterable[tuple[str, tuple[str, ...]]]) -> dict[str, tuple[str, ...]]:
    """Names with the nodes of all that are called so."""
    found: dict[str, dict[str, None]] = {}
    for name, nodes in pairs:
        if name:
            found.setdefault(name, {}).update(dict.fromkeys(nodes))
    return {name: tuple(nodes) for name, nodes in found.items()}
