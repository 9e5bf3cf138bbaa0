"""What `kitbuild why` answers, as text and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kitbuild.report.text import human_seconds, one_line, plural

if TYPE_CHECKING:
    from kitbuild.cause.build import Reason, Root
    from kitbuild.cause.plan import Plan
    from kitbuild.cause.value import Cause
    from kitbuild.record import Record

# A screen has room for so many; `--json` has all.
_MOST_CAUSES = 12
_LONGEST_WAY = 7

_RAN = {
    "ran": "ran",
    "sent": "ran on the executor",
    "failed": "failed",
    "left": "did not run, for something that it needs failed",
    "near": "did not run",
    "far": "did not run",
}
_NOT_MADE = {"failed": "failed", "left": "left for what failed"}
_FOUND = {"near": "its result was in the local cache", "far": "its result was in the remote cache"}
_WOULD_RUN = {
    "ran": "would run now",
    "left": "would run now, unless what it is made of turns out the same",
    "near": "would not run: its result is in the local cache",
    "far": "would not run: its result is in the remote cache",
}


class NodeAnswer(NamedTuple):
    """Why one node ran, or is made of something else. `last` says why it ran in an earlier build, `record`."""

    name: str
    fate: str
    reasons: tuple[Reason, ...]
    record: Record | None = None
    last: NodeAnswer | None = None


class Answer(NamedTuple):
    """About a build, or with a `plan` about one not made yet: `nodes` if some were asked about, else `roots`.

    `since` is the build that the user wants it compared with.
    """

    record: Record
    since: Record | None
    nodes: tuple[NodeAnswer, ...]
    roots: tuple[Root, ...]
    plan: Plan | None = None

    def runs(self) -> tuple[str, ...]:
        """The nodes that ran, or would."""
        if self.plan is not None:
            return self.plan.runs
        return tuple(
            name for name, node in self.record.nodes.items() if node.fate in ("ran", "sent", "failed")
        )


# -- for people


def as_text(answer: Answer) -> str:
    """The answer in lines."""
    lines = [*_headline(answer)]
    for node in answer.nodes[:_MOST_CAUSES]:
        lines += _node_lines(node, answer)
    lines += _more(len(answer.nodes), "node")
    shown = answer.roots[:_MOST_CAUSES]
    for root in shown:
        lines += ["", root.cause.sentence, f"    {_touched(root.nodes, answer)}"]
    lines += _more(len(answer.roots), "cause")
    from kitbuild.cause.value import cut

    return "\n".join(one_line(cut(line)) for line in lines).strip("\n") + "\n"


def _headline(answer: Answer) -> Iterator[str]:
    if answer.nodes and answer.since is None:
        return
    total, runs = len(answer.record.nodes), len(answer.runs())
    build = "" if answer.plan else f"the build {_name(answer.record)}"
    if answer.since is not None:
        other = f"compared with the build {_name(answer.since)}"
        yield f"{build}, {other}:" if build else f"what would be built now, {other}:"
        if not answer.nodes and not answer.roots:
            yield "nothing differs"
    elif answer.plan:
        most = "at most " if answer.plan.follow else ""
        yield f"{most}{runs} of {plural(total, 'node')} would run now" + (":" if runs else "")
    else:
        counts = summary(answer.record)
        told = [f"{counts['ran']} of {plural(total, 'node')} ran"]
        told += [f"{counts[fate]} {words}" for fate, words in _NOT_MADE.items() if counts[fate]]
        yield f"{build}: {', '.join(told)}" + (":" if runs else ", all else was in the cache")
    if answer.plan and answer.plan.follow and not answer.nodes and answer.roots:
        yield "(fewer, if what is made again turns out the same: nothing above that runs)"


def _name(record: Record) -> str:
    configs = " ".join(record.origins.configs)
    return f"{record.id or 'in the file'}{f' of {configs}' if configs else ''}, {_age(record)}"


def _age(record: Record) -> str:
    return f"{age(time.time() - record.began)} ago"


def age(seconds: float) -> str:
    """A time span in one unit: `40 s`, `5 minutes`, `3 hours`, `12 days`."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return plural(int(seconds // length), unit)
    return f"{max(0, int(seconds))} s"


