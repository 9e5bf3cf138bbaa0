"""What every rule promises, asked of every rule there is; what it gives is tests/integration/test_formats.py's."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from importlib import import_module
from itertools import chain
from pkgutil import walk_packages
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest

import kitbuild.rules
from kitbuild.digest import Digest
from kitbuild.node import Ingredients, Node, ingredients_of, plain
from kitbuild.rule import Artifact, ArtifactKind, Input, NoOptions, Rule


def rules() -> dict[str, tuple[Rule[Any], str]]:
    """Every Rule in kitbuild.rules by name, with the module that has it."""
    found: dict[str, tuple[Rule[Any], str]] = {}
    for module in walk_packages(kitbuild.rules.__path__, "kitbuild.rules."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, Rule):
                found.setdefault(value.name, (value, module.name))
                assert found[value.name][0] is value, f"two rules are named {value.name}"
    return dict(sorted(found.items()))


RULES = rules()
NAMES = pytest.mark.parametrize("name", RULES)


# -- two values of any type an option may have


def example(hint: Any, number: int) -> Any:
    """A value of a type; `number` 0 and 1 give different ones."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return arguments[number]
    if origin in (Union, types.UnionType):
        return example(next(kind for kind in arguments if kind is not type(None)), number)
    if origin is tuple:
        item = arguments[0]
        variadic = len(arguments) == 2 and arguments[1] is Ellipsis
        return (example(item, number),) if variadic else tuple(example(kind, number) for kind in arguments)
    if hint is Digest:
        return Digest.of(b"%d" % number)
    if hasattr(hint, "_fields"):
        hints = get_type_hints(hint)
        return typing.cast(Any, hint)(**{name: example(hints[name], number) for name in hint._fields})
    simple: dict[Any, Any] = {
        str: f"text {number}",
        int: number + 1,
        bool: bool(number),
        bytes: b"%d" % number,
    }
    return simple[hint]


def node_of(rule: Rule[Any], options: Any) -> Node:
    """A node of a rule with one input of every name."""
    return Node(
        "node", rule, options, {name: (_source(wanted.kind),) for name, wanted in rule.inputs.items()}
    )


def _source(kind: ArtifactKind) -> Node:
    return Node(
        "source", Rule("test/source", 1, "", NoOptions, kind, lambda work: Digest.of(b"")), NoOptions()
    )


def ingredients(rule: Rule[Any], options: Any, *, content: Mapping[str, bytes] | None = None) -> Ingredients:
    """What such a node is made of; the content of its inputs is their names unless it is given."""
    given = {
        name: (Artifact(wanted.kind, Digest.of((content or {}).get(name, name.encode()))),)
        for name, wanted in rule.inputs.items()
    }
    return ingredients_of(node_of(rule, options), given)


# -- what a rule is


@NAMES
def test_rule_is_well_formed(name: str) -> None:
    rule, module = RULES[name]

    group, _, kind = rule.name.partition("/")
    assert group == module.split(".")[2]
    assert kind
    assert kind == kind.lower()
    assert " " not in kind
    assert rule.version >= 1
    assert rule.summary
    assert rule.summary[0] == rule.summary[0].lower()
    assert not rule.summary.endswith(".")
    assert rule.output in ("blob", "tree", "extents")
    assert callable(rule.run)
    assert all(isinstance(wanted, Input) for wanted in rule.inputs.values())


@NAMES
def test_options_are_a_named_tuple(name: str) -> None:
    rule = RULES[name][0]
    options = rule.options

    made = example(options, 0)
    assert isinstance(made, tuple)
    assert set(rule.unkeyed) <= set(options._fields)
    assert made == example(options, 0)
    assert hash(made) == hash(example(options, 0))
    assert json.loads(json.dumps(plain(made))) == plain(made)


def test_each_group_has_rules() -> None:
    assert {name.partition("/")[0] for name in RULES} == {"fetch", "unpack", "assemble", "format"}


# -- what a key is over


OPTIONS = [
    pytest.param(name, option, option not in rule.unkeyed, id=f"{name} {option}")
    for name, (rule, _) in RULES.items()
    for option in rule.options._fields
]


@pytest.mark.parametrize(("name", "option", "keyed"), OPTIONS)
def test_option_changes_the_key_if_it_shapes_the_result(name: str, option: str, keyed: bool) -> None:
    rule = RULES[name][0]
    other = example(get_type_hints(rule.options)[option], 1)
    one = example(rule.options, 0)
    two = one._replace(**{option: other})

    assert getattr(one, option) != getattr(two, option)
    assert (ingredients(rule, one).key() != ingredients(rule, two).key()) is keyed


@NAMES
def test_version_and_tools_change_the_key(name: str) -> None:
    rule = RULES[name][0]
    options = example(rule.options, 0)

    keys = {
        ingredients(changed, options).key()
        for changed in (
            rule,
            rule._replace(version=rule.version + 1),
            rule._replace(tools=lambda options: {"compressor": "1.0"}),
            rule._replace(tools=lambda options: {"compressor": "1.1"}),
            rule._replace(name=f"{rule.name}-other"),
        )
    }

    assert len(keys) == 5


@NAMES
def test_content_of_every_input_changes_the_key(name: str) -> None:
    rule = RULES[name][0]
    options = example(rule.options, 0)

    keys = {ingredients(rule, options, content={changed: b"other"}).key() for changed in rule.inputs}

    assert len(keys - {ingredients(rule, options).key()}) == len(rule.inputs)


@NAMES
def test_tools_are_texts_and_the_same_every_time(name: str) -> None:
    rule = RULES[name][0]

    for number in (0, 1):
        tools = rule.tools(example(rule.options, number))
        assert all(isinstance(text, str) and text for text in chain(tools, tools.values()))
        assert tools == rule.tools(example(rule.options, number))
