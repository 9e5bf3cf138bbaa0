"""What a user calls nodes: by their own names, their section, an output, an image, a file, or a pattern."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from kitbuild.cause.inputs import names_of
from kitbuild.record import Record


def nodes_called(text: str, record: Record) -> tuple[str, ...]:
    """The nodes that a text means, in the record's order; none if it means nothing.

    It is, whichever comes first: the name of a node; an output, as its file or the end of its name is called; a
    section, of which those nodes count that lead out of it; an image or a file as the config calls it; a pattern with
    `*`, `?` or `[...]` over all of these.
    """
    if text in record.nodes:
        return (text,)
    named = dict(_named(record))
    if text in named:
        return named[text]
    if any(character in text for character in "*?["):
        found = {name for name in record.nodes if fnmatchcase(name, text)}
        for name, nodes in named.items():
            if fnmatchcase(name, text):
                found.update(nodes)
        return tuple(name for name in record.nodes if name in found)
    return ()


def all_names(record: Record) -> tuple[str, ...]:
    """Everything that `nodes_called` knows, for suggestions and completions."""
    return tuple(dict.fromkeys([*record.nodes, *(name for name, _ in _named(record))]))


def _named(record: Record) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Names with the nodes they stand for; of equal ones the last counts."""
    for name, place in record.origins.places.items():
        kind, _, reference = name.partition(" ")
        if kind == "image" and name in record.nodes and isinstance(place.value, str):
            yield reference, (name,)
            yield place.value, (name,)
        elif kind == "files:" and name in record.nodes:
            yield reference, (name,)
    for section, nodes in _sections(record).items():
        yield section.partition(" ")[2] or section, nodes
        yield section, nodes
    title = record.origins.flags.get("--name", "")
    for suffix, node in record.outputs.items():
        if node in record.nodes:
            yield suffix, (node,)
            if title:
                yield f"{title}{suffix}", (node,)
            yield suffix.removeprefix("-"), (node,)


def _sections(record: Record) -> Mapping[str, tuple[str, ...]]:
    """By section the nodes of it that no other node of it uses."""
    sections: dict[str, dict[str, None]] = {}
    for name, node in record.nodes.items():
        if node.section:
            inside = sections.setdefault(node.section, {})
            for needed in names_of(node):
                inside.pop(needed, None)
            inside[name] = None
    return {section: tuple(nodes) for section, nodes in sections.items()}
