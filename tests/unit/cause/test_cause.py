"""Causes between two records, and what happens if one of them is anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.cause.build import Explanation, last_ran
from kitbuild.cause.names import all_names, nodes_called
from kitbuild.cli.why_answer import Answer, NodeAnswer, age, as_json, as_text
from kitbuild.digest import Digest
from kitbuild.node import Ingredients
from kitbuild.record import Fate, ImageOrigin, NodeRecord, Origin, Origins, Record
from kitbuild.rule import Artifact

NO_LINES: Mapping[str, int] = {}


def made(
    text: str = "",
    *needs: str,
    section: str = "",
    content: str = "",
    fate: Fate = "ran",
    why: tuple[str, ...] = (),
    **options: Any,
) -> NodeRecord:
    """A node of the rule test/rule whose inputs give what they are called, and which gives `content`."""
    digests = tuple(f"blob:{Digest.of(name.encode()).hex}" for name in needs)
    names = tuple(name.partition("=")[0] for name in needs)
    inputs = {"inputs": names} if names else {}
    ingredients = Ingredients(
        "test/rule", 1, (), {"text": text, **options}, (("inputs", digests),) if digests else ()
    )
    artifact = Artifact("blob", Digest.of((content or text).encode()))
    return NodeRecord("test/rule", section, fate, inputs, ingredients, artifact, why=why)


def record(nodes: Mapping[str, NodeRecord], **origins: Any) -> Record:
    return Record("1", "", 1e9, 1.0, nodes, {"-out": list(nodes)[-1]} if nodes else {}, Origins(**origins))


def sentences(now: Record, *before: Record) -> dict[str, list[str]]:
    explanation = Explanation(now, before)
    return {name: [cause.sentence for cause in explanation.causes(name)] for name in now.nodes}


def test_cause_goes_up_to_all_that_is_made_of_it() -> None:
    before = record({"a": made("1"), "b": made("b", "a=1"), "c": made("c", "b=1"), "d": made("d")})
    now = record({"a": made("2"), "b": made("b", "a=2"), "c": made("c", "b=2"), "d": made("d", fate="near")})

    expected = ['option `text` changed from "1" to "2"']
    assert sentences(now, before) == {"a": expected, "b": expected, "c": expected, "d": []}
    (root,) = Explanation(now, [before]).roots()
    assert root.nodes == ("a", "b", "c")
    (reason,) = Explanation(now, [before]).reasons("c")
    assert reason.way == ("a", "b", "c")


def test_cause_ends_where_the_content_is_the_same_again() -> None:
    before = record({"a": made("1"), "b": made("b", "a=same")})
    now = record({"a": made("2"), "b": made("b", "a=same", fate="near")})

    assert sentences(now, before)["b"] == []


def test_node_is_compared_as_a_whole_with_the_last_build_that_has_it() -> None:
    older = record({"a": made("1"), "iso": made("i", "a=1")})
    old = record({"a": made("2"), "initrd": made("i", "a=2")})
    now = record({"a": made("2", fate="near"), "iso": made("i", "a=2")})

    assert sentences(now, old, older)["iso"] == ['option `text` changed from "1" to "2"']


def test_flag_that_is_as_it_was_is_not_to_blame() -> None:
    gzip, zstd = {"--compression": "gzip"}, {"--compression": "zstd"}
    first = record({"a": made("1", compression="gzip")}, flags=gzip)
    second = record({"a": made("1", compression="zstd")}, flags=zstd)
    now = record({"a": made("2", compression="gzip")}, flags=gzip)

    assert sentences(now, second)["a"] == [
        "--compression zstd -> gzip",
        'option `text` changed from "1" to "2"',
    ]
    assert sentences(now, second, first)["a"] == ['option `text` changed from "1" to "2"']


def test_node_asked_for_by_another_flag_has_that_for_its_cause() -> None:
    first = record({"a": made("1", compression="gzip")}, flags={"--compression": "gzip"})
    now = record({"a": made("1", compression="zstd")}, flags={"--compression": "zstd"})

    assert sentences(now, first)["a"] == ["--compression gzip -> zstd"]


def test_section_that_is_gone_is_named_not_its_node() -> None:
    places = {
        "services a": Origin("x.yml", 3, 5, {"name": "a"}),
        "services b": Origin("x.yml", 5, 5, {"n": 1}),
    }
    before = record(
        {
            "a": made("a", section="services a"),
            "b": made("b", section="services b"),
            "top": made("", "a", "b"),
        },
        places=places,
    )
    now = record(
        {"b": made("b", section="services b", fate="near"), "top": made("", "b")},
        places={"services b": places["services b"]},
    )

    assert sentences(now, before)["top"] == ["services a was removed (was at x.yml:3)"]


def test_image_not_found_before_says_so() -> None:
    place = {"image t/x": Origin("x.yml", 2, 3, "t/x")}
    before = record(
        {"image t/x": made("no", section="images")},
        places=place,
        images={"t/x": ImageOrigin("", "", "", "gone")},
    )
    now = record(
        {"image t/x": made("yes", "layer=1", section="images"), "layer": made("l", section="images")},
        places=place,
        images={"t/x": ImageOrigin("a" * 64, "", "layout:/x")},
    )

    assert sentences(now, before)["layer"] == ["x.yml:2: t/x was not found before"]


def test_a_thousand_causes_are_told_in_a_few_lines() -> None:
    names = [f"n{number}" for number in range(1000)]
    before = record(
        {**{name: made("1") for name in names}, "top": made("", *(f"{name}=1" for name in names))}
    )
    nodes = {name: made("2", number=number) for number, name in enumerate(names)}
    now = record({**nodes, "top": made("", *(f"{name}=2" for name in names))})
    explanation = Explanation(now, [before])

    answer = Answer(now, None, (NodeAnswer("top", "ran", explanation.reasons("top")),), ())

    lines = as_text(answer).splitlines()
    assert len(lines) < 50
    assert lines[-1] == "and 989 more causes; `--json` has all"


def test_what_a_record_holds_cannot_talk_to_the_terminal() -> None:
    bad = "\x1b[31mred\x07"
    now = record({bad: made("2", section=bad)}, configs=(bad,), flags={"--name": bad})
    explanation = Explanation(now, [record({bad: made("1\x1b]0;x\x07")}, flags={"--name": "x\x1b"})])

    text = as_text(
        Answer(now, None, (NodeAnswer(bad, "ran", explanation.reasons(bad)),), explanation.roots())
    )

    assert text.isprintable() or all(one.isprintable() or one == "\n" for one in text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top", ("top",)),
        ("-out", ("top",)),
        ("out", ("top",)),
        ("site-out", ("top",)),
        ("services a", ("a: two",)),
        ("a", ("a: two",)),
        ("a: *", ("a: one", "a: two")),
        ("files/motd", ("files: files/motd",)),
        ("t/x", ("image docker.io/t/x:latest",)),
        ("docker.io/t/x:latest", ("image docker.io/t/x:latest",)),
        ("motd.txt", ("files: ./motd.txt",)),
        ("./motd.txt", ("files: ./motd.txt",)),
        ("etc/motd", ("files",)),
        ("files: /etc/motd", ("files",)),
        ("services", ("a: two",)),
        ("nothing", ()),
        ("*nothing*", ()),
    ],
)
def test_names_mean_nodes(text: str, expected: tuple[str, ...]) -> None:
    found = record(
        {
            "image docker.io/t/x:latest": made(section="images"),
            "files: files/motd": made(section="files"),
            "files: ./motd.txt": made(section="files"),
            "files": made("", "files: files/motd=1", "files: ./motd.txt=1", section="files"),
            "a: one": made(section="services a"),
            "a: two": made("", "a: one=1", section="services a"),
            "top": made("", "a: two=1"),
        },
        places={
            "image docker.io/t/x:latest": Origin("x.yml", 1, 1, "t/x"),
            "files: files/motd": Origin("x.yml", 2, 1, {}),
            "files": Origin("x.yml", 2, 1, [{"path": "/etc/motd"}, {"path": 5}, 5]),
        },
        flags={"--name": "site"},
    )

    assert expected == nodes_called(text, found)
    assert not expected or "*" in text or text in all_names(found)


def test_last_run_of_a_node_is_found() -> None:
    ran, near = record({"a": made("1")}), record({"a": made("1", fate="near")})

    assert last_ran("a", [near, near, ran, ran]) == 2
    assert last_ran("a", [near]) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (59, "59 s"), (60, "1 minute"), (7300, "2 hours"), (86_400 * 12.5, "12 days")],
)
def test_time_spans_have_one_unit(seconds: float, expected: str) -> None:
    assert expected == age(seconds)


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["name", "image", "path", "x"]), inner)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["kernel", "init a", "init b", "services a", "services b", "onboot a", "files", "volumes v"]
)
NODES = st.sampled_from(
    ["image t/x", "files: f", "boot loader syslinux", "boot loader x: f", "top", "layer", "sbom"]
)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Records that no engine would write: nodes that need themselves, or what is not there."""
    names = draw(st.lists(NODES, unique=True))
    nodes = {}
    for name in names:
        digests = draw(st.lists(st.sampled_from(["blob:1", "tree:2", "odd"]), max_size=3))
        ingredients = Ingredients(
            draw(st.sampled_from(["fetch/file", "assemble/sbom", "format/segment"])),
            draw(st.integers()),
            draw(st.sampled_from([(), (("isal", "1"),), (("isal", "2"),)])),
            draw(JSON),
            (("inputs", tuple(digests)),),
        )
        nodes[name] = NodeRecord(
            "r",
            draw(NAMES),
            draw(st.sampled_from(["ran", "near", "failed", "left"])),
            {
                "inputs": tuple(draw(st.lists(NODES, max_size=3))),
                "conflicts": tuple(draw(st.lists(NODES, max_size=1))),
            },
            draw(st.sampled_from([None, ingredients])),
            draw(
                st.sampled_from([None, Artifact("blob", Digest.of(b"1")), Artifact("blob", Digest.of(b"2"))])
            ),
        )
    origin = st.builds(Origin, st.just("x.yml"), st.integers(0, 9), st.just(1), JSON, st.just({"x": 3}))
    image = st.builds(
        ImageOrigin, st.sampled_from(["", "a", "b"]), st.just(""), st.just("s"), st.sampled_from(["", "e"])
    )
    places = draw(st.dictionaries(st.one_of(NAMES, NODES), origin))
    images = draw(st.dictionaries(st.sampled_from(["t/x", "t/y"]), image))
    flags = draw(
        st.dictionaries(
            st.sampled_from(["--format", "--arch", "--boot-loader syslinux"]), st.text(max_size=3)
        )
    )
    return record(nodes, places=places, images=images, flags=flags)


@settings(deadline=None, max_examples=50)
@given(records(), st.lists(records(), max_size=3))
def test_any_two_records_are_compared_without_an_error(now: Record, before: list[Record]) -> None:
    explanation = Explanation(now, before)

    answers = tuple(
        NodeAnswer(name, node.fate, explanation.reasons(name)) for name, node in now.nodes.items()
    )
    answer = Answer(now, None, answers, explanation.roots())

    assert as_json(answer)
    assert as_text(answer)
