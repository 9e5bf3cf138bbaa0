from __future__ import annotations

import errno
import io
import json
import os
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cli import graph as command
from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError, UsageError
from kitbuild.graph import Graph
from kitbuild.node import Node
from kitbuild.query import NodeStatus, view_of
from kitbuild.rule import Artifact, Input, NoOptions, Rule, Value, Work


def ran(work: Work[Any]) -> Value:
    raise AssertionError("this rule is never run")


RULE = Rule("test/join", 1, "Joins.", NoOptions, "blob", ran, {"pieces": Input("blob", many=True)})


def node(name: str, *pieces: Node, section: str = "") -> Node:
    return Node(name, RULE, NoOptions(), {"pieces": pieces}, section)


LAYER = node("layer 12", section="images")
IMAGE = node("image redis", LAYER, section="images")
KERNEL = node("kernel: boot", IMAGE, section="kernel")
BUNDLE = node("services redis: bundle", IMAGE, section="services redis")
SEGMENT = node("services redis: segment", BUNDLE, KERNEL, section="services redis")
INITRD = node("initrd", node("kernel: segment", KERNEL, section="kernel"), SEGMENT, BUNDLE)
GRAPH = Graph.of({"-initrd.img": INITRD})
NEAR = NodeStatus("near", Artifact("tree", Digest.of(b"bytes")), 1536, 1.5)
STATUS = {IMAGE: NEAR, LAYER: NEAR._replace(seconds=2.0)}


def parsed(*flags: str) -> Namespace:
    parser = ArgumentParser()
    command.add(parser.add_subparsers())
    return parser.parse_args(["graph", *flags, "x.yml"])


def written(monkeypatch: pytest.MonkeyPatch, *flags: str) -> str:
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    arguments = parsed(*flags)
    command.show(found(), command.chosen(GRAPH, arguments), STATUS, arguments)
    stream.flush()
    return raw.getvalue().decode()


def found() -> Any:
    """Only the page asks what was found."""
    return None


def test_pipe_gets_plain_text_without_rich_or_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich", None)
    monkeypatch.setitem(sys.modules, "networkx", None)

    lines = written(monkeypatch).splitlines()

    assert lines[0] == "x.yml"
    assert lines[-1] == "7 nodes: 2 near, 0 to run, 5 not fetched"


def test_what_the_output_cannot_encode_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(raw := io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    graph = Graph.of({"out": node("caf\u00e9")})

    command.show(found(), view_of(graph), {}, parsed())
    stream.flush()

    assert b"caf\\xe9" in raw.getvalue()


@pytest.mark.parametrize(
    ("flags", "first"),
    [
        (["--format", "dot"], "digraph kitbuild {"),
        (["--format", "mermaid"], "flowchart LR"),
        (["--format", "json"], "{"),
        (["--json"], "{"),
    ],
)
def test_other_formats_are_written_as_they_are(
    flags: list[str], first: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = written(monkeypatch, *flags)
    nothing = written(monkeypatch, *flags, "--output", str(tmp_path / "file"))

    assert (first, "") == (text.splitlines()[0], nothing)
    assert text == (tmp_path / "file").read_text()


def shown(monkeypatch: pytest.MonkeyPatch, *flags: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(written(monkeypatch, "--json", *flags))
    return document


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], [one.name for one in GRAPH]),
        (["--nodes", "*: segment"], ["kernel: segment", "services redis: segment"]),
        (["--deps", "kernel: boot"], ["layer 12", "image redis", "kernel: boot"]),
        (["--deps", "initrd.img", "--depth", "0"], ["initrd"]),
        (["--rdeps", "image redis", "--nodes", "kernel"], ["kernel: boot", "kernel: segment"]),
        (
            ["--path", "layer*", "services redis: bundle"],
            ["layer 12", "image redis", "services redis: bundle"],
        ),
    ],
)
def test_flags_choose_nodes(flags: list[str], expected: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    document = shown(monkeypatch, *flags)

    assert sorted(expected) == sorted(one["name"] for one in document["nodes"])
    assert len(GRAPH) == document["total"]


def test_reduced_graph_has_fewer_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, less = shown(monkeypatch), shown(monkeypatch, "--reduce")

    left_out = [edge for edge in whole["edges"] if edge not in less["edges"]]
    assert [("services redis: bundle", "initrd")] == [(edge["from"], edge["to"]) for edge in left_out]


def test_critical_path_is_told_when_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch)["critical_path"] is None
    assert shown(monkeypatch, "--critical-path")["critical_path"][:2] == ["layer 12", "image redis"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--depth", "x"], "expected a number of steps with `--depth`, got `x`"),
        (["--depth", "-1"], "expected a number of steps with `--depth`, got `-1`"),
        (["--depth", "1"], "expected `--deps` or `--rdeps` with `--depth`, got neither"),
        (["--deps", "nothing"], "expected a node, section or output, got `nothing`"),
    ],
)
def test_wrong_choice_is_a_wrong_command_line(flags: list[str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        command.chosen(GRAPH, parsed(*flags))

    assert message == caught.value.message


@pytest.mark.parametrize("flags", [["--json", "--format", "svg"], ["--format", "tree", "--json"]])
def test_json_and_another_format_are_not_one(flags: list[str]) -> None:
    with pytest.raises(UsageError, match=r"expected either `--json` or `--format \w+`, got both"):
        command.run(parsed(*flags))


def test_stdout_that_cannot_be_written_is_an_error_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed(io.StringIO):
        encoding = "utf-8"

        def write(self, text: str) -> int:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    monkeypatch.setattr(sys, "stdout", Closed())

    with pytest.raises(KitbuildError, match="cannot write to stdout: Bad file descriptor"):
        command.show(found(), view_of(GRAPH), {}, parsed("--format", "dot"))


def test_file_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    arguments = parsed("--output", str(tmp_path / "nowhere" / "file"))

    with pytest.raises(KitbuildError, match=r"cannot write `.*nowhere/file`: No such file or directory"):
        command.show(found(), view_of(GRAPH), STATUS, arguments)
