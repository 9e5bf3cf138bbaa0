"""What a node takes in two builds, compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kitbuild.explain import short_digest
from kitbuild.record import NodeRecord, Record


class Inputs(NamedTuple):
    """The nodes that a node takes: those both builds have and that give other content, new ones, those that went.

    `moved` are all of them if they are in another order.
    """

    other: tuple[str, ...]
    come: tuple[str, ...]
    gone: tuple[str, ...]
    moved: tuple[str, ...]


def compared(before: Record, now: Record, name: str) -> Inputs:
    """What a node takes now, against what it took; all of it is new for a node that is new itself."""
    wanted, given = now.nodes[name], before.nodes.get(name)
    if given is None or not is_known(given):
        return Inputs((), names_of(wanted), (), ())
    old, new = names_of(given), names_of(wanted)
    left, right = set(old), set(new)
    was, is_now = _content(given, before), _content(wanted, now)
    is_moved = [one for one in new if one in left] != [one for one in old if one in right]
    return Inputs(
        tuple(one for one in new if one in left and was[one] != is_now[one]),
        tuple(one for one in new if one not in left),
        tuple(one for one in old if one not in right),
        new if is_moved else (),
    )


def input_sentences(before: Record, now: Record, name: str, inputs: Inputs) -> Iterator[str]:
    """The inputs of a node that changed, in words."""
    given = _content(before.nodes[name], before) if name in before.nodes else {}
    wanted = _content(now.nodes[name], now)
    for other in inputs.other:
        yield f"`{other}` changed ({_short(given[other])} -> {_short(wanted[other])})"
    for other in inputs.come:
        yield f"`{other}` was added ({_short(wanted[other])})"


def is_known(node: NodeRecord | None) -> bool:
    """True if it can be told what a node was made of, or at least that it was made."""
    return node is not None and (node.ingredients is not None or node.artifact is not None)


def names_of(node: NodeRecord) -> tuple[str, ...]:
    """The nodes a node takes, once each."""
    return tuple(dict.fromkeys(other for name in sorted(node.inputs) for other in node.inputs[name]))


def _content(node: NodeRecord, record: Record) -> dict[str, str]:
    """What the inputs of a node give ("tree:ab12..."), by their names; empty if that is not known."""
    content = {}
    digests = dict(node.ingredients.inputs) if node.ingredients is not None else {}
    for name, given in node.inputs.items():
        known = digests.get(name, ())
        for position, other in enumerate(given):
            if len(known) == len(given):
                content[other] = known[position]
            else:
                artifact = record.nodes[other].artifact if other in record.nodes else None
                content[other] = f"{artifact.kind}:{artifact.digest.hex}" if artifact else ""
    return content


def _short(content: str) -> str:
    return short_digest(content) if content else "not known yet"
