"""Where everything of a large graph stands on the page: nodes in groups, groups alike in blocks, blocks side by side.

A group is a section, with the images that it alone uses. Sections with equal neighbours (a thousand services that all
end in one initrd) are one block, laid as a grid: the drawing stays as wide as it is high, and whoever lays out a
graph sees a few dozen boxes in place of thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil, sqrt
from typing import NamedTuple

Point = tuple[float, float]
Edge = tuple[int, int]
Lay = Callable[[Sequence[Point], Sequence[Edge]], Sequence[Point]]
"""Gives boxes, of which one knows width and height, a place: the centre of each, y downwards, what an edge begins
with to the left of what it ends with."""

NODE: Point = (188.0, 42.0)
# What a Lay leaves between two columns is more than rows of boxes need.
_ROW_SHARE = 0.66
_PADDING = 14.0
_TITLE = 28.0
_GAP = 22.0
# A layout that could do with less than this part of its height is pushed together.
_WASTEFUL = 0.7
# Around a block of several groups there is a frame.
_FRAME = 16.0
# Sections that are no part of a config: what is in them belongs to whoever uses it.
_SHARED = ("", "images")


class Group(NamedTuple):
    """Nodes (by number) that belong together; `x` and `y` are those of the upper left corner."""

    name: str
    x: float
    y: float
    width: float
    height: float
    nodes: tuple[int, ...]


class Arrangement(NamedTuple):
    """A place for every node (its upper left corner) and group; `blocks` are the groups laid as one, by number."""

    nodes: tuple[Point, ...]
    groups: tuple[Group, ...]
    blocks: tuple[tuple[int, ...], ...]


def arranged(
    names: Sequence[str], sections: Sequence[str], edges: Sequence[Edge], *, lay: Lay
) -> Arrangement:
    """The places of nodes, inputs first; an edge is the numbers of an input and of the node that uses it."""
    members = _groups(sections, edges)
    group_of = {node: number for number, group in enumerate(members) for node in group}
    inner, sizes = _laid_groups(members, edges, group_of, lay=lay)
    across = {(group_of[a], group_of[b]) for a, b in edges if group_of[a] != group_of[b]}
    blocks = _alike(len(members), across)
    corners = _laid_blocks(blocks, across, sizes, lay=lay)
    places: list[Point] = [(0.0, 0.0)] * len(names)
    for (left, top), group, points in zip(corners, members, inner, strict=True):
        for node, (x, y) in zip(group, points, strict=True):
            places[node] = (round(left + x, 1), round(top + y, 1))
    groups = tuple(
        Group(_title(group, names, sections), round(x, 1), round(y, 1), *size, tuple(group))
        for group, (x, y), size in zip(members, corners, sizes, strict=True)
    )
    return Arrangement(tuple(places), groups, tuple(map(tuple, blocks)))


def layers(sizes: Sequence[Point], edges: Sequence[Edge]) -> list[Point]:
    """A Lay for machines without a better one: columns by the longest way to a box, what hangs together by itself."""
    places: list[Point] = [(0.0, 0.0)] * len(sizes)
    below = 0.0
    for part in _parts(len(sizes), edges):
        members = set(part)
        found = _columns(part, [edge for edge in edges if edge[0] in members])
        lengths = [sum(sizes[number][1] + _GAP for number in column) for column in found]
        left, longest = 0.0, max(lengths)
        for column, length in zip(found, lengths, strict=True):
            width = max(sizes[number][0] for number in column)
            top = below + (longest - length) / 2
            for number in column:
                places[number] = (left + width / 2, top + sizes[number][1] / 2)
                top += sizes[number][1] + _GAP
            left += width + 3 * _GAP
        below += longest
    return places


def _parts(count: int, edges: Sequence[Edge]) -> list[list[int]]:
    """The boxes that hang together, each part in order."""
    leader = list(range(count))

    def led(number: int) -> int:
        while leader[number] != number:
            leader[number] = leader[leader[number]]
            number = leader[number]
        return number

    for start, end in edges:
        leader[led(start)] = led(end)
    parts: dict[int, list[int]] = {}
    for number in range(count):
        parts.setdefault(led(number), []).append(number)
    return list(parts.values())


def _columns(boxes: Sequence[int], edges: Sequence[Edge]) -> list[list[int]]:
    """The boxes by the longest way that leads to each; there is no circle."""
    column = dict.fromkeys(boxes, 0)
    users: dict[int, list[int]] = {}
    waiting = dict.fromkeys(boxes, 0)
    for start, end in edges:
        users.setdefault(start, []).append(end)
        waiting[end] += 1
    ready = [box for box in boxes if not waiting[box]]
    for box in ready:
        for user in users.get(box, ()):
            column[user] = max(column[user], column[box] + 1)
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)
    found: list[list[int]] = [[] for _ in range(max(column.values()) + 1)]
    for box in boxes:
        found[column[box]].append(box)
    return found


# -- groups


def _groups(sections: Sequence[str], edges: Sequence[Edge]) -> list[list[int]]:
    """The nodes by group, each in order; no way leads out of a group and back into it."""
    users: dict[int, list[int]] = {}
    for start, end in edges:
        users.setdefault(start, []).append(end)
    group_of: dict[int, int] = {}
    latest: dict[str, int] = {}
    after: list[set[int]] = []
    for node in range(len(sections) - 1, -1, -1):
        used = {group_of[user] for user in users.get(node, ())}
        wanted = _wanted(sections[node], used, latest)
        if wanted is None or _reaches(used - {wanted}, wanted, after):
            wanted = len(after)
            after.append(set())
        if sections[node] not in _SHARED:
            latest[sections[node]] = wanted
        group_of[node] = wanted
        after[wanted] |= used - {wanted}
    groups: dict[int, list[int]] = {}
    for node in range(len(sections)):
        groups.setdefault(group_of[node], []).append(node)
    return list(groups.values())


def _wanted(section: str, used: set[int], latest: Mapping[str, int]) -> int | None:
    if section in _SHARED:
        return next(iter(used)) if len(used) == 1 and section else None
    return latest.get(section)


def _reaches(starts: set[int], target: int, after: Sequence[set[int]]) -> bool:
    seen, waiting = set(starts), list(starts)
    while waiting:
        group = waiting.pop()
        if group == target:
            return True
        fresh = after[group] - seen
        seen |= fresh
        waiting.extend(fresh)
    return False


def _title(group: Sequence[int], names: Sequence[str], sections: Sequence[str]) -> str:
    owned = [sections[node] for node in group if sections[node] not in _SHARED]
    return owned[0] if owned else names[group[-1]]


def _laid_groups(
    members: Sequence[Sequence[int]], edges: Sequence[Edge], group_of: Mapping[int, int], *, lay: Lay
) -> tuple[list[list[Point]], list[Point]]:
    """Where the nodes of each group are in it, and its size. Groups of one shape are laid once."""
    place_in = {node: place for group in members for place, node in enumerate(group)}
    inside: list[list[Edge]] = [[] for _ in members]
    for start, end in dict.fromkeys(edges):
        if group_of[start] == group_of[end]:
            inside[group_of[start]].append((place_in[start], place_in[end]))
    shapes = [(len(group), tuple(sorted(own))) for group, own in zip(members, inside, strict=True)]
    known = _laid_shapes(list(dict.fromkeys(shapes)), lay=lay)
    return [known[shape][0] for shape in shapes], [known[shape][1] for shape in shapes]


_Shape = tuple[int, tuple[Edge, ...]]


def _laid_shapes(shapes: Sequence[_Shape], *, lay: Lay) -> dict[_Shape, tuple[list[Point], Point]]:
    """Every shape (a number of nodes, and edges) with the corners of its nodes, and its size.

    All of them are laid at once: that is one run of a program in place of many. Groups run from top to bottom, what
    is between them from left to right: then a picture is about as high as it is wide.
    """
    starts: list[int] = []
    edges: list[Edge] = []
    count = 0
    for size, own in shapes:
        starts.append(count)
        edges += [(count + start, count + end) for start, end in own]
        count += size
    width, height = NODE
    centres = [(across, along * _ROW_SHARE) for along, across in lay([(height, width)] * count, edges)]
    return {
        shape: _framed(centres[start : start + shape[0]]) for shape, start in zip(shapes, starts, strict=True)
    }


def _framed(centres: Sequence[Point]) -> tuple[list[Point], Point]:
    """The upper left corners of nodes in the box around them, and its size."""
    width, height = NODE
    left, top = min(x for x, _ in centres) - width / 2, min(y for _, y in centres) - height / 2
    points = [(x - width / 2 - left + _PADDING, y - height / 2 - top + _PADDING + _TITLE) for x, y in centres]
    right, bottom = max(x for x, _ in points) + width, max(y for _, y in points) + height
    return points, (round(right + _PADDING, 1), round(bottom + _PADDING, 1))


# -- blocks


def _alike(count: int, across: Iterable[Edge]) -> list[list[int]]:
    """The groups, those with equal neighbours together."""
    before: list[set[int]] = [set() for _ in range(count)]
    behind: list[set[int]] = [set() for _ in range(count)]
    for start, end in across:
        before[end].add(start)
        behind[start].add(end)
    blocks: dict[object, list[int]] = {}
    for group in range(count):
        alone = not before[group] and not behind[group]
        kind = group if alone else (frozenset(before[group]), frozenset(behind[group]))
        blocks.setdefault(kind, []).append(group)
    return list(blocks.values())


def _laid_blocks(
    blocks: Sequence[Sequence[int]], across: Iterable[Edge], sizes: Sequence[Point], *, lay: Lay
) -> list[Point]:
    """The upper left corner of every group."""
    block_of = {group: number for number, block in enumerate(blocks) for group in block}
    edges = sorted({(block_of[a], block_of[b]) for a, b in across if block_of[a] != block_of[b]})
    grids = [_grid([sizes[group] for group in block]) for block in blocks]
    centres = _closer(lay([size for _, size in grids], edges), [size for _, size in grids])
    corners: list[Point] = [(0.0, 0.0)] * len(sizes)
    for block, (points, (width, height)), (x, y) in zip(blocks, grids, centres, strict=True):
        for group, (left, top) in zip(block, points, strict=True):
            corners[group] = (x - width / 2 + left, y - height / 2 + top)
    return corners


def _closer(centres: Sequence[Point], sizes: Sequence[Point]) -> Sequence[Point]:
    """The boxes with less room between those of a column, if a Lay keeps as much as if all were as high as one."""
    columns: dict[int, list[int]] = {}
    for number, (x, _) in enumerate(centres):
        columns.setdefault(round(x), []).append(number)
    needed = max(
        (sum(sizes[number][1] + _GAP for number in column) for column in columns.values()), default=0
    )
    heights = [y for _, y in centres]
    taken = max(heights, default=0) - min(heights, default=0)
    if needed >= _WASTEFUL * taken:
        return centres
    closer = list(centres)
    for column in columns.values():
        column.sort(key=lambda number: centres[number][1])
        wanted = [centres[number][1] * needed / taken for number in column]
        for number, y in zip(column, _apart(wanted, [sizes[number][1] for number in column]), strict=True):
            closer[number] = (centres[number][0], y)
    return closer


def _apart(wanted: Sequence[float], heights: Sequence[float]) -> list[float]:
    """Centres as near to those wanted as boxes of these heights can be without touching; all are in order."""
    found: list[float] = []
    edge = float("-inf")
    for centre, height in zip(wanted, heights, strict=True):
        found.append(max(centre, edge + _GAP + height / 2))
        edge = found[-1] + height / 2
    moved = (sum(found) - sum(wanted)) / len(found)
    return [centre - moved for centre in found]


def _grid(sizes: Sequence[Point]) -> tuple[list[Point], Point]:
    """Boxes in rows, some sixteen to ten; where each is, and the size of all. Few of them are one column."""
    width, height = max(x for x, _ in sizes) + _GAP, max(y for _, y in sizes) + _GAP
    frame = _FRAME if len(sizes) > 1 else 0.0
    columns = 1 if len(sizes) <= 12 else max(1, ceil(sqrt(len(sizes) * 1.6 * height / width)))
    points: list[Point] = []
    top, tallest = frame, 0.0
    for number, (_, box) in enumerate(sizes):
        if number and number % columns == 0:
            top, tallest = top + tallest + _GAP, 0.0
        points.append((frame + (number % columns) * width, top))
        tallest = max(tallest, box)
    used = min(columns, len(sizes))
    return points, (used * width - _GAP + 2 * frame, top + tallest + frame)
