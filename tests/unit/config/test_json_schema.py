from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft7Validator

from kitbuild.config.json_schema import DESCRIPTIONS, json_schema, json_schema_text
from kitbuild.config.load import load
from kitbuild.config.schema import CONFIG, validate
from kitbuild.config.yaml import parse
from kitbuild.errors import ConfigErrors
from tests.unit.config import test_load, test_schema
from tests.unit.config.test_whatever import _values

VALIDATOR = Draft7Validator(json_schema())


def test_it_is_a_schema_of_draft_7() -> None:
    Draft7Validator.check_schema(json_schema())

    assert json.loads(json_schema_text()) == json_schema()
    assert json_schema()["$schema"] == "http://json-schema.org/draft-07/schema#"


def test_every_key_of_a_config_is_there_and_described() -> None:
    described = [shape for shape in _shapes(json_schema()) if "description" in shape]
    keys = [key for shape in _shapes(json_schema()) for key in shape.get("properties", {})]

    assert len(described) == len(keys) == len(DESCRIPTIONS)
    assert {"capabilities.add", "throttleReadIOPSDevice", "hostID", "createInRoot"} <= set(keys)


def test_no_object_takes_other_keys() -> None:
    closed = [shape["additionalProperties"] for shape in _shapes(json_schema()) if "properties" in shape]

    assert closed == [False] * len(closed)


def _shapes(value: Any) -> Iterator[dict[str, Any]]:
    """All schemas inside a schema."""
    if isinstance(value, dict):
        if "type" in value or "allOf" in value:
            yield value
        for key, inner in value.items():
            # What is under `properties` are keys of a config, whatever they are called.
            yield from (
                (found for one in inner.values() for found in _shapes(one))
                if key
                in (
                    "properties",
                    "definitions",
                )
                else _shapes(inner)
            )


_BROKEN = [
    {"services": [{"name": "web", "image": "a", **param.values[0]}]}
    for mark in test_schema.test_a_mistake_says_what_was_expected_what_came_and_what_to_do.pytestmark
    for param in mark.args[1]
]


# In draft 7, 1.0 is an integer.
@pytest.mark.parametrize("value", [value for value in _BROKEN if "uid" not in value["services"][0]])
def test_what_kitbuild_refuses_is_not_valid(value: Any) -> None:
    assert validate(value, CONFIG)
    assert not VALIDATOR.is_valid(value)


@pytest.mark.parametrize(
    "value",
    [
        {"foo": 1},
        {"onboot": None},
        {"services": [{"name": "a"}]},
        {"services": [{"image": "a"}]},
        {"kernel": {"cmdlin": "x"}},
        {"volumes": [{"name": "Bad"}]},
        {"volumes": [{"format": "ocii"}]},
        {"files": [{"path": "a", "mode": 420}]},
        {"files": [{"path": "a", "mode": "999"}]},
        {"files": [{"path": "a", "metadata": "xml"}]},
        {"files": [{"path": "a", "uid": []}]},
        [],
        None,
    ],
)
def test_other_mistakes_are_not_valid_either(value: Any) -> None:
    assert not VALIDATOR.is_valid(value)


def test_a_config_with_every_section_is_valid() -> None:
    document = parse(test_load._EVERYTHING.encode(), "config")

    assert list(VALIDATOR.iter_errors(document.value)) == []


def test_every_option_is_valid() -> None:
    value = {"services": [{"name": "a", "image": "b", **test_schema._EVERY_OPTION}]}

    assert list(VALIDATOR.iter_errors(value)) == []


def test_numbers_have_the_bounds_a_json_parser_can_hold() -> None:
    network = json_schema()["definitions"]["resources"]["properties"]["network"]["properties"]
    memory = json_schema()["definitions"]["resources"]["properties"]["memory"]["properties"]

    assert {key: network["classID"][key] for key in ("minimum", "maximum")} == {
        "minimum": 0,
        "maximum": 2**32 - 1,
    }
    assert {"minimum": 0}.items() <= memory["swappiness"].items()
    assert memory["limit"].keys() == {"description", "type"}


@settings(deadline=None)
@given(_values(CONFIG))
def test_schema_and_kitbuild_agree(value: Any) -> None:
    valid = VALIDATOR.is_valid(value)

    if validate(value, CONFIG):
        assert not valid
    elif not valid:
        # Stricter only where kitbuild has rules beside its schema.
        with pytest.raises(ConfigErrors):
            load(["-"], stdin=BytesIO(json.dumps(value).encode()))
