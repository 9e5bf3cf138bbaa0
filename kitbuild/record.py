"""Record: what a build was made of and what became of it, small enough to be kept of every build.

Two records explain each other: why a node ran, what a config, an image or a tool changed. Nothing is ever built from
one; a record that is lost or cannot be read costs an explanation.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, get_args

from kitbuild.digest import Digest
from kitbuild.node import KEY_FORMAT, Ingredients, Node
from kitbuild.rule import Artifact, ArtifactKind

# Some day after any build: what claims more is not ours.
_MOST_SECONDS = float(1 << 33)
_MOST_BYTES = 1 << 62
_MOST_LINES = 1 << 31
_MOST_DEPTH = 100
# Up to the last @, as URLs are read: a password may hold others.
_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/?#\s]*@", re.IGNORECASE)

# Raised whenever something else is read out of a record: one of another format counts as none.
RECORD_FORMAT = 1
# The record of some twenty thousand nodes; more is not ours.
MAX_BYTES = 1 << 26

Fate = Literal["ran", "sent", "near", "far", "failed", "left"]
"""What became of a node: it ran here or was sent to an executor, its result was in the local cache or in a remote
one, it failed, or it was left because an input failed."""

# Why a node runs, in words that need no comparison; whoever reads records knows them by these.
NEVER_BUILT = "never built before"
CACHE_OFF = "the cache is switched off"
CONTENT_GONE = "its content is no longer in the cache"
# What the id of a record begins with that was made on another machine.
ELSEWHERE = "elsewhere "

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
        """The record in compressed lines of JSON: one of everything but the nodes, then one a node."""
        import zlib

        head = [
            RECORD_FORMAT,
            self.version,
            self.state,
            self.began,
            self.seconds,
            list(self.nodes),
            dict(self.outputs),
            [
                self.origins.configs,
                {name: (*place[:4], dict(place.lines)) for name, place in self.origins.places.items()},
                dict(self.origins.images),
                dict(self.origins.flags),
            ],
            self.id,
        ]
        encode = json.JSONEncoder(separators=(",", ":")).encode
        lines = [encode(head), *(encode(_node_fields(node)) for node in self.nodes.values())]
        return zlib.compress("\n".join(lines).encode("ascii"), 1)

    @classmethod
    def decode(cls, content: bytes) -> Record:
        """Reads what `encode` wrote; raises ValueError for anything else, and for another format.

        Nodes are read when they are asked for; one that cannot be read is one of which nothing is known.
        """
        import zlib

        try:
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(content, MAX_BYTES)
            if unpacking.unconsumed_tail or not unpacking.eof:
                raise ValueError("too large, or cut off")
            head, *lines = text.split(b"\n")
            found_format, version, state, began, seconds, nodes, outputs, origins, name = json.loads(head)
            if found_format != RECORD_FORMAT:
                raise ValueError(f"expected a record of format {RECORD_FORMAT}, got {found_format!r:.40}")
            return cls(
                _text(version),
                _text(state),
                _seconds(began),
                _seconds(seconds),
                _Nodes(dict(zip(map(_text, nodes), lines, strict=True))),
                {output: _text(node) for output, node in outputs.items()},
                _origins(*origins),
                _text(name),
            )
        # RecursionError: JSON nested thousands deep, which is as malformed as any other.
        except (zlib.error, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a record: {error}") from error


class _Nodes(Mapping[str, NodeRecord]):
    """Nodes by name, each read from its line when it is first asked for: of a thousand few are."""

    def __init__(self, lines: Mapping[str, bytes]) -> None:
        self._lines = lines
        self._read: dict[str, NodeRecord] = {}

    def __getitem__(self, name: str) -> NodeRecord:
        found = self._read.get(name)
        if found is None:
            found = self._read[name] = _node_in(self._lines[name])
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._lines

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)


def _node_in(line: bytes) -> NodeRecord:
    try:
        return _node(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return NodeRecord("", "", "left")


def without_passwords(text: str) -> str:
    """A text without the user and password of any URL in it."""
    return _PASSWORD.sub(r"\1", text) if "@" in text else text


class History(Protocol):
    """The builds before this one, for an engine that says why a node runs."""

    def why(self, node: Node, ingredients: Ingredients, nodes: Iterable[Node]) -> tuple[str, ...]:
        """Why a node, one of `nodes`, has no result, being made of `ingredients`: sentences, at least one."""

    def wants(self, state: str, *, ran: bool) -> bool:
        """True if a build of this state, in which a node ran or none, is worth a record."""

    def keep(self, record: Record) -> None:
        """Takes the record of this build. It never fails: what cannot be kept is not worth a build."""


class NoHistory:
    """Remembers nothing."""

    def why(self, node: Node, ingredients: Ingredients, nodes: Iterable[Node]) -> tuple[str, ...]:
        """That it was never built before."""
        return (NEVER_BUILT,)

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
        raise ValueError(f"expected a fate, got {fate!r:.40}")
    _check_depth(ingredients)
    return NodeRecord(
        _text(rule),
        _text(section),
        fate,
        {name: tuple(map(_text, given)) for name, given in inputs.items()},
        Ingredients.of(ingredients),
        None if artifact is None else _artifact(*artifact),
        _whole(size, _MOST_BYTES),
        _seconds(seconds),
        _seconds(began),
        tuple(map(_text, why)),
        tuple(map(_text, log)),
    )


def _artifact(kind: ArtifactKind, hexdigits: str, size: int) -> Artifact:
    if kind not in get_args(ArtifactKind):
        raise ValueError(f"expected a kind of artifact, got {kind!r}")
    return Artifact(kind, Digest.parse(_text(hexdigits), _whole(size, _MOST_BYTES)))


def _origins(configs: list[Any], places: Any, images: Any, flags: Any) -> Origins:
    return Origins(
        tuple(map(_text, configs)),
        {name: _origin(*fields) for name, fields in places.items()},
        {name: ImageOrigin(*map(_text, fields)) for name, fields in images.items()},
        {name: _text(value) for name, value in flags.items()},
    )


def _origin(file: Any, line: Any, column: Any, value: Any, lines: Any) -> Origin:
    inside = {way: _whole(number, _MOST_LINES) for way, number in lines.items()}
    _check_depth(value)
    return Origin(_text(file), _whole(line, _MOST_LINES), _whole(column, _MOST_LINES), value, inside)


def _check_depth(value: Any) -> None:
    """Raises ValueError for values nested so deep that to compare or write them would end the process's stack."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError("expected values, got nests of them")


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= _MOST_SECONDS or math.isnan(value):
        raise ValueError(f"expected seconds, got {value!r:.40}")
    return float(value)


def _whole(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError(f"expected a number up to {most}, got {value!r:.40}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value
