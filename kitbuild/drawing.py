"""Drawing: where the boxes of a graph go and how the lines between them run, by Graphviz or else by a library.

The contract, for whoever draws: `positions(boxes, edges, groups=...)` takes boxes by name with their width and
height, edges as pairs of names, and groups of boxes by name. It gives a Layout in the same unit, with x to the right
and y down from a corner at (0, 0), in which every edge points to the right and no two boxes overlap:

    layout.width, layout.height     of the whole drawing
    layout.places[name]             the centre of a box
    layout.routes[edge]             a line from box to box as control points of cubic curves: where it starts, then
                                    three points a curve, as SVG's `M start C one two end one two end` wants them
    layout.groups[name]             (left, top, right, bottom) of a frame around the boxes of a group, if the layout
                                    has frames: of all groups, or of none

A line from a box to itself is left out. In a graph with circles some lines point to the left.

The same graph gets the same layout. Boxes are best of one height. It raises KitbuildError, with what to install, if
nothing here can lay out a graph.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from kitbuild.errors import KitbuildError

Edge = tuple[str, str]
Point = tuple[float, float]

# Graphviz takes a second for a thousand sections; what takes it longer would take far longer.
SECONDS = 10.0
# Between two boxes in a column, between two columns, and around a drawing.
_GAP = 12.0
_COLUMN_GAP = 48.0
_MARGIN = 12.0
_POINTS_PER_INCH = 72.0
_HINT = "install Graphviz (its program `dot`), or: pip install 'kitbuild[drawing]'"
# A line that crosses columns takes the room of this part of a box in each.
_LINE_SHARE = 0.5
# Frames cost Graphviz the square of their number: half a second for as many, three for a thousand.
_MOST_FRAMES = 300


class Layout(NamedTuple):
    """Where everything goes; see the module."""

    width: float
    height: float
    places: Mapping[str, Point]
    routes: Mapping[Edge, tuple[Point, ...]]
    groups: Mapping[str, tuple[float, float, float, float]]


def positions(
    boxes: Mapping[str, Point],
    edges: Iterable[Edge],
    *,
    groups: Mapping[str, Sequence[str]] | None = None,
    seconds: float = SECONDS,
) -> Layout:
    """The layout of a graph; `boxes` are (width, height) by name.

    Graphviz is given up after `seconds` in favour of the library, which takes no more than a few for any graph of
    ours. Raises KitbuildError.
    """
    import shutil

    lines = tuple(edge for edge in dict.fromkeys(edges) if edge[0] != edge[1])
    frames = groups if groups and len(groups) <= _MOST_FRAMES else {}
    if not boxes:
        return Layout(2 * _MARGIN, 2 * _MARGIN, {}, {}, {})
    program, library = shutil.which("dot"), _has_library()
    if program is not None:
        layout = _by_graphviz(program, boxes, lines, groups=frames, seconds=seconds)
        if layout is not None:
            return layout
    if library:
        return _by_library(boxes, lines)
    if program is None:
        raise KitbuildError("expected a program or library that lays out graphs, found none", hint=_HINT)
    raise KitbuildError(
        f"`{program}` did not lay out {len(boxes)} boxes in {seconds:.0f} s",
        hint="draw fewer of them, or: pip install 'kitbuild[drawing]'",
    )


# -- Graphviz


def _by_graphviz(
    program: str,
    boxes: Mapping[str, Point],
    edges: Sequence[Edge],
    *,
    groups: Mapping[str, Sequence[str]],
    seconds: float,
) -> Layout | None:
    """What Graphviz makes of it, None if it fails or is not done in time."""
    import subprocess

    text = "".join(_dot(boxes, edges, groups))
    try:
        ran = subprocess.run(
            [program, "-Tjson0"], input=text.encode("ascii"), capture_output=True, timeout=seconds, check=True
        )
        return _read(json.loads(ran.stdout), list(boxes), list(groups))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, IndexError):
        return None


def _dot(
    boxes: Mapping[str, Point], edges: Sequence[Edge], groups: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    # Names are anything; numbers need no quoting.
    numbers = {name: number for number, name in enumerate(boxes)}
    yield "digraph { rankdir=LR; newrank=true; margin=0; pad=0; "
    yield f"nodesep={_GAP / _POINTS_PER_INCH}; ranksep={_COLUMN_GAP / _POINTS_PER_INCH};\n"
    yield 'node [shape=box, fixedsize=true, label=""]; edge [dir=none, tailport=e, headport=w];\n'
    for name, (width, height) in boxes.items():
        yield f"{numbers[name]} [width={width / _POINTS_PER_INCH:.4f}, height={height / _POINTS_PER_INCH:.4f}];\n"
    for number, names in enumerate(groups.values()):
        # Room for the name of a group above its boxes.
        members = "; ".join(str(numbers[name]) for name in names)
        yield f'subgraph cluster_{number} {{ margin=10; label=" "; {members} }}\n'
    for source, target in edges:
        yield f"{numbers[source]} -> {numbers[target]};\n"
    yield "}\n"


def _read(found: Any, boxes: Sequence[str], groups: Sequence[str]) -> Layout:
    """What Graphviz says in JSON; its y grows upwards.

    Source: Graphviz, "json0" and the types `point`, `splineType` and `rect`.
    """
    left, bottom, right, top = map(float, found["bb"].split(","))

    def point(text: str) -> Point:
        x, y = map(float, text.split(","))
        return round(x - left + _MARGIN, 2), round(top - y + _MARGIN, 2)

    places: dict[str, Point] = {}
    frames: dict[str, tuple[float, float, float, float]] = {}
    names: dict[int, str] = {}
    for one in found["objects"]:
        if "pos" in one:
            names[one["_gvid"]] = boxes[int(one["name"])]
            places[names[one["_gvid"]]] = point(one["pos"])
        elif "bb" in one:
            x, y, x2, y2 = one["bb"].split(",")
            group = groups[int(one["name"].removeprefix("cluster_"))]
            frames[group] = (*point(f"{x},{y2}"), *point(f"{x2},{y}"))
    routes = {
        (names[one["tail"]], names[one["head"]]): tuple(map(point, one["pos"].split()))
        for one in found.get("edges", ())
    }
    return Layout(right - left + 2 * _MARGIN, top - bottom + 2 * _MARGIN, places, routes, frames)


# -- the library


def _has_library() -> bool:
    from importlib.util import find_spec

    return find_spec("fast_sugiyama") is not None


def _by_library(boxes: Mapping[str, Point], edges: Sequence[Edge]) -> Layout:
    """What fast-sugiyama makes of it: points in rows from the bottom up, which become columns wide enough.

    Parts of the graph that do not hang together are laid out one by one, and go one below the other.
    """
    step = max(height for _, height in boxes.values()) + _GAP
    columns: dict[str, int] = {}
    heights: dict[str, float] = {}
    bends: dict[Edge, list[tuple[int, float]]] = {}
    below = _MARGIN + step / 2
    for part, lines in _parts(boxes, _without_circles(boxes, edges)):
        spots, lowest = _part(part, lines, step=step, bends=bends)
        columns |= {name: column for name, (column, _) in spots.items()}
        heights |= {name: below + across for name, (_, across) in spots.items()}
        for line in lines:
            bends[line] = [(column, below + across) for column, across in bends.get(line, ())]
        below += lowest + step
    for line in edges:
        bends.setdefault(line, [])
    sides = _sides(boxes, columns)
    places = {name: (sum(sides[columns[name]]) / 2, heights[name]) for name in boxes}
    routes = {
        (source, target): _curve(
            [
                (places[source][0] + boxes[source][0] / 2, heights[source]),
                (sides[columns[source]][1], heights[source]),
                *((side, height) for column, height in bends[source, target] for side in sides[column]),
                (sides[columns[target]][0], heights[target]),
                (places[target][0] - boxes[target][0] / 2, heights[target]),
            ]
        )
        for source, target in edges
    }
    return Layout(sides[-1][1] + _MARGIN, below - step / 2 - _GAP + _MARGIN, places, routes, {})


def _without_circles(boxes: Iterable[str], edges: Sequence[Edge]) -> list[Edge]:
    """The edges without those that close a circle: the library may never come back from one."""
    after: dict[str, list[str]] = {name: [] for name in boxes}
    for source, target in edges:
        after[source].append(target)
    done: set[str] = set()
    passed: set[str] = set()
    closing: set[Edge] = set()
    for top in after:
        ways = [(top, iter(after[top]))] if top not in done else []
        passed.update(name for name, _ in ways)
        while ways:
            name, rest = ways[-1]
            reached = next(rest, None)
            if reached is None:
                ways.pop()
                done.add(name)
                passed.remove(name)
            elif reached in passed:
                closing.add((name, reached))
            elif reached not in done:
                passed.add(reached)
                ways.append((reached, iter(after[reached])))
    return [edge for edge in edges if edge not in closing]


def _parts(boxes: Iterable[str], edges: Iterable[Edge]) -> Iterator[tuple[list[str], list[Edge]]]:
    """The parts of the graph that hang together, in the order of their first boxes: boxes and edges."""
    leader = {name: name for name in boxes}

    def led(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    lines = tuple(edges)
    for source, target in lines:
        leader[led(source)] = led(target)
    parts: dict[str, tuple[list[str], list[Edge]]] = {}
    for name in leader:
        parts.setdefault(led(name), ([], []))[0].append(name)
    for line in lines:
        parts[led(line[0])][1].append(line)
    yield from parts.values()


def _part(
    names: Sequence[str],
    edges: Sequence[Edge],
    *,
    step: float,
    bends: dict[Edge, list[tuple[int, float]]],
) -> tuple[dict[str, tuple[int, float]], float]:
    """The column of every box and how far down it is, and how far down the last thing is; `bends` gets the edges'."""
    if not edges:
        return {name: (0, 0.0) for name in names}, 0.0
    from fast_sugiyama import from_edges

    numbers = {name: number for number, name in enumerate(names)}
    # Alone, because the numbers of its bends may be those of boxes in other parts.
    ((found, _, _, pieces),) = from_edges(
        [(numbers[source], numbers[target]) for source, target in edges],
        vertex_spacing=step,
        dummy_vertices=True,
        dummy_size=step * _LINE_SHARE,
    )
    first = max(up for _, (_, up) in found)
    least = min(across for _, (across, _) in found)
    spots = {int(number): (round((first - up) / step), across - least) for number, (across, up) in found}
    lines = [(int(source), int(target)) for source, target in pieces or ()]
    after = {source: target for source, target in lines if source >= len(names)}
    for source, target in lines:
        passed = []
        while target >= len(names):
            passed.append(spots[target])
            target = after[target]
        if source < len(names):
            bends[names[source], names[target]] = passed
    return {name: spots[numbers[name]] for name in names}, max(across for _, across in spots.values())


def _sides(boxes: Mapping[str, Point], columns: Mapping[str, int]) -> list[Point]:
    """Where every column begins and ends."""
    widths = [0.0] * (max(columns.values()) + 1)
    for name, column in columns.items():
        widths[column] = max(widths[column], boxes[name][0])
    sides = []
    left = _MARGIN
    for width in widths:
        sides.append((left, left + width))
        left += width + _COLUMN_GAP
    return sides


def _curve(points: Sequence[Point]) -> tuple[Point, ...]:
    """A curve through the points that leaves and reaches every one of them level."""
    rounded = [(round(x, 2), round(y, 2)) for x, y in points]
    distinct = [point for place, point in enumerate(rounded) if not place or point != rounded[place - 1]]
    curve = distinct[:1]
    for (x, y), (x2, y2) in pairwise(distinct):
        middle = round((x + x2) / 2, 2)
        curve += [(middle, y), (middle, y2), (x2, y2)]
    return tuple(curve)
