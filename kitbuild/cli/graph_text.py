"""The graph for other programs that draw: Graphviz and Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kitbuild.cli.graph_tree import MARKS, facts_of
from kitbuild.node import Node
from kitbuild.query import STATES, UNKNOWN, State, Status, View, about, label_of, sections_of

_FILL: Mapping[State, str] = {
    "near": "#d5f0d5",
    "far": "#cfe8f7",
    "gone": "#eeeeee",
    "run": "#ffe3b0",
    "unknown": "#f0d5ee",
}
# Beside the colour: who cannot tell colours apart sees another border.
_DOT_STYLE: Mapping[State, str] = {
    "near": "rounded,filled",
    "far": "rounded,filled,dashed",
    "gone": "rounded,filled,dotted",
    "run": "filled,bold",
    "unknown": "filled,dashed",
}
_MERMAID_STYLE: Mapping[State, str] = {
    "near": "",
    "far": ",stroke-dasharray:5 3",
    "gone": ",stroke-dasharray:1 3",
    "run": ",stroke-width:3px",
    "unknown": ",stroke-width:3px,stroke-dasharray:5 3",
}
_CHAIN = "#c0392b"


def dot(view: View, status: Status) -> str:
    """The graph for Graphviz: a box a section, a dashed line for a way through nodes that are not shown.

    Source: Graphviz, "The DOT Language".
    """
    names = _names(view)
    chain, longest = view.in_chain(), set(view.chain)
    lines = ["digraph kitbuild {", "  rankdir=LR;", "  node [shape=box];"]
    for number, (section, nodes) in enumerate(sections_of(view.nodes).items()):
        indent = "    " if section else "  "
        if section:
            lines += [f"  subgraph cluster_{number} {{", f"    label={_dot_text(section)};"]
        for node in nodes:
            state = status.get(node, UNKNOWN).state
            bold = f', color="{_CHAIN}", penwidth=3' if node in longest else ""
            look = f'style="{_DOT_STYLE[state]}", fillcolor="{_FILL[state]}"{bold}'
            lines.append(f"{indent}{names[node]} [label={_dot_text(_label(node, status))}, {look}];")
        lines += ["  }"] * bool(section)
    for edge in view.edges:
        looks = ["style=dashed"] * (edge in view.indirect)
        looks += [f'color="{_CHAIN}"', "penwidth=3"] * (edge in chain)
        attributes = f" [{', '.join(looks)}]" if looks else ""
        lines.append(f"  {names[edge[0]]} -> {names[edge[1]]}{attributes};")
    for number, (name, node) in enumerate(view.outputs().items()):
        lines.append(f'  o{number} [label={_dot_text(name)}, shape=note, style="", penwidth=2];')
        lines.append(f"  {names[node]} -> o{number};")
    return "\n".join([*lines, "}"]) + "\n"


def mermaid(view: View, status: Status) -> str:
    """The graph as a Mermaid flow chart, drawn as by `dot`.

    Source: Mermaid, "Flowcharts - Basic Syntax", whose texts in quotes know entities such as `#quot;`.
    """
    names = _names(view)
    lines = ["flowchart LR"]
    for number, (section, nodes) in enumerate(sections_of(view.nodes).items()):
        indent = "    " if section else "  "
        if section:
            lines.append(f"  subgraph s{number}[{_mermaid_text(section)}]")
        for node in nodes:
            state = status.get(node, UNKNOWN).state
            lines.append(f"{indent}{names[node]}[{_mermaid_text(_label(node, status))}]:::{state}")
        lines += ["  end"] * bool(section)
    for edge in view.edges:
        arrow = "-.->" if edge in view.indirect else "-->"
        lines.append(f"  {names[edge[0]]} {arrow} {names[edge[1]]}")
    for number, (name, node) in enumerate(view.outputs().items()):
        lines.append(f"  {names[node]} --> o{number}([{_mermaid_text(name)}])")
    lines += _mermaid_styles(view, names)
    return "\n".join(lines) + "\n"


def _mermaid_styles(view: View, names: Mapping[Node, str]) -> Iterator[str]:
    for state in STATES:
        yield f"  classDef {state} fill:{_FILL[state]},stroke:#555,color:#000{_MERMAID_STYLE[state]}"
    chain = view.in_chain()
    numbers = [str(number) for number, edge in enumerate(view.edges) if edge in chain]
    if numbers:
        yield f"  linkStyle {','.join(numbers)} stroke:{_CHAIN},stroke-width:3px"
    for node in view.chain:
        yield f"  style {names[node]} stroke:{_CHAIN},stroke-width:4px"


def _names(view: View) -> dict[Node, str]:
    return {node: f"n{number}" for number, node in enumerate(view.nodes)}


def _label(node: Node, status: Status) -> str:
    known = status.get(node, UNKNOWN)
    facts = ", ".join((MARKS[known.state], *facts_of(known)))
    return "\n".join(filter(None, (label_of(node), about(node), facts)))


def _dot_text(text: str) -> str:
    # Graphviz knows HTML's entities in every label.
    escaped = _shown(text).replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("\n", "\\n")
    return f'"{escaped}"'


# `#` first among its kind: it begins an entity. A backtick would begin a Markdown text.
_MERMAID = str.maketrans({character: f"#{ord(character)};" for character in '#"<>&`\\'} | {"\n": "<br/>"})


def _mermaid_text(text: str) -> str:
    return f'"{_shown(text).translate(_MERMAID)}"'


def _shown(text: str) -> str:
    """`text` without control characters and lone surrogates, which neither language can hold."""
    return "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