def _node_lines(node: NodeAnswer, answer: Answer) -> Iterator[str]:
    yield ""
    if answer.since is not None:
        yield f"{node.name} {'differs:' if node.reasons else 'is the same'}"
        yield from _reason_lines(node.reasons)
        return
    if answer.plan is not None:
        yield f"{node.name} {_WOULD_RUN[node.fate]}"
        if node.fate in ("ran", "left"):
            yield from _reason_lines(node.reasons)
        return
    yield f"{node.name} {_RAN[node.fate]} in the build {_name(answer.record)}"
    if node.fate not in _FOUND:
        yield from _reason_lines(node.reasons)
        return
    yield _FOUND[node.fate]
    if node.reasons:
        yield "it is made of something else than in the build before:"
        yield from _reason_lines(node.reasons)
    if node.last is not None and node.last.record is not None:
        yield ""
        yield f"it last ran in the build {_name(node.last.record)}"
        yield from _reason_lines(node.last.reasons)


def _reason_lines(reasons: Sequence[Reason]) -> Iterator[str]:
    for reason in reasons[:_MOST_CAUSES]:
        yield ""
        yield reason.cause.sentence
        yield f"    {_way(reason.way)}"
    yield from _more(len(reasons), "cause")


def _more(number: int, noun: str) -> list[str]:
    more = number - _MOST_CAUSES
    return ["", f"and {more} more {noun}{'s' if more > 1 else ''}; `--json` has all"] if more > 0 else []


def _way(names: Sequence[str]) -> str:
    if len(names) > _LONGEST_WAY:
        left = len(names) - _LONGEST_WAY + 1
        names = (*names[:3], f"({left} more)", *names[left + 3 :])
    return " > ".join(names)


def _touched(names: Sequence[str], answer: Answer) -> str:
    """The nodes a cause touches: the first, and how many more there are, at most if that is not known yet."""
    first, more = names[0], len(names) - 1
    if not more:
        return first
    above = {first}
    for name, node in answer.record.nodes.items():
        if any(needed in above for given in node.inputs.values() for needed in given):
            above.add(name)
    most = "at most " if answer.plan and not answer.plan.follow.isdisjoint(names) else ""
    if all(name in above for name in names):
        return f"{first}, and {most}{plural(more, 'node')} above it"
    return f"{first}, and {most}{more} more node{'s' if more > 1 else ''}"


# -- for programs


def as_json(answer: Answer) -> str:
    """The answer as a JSON object; docs/why.md has its fields."""
    document = {
        "build": None if answer.plan else _build(answer.record),
        "since": _build(answer.since) if answer.since else None,
        "nodes_in_all": len(answer.record.nodes),
        "runs": list(answer.runs()),
        "maybe": [name for name in answer.runs() if answer.plan and name in answer.plan.follow],
        "causes": [{**_cause(root.cause), "nodes": list(root.nodes)} for root in answer.roots],
        "nodes": [_node(node, planned=answer.plan is not None) for node in answer.nodes],
    }
    return json.dumps(document, indent=2) + "\n"


def _build(record: Record) -> dict[str, Any]:
    return {
        "id": record.id,
        "began": record.began,
        "seconds": record.seconds,
        "configs": list(record.origins.configs),
    }


def _node(node: NodeAnswer, *, planned: bool) -> dict[str, Any]:
    runs = node.fate in ("ran", "left") if planned else node.fate in ("ran", "sent", "failed")
    last = node.last
    return {
        "name": node.name,
        "fate": node.fate,
        "runs": runs,
        "causes": [{**_cause(reason.cause), "way": list(reason.way)} for reason in node.reasons],
        "last": {"build": _build(last.record), **_node(last, planned=False)}
        if last and last.record
        else None,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return cause._asdict()


# -- shared with `kitbuild history`


def summary(record: Record) -> dict[str, int]:
    """How many nodes ran, were taken from here and elsewhere, failed or were left."""
    fates = [node.fate for node in record.nodes.values()]
    ran = fates.count("ran") + fates.count("sent")
    return {"ran": ran, **{fate: fates.count(fate) for fate in ("near", "far", "failed", "left")}}


def duration(record: Record) -> str:
    """How long a build took."""
    return human_seconds(record.seconds)
