"""The graph as one SVG file that needs nothing else, readable on light and dark ground."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from xml.sax.saxutils import escape

from kitbuild.cli.graph_tree import MARKS, MEANINGS, chain_lines, facts_of, summary
from kitbuild.drawing import Layout, Point, positions
from kitbuild.node import Node
from kitbuild.query import STATES, UNKNOWN, State, Status, View, about, label_of, sections_of
from kitbuild.report.text import printable

# In pixels: a letter of the fonts named below at 12 and at 10, a box, and the room around a text.
_LETTER = 7.3
_SMALL_LETTER = 6.1
_HEIGHT = 42.0
_PADDING = 10.0
_LINE = 18.0
_MOST_LETTERS = 44
# Graphviz lays frames edge to edge: each is drawn this much smaller on all sides.
_INSET = 3.0
# Border and ground of a state, on light and on dark ground.
_COLORS: Mapping[State, tuple[str, str, str, str]] = {
    "near": ("#2e7d32", "#e6f4e6", "#81c784", "#16301a"),
    "far": ("#0b6fa4", "#e1f1fa", "#64b5f6", "#10293a"),
    "gone": ("#757575", "#f2f2f2", "#9e9e9e", "#262626"),
    "run": ("#b26a00", "#fff0d6", "#ffb74d", "#3a2a0c"),
    "unknown": ("#8e24aa", "#f6e6f9", "#ce93d8", "#311a37"),
}
# Who cannot tell colours apart sees another border, and reads the mark.
_BORDERS: Mapping[State, str] = {
    "near": "",
    "far": "stroke-dasharray:6 3;",
    "gone": "stroke-dasharray:1 3;",
    "run": "stroke-width:3;",
    "unknown": "stroke-width:3;stroke-dasharray:6 3;",
}


def svg(view: View, status: Status, *, title: str) -> str:
    """The drawing; raises KitbuildError if nothing here can lay out a graph."""
    boxes = {node.name: (_width(node, status), _HEIGHT) for node in view.nodes}
    ends = {f"\0{name}": node for name, node in view.outputs().items()}
    boxes |= {name: (len(_short(name)) * _LETTER + 2 * _PADDING, _HEIGHT) for name in ends}
    edges = [(needed.name, node.name) for needed, node in view.edges]
    edges += [(node.name, name) for name, node in ends.items()]
    sections = {
        name: [node.name for node in nodes] for name, nodes in sections_of(view.nodes).items() if name
    }
    layout = positions(boxes, edges, groups=sections)
    legend = [
        summary(view, status),
        *(f"{line[:-1]} (bold)" for line in islice(chain_lines(view, status), 1)),
    ]
    width = max(layout.width, *(len(line) * _LETTER + 40 for line in legend), 640.0)
    states = [
        state for state in STATES if any(status.get(node, UNKNOWN).state == state for node in view.nodes)
    ]
    height = layout.height + _LINE * (len(legend) + len(states) + 1)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="title description">',
            f'<title id="title">{_text(title)}</title>',
            f'<desc id="description">{_text(". ".join(legend))}</desc>',
            f"<style>{''.join(_style())}</style>",
            '<rect class="ground" width="100%" height="100%"/>',
            *_frames(layout),
            *_lines(view, layout, ends),
            *_boxes(view, status, boxes, layout=layout),
            *_ends(ends, boxes, layout),
            *_legend(legend, states, layout.height),
            "</svg>\n",
        ]
    )


def _style() -> Iterator[str]:
    yield "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:var(--text)}"
    yield ".small{font-size:10px;fill:var(--faint)}.section>text{font-weight:bold;fill:var(--faint)}"
    yield ".ground{fill:var(--ground)}.section>rect{fill:var(--section);stroke:var(--line)}"
    yield ".line{fill:none;stroke:var(--line);stroke-width:1.3}.indirect{stroke-dasharray:5 4}"
    yield ".tip{fill:var(--line)}.line.chain{stroke:var(--chain);stroke-width:3}.output{fill:none;stroke:var(--text)}"
    yield ".node.chain>rect{stroke:var(--chain);stroke-width:4}"
    for state, border in _BORDERS.items():
        yield f".{state}>rect{{fill:var(--{state}-fill);stroke:var(--{state});stroke-width:1.5;{border}}}"
    light = {"ground": "#ffffff", "text": "#1a1a1a", "faint": "#555555", "line": "#777777"}
    dark = {"ground": "#16181c", "text": "#ececec", "faint": "#b0b0b0", "line": "#8a8a8a"}
    light |= {"section": "#f7f7f7", "chain": "#c0392b"}
    dark |= {"section": "#1f2227", "chain": "#ff7466"}
    for state, colors in _COLORS.items():
        light |= {state: colors[0], f"{state}-fill": colors[1]}
        dark |= {state: colors[2], f"{state}-fill": colors[3]}
    yield f":root{{color-scheme:light dark;{_variables(light)}}}"
    yield f"@media(prefers-color-scheme:dark){{:root{{{_variables(dark)}}}}}"


def _variables(colors: Mapping[str, str]) -> str:
    return "".join(f"--{name}:{color};" for name, color in colors.items())


def _frames(layout: Layout) -> Iterator[str]:
    for name, frame in layout.groups.items():
        left, top, right, bottom = (
            side + inset for side, inset in zip(frame, (_INSET, _INSET, -_INSET, -_INSET), strict=True)
        )
        yield (
            f'<g class="section"><title>{_text(name)}</title><rect x="{left:.2f}" y="{top:.2f}" '
            f'width="{right - left:.2f}" height="{bottom - top:.2f}" rx="6"/>'
            f'<text x="{left + _PADDING:.2f}" y="{top + 16:.2f}">{_text(_short(name, right - left))}</text></g>'
        )


def _lines(view: View, layout: Layout, ends: Mapping[str, Node]) -> Iterator[str]:
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    chain = view.in_chain()
    for edge in view.edges:
        needed, node = edge
        looks = " indirect" * (edge in view.indirect) + " chain" * (edge in chain)
        title = f"{node.name} needs {needed.name}" + ", by way of others" * (edge in view.indirect)
        yield _line(layout.routes[needed.name, node.name], looks, title)
    for name, node in ends.items():
        yield _line(layout.routes[node.name, name], "", f"{name[1:]} is {node.name}")


def _line(route: Sequence[Point], looks: str, title: str) -> str:
    (x, y), *points = route
    curves = " ".join(f"{x:g},{y:g}" for x, y in points)
    way = f"M{x:g},{y:g}C{curves}"
    return f'<path class="line{looks}" marker-end="url(#tip)" d="{way}"><title>{_text(title)}</title></path>'


def _boxes(view: View, status: Status, boxes: Mapping[str, Point], *, layout: Layout) -> Iterator[str]:
    longest = set(view.chain)
    for node in view.nodes:
        known = status.get(node, UNKNOWN)
        left, top, width = _corner(node.name, boxes, layout)
        # Without frames a box says itself which section it is of.
        label = label_of(node) if layout.groups else node.name
        yield (
            f'<g class="node {known.state}{" chain" * (node in longest)}" transform="translate({left:g} {top:g})">'
            f"<title>{_text(_told(node, status))}</title>"
            f'<rect width="{width:g}" height="{_HEIGHT:g}" rx="5"/>'
            f'<text x="{_PADDING:g}" y="18">{_text(_short(label, width))}</text>'
            f'<text class="small" x="{_PADDING:g}" y="33">{_text(_second(node, status))}</text></g>'
        )


def _ends(ends: Mapping[str, Node], boxes: Mapping[str, Point], layout: Layout) -> Iterator[str]:
    for name in ends:
        left, top, width = _corner(name, boxes, layout)
        yield (
            f'<g transform="translate({left:g} {top:g})"><title>the output {_text(name[1:])}</title>'
            f'<rect class="output" width="{width:g}" height="{_HEIGHT:g}" rx="{_HEIGHT / 2:g}"/>'
            f'<text x="{_PADDING + 4:g}" y="26">{_text(_short(name[1:]))}</text></g>'
        )


def _legend(lines: Sequence[str], states: Sequence[State], top: float) -> Iterator[str]:
    for number, line in enumerate(lines):
        yield f'<text x="12" y="{top + _LINE * (number + 1):g}">{_text(line)}</text>'
    for number, state in enumerate(states):
        y = top + _LINE * (len(lines) + number + 1)
        yield (
            f'<g class="{state}"><rect x="14" y="{y - 9:g}" width="24" height="10" rx="3"/>'
            f'<text class="small" x="48" y="{y:g}">{MARKS[state]}: {MEANINGS[state]}</text></g>'
        )


def _corner(name: str, boxes: Mapping[str, Point], layout: Layout) -> tuple[float, float, float]:
    (x, y), (width, height) = layout.places[name], boxes[name]
    return round(x - width / 2, 2), round(y - height / 2, 2), width


def _width(node: Node, status: Status) -> float:
    name, second = len(_short(node.name)) * _LETTER, len(_second(node, status)) * _SMALL_LETTER
    return round(max(name, second) + 2 * _PADDING, 2)


def _second(node: Node, status: Status) -> str:
    known = status.get(node, UNKNOWN)
    return " \u00b7 ".join(filter(None, (MARKS[known.state], *facts_of(known), _short(about(node)))))


def _told(node: Node, status: Status) -> str:
    known = status.get(node, UNKNOWN)
    facts = ", ".join((MARKS[known.state], *facts_of(known)))
    digest = f"{known.artifact.kind} {known.artifact.digest.oci}" if known.artifact else ""
    return "\n".join(filter(None, (node.name, about(node), node.rule.name, facts, digest)))


def _short(text: str, width: float = 0.0) -> str:
    """The text as far as it fits; its end tells more than its middle."""
    # A width is that of so many letters, rounded: what was measured to fit does.
    most = max(4, int((width - 2 * _PADDING) / _LETTER + 0.05)) if width else _MOST_LETTERS
    if len(text) <= most:
        return text
    kept = (most - 1) // 2
    return f"{text[: most - 1 - kept]}\u2026{text[-kept:]}"


def _text(text: str) -> str:
    # XML holds no control characters, not even as entities, nor what is no character at all.
    return escape("".join(letter if _is_fine(letter) else "?" for letter in printable(text)))


def _is_fine(letter: str) -> bool:
    return (letter >= " " and letter not in "\ufffe\uffff") or letter in "\t\n"
