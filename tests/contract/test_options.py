"""Options of every rule come back from their JSON: a node that runs elsewhere is told them so."""

from __future__ import annotations

import json
from typing import get_type_hints

import pytest

from kitbuild.node import plain
from kitbuild.options import decoded
from tests.contract.test_rules import NAMES, RULES, example


@NAMES
@pytest.mark.parametrize("number", [0, 1])
def test_options_come_back_from_their_json(name: str, number: int) -> None:
    kind = RULES[name][0].options
    hints = get_type_hints(kind)
    options = kind(**{field: example(hints[field], number) for field in kind._fields})

    assert options == decoded(kind, json.loads(json.dumps(plain(options))))


@NAMES
def test_default_options_come_back_from_their_json(name: str) -> None:
    kind = RULES[name][0].options
    options = kind(**{**example(kind, 0)._asdict(), **kind._field_defaults})

    assert options == decoded(kind, json.loads(json.dumps(plain(options))))
