from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from kitbuild.errors import UsageError
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.rule import Input, NoOptions, Rule, Value, Work
from kitbuild.selection import Names, Selection, selected


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE = Rule("test/join", 1, "Joins.", NoOptions, "blob", ran, {"pieces": Input("blob", many=True)})


def node(name: str, *pieces: Node, section: str = "") -> Node:
    return Node(name, RULE, NoOptions(), {"pieces": pieces}, section)


IMAGE = node("image docker.io/kit/redis:v1", section="images")
BUNDLE = node("services redis: bundle", IMAGE, section="services redis")
SEGMENT = node("services redis: segment", BUNDLE, section="services redis")
ODD = node("services [odd]: segment", section="services [odd]")
KERNEL = node("kernel: boot", section="kernel")
SOURCE = node("files: ./src.txt", section="files")


class Path(NamedTuple):
    path: str


class Paths(NamedTuple):
    entries: tuple[Path, ...]


FILES_RULE = Rule("test/files", 1, "Joins.", Paths, "blob", ran, {"pieces": Input("blob", many=True)})
FILES = Node("files", FILES_RULE, Paths((Path("etc/motd"),)), {"pieces": (SOURCE,)}, "files")
INITRD = node("initrd", SEGMENT, ODD, KERNEL, FILES)
GRAPH = Graph.of({"-initrd.img": INITRD, "-kernel": KERNEL})
NAMES = Names(GRAPH, "web")


def names(nodes: set[Node] | None) -> list[str]:
    assert nodes is not None
    return [one.name for one in GRAPH if one in nodes]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("initrd", (INITRD,), id="node"),
        pytest.param("-initrd.img", (INITRD,), id="output"),
        pytest.param("initrd.img", (INITRD,), id="output without its dash"),
        pytest.param("web-initrd.img", (INITRD,), id="file"),
        pytest.param("services redis", (BUNDLE, SEGMENT), id="section"),
        pytest.param("kernel", (KERNEL,), id="section before the output of that name"),
        pytest.param("image*redis*", (IMAGE,), id="pattern of one node"),
        pytest.param("*re?is", (BUNDLE, SEGMENT), id="pattern of one section"),
        pytest.param("services r*", (BUNDLE, SEGMENT), id="pattern of a section and its nodes"),
        pytest.param("services [odd]", (ODD,), id="section that looks like a pattern"),
        pytest.param("redis", (BUNDLE, SEGMENT), id="section without its kind"),
        pytest.param("services", (BUNDLE, SEGMENT, ODD), id="kind of sections"),
        pytest.param("kit/redis:v1", (IMAGE,), id="image as configs have it"),
        pytest.param("docker.io/kit/redis:v1", (IMAGE,), id="image in full"),
        pytest.param("src.txt", (SOURCE,), id="source without its dot"),
        pytest.param("./src.txt", (SOURCE,), id="source as the config has it"),
        pytest.param("etc/motd", (FILES,), id="path of a file"),
        pytest.param("/etc/motd", (FILES,), id="path of a file from the root"),
        pytest.param("files: etc/motd", (FILES,), id="path of a file as causes have it"),
    ],
)
def test_node_goes_by_many_names(text: str, expected: tuple[Node, ...]) -> None:
    assert expected == NAMES.named(text)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("initrd.imgg", "did you mean `initrd.img`?"),
        ("servces redis", "did you mean `services redis`?"),
        ("rdis", "did you mean `redis`?"),
        ("*REDIS", "did you mean `redis`?"),
        ("quite another", "`kitbuild graph CONFIG` shows their names"),
        ("*", "name one of them, or choose with `--nodes`"),
    ],
)
def test_name_of_nothing_or_too_much_is_an_error_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(UsageError, match="expected a ") as caught:
        NAMES.named(text)

    assert hint == caught.value.hint


def test_pattern_of_too_much_says_what_it_fits() -> None:
    with pytest.raises(UsageError) as caught:
        NAMES.named("*segment")

    assert caught.value.message == (
        "expected a pattern of one node or section, got `*segment`, which fits `services redis: segment`, "
        "`services [odd]: segment`"
    )


def test_nothing_chosen_is_everything() -> None:
    assert selected(GRAPH, Selection()) is None


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(["*: segment"]), [SEGMENT.name, ODD.name]),
        (Selection(["initrd", "images"]), [IMAGE.name, "initrd"]),
        (Selection(["-kernel"]), ["kernel: boot"]),
        (
            Selection(needed=["initrd.img"], depth=1),
            [SEGMENT.name, ODD.name, KERNEL.name, FILES.name, "initrd"],
        ),
        (Selection(needed=["services redis"]), [IMAGE.name, BUNDLE.name, SEGMENT.name]),
        (Selection(needed=["kernel", "services [odd]"]), [ODD.name, KERNEL.name]),
        (Selection(users=["image*"]), [IMAGE.name, BUNDLE.name, SEGMENT.name, "initrd"]),
        (Selection(users=["image*"], needed=["initrd"], depth=2), [BUNDLE.name, SEGMENT.name]),
        (Selection(path=("initrd", "services redis")), [BUNDLE.name, SEGMENT.name, "initrd"]),
        (Selection(["images", "initrd"], path=("images", "initrd")), [IMAGE.name, "initrd"]),
        (Selection(["kernel"], users=["images"]), []),
    ],
)
def test_what_is_chosen_fits_all_that_is_asked(selection: Selection, expected: list[str]) -> None:
    wanted = sorted(expected)

    assert wanted == sorted(names(selected(GRAPH, selection)))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (Selection(depth=1), "expected `--deps` or `--rdeps` with `--depth`, got neither"),
        (Selection(["nothing*"]), "expected a node, section or output, got `nothing*`"),
        (Selection(needed=["nothing"]), "expected a node, section or output, got `nothing`"),
        (
            Selection(path=("kernel", "images")),
            "expected a way between two nodes, got none from `kernel` to `images` or back",
        ),
    ],
)
def test_choice_that_cannot_be_is_a_wrong_command_line(selection: Selection, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        selected(GRAPH, selection)

    assert message == caught.value.message
