from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.node import KEY_FORMAT, Ingredients, Key, Node, ingredients_of, plain
from kitbuild.rule import Artifact, ArtifactKind, Input, NoOptions, Rule, Value, Work


class Owner(NamedTuple):
    uid: int = 0
    name: str = ""


class Options(NamedTuple):
    mode: str = "0644"
    owner: Owner = Owner()
    paths: tuple[str, ...] = ("a", "b")
    contents: bytes = b"text"
    level: int | None = None
    deep: bool = False
    mirror: str = ""


def ran(work: Work[Any]) -> Value:
    raise AssertionError("these rules are never run")


def rule(output: ArtifactKind = "blob", **changes: Any) -> Rule[Any]:
    return Rule("test/rule", 1, "A rule.", NoOptions, output, ran)._replace(**changes)


RULE = rule(
    options=Options,
    inputs={"image": Input("tree"), "more": Input("blob", many=True), "extra": Input("blob", optional=True)},
    tools=lambda options: {"gzip": "1.7", "level": str(options.level)},
    unkeyed=("mirror",),
)
IMAGE = Artifact("tree", Digest.of(b"image"))
FIRST, SECOND = Artifact("blob", Digest.of(b"1")), Artifact("blob", Digest.of(b"2"))
INPUTS = {"image": (IMAGE,), "more": (FIRST, SECOND)}


def source(name: str, output: ArtifactKind = "blob") -> Node:
    return Node(name, rule(output), NoOptions())


def node(given_rule: Rule[Any] = RULE, options: Any = None, name: str = "a node") -> Node:
    inputs = {"image": (source("image", "tree"),), "more": (source("1"), source("2"))}
    return Node(name, given_rule, options or Options(), inputs)


def key(
    given_rule: Rule[Any] = RULE, options: Any = None, inputs: dict[str, tuple[Artifact, ...]] | None = None
) -> Key:
    return ingredients_of(node(given_rule, options), INPUTS if inputs is None else inputs).key()


def test_same_ingredients_give_the_same_key() -> None:
    assert key() == key()


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"name": "test/other"}, id="rule name"),
        pytest.param({"version": 2}, id="rule version"),
        pytest.param({"tools": lambda options: {"gzip": "1.8", "level": "None"}}, id="tool version"),
        pytest.param({"tools": lambda options: {"zstd": "1.7", "level": "None"}}, id="tool name"),
        pytest.param({"tools": lambda options: {"gzip": "1.7"}}, id="tool left out"),
    ],
)
def test_changed_rule_changes_the_key(changes: dict[str, Any]) -> None:
    assert key() != key(RULE._replace(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mode": "0600"}, id="text"),
        pytest.param({"owner": Owner(uid=1)}, id="nested field"),
        pytest.param({"paths": ("b", "a")}, id="order of a tuple"),
        pytest.param({"paths": ("a",)}, id="length of a tuple"),
        pytest.param({"paths": ("ab",)}, id="where items are cut"),
        pytest.param({"contents": b"other"}, id="bytes"),
        pytest.param({"contents": "text"}, id="text for bytes"),
        pytest.param({"level": 0}, id="zero for none"),
        pytest.param({"level": "0"}, id="text for a number"),
        pytest.param({"deep": True}, id="truth"),
        pytest.param({"deep": 0}, id="number for truth"),
    ],
)
def test_changed_option_changes_the_key(changes: dict[str, Any]) -> None:
    options = Options()._replace(**changes)
    assert key() != key(options=options)


def test_each_single_change_of_level_gives_a_key_of_its_own() -> None:
    levels: list[Any] = [None, 0, False, "0", "", "null", b"", (), (0,)]

    keys = {key(options=Options(level=level)) for level in levels}

    assert len(levels) == len(keys)


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param(INPUTS | {"image": (Artifact("tree", Digest.of(b"new")),)}, id="content of the first"),
        pytest.param(INPUTS | {"more": (FIRST, FIRST)}, id="content of one of many"),
        pytest.param(INPUTS | {"more": (SECOND, FIRST)}, id="order of many"),
        pytest.param(INPUTS | {"more": (FIRST,)}, id="one of many left out"),
        pytest.param(INPUTS | {"more": ()}, id="none of many"),
        pytest.param(INPUTS | {"extra": (FIRST,)}, id="optional given"),
        pytest.param({"image": (IMAGE,), "extra": (FIRST, SECOND)}, id="same content under another name"),
        pytest.param(
            INPUTS | {"image": (Artifact("extents", IMAGE.digest),)}, id="same bytes as another kind"
        ),
    ],
)
def test_changed_input_changes_the_key(inputs: dict[str, tuple[Artifact, ...]]) -> None:
    assert key() != key(inputs=inputs)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(Options(mirror="https://mirror.example"), id="field"),
    ],
)
def test_field_that_does_not_shape_the_bytes_stays_out_of_the_key(options: Options) -> None:
    assert key() == key(options=options)


