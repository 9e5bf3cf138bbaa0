"""The part of `drawing` that needs no program: what the library gives. Graphviz is tested with the integrations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild import drawing
from kitbuild.drawing import Edge, Layout, positions
from kitbuild.errors import KitbuildError

pytest.importorskip("fast_sugiyama", reason="the extra `drawing` is not installed")


@pytest.fixture(autouse=True, scope="module")
def no_graphviz() -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "")
        yield


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, tuple[float, float]], list[Edge]]:
    count = draw(st.integers(1, 12))
    boxes = {f"box {number}": (draw(st.integers(10, 200)) * 1.0, 30.0) for number in range(count)}
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    return boxes, [(f"box {one}", f"box {other}") for one, other in draw(st.lists(ends, max_size=20))]


def overlaps(layout: Layout, boxes: dict[str, tuple[float, float]], one: str, other: str) -> bool:
    (x, y), (x2, y2) = layout.places[one], layout.places[other]
    (width, height), (width2, height2) = boxes[one], boxes[other]
    return abs(x - x2) < (width + width2) / 2 and abs(y - y2) < (height + height2) / 2


@settings(max_examples=40)
@given(graphs())
def test_boxes_have_places_of_their_own_and_every_edge_a_line(
    graph: tuple[dict[str, tuple[float, float]], list[Edge]],
) -> None:
    boxes, edges = graph

    layout = positions(boxes, edges)

    assert boxes.keys() == layout.places.keys()
    assert {edge for edge in edges if edge[0] != edge[1]} == layout.routes.keys()
    assert all(len(route) % 3 == 1 for route in layout.routes.values())
    names = list(boxes)
    assert not any(
        overlaps(layout, boxes, one, other)
        for number, one in enumerate(names)
        for other in names[number + 1 :]
    )
    for name, (x, y) in layout.places.items():
        width, height = boxes[name]
        assert width / 2 <= x <= layout.width - width / 2
        assert height / 2 <= y <= layout.height - height / 2


@settings(max_examples=40)
@given(graphs())
def test_every_edge_of_a_graph_without_circles_points_to_the_right(
    graph: tuple[dict[str, tuple[float, float]], list[Edge]],
) -> None:
    boxes, ends = graph
    order = list(boxes)
    edges = [edge for edge in ends if order.index(edge[0]) < order.index(edge[1])]

    layout = positions(boxes, edges)

    for source, target in edges:
        start, *_, end = layout.routes[source, target]
        assert layout.places[source][0] + boxes[source][0] / 2 == pytest.approx(start[0], abs=0.02)
        assert layout.places[target][0] - boxes[target][0] / 2 == pytest.approx(end[0], abs=0.02)
        assert start[0] < end[0]


def test_layout_is_the_same_every_time() -> None:
    boxes = {f"{number}": (50.0, 20.0) for number in range(30)}
    edges = [(f"{number // 3}", f"{number}") for number in range(1, 30)]

    assert positions(boxes, edges) == positions(boxes, edges)


def test_nothing_to_draw_is_drawn() -> None:
    assert positions({}, []).places == {}


def test_chain_longer_than_the_recursion_limit_is_laid_out() -> None:
    boxes = {f"{number}": (50.0, 20.0) for number in range(3000)}

    layout = positions(boxes, [(f"{number}", f"{number + 1}") for number in range(2999)])

    assert layout.places["0"][0] < layout.places["2999"][0]


def test_without_program_and_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "_has_library", lambda: False)

    with pytest.raises(KitbuildError, match="found none") as caught:
        positions({"a": (1.0, 1.0)}, [])

    assert caught.value.hint == "install Graphviz (its program `dot`), or: pip install 'kitbuild[drawing]'"
