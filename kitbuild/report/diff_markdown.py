"""A difference between two systems in Markdown, for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from kitbuild.compare.budget import Outcome, output_names
from kitbuild.compare.difference import MEDIUM, Difference, Sizes
from kitbuild.report.diff_lines import Group, groups, growth_text, percent_text
from kitbuild.report.diff_text import broken_budget, kept_budget
from kitbuild.report.text import human_size, one_line

# What hosts take in a comment is 65,536 characters; more of a group than this nobody reads there.
_MOST_LINES = 200
_DIFF_MARKS = {"+": "+", "-": "-", "~": "!", " ": " ", "#": " "}


def markdown_of(difference: Difference, outcomes: Sequence[Outcome] = (), *, everything: bool = False) -> str:
    """A heading, a table of sizes, and what differs in folds that GitHub and GitLab open on a click."""
    names = (difference.before.name, difference.after.name)
    lines = [f"### {_code(names[0])} → {_code(names[1])}", ""]
    lines += [f"- **over budget** {_escaped(broken_budget(one))}" for one in outcomes if not one.is_kept]
    lines += [f"- within budget: {_escaped(kept_budget(one))}" for one in outcomes if one.is_kept]
    if difference.is_empty:
        return "\n".join([*lines, "No differences.", *_notes(difference), ""])
    lines += [*([""] if lines[-1] else []), *_table(difference)]
    for group in groups(difference, everything=everything):
        lines += ["", *_fold(group)]
    return "\n".join([*lines, *_notes(difference), ""])


def _table(difference: Difference) -> Iterator[str]:
    yield "| | before | after | change |"
    yield "|---|--:|--:|--:|"
    changed = [(f"{section.name}", section.size) for section in difference.sections if section.size.growth]
    names = output_names(difference)
    outputs = [(names[suffix], sizes) for suffix, sizes in difference.outputs.items()]
    medium = [(name, sizes) for name, sizes in difference.sizes.items() if name == MEDIUM]
    for name, sizes in [*changed, *medium, *outputs, ("total", difference.total)]:
        if sizes.before is not None and sizes.after is not None and (sizes.growth or name == "total"):
            shown = "**total**" if name == "total" else _code(name or "file")
            yield f"| {shown} | {human_size(sizes.before)} | {human_size(sizes.after)} | {_growth(sizes)} |"


def _growth(sizes: Sizes) -> str:
    if not sizes.growth:
        return "0"
    return f"{growth_text(sizes.growth)}{percent_text(sizes, before=', ')}"


def _fold(group: Group) -> Iterator[str]:
    body = [
        f"{_DIFF_MARKS[line.mark]} {'  ' * (line.depth - 1)}{line.text}" for line in group.lines[:_MOST_LINES]
    ]
    if len(group.lines) > _MOST_LINES:
        body.append(f"  and {len(group.lines) - _MOST_LINES} more lines")
    mark = "" if group.title.mark == "#" else f"{group.title.mark} "
    if not body:
        yield f"- {_code(mark + group.title.text)}"
        return
    fence = "`" * max(3, 1 + max((len(run) for line in body for run in re.findall("`+", line)), default=0))
    yield f"<details><summary>{_html(mark + group.title.text)}</summary>"
    yield from ("", f"{fence}diff", *body, fence, "", "</details>")


def _notes(difference: Difference) -> list[str]:
    return [line for note in difference.missing for line in ("", f"> {_escaped(one_line(note))}")]


def _code(text: str) -> str:
    """The text as a code span, in a cell of a table too."""
    shown = one_line(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _escaped(text: str) -> str:
    return re.sub(r"([\\*_{}\[\]<>#|!])", r"\\\1", text)
