"""Node says what to do; its Ingredients are all its result depends on; their hash, the Key, names the result."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from kitbuild.rule import Artifact, Input, Rule

# Raised whenever the meaning of a key or of a stored result changes.
KEY_FORMAT = 1


_NO_INPUTS: Mapping[str, tuple[Node, ...]] = MappingProxyType({})


class Key(NamedTuple):
    """Names a result: the sha256 of a node's ingredients."""

    hex: str


class Node:
    """One thing to do. Nodes are compared by identity; the graph is the nodes one can reach from an output.

    `name` is unique in its graph and stays the same from build to build ("services redis: segment"), so that two
    builds can be compared. `section` is the part of the config it belongs to, for people. Nothing of it changes
    once it is made.
    """

    __slots__ = ("inputs", "name", "options", "rule", "section")

    def __init__(
        self,
        name: str,
        rule: Rule[Any],
        options: Any,
        inputs: Mapping[str, tuple[Node, ...]] = _NO_INPUTS,
        section: str = "",
    ) -> None:
        self.name: Final = name
        self.rule: Final = rule
        self.options: Final = options
        self.inputs: Final = inputs
        self.section: Final = section
        assert isinstance(options, rule.options), f"{name}: options of another rule"
        unknown = inputs.keys() - rule.inputs.keys()
        assert not unknown, f"{name}: {rule.name} takes no {unknown}"
        for key, wanted in rule.inputs.items():
            assert _fits(inputs.get(key, ()), wanted), f"{name}: {rule.name} wants other inputs for {key}"

    def __repr__(self) -> str:
        return f"<Node {self.name}>"


def _fits(given: tuple[Node, ...], wanted: Input) -> bool:
    right_number = wanted.many or len(given) == 1 or (wanted.optional and not given)
    return right_number and all(node.rule.output == wanted.kind for node in given)


class Ingredients(NamedTuple):
    """Everything a node's result depends on. Two nodes with equal ingredients have the same result."""

    rule: str
    version: int
    tools: tuple[tuple[str, str], ...]
    options: Any
    inputs: tuple[tuple[str, tuple[str, ...]], ...]

    def encode(self) -> bytes:
        """The one serialisation: JSON, ASCII."""
        return json.dumps([KEY_FORMAT, *self], separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, content: bytes) -> Ingredients | None:
        """Reads what `encode` wrote; None for anything else, and for another key format."""
        try:
            return cls.of(json.loads(content.decode("ascii")))
        # RecursionError: JSON nested thousands deep, which is as malformed as any other.
        except (ValueError, RecursionError):
            return None

    @classmethod
    def of(cls, document: Any) -> Ingredients | None:
        """The ingredients in the JSON values that `encode` writes; None for anything else."""
        try:
            key_format, rule, version, tools, options, inputs = document
            if key_format != KEY_FORMAT or not isinstance(rule, str) or type(version) is not int:
                return None
            pairs = tuple((name, value) for name, value in tools)
            given = tuple((name, tuple(digests)) for name, digests in inputs if isinstance(digests, list))
        except (ValueError, TypeError):
            return None
        texts = [text for pair in pairs for text in pair]
        texts += [text for name, digests in given for text in (name, *digests)]
        if len(given) != len(inputs) or not all(isinstance(text, str) for text in texts):
            return None
        return cls(rule, version, pairs, options, given)

    def key(self) -> Key:
        """The key of the result."""
        return Key(hashlib.sha256(self.encode()).hexdigest())


def ingredients_of(node: Node, inputs: Mapping[str, tuple[Artifact, ...]]) -> Ingredients:
    """The ingredients of `node` when its inputs turned out to be `inputs`.

    They hold the content of the inputs, not how it was made: an input rebuilt to the same bytes changes nothing.
    """
    return Ingredients(
        node.rule.name,
        node.rule.version,
        tuple(sorted(node.rule.tools(node.options).items())),
        _keyed(node),
        tuple(
            (name, tuple(f"{artifact.kind}:{artifact.digest.hex}" for artifact in inputs[name]))
            for name in sorted(inputs)
        ),
    )


def _keyed(node: Node) -> dict[str, Any]:
    """The options that shape the result, as JSON values by name."""
    unkeyed = node.rule.unkeyed
    return {name: value for name, value in plain(node.options).items() if name not in unkeyed}


def plain(value: Any) -> Any:
    """Options as JSON values: NamedTuples by field name, other tuples as lists, bytes as base64."""
    if value is None or isinstance(value, (str, int, bool)):
        return value
    if isinstance(value, tuple):
        names: tuple[str, ...] | None = getattr(value, "_fields", None)
        if names is None:
            return [plain(item) for item in value]
        return {name: plain(getattr(value, name)) for name in sorted(names)}
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"options cannot hold {type(value).__name__}")
