from __future__ import annotations

import json
import zlib
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.node import Ingredients
from kitbuild.record import ImageOrigin, NodeRecord, Origin, Origins, Record, without_passwords
from kitbuild.rule import Artifact

MADE = Ingredients("test/top", 2, (("isal", "1.7"),), {"text": "a"}, (("inputs", (f"blob:{'1' * 64}",)),))
RECORD = Record(
    "0.1.0",
    "s" * 64,
    1_700_000_000.125,
    2.5,
    {
        "below": NodeRecord("test/below", "", "near"),
        "top": NodeRecord(
            "test/top",
            "services web",
            "ran",
            {"inputs": ("below",)},
            MADE,
            Artifact("blob", Digest.of(b"x")),
            7,
            0.25,
            0.5,
            ("because",),
            ("a warning",),
        ),
    },
    {"-initrd.img": "top"},
    Origins(
        ("linuxkit.yml",),
        {"services web": Origin("linuxkit.yml", 3, 5, {"name": "wéb", "env": ["A=1"]}, {"env[0]": 4})},
        {"t/web:v1": ImageOrigin("a" * 64, "", "layout:/images")},
        {"--arch": "amd64"},
    ),
    "20231114-221320-125ab",
)
HEAD = json.loads(zlib.decompress(RECORD.encode()).split(b"\n")[0])

DEEP: list[Any] = []
for _ in range(500):
    DEEP = [DEEP]


def packed(head: Any, *lines: Any) -> bytes:
    return zlib.compress(b"\n".join(json.dumps(line).encode() for line in (head, *lines)))


def with_field(position: int, value: Any) -> bytes:
    return packed([*HEAD[:position], value, *HEAD[position + 1 :]], [], [])


def test_record_is_read_as_it_was_written() -> None:
    assert Record.decode(RECORD.encode()) == RECORD


def test_record_is_small() -> None:
    assert len(RECORD.encode()) < 600


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"text", id="not compressed"),
        pytest.param(RECORD.encode()[:-20], id="cut off"),
        pytest.param(zlib.compress(b"[" * 100_000), id="nested too deep"),
        pytest.param(zlib.compress(b"[1]"), id="too few fields"),
        pytest.param(packed({}), id="an object"),
        pytest.param(with_field(0, 2), id="another format"),
        pytest.param(with_field(1, None), id="version is no text"),
        pytest.param(with_field(3, -1), id="before 1970"),
        pytest.param(with_field(3, float("nan")), id="no number"),
        pytest.param(with_field(3, float("inf")), id="infinite"),
        pytest.param(with_field(3, 10**400), id="absurdly late"),
        pytest.param(with_field(4, "1"), id="seconds are text"),
        pytest.param(with_field(4, True), id="seconds are a truth"),
        pytest.param(with_field(5, ["one"]), id="fewer nodes than lines"),
        pytest.param(with_field(5, [1, 2]), id="names are no texts"),
        pytest.param(with_field(6, []), id="outputs are a list"),
        pytest.param(with_field(6, {"-x": 1}), id="output is no text"),
        pytest.param(with_field(7, []), id="origins are empty"),
        pytest.param(with_field(7, [[], {"a": ["f", -1, 1, None, {}]}, {}, {}]), id="negative line"),
        pytest.param(with_field(7, [[], {"a": ["f", 1, 1, None, {"b": 10**99}]}, {}, {}]), id="absurd line"),
        pytest.param(with_field(7, [[], {}, {"a": ["m", "t", 3]}, {}]), id="source is no text"),
        pytest.param(with_field(7, [[], {"a": ["f", 1, 1, DEEP, {}]}, {}, {}]), id="value of many levels"),
    ],
)
def test_what_is_no_record_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        Record.decode(content)


def test_content_that_unpacks_to_too_much_is_refused() -> None:
    packer = zlib.compressobj(9)
    content = b"".join(packer.compress(bytes(1 << 20)) for _ in range(65)) + packer.flush()

    with pytest.raises(ValueError, match="too large"):
        Record.decode(content)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(None, id="null"),
        pytest.param([], id="empty"),
        pytest.param(["r", "s", "sang", {}, None, None, 0, 0, 0, [], []], id="unknown fate"),
        pytest.param(["r", "s", "ran", {}, None, None, -1, 0, 0, [], []], id="negative size"),
        pytest.param(["r", "s", "ran", {}, None, None, 0, -1, 0, [], []], id="negative seconds"),
        pytest.param(["r", "s", "ran", {"a": 1}, None, None, 0, 0, 0, [], []], id="inputs are no lists"),
        pytest.param(["r", "s", "ran", {}, None, ["blob", "zz", 1], 0, 0, 0, [], []], id="no digest"),
        pytest.param(["r", "s", "ran", {}, None, ["blob", "a" * 64, -1], 0, 0, 0, [], []], id="size below 0"),
        pytest.param(["r", "s", "ran", {}, None, ["soup", "a" * 64, 1], 0, 0, 0, [], []], id="unknown kind"),
        pytest.param(["r", "s", "ran", {}, None, None, 0, 0, 0, [1], []], id="reason is no text"),
        pytest.param(
            ["r", "s", "ran", {}, [1, "r", 1, [], DEEP, []], None, 0, 0, 0, [], []],
            id="options of many levels",
        ),
    ],
)
def test_of_a_malformed_node_nothing_is_known(line: Any) -> None:
    record = Record.decode(packed(HEAD, line, line))

    assert record.nodes["top"] == NodeRecord("", "", "left")


@given(st.data())
def test_damage_raises_one_error_alone(data: st.DataObject) -> None:
    content = bytearray(RECORD.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))

    with suppress(ValueError):
        list(Record.decode(bytes(content)).nodes.values())


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.integers(0, len(HEAD) - 1), JSON, JSON)
def test_any_json_is_read_or_refused(position: int, value: Any, line: Any) -> None:
    head = [*HEAD[:position], value, *HEAD[position + 1 :]]

    with suppress(ValueError):
        list(Record.decode(packed(head, line, line)).nodes.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:secret@host/x", "https://host/x"),
        ("registry:a mirror=HTTPS://me@host/x y", "registry:a mirror=HTTPS://host/x y"),
        ("s3+http://a:b@c, then http://d:e@f", "s3+http://c, then http://f"),
        ("t/web@sha256:1", "t/web@sha256:1"),
        ("https://host/a@b", "https://host/a@b"),
        ("https://me:se@cr@et@host/x", "https://host/x"),
        ("https://host?mail=a@b", "https://host?mail=a@b"),
    ],
)
def test_passwords_are_taken_out_of_urls(text: str, expected: str) -> None:
    assert expected == without_passwords(text)
