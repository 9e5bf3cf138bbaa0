from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from kitbuild.report.html_layout import NODE, Arrangement, Edge, Point, arranged, layers


def columns(sizes: Sequence[Point], edges: Sequence[Edge]) -> Sequence[Point]:
    return layers(sizes, edges)


def laid(names: str, sections: Sequence[str], edges: Sequence[Edge]) -> Arrangement:
    return arranged(names.split(), sections, edges, lay=columns)


def apart(one: Point, other: Point, size: Point) -> bool:
    return abs(one[0] - other[0]) >= size[0] or abs(one[1] - other[1]) >= size[1]


def test_an_edge_leads_to_the_right() -> None:
    (first, _), (second, _), (third, _) = layers([(10, 10)] * 3, [(0, 1), (1, 2)])

    assert first < second < third


def test_what_does_not_hang_together_lies_below_each_other() -> None:
    places = layers([(10, 10)] * 4, [(0, 1), (2, 3)])

    assert places[0][0] == places[2][0]
    assert places[0][1] == places[1][1] < places[2][1] == places[3][1]


def test_a_layout_with_much_room_is_pushed_together() -> None:
    def roomy(sizes: Sequence[Point], edges: Sequence[Edge]) -> Sequence[Point]:
        return [(x, 20 * y) for x, y in layers(sizes, edges)]

    names, sections = ["a", "b", "c", "joined"], ["a", "b", "c", ""]
    found = arranged(names, sections, [(0, 3), (1, 3), (0, 2)], lay=roomy)

    tops = [group.y for group in found.groups]
    assert max(tops) - min(tops) < 5 * max(group.height for group in found.groups)
    for one, other in combinations(found.groups, 2):
        size = (max(one.width, other.width), max(one.height, other.height))
        assert apart((one.x, one.y), (other.x, other.y), size)


def test_nodes_of_a_section_are_one_group() -> None:
    found = laid("a b c", ["web", "web", "initrd"], [(0, 1), (1, 2)])

    assert [("web", (0, 1)), ("initrd", (2,))] == [(group.name, group.nodes) for group in found.groups]


def test_an_image_that_one_section_uses_stands_with_it() -> None:
    found = laid("layer image web", ["images", "images", "web"], [(0, 1), (1, 2)])

    assert [("web", (0, 1, 2))] == [(group.name, group.nodes) for group in found.groups]


def test_a_layer_that_several_use_stands_alone() -> None:
    found = laid("layer a b", ["images", "a", "b"], [(0, 1), (0, 2)])

    assert [("layer", (0,)), ("a", (1,)), ("b", (2,))] == [
        (group.name, group.nodes) for group in found.groups
    ]


def test_an_output_stands_alone() -> None:
    found = laid("web initrd", ["web", ""], [(0, 1)])

    assert ["web", "initrd"] == [group.name for group in found.groups]


def test_a_section_that_another_comes_between_is_two_groups() -> None:
    found = laid("boot conflicts settled", ["kernel", "root", "kernel"], [(0, 1), (1, 2), (0, 2)])

    assert [(0,), (1,), (2,)] == [group.nodes for group in found.groups]


def test_groups_with_equal_neighbours_are_one_block() -> None:
    found = laid("a b initrd", ["a", "b", ""], [(0, 2), (1, 2)])

    assert ((0, 1), (2,)) == found.blocks


def test_groups_without_neighbours_are_no_block() -> None:
    found = laid("kernel cmdline", ["", ""], [])

    assert ((0,), (1,)) == found.blocks


def test_many_groups_alike_are_laid_in_rows_and_columns() -> None:
    count = 400
    names = " ".join(f"n{number}" for number in range(count + 1))
    found = laid(names, [f"s{number}" for number in range(count)] + [""], [(n, count) for n in range(count)])

    width = max(group.x + group.width for group in found.groups)
    height = max(group.y + group.height for group in found.groups) - min(group.y for group in found.groups)
    assert 0.5 < width / height < 4


def test_no_two_nodes_lie_over_each_other() -> None:
    names = "l1 l2 i1 i2 a b c d joined"
    sections = ["images", "images", "images", "images", "a", "b", "c", "c", ""]
    edges = [(0, 2), (1, 3), (0, 3), (2, 4), (3, 5), (4, 8), (5, 8), (6, 7), (7, 8)]

    found = laid(names, sections, edges)

    assert all(apart(one, other, NODE) for one, other in combinations(found.nodes, 2))


def test_every_node_is_inside_its_group() -> None:
    found = laid("a b c d", ["x", "x", "x", "y"], [(0, 1), (0, 2), (1, 3)])

    for group in found.groups:
        for node in group.nodes:
            x, y = found.nodes[node]
            assert group.x < x and x + NODE[0] < group.x + group.width
            assert group.y < y and y + NODE[1] < group.y + group.height


def test_nodes_of_a_group_run_from_top_to_bottom() -> None:
    found = laid("a b", ["x", "x"], [(0, 1)])

    assert found.nodes[0][0] == found.nodes[1][0]
    assert found.nodes[0][1] < found.nodes[1][1]


def test_groups_of_one_shape_are_laid_once_and_all_at_once() -> None:
    asked = []

    def lay(sizes: Sequence[Point], edges: Sequence[Edge]) -> Sequence[Point]:
        asked.append(len(sizes))
        return layers(sizes, edges)

    arranged(["a", "b", "c", "d", "e"], ["x", "x", "y", "y", "z"], [(0, 1), (2, 3)], lay=lay)

    assert [3, 3] == asked


def test_a_graph_without_nodes_has_no_places() -> None:
    assert Arrangement((), (), ()) == laid("", [], [])


def test_a_chain_of_thousands_is_no_trouble() -> None:
    count = 3000
    names = " ".join(f"n{number}" for number in range(count))
    edges = [(number, number + 1) for number in range(count - 1)]

    assert count == len(laid(names, ["x", "y"] * (count // 2), edges).nodes)
