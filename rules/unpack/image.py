"""An image: its layers over each other, whiteouts applied."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from kitbuild.draft import overlay
from kitbuild.errors import ImageError, RuleError
from kitbuild.rule import Artifact, Input, Rule, Work
from kitbuild.tree import Entry, Tree


class ImageOptions(NamedTuple):
    """`label` names the image in messages; it does not shape the tree."""

    label: str = ""


def run(work: Work[ImageOptions]) -> Tree | Artifact:
    """The image's file system; of a single layer that has nothing to apply, the layer itself."""
    given = work.artifacts("layers")
    if len(given) == 1 and _is_plain(work.entries(given[0])):
        return given[0]
    layers = (work.tree(layer) for layer in given)
    try:
        return overlay(layers, whiteouts=True)
    except ValueError as error:
        raise RuleError(f"{work.options.label}: {error}") from error


def _is_plain(layer: Iterable[Entry]) -> bool:
    """Whether a layer has no whiteouts and no hard links to what it does not have."""
    files: set[str] = set()
    for entry in layer:
        if entry.path.startswith(".wh.") or "/.wh." in entry.path:
            return False
        if entry.kind == "file":
            files.add(entry.path)
        elif entry.kind == "hardlink" and entry.target not in files:
            return False
    return True


RULE: Rule[Any] = Rule(
    name="unpack/image",
    version=2,
    summary="lay an image's layers over each other",
    options=ImageOptions,
    unkeyed=("label",),
    inputs={"layers": Input("tree", many=True)},
    output="tree",
    run=run,
)


class AbsentOptions(NamedTuple):
    """The image's reference, and why there is none."""

    label: str
    reason: str
    hint: str = ""


def _absent(work: Work[AbsentOptions]) -> Tree:
    raise ImageError(work.options.reason, hint=work.options.hint or None)


# Stands for an image that was not found, so that a graph can be shown without it.
ABSENT: Rule[Any] = Rule(
    name="unpack/absent",
    version=1,
    summary="an image that was not found",
    options=AbsentOptions,
    output="tree",
    run=_absent,
)
