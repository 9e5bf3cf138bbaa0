"""A layer: the index of its uncompressed tar, made once for all images that have it."""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.errors import RuleError
from kitbuild.extents import Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.unpack.index import index
from kitbuild.tree import Tree


class LayerOptions(NamedTuple):
    """`label` names image and layer in messages; it does not shape the tree."""

    label: str = ""


def run(work: Work[LayerOptions]) -> Tree:
    """The layer's tree with its whiteouts as entries; hard links may lead to the layers below."""
    blob = work.artifact("tar").digest
    try:
        return index(Slice(blob, 0, blob.size), work, complete=False)
    except RuleError as error:
        raise RuleError(f"{work.options.label}: {error.message}") from error


RULE: Rule[Any] = Rule(
    name="unpack/layer",
    version=2,
    summary="index a layer's tar",
    options=LayerOptions,
    unkeyed=("label",),
    inputs={"tar": Input("blob")},
    output="tree",
    run=run,
)