def test_names_and_places_stay_out_of_the_key() -> None:
    plain_node = node()
    moved = Node("elsewhere", RULE, Options(), plain_node.inputs, section="services[3]")

    assert ingredients_of(plain_node, INPUTS) == ingredients_of(moved, INPUTS)


def test_order_in_which_inputs_and_tools_are_given_stays_out_of_the_key() -> None:
    backwards = dict(reversed(INPUTS.items()))
    other = RULE._replace(tools=lambda options: {"level": str(options.level), "gzip": "1.7"})

    assert key() == key(other, inputs=backwards)


def test_ingredients_are_serialised_in_one_way_only() -> None:
    ingredients = ingredients_of(node(), {"image": (IMAGE,)})

    expected = (
        f'[{KEY_FORMAT},"test/rule",1,[["gzip","1.7"],["level","None"]],'
        '{"contents":{"base64":"dGV4dA=="},"deep":false,"level":null,"mode":"0644","owner":{"name":"","uid":0},'
        f'"paths":["a","b"]}},[["image",["tree:{IMAGE.digest.hex}"]]]]'
    ).encode()
    assert expected == ingredients.encode()
    assert hashlib.sha256(expected).hexdigest() == ingredients.key().hex


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
PAIRS = st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=3).map(tuple)
INPUT_PAIRS = st.lists(
    st.tuples(st.text(max_size=4), st.lists(st.text(max_size=4), max_size=3).map(tuple)), max_size=3
).map(tuple)


@given(st.builds(Ingredients, st.text(max_size=8), st.integers(), PAIRS, JSON, INPUT_PAIRS))
def test_encoded_ingredients_read_back(ingredients: Ingredients) -> None:
    decoded = Ingredients.decode(ingredients.encode())

    assert ingredients == decoded
    assert decoded is not None
    assert ingredients.key() == decoded.key()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("text", "text", id="text"),
        pytest.param(True, True, id="truth"),
        pytest.param(7, 7, id="number"),
        pytest.param(b"\0", {"base64": "AA=="}, id="bytes"),
        pytest.param((1, ("a",)), [1, ["a"]], id="nested tuples"),
        pytest.param(Owner(3, "note"), {"uid": 3, "name": "note"}, id="named tuple"),
    ],
)
def test_options_become_json_values(value: Any, expected: Any) -> None:
    assert expected == plain(value)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param(1.5, "float", id="float"),
        pytest.param({"a": 1}, "dict", id="dict"),
        pytest.param(["a"], "list", id="list"),
        pytest.param({"a"}, "set", id="set"),
        pytest.param(Owner, "type", id="a type itself"),
        pytest.param((1.5,), "float", id="inside a tuple"),
    ],
)
def test_values_with_more_than_one_spelling_are_refused(value: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"options cannot hold {name}"):
        plain(value)


def test_nodes_are_compared_by_identity() -> None:
    assert node() != node()
    assert len({node(), node()}) == 2


@pytest.mark.parametrize(
    "inputs",
    [
        pytest.param({"image": (source("i", "tree"),)}, id="many may be none, optional may be missing"),
        pytest.param({"image": (source("i", "tree"),), "extra": (source("e"),)}, id="optional given"),
        pytest.param({"image": (source("i", "tree"),), "extra": ()}, id="optional given as none"),
    ],
)
def test_inputs_a_rule_declares_are_taken(inputs: dict[str, tuple[Node, ...]]) -> None:
    assert inputs == Node("a node", RULE, Options(), inputs).inputs


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        pytest.param({}, "wants other inputs for image", id="missing"),
        pytest.param({"image": (source("i", "tree"),) * 2}, "wants other inputs for image", id="two for one"),
        pytest.param({"image": (source("i", "blob"),)}, "wants other inputs for image", id="another kind"),
        pytest.param(
            {"image": (source("i", "tree"),), "more": (source("1"), source("2", "tree"))},
            "wants other inputs for more",
            id="another kind among many",
        ),
        pytest.param(
            {"image": (source("i", "tree"),), "extra": (source("1"), source("2"))},
            "wants other inputs for extra",
            id="two for an optional one",
        ),
        pytest.param({"image": (source("i", "tree"),), "disk": (source("d"),)}, "takes no", id="unknown"),
    ],
)
def test_other_inputs_are_a_bug(inputs: dict[str, tuple[Node, ...]], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        Node("a node", RULE, Options(), inputs)


def test_options_of_another_rule_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="a node: options of another rule"):
        Node("a node", RULE, NoOptions(), {"image": (source("i", "tree"),)})
