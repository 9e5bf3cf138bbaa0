"""Drawings with Graphviz and without it."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kitbuild import drawing
from kitbuild.drawing import Edge, Layout, positions
from kitbuild.errors import KitbuildError
from tests.support.command import Site

pytestmark = pytest.mark.integration
SVG = "{http://www.w3.org/2000/svg}"

BOXES = {"image": (90.0, 40.0), "bundle": (60.0, 40.0), "segment": (80.0, 40.0), "kernel": (50.0, 40.0)}
BOXES |= {"-initrd": (70.0, 40.0), 'odd "name"\\': (30.0, 40.0)}
EDGES = [
    ("image", "bundle"),
    ("bundle", "segment"),
    ("segment", "-initrd"),
    ("kernel", "-initrd"),
    ("image", "-initrd"),
]
GROUPS = {"services web": ["bundle", "segment"], "kernel": ["kernel"]}


@pytest.fixture
def graphviz() -> None:
    if shutil.which("dot") is None:
        message = "Graphviz is not installed: no dot"
        if os.environ.get("KITBUILD_NO_SKIP") == "1":
            pytest.fail(message)
        pytest.skip(message)


@pytest.fixture
def library() -> None:
    pytest.importorskip("fast_sugiyama", reason="the extra `drawing` is not installed")


def right(layout: Layout, edges: list[Edge]) -> bool:
    return all(layout.places[source][0] < layout.places[target][0] for source, target in edges)


@pytest.mark.usefixtures("graphviz")
def test_graphviz_frames_the_boxes_of_a_group() -> None:
    layout = positions(BOXES, EDGES, groups=GROUPS)

    assert BOXES.keys() == layout.places.keys()
    assert set(EDGES) == layout.routes.keys()
    assert right(layout, EDGES)
    assert GROUPS.keys() == layout.groups.keys()
    for group, (left, top, end, bottom) in layout.groups.items():
        for name, (x, y) in layout.places.items():
            width, height = BOXES[name]
            inside = (
                left <= x - width / 2
                and x + width / 2 <= end
                and top <= y - height / 2
                and y + height / 2 <= bottom
            )
            assert inside == (name in GROUPS[group])
    assert all(0 <= left and end <= layout.width for left, _, end, _ in layout.groups.values())
    assert all(0 <= top and bottom <= layout.height for _, top, _, bottom in layout.groups.values())


@pytest.mark.usefixtures("graphviz")
@pytest.mark.usefixtures("graphviz")
def test_frames_of_sections_do_not_touch(tmp_path: Path) -> None:
    drawn = svg_of(Site(tmp_path), os.environ["PATH"])

    rects = [one.find(f"{SVG}rect") for one in drawn.iter() if one.get("class") == "section"]
    frames = [
        [float(one.get(name, "")) for name in ("x", "y", "width", "height")]
        for one in rects
        if one is not None
    ]
    assert 3 <= len(frames)
    for number, (x, y, width, height) in enumerate(frames):
        for x2, y2, width2, height2 in frames[number + 1 :]:
            gap = max(x2 - x - width, x - x2 - width2, y2 - y - height, y - y2 - height2)
            assert gap >= 2


def test_lines_of_graphviz_end_at_their_boxes() -> None:
    layout = positions(BOXES, EDGES, groups=GROUPS)

    for (source, target), (start, *points) in layout.routes.items():
        assert len(points) % 3 == 0
        x, y = layout.places[source]
        assert start == pytest.approx((x + BOXES[source][0] / 2, y), abs=1.5)
        x, y = layout.places[target]
        assert points[-1] == pytest.approx((x - BOXES[target][0] / 2, y), abs=1.5)


@pytest.mark.usefixtures("graphviz")
def test_graphviz_gives_the_same_layout_every_time() -> None:
    assert positions(BOXES, EDGES, groups=GROUPS) == positions(BOXES, EDGES, groups=GROUPS)


def fake_dot(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("script", ["exec sleep 60", "exit 1", "echo no JSON", "echo '{}'"])
def test_graphviz_that_fails_or_does_not_end_is_left_for_the_library(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_dot(tmp_path, script, monkeypatch)
    started = time.monotonic()

    layout = positions(BOXES, EDGES, groups=GROUPS, seconds=0.5)

    assert time.monotonic() - started < 20
    assert right(layout, EDGES)
    assert layout.groups == {}


def test_graphviz_alone_that_does_not_end_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_dot(tmp_path, "exec sleep 60", monkeypatch)
    monkeypatch.setattr(drawing, "_has_library", lambda: False)

    with pytest.raises(KitbuildError, match=r"dot` did not lay out 6 boxes in 0 s") as caught:
        positions(BOXES, EDGES, seconds=0.3)

    assert caught.value.hint == "draw fewer of them, or: pip install 'kitbuild[drawing]'"


def svg_of(site: Site, path: str) -> ElementTree.Element:
    finished = site.run("graph", "--format", "svg", "linuxkit.yml", environment={"PATH": path})
    assert (finished.status, finished.stderr) == (0, "")
    return ElementTree.fromstring(finished.stdout)


def classes(svg: ElementTree.Element, name: str) -> int:
    return sum(name in one.get("class", "").split() for one in svg.iter())


@pytest.mark.usefixtures("graphviz", "library")
def test_drawing_holds_the_same_with_graphviz_and_without(tmp_path: Path) -> None:
    site = Site(tmp_path)

    with_it, without = svg_of(site, os.environ["PATH"]), svg_of(site, str(tmp_path / "nowhere"))

    assert classes(with_it, "node") == classes(without, "node") > 20
    assert classes(with_it, "line") == classes(without, "line") > 20
    assert classes(with_it, "section") > 5
    assert classes(without, "section") == 0


def test_without_both_it_says_what_to_install(tmp_path: Path) -> None:
    site = Site(tmp_path)
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'fast_sugiyama' else find(name, *rest)\n"
    )
    paths = {"PATH": str(tmp_path / "nowhere"), "PYTHONPATH": str(blocked)}

    finished = site.run("graph", "--format", "svg", "linuxkit.yml", environment=paths, status=1)

    assert (finished.status, finished.stdout) == (1, b"")
    assert finished.stderr.endswith(
        "hint: install Graphviz (its program `dot`), or: pip install 'kitbuild[drawing]'\n"
    )
