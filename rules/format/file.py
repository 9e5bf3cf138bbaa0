"""Single files: one taken out of a tree, and short ones written out in the node itself."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, padding
from kitbuild.rule import Input, Rule, Work


class FileOptions(NamedTuple):
    """The path of a file in the tree, and what its length is padded to (bytes)."""

    path: str
    alignment: int = 1


def _file(work: Work[FileOptions]) -> Extents:
    for entry in work.entries(work.artifact("tree")):
        if entry.path == work.options.path:
            content = [entry.content] if entry.content else []
            return Extents.of([*content, padding(entry.size, work.options.alignment)])
    raise RuleError(f"no `{work.options.path}` in the tree")


FILE: Rule[Any] = Rule(
    name="format/file",
    version=1,
    summary="take one file out of a tree",
    options=FileOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=_file,
)


class TextOptions(NamedTuple):
    """The whole text of the file."""

    text: str


def _text(work: Work[TextOptions]) -> Extents:
    return Extents.of([Literal(work.options.text.encode("utf-8", "surrogateescape"))])


TEXT: Rule[Any] = Rule(
    name="format/text",
    version=1,
    summary="write a short text",
    options=TextOptions,
    output="extents",
    run=_text,
)
