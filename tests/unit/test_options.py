from __future__ import annotations

import json
from typing import Any, Literal, NamedTuple

import pytest

from kitbuild.node import plain
from kitbuild.options import decoded


class Inner(NamedTuple):
    name: str
    number: int | None = None


class Options(NamedTuple):
    text: str = ""
    kind: Literal["gzip", "none"] = "none"
    content: bytes = b""
    pairs: tuple[tuple[str, int], ...] = ()
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(Options(), id="defaults"),
        pytest.param(
            Options("a", "gzip", b"\0\xff", (("b", 1), ("c", 2)), Inner("d", 3), (Inner("e"), Inner("f", 0))),
            id="everything",
        ),
    ],
)
def test_options_come_back_from_their_json(options: Options) -> None:
    assert options == decoded(Options, json.loads(json.dumps(plain(options))))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        pytest.param(str, 1, id="number for text"),
        pytest.param(int, True, id="truth for a number"),
        pytest.param(bool, 1, id="number for a truth"),
        pytest.param(Literal["a"], "b", id="none of the literals"),
        pytest.param(Literal[1], True, id="truth for a literal"),
        pytest.param(str | None, 1, id="none of a union"),
        pytest.param(bytes, "a", id="text for bytes"),
        pytest.param(bytes, {"base64": "a"}, id="broken base64"),
        pytest.param(bytes, {"base64": 1}, id="number for base64"),
        pytest.param(tuple[str, ...], "ab", id="text for a tuple"),
        pytest.param(tuple[str, int], ["a"], id="short tuple"),
        pytest.param(Inner, {"name": "a"}, id="field that is missing"),
        pytest.param(Inner, {"name": "a", "number": 1, "more": 2}, id="field too many"),
        pytest.param(Inner, ["a", 1], id="list for a tuple with names"),
    ],
)
def test_value_of_another_type_is_refused(hint: Any, value: Any) -> None:
    with pytest.raises(ValueError, match=r"expected|base64|[Pp]adding"):
        decoded(hint, value)
