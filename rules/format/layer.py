"""A layer: one part of the root file system as OCI images hold it, and what their manifests say of it.

Three nodes a part, so that nothing is packed, compressed or digested again because another part has changed.
Source: OCI image-spec 1.1, layer.md and config.md ("Layer DiffID").
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kitbuild.digest import Digest, Hasher
from kitbuild.draft import Draft
from kitbuild.errors import RuleError
from kitbuild.extents import Extents, Literal, Slice
from kitbuild.node import Node
from kitbuild.rule import Input, NoOptions, Rule, Work
from kitbuild.rules.format import compress
from kitbuild.rules.format.compress import CompressOptions, read
from kitbuild.rules.format.stored import stored
from kitbuild.rules.layout.ustar import TRAILER, pieces
from kitbuild.system import Part, System


class LayerTarOptions(NamedTuple):
    """Whether entries below `boot/` stay: they are for boot loaders, not for the system."""

    keeps_boot: bool = False


def _tar(work: Work[LayerTarOptions]) -> Extents:
    """The entries of a part; nothing at all, not even a trailer, if there are none."""
    draft = Draft(work.entries(work.artifact("tree")))
    if not work.options.keeps_boot:
        draft.empty("boot")
    draft.remove("boot/cmdline")
    tree = draft.tree()
    if not tree.entries:
        return Extents.of([])
    for entry in tree:
        if "/.wh." in f"/{entry.path}":
            raise RuleError(
                f"`{entry.path}`: in a layer such a name takes another file away",
                hint="rename the file, or choose another format",
            )
    return Extents.of([*stored(pieces((entry, {}) for entry in tree), work).parts, Literal(TRAILER)])


TAR: Rule[Any] = Rule(
    name="format/layer-tar",
    version=1,
    summary="write a part as a layer's tar",
    options=LayerTarOptions,
    inputs={"tree": Input("tree")},
    output="extents",
    run=_tar,
)


class Description(NamedTuple):
    """The digests of a layer as stored, and of the tar in it (its diff ID)."""

    blob: Digest
    tar: Digest


def _describe(work: Work[NoOptions]) -> Extents:
    """A short JSON text: [[hex, size] as stored, [hex, size] of the tar]."""
    tar, layer = (work.extents(work.artifact(name)) for name in ("tar", "layer"))
    tar_digest = _digest(tar, work)
    described = Description(tar_digest if layer == tar else _digest(layer, work), tar_digest)
    return Extents.of([Literal(json.dumps(described).encode())])


def described(extents: Extents, work: Work[Any]) -> Description:
    """What a node of DESCRIBE gives."""
    blob, tar = json.loads(b"".join(read(extents, work)))
    return Description(Digest(*blob), Digest(*tar))


def _digest(extents: Extents, work: Work[Any]) -> Digest:
    if (
        len(extents.parts) == 1
        and isinstance(part := extents.parts[0], Slice)
        and part.size == part.blob.size
    ):
        return part.blob
    hasher = Hasher()
    for piece in read(extents, work):
        hasher.update(piece)
    return hasher.digest()


DESCRIBE: Rule[Any] = Rule(
    name="format/layer-description",
    version=1,
    summary="digest a layer",
    options=NoOptions,
    inputs={"tar": Input("extents"), "layer": Input("extents")},
    output="extents",
    run=_describe,
)


class Layer(NamedTuple):
    """The nodes of a layer: the file as an image stores it, and its description."""

    file: Node
    description: Node


def layer(system: System, part: Part) -> Layer:
    """The layer of a part, compressed as the target says."""

    def node(name: str, rule: Rule[Any], options: Any, **inputs: Node) -> Node:
        given = {key: (value,) for key, value in inputs.items()}
        title = f"{part.name}: {name}"
        return system.once(title, lambda: Node(title, rule, options, given, part.tree.section))

    tar = node("layer tar", TAR, LayerTarOptions(part.keeps_boot), tree=part.tree)
    file = node("layer", compress.RULE, CompressOptions(system.target.compression), file=tar)
    return Layer(file, node("layer description", DESCRIBE, NoOptions(), tar=tar, layer=file))
