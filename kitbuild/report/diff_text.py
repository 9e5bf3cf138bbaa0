"""A difference between two systems for a terminal, and in short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kitbuild.compare.budget import Outcome, amount, output_names
from kitbuild.compare.difference import MEDIUM, Difference
from kitbuild.report.diff_lines import MARKS, Line, counts_text, groups, growth_text, size_line
from kitbuild.report.text import human_size, one_line, painted, plural

NOTHING = "no differences"
_STYLES = {"+": "32", "-": "31", "~": "33", " ": ""}


def text_of(
    difference: Difference, outcomes: Sequence[Outcome] = (), *, color: bool, everything: bool = False
) -> str:
    """All that differs, grouped by section, what changed most first; then the budgets that are kept."""
    if difference.is_empty:
        return "\n".join([NOTHING, *_notes(difference), *_kept(outcomes), ""])
    lines = [_heading(difference), *_sizes(difference)]
    for group in groups(difference, everything=everything):
        lines += ["", _line(group.title, color=color, bold=True)]
        lines += [_line(line, color=color) for line in group.lines]
    notes = [*_notes(difference), *_kept(outcomes)]
    return "\n".join([*lines, *([""] if notes else []), *notes, ""])


def stat_of(difference: Difference, outcomes: Sequence[Outcome] = (), *, color: bool) -> str:
    """One line a section, the total, and the budgets that are kept."""
    if difference.is_empty:
        return "\n".join([NOTHING, *_notes(difference), *_kept(outcomes), ""])
    rows = []
    for section in difference.sections:
        growth = growth_text(section.size.growth) if None not in section.size else "?"
        if section.state != "changed":
            whole = section.size.after if section.state == "added" else section.size.before
            growth = (
                "?" if whole is None else f"{'+' if section.state == 'added' else '-'}{human_size(whole)}"
            )
        mark = MARKS[section.state]
        rows.append(
            (
                mark,
                one_line(section.name),
                growth,
                "" if section.state != "changed" else counts_text(section),
            )
        )
    if difference.flags:
        rows.append(("~", "flags", "", str(len(difference.flags))))
    if difference.cmdline:
        rows.append(("~", "kernel command line", "", str(len(difference.cmdline))))
    if difference.packages:
        rows.append(("~", "packages of the SBOM", "", str(len(difference.packages))))
    if difference.medium:
        sizes = difference.sizes.get(MEDIUM)
        growth = growth_text(sizes.growth) if sizes else ""
        rows.append(("~", "on the medium", growth, plural(len(difference.medium), "file")))
    widths = [max((len(row[column]) for row in rows), default=0) for column in (1, 2)]
    lines = [
        painted(mark, _STYLES[mark], color=color)
        + f" {name:{widths[0]}}  {growth:>{widths[1]}}  {counts}".rstrip()
        for mark, name, growth, counts in rows
    ]
    return "\n".join([*lines, *_sizes(difference), *_notes(difference), *_kept(outcomes), ""])


def broken_budget(outcome: Outcome) -> str:
    """What is wrong with a budget that was not kept, as the message of an error."""
    budget, sizes = outcome.budget, outcome.sizes
    got = f"`{budget.name}`: expected at most {budget.text}, got {amount(budget, outcome.got)}"
    if budget.measure == "size":
        return got
    before, after = (
        human_size(size or 0) if budget.measure == "percent" else amount(budget, size or 0, whole=True)
        for size in sizes
    )
    return f"{got} ({before} -> {after})"


def kept_budget(outcome: Outcome) -> str:
    """What is left of a budget that was kept: `initrd +0.4MB of +2MB`."""
    return f"{one_line(outcome.budget.name)} {amount(outcome.budget, outcome.got)} of {outcome.budget.text}"


def _kept(outcomes: Sequence[Outcome]) -> Sequence[str]:
    return [f"within budget: {kept_budget(outcome)}" for outcome in outcomes if outcome.is_kept]


def _heading(difference: Difference) -> str:
    before, after = difference.before, difference.after
    return f"{one_line(before.name)} -> {one_line(after.name)}"


def _sizes(difference: Difference) -> Iterator[str]:
    # Of two kernels there is none.
    if None not in difference.total and any(difference.total):
        yield f"total  {size_line(difference.total)}"
    names = output_names(difference)
    for suffix, sizes in difference.outputs.items():
        if sizes.before != sizes.after:
            yield f"{one_line(names[suffix]) or 'the file'}  {size_line(sizes)}"


def _notes(difference: Difference) -> Sequence[str]:
    return [f"note: {one_line(note)}" for note in difference.missing]


def _line(line: Line, *, color: bool, bold: bool = False) -> str:
    indent = "  " * line.depth
    text = painted(line.text, "1", color=color and bold)
    if line.mark == "#":
        return f"{indent}{text}"
    mark = painted(line.mark, _STYLES[line.mark], color=color and line.mark != " ")
    return f"{indent}{mark} {text}"
