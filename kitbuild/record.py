"""Record: what a build was made of and what became of it, small enough to be kept of every build.

Two records explain each other: why a node ran, what a config, an image or a tool changed. Nothing is ever built from
one; a record that is lost or cannot be read costs an explanation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, get_args

from kitbuild.digest import Digest
from kitbuild.node import KEY_FORMAT, Ingredients
from kitbuild.rule import Artifact, ArtifactKind

# Raised whenever something else is read out of a record: one of another format counts as none.
RECORD_FORMAT = 1
# The record of some twenty thousand nodes; more is not ours.
MAX_BYTES = 1 << 26

Fate = Literal["ran", "sent", "near", "far", "failed", "left"]
"""What became of a node: it ran here or was sent to an executor, its result was in the local cache or in a remote
one, it failed, or it was left because an input failed."""

_NONE: Mapping[str, Any] = MappingProxyType({})


class NodeRecord(NamedTuple):
    """One node of a build.

    `ingredients` is None while nobody could tell; without a result `artifact` is None. `size` is the content in
    bytes, `seconds` how long it took to make whenever that was. `began` is when it ran, in seconds since the build
    began. `why` are the reasons it ran; `log` what it said: warnings, and the error that ended it.
    """

    rule: str
    section: str
    fate: Fate
    inputs: Mapping[str, tuple[str, ...]] = _NONE
    ingredients: Ingredients | None = None
    artifact: Artifact | None = None
    size: int = 0
    seconds: float = 0.0
    began: float = 0.0
    why: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


class Origin(NamedTuple):
    """Where something is written in a config: the file's name, line and column from 1, and what it says, as JSON.

    `lines` are those of what is inside, by the way there: `command[2]`.
    """

    file: str
    line: int
    column: int
    value: Any = None
    lines: Mapping[str, int] = _NONE


class ImageOrigin(NamedTuple):
    """What a reference led to: hex digits of the platform's manifest and of the top (its index), "" if there is none.

    `source` says where it was found ("registry:host", "layout:/path"). `error` is why it was not, "" if it was.
    """

    manifest: str
    top: str
    source: str
    error: str = ""


class Origins(NamedTuple):
    """What the user gave a build.

    `places` is where a section, or a node of its own ("image REFERENCE", "files: PATH"), is written, by its name.
    `images` is what each reference led to. `flags` is what else shapes the outputs, by the name of its flag.
    """

    configs: tuple[str, ...] = ()
    places: Mapping[str, Origin] = _NONE
    images: Mapping[str, ImageOrigin] = _NONE
    flags: Mapping[str, str] = _NONE


class Record(NamedTuple):
    """One build: `nodes` by name, inputs first, and the node behind every output, by output name.

    `state` is equal for builds whose nodes have equal keys. `began` is in seconds since 1970. `id` is empty until it
    is kept.
    """

    version: str
    state: str
    began: float
    seconds: float
    nodes: Mapping[str, NodeRecord]
    outputs: Mapping[str, str]
    origins: Origins = Origins()
    id: str = ""

    def encode(self) -> bytes:
        """The record in compressed JSON."""
        import zlib

        document = [
            RECORD_FORMAT,
            self.version,
            self.state,
            self.began,
            self.seconds,
            {name: _node_fields(node) for name, node in self.nodes.items()},
            dict(self.outputs),
            [
                self.origins.configs,
                {name: (*place[:4], dict(place.lines)) for name, place in self.origins.places.items()},
                dict(self.origins.images),
                dict(self.origins.flags),
            ],
            self.id,
        ]
        return zlib.compress(json.dumps(document, separators=(",", ":")).encode("ascii"), 1)

    @classmethod
    def decode(cls, content: bytes) -> Record:
        """Reads what `encode` wrote; raises ValueError for anything else, and for another format."""
        import zlib

        try:
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(content, MAX_BYTES)
            if unpacking.unconsumed_tail:
                raise ValueError("too large")
            found_format, version, state, began, seconds, nodes, outputs, origins, name = json.loads(text)
            if found_format != RECORD_FORMAT:
                raise ValueError(f"expected a record of format {RECORD_FORMAT}, got {found_format!r}")
            return cls(
                _text(version),
                _text(state),
                float(began),
                float(seconds),
                {name: _node(fields) for name, fields in nodes.items()},
                {output: _text(node) for output, node in outputs.items()},
                _origins(*origins),
                _text(name),
            )
        # RecursionError: JSON nested thousands deep, which is as malformed as any other.
        except (zlib.error, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            raise ValueError(f"not a record: {error}") from error


class History(Protocol):
    """The builds before this one, for an engine that says why a node runs."""

    def before(self, node: str) -> NodeRecord | None:
        """The node of this name as it was last built, None if nobody remembers; it has an artifact."""

    def wants(self, state: str, *, ran: bool) -> bool:
        """True if a build of this state, in which a node ran or none, is worth a record."""

    def keep(self, record: Record) -> None:
        """Takes the record of this build. It never fails: what cannot be kept is not worth a build."""


class NoHistory:
    """Remembers nothing."""

    def before(self, node: str) -> NodeRecord | None:
        """None."""
        return None

    def wants(self, state: str, *, ran: bool) -> bool:
        """False."""
        return False

    def keep(self, record: Record) -> None:
        """Nothing."""


def _node_fields(node: NodeRecord) -> list[Any]:
    ingredients = None if node.ingredients is None else [KEY_FORMAT, *node.ingredients]
    artifact = None if node.artifact is None else [node.artifact.kind, *node.artifact.digest]
    inputs = {name: list(given) for name, given in node.inputs.items()}
    return [
        node.rule,
        node.section,
        node.fate,
        inputs,
        ingredients,
        artifact,
        node.size,
        node.seconds,
        node.began,
        list(node.why),
        list(node.log),
    ]


def _node(fields: list[Any]) -> NodeRecord:
    rule, section, fate, inputs, ingredients, artifact, size, seconds, began, why, log = fields
    if fate not in get_args(Fate):
        raise ValueError(f"expected a fate, got {fate!r}")
    return NodeRecord(
        _text(rule),
        _text(section),
        fate,
        {name: tuple(map(_text, given)) for name, given in inputs.items()},
        Ingredients.of(ingredients),
        None if artifact is None else _artifact(*artifact),
        int(size),
        float(seconds),
        float(began),
        tuple(map(_text, why)),
        tuple(map(_text, log)),
    )


def _artifact(kind: ArtifactKind, hexdigits: str, size: int) -> Artifact:
    if kind not in get_args(ArtifactKind):
        raise ValueError(f"expected a kind of artifact, got {kind!r}")
    return Artifact(kind, Digest.parse(hexdigits, size))


def _origins(configs: list[Any], places: Any, images: Any, flags: Any) -> Origins:
    return Origins(
        tuple(map(_text, configs)),
        {name: _origin(*fields) for name, fields in places.items()},
        {name: ImageOrigin(*map(_text, fields)) for name, fields in images.items()},
        {name: _text(value) for name, value in flags.items()},
    )


def _origin(file: Any, line: Any, column: Any, value: Any, lines: Any) -> Origin:
    return Origin(
        _text(file), int(line), int(column), value, {way: int(number) for way, number in lines.items()}
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
