"""Budgets: how large a system, one of its sections or an output may be, or by how much it may grow."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Literal, NamedTuple

from kitbuild.compare.difference import Difference, Sizes
from kitbuild.errors import KitbuildError, UsageError
from kitbuild.suggest import did_you_mean

_LIMIT = re.compile(r"(?P<sign>\+?)(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<unit>%|[A-Za-z]*)\Z")
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_UNIT_NAMES = ("KB", "MB", "GB", "KiB", "MiB", "GiB", "%")

Measure = Literal["growth", "size", "percent"]


class Budget(NamedTuple):
    """A limit on what `name` means: bytes it may grow by, bytes it may have, or percent it may grow by."""

    name: str
    measure: Measure
    limit: float
    text: str


class Outcome(NamedTuple):
    """A budget and what it was held against: `got` in the measure of the budget."""

    budget: Budget
    sizes: Sizes
    got: float

    @property
    def is_kept(self) -> bool:
        """Whether it is within the limit."""
        return self.got <= self.budget.limit


def budget(text: str) -> Budget:
    """Reads `NAME=LIMIT`; raises UsageError."""
    name, equals, limit = text.rpartition("=")
    if not equals or not name.strip():
        raise UsageError(
            f"expected NAME=LIMIT with `--budget`, got `{text}`", hint="write it as `--budget total=+2MB`"
        )
    found = _LIMIT.match(limit.strip())
    unit = found["unit"] if found else ""
    if found is None or (unit != "%" and unit.lower() not in _UNITS):
        hint = did_you_mean(unit, _UNIT_NAMES) if unit else None
        raise UsageError(
            f"`--budget {text}`: expected a limit such as +2MB, +5% or 20MiB, got `{limit}`",
            hint=hint or "units are KB, MB, GB (thousands), KiB, MiB, GiB (1024) and %",
        )
    number = float(found["number"])
    if unit == "%":
        if not found["sign"]:
            raise UsageError(
                f"`--budget {text}`: expected a growth with `%`, got `{limit}`",
                hint=f"write `{name}=+{limit.strip()}`",
            )
        return Budget(name.strip(), "percent", number, limit.strip())
    return Budget(
        name.strip(), "growth" if found["sign"] else "size", number * _UNITS[unit.lower()], limit.strip()
    )


def outcomes(budgets: Iterable[Budget], difference: Difference) -> list[Outcome]:
    """Every budget held against a difference.

    Raises UsageError for a name it does not have, KitbuildError for sizes nobody knows.
    """
    return [_outcome(one, difference) for one in budgets]


def _outcome(one: Budget, difference: Difference) -> Outcome:
    sizes = _sizes_of(one.name, difference)
    if sizes.after is None or (one.measure != "size" and sizes.before is None):
        raise KitbuildError(
            f"`--budget {one.name}={one.text}`: expected sizes on both sides, got one whose files are not known",
            hint="build it first, or compare the outputs themselves",
        )
    before, after = sizes.before or 0, sizes.after
    if one.measure == "size":
        return Outcome(one, sizes, after)
    if one.measure == "growth":
        return Outcome(one, sizes, after - before)
    # What was nothing before grows without bounds.
    percent = (after - before) * 100 / before if before else float("inf") if after else 0.0
    return Outcome(one, sizes, percent)


def amount(one: Budget, number: float, *, whole: bool = False) -> str:
    """A number in the unit the limit is written in, with as many digits as tell it from the limit.

    With a sign where the limit is a growth, unless it is the `whole` of something.
    """
    if math.isinf(number):
        return "growth from nothing"
    found = _LIMIT.match(one.text)
    unit = found["unit"] if found else ""
    scale = 1 if unit == "%" else _UNITS[unit.lower()]
    for digits in range(1, 10):
        text = f"{number / scale:.{digits}f}"
        if (float(text) * scale > one.limit) == (number > one.limit):
            break
    text = text.rstrip("0").rstrip(".")
    sign = "+" if one.measure != "size" and not whole and number >= 0 else ""
    return f"{sign}{text}{unit or ' B'}"


def _sizes_of(name: str, difference: Difference) -> Sizes:
    """What a name means: the total, a section, all sections of a kind, or an output."""
    known = named_sizes(difference)
    if name not in known:
        raise UsageError(
            f"expected the name of a section or an output, or `total`, with `--budget`, got `{name}`",
            hint=did_you_mean(name, known) or f"choose from {', '.join(f'`{one}`' for one in known)}",
        )
    return known[name]


def named_sizes(difference: Difference) -> dict[str, Sizes]:
    """The sizes a budget may name.

    A section's name wins over an output's; an output may be named without what leads to it and what follows:
    `initrd` is `-initrd.img`.
    """
    known: dict[str, Sizes] = {"total": difference.total}
    kinds: dict[str, list[Sizes]] = {}
    for name, sizes in difference.sizes.items():
        known[name] = sizes
        kinds.setdefault(name.partition(" ")[0], []).append(sizes)
    for kind, several in kinds.items():
        known.setdefault(kind, _sum(several))
    for suffix, sizes in difference.outputs.items():
        short = short_name(suffix)
        for name in (suffix, short, short.partition(".")[0], f"output {short}"):
            known.setdefault(name, sizes)
    return {name: sizes for name, sizes in known.items() if name}


def short_name(suffix: str) -> str:
    """What an output is called by what follows its name: `initrd.img` for `-initrd.img`."""
    return suffix.lstrip("-.")


def output_names(difference: Difference) -> dict[str, str]:
    """What the outputs are called, by what follows their names: words that a budget takes for them."""
    kinds = {name.partition(" ")[0] for name in difference.sizes}
    taken = {"total", *difference.sizes, *kinds}
    shorts = {suffix: short_name(suffix) for suffix in difference.outputs}
    return {suffix: f"output {short}" if short in taken else short for suffix, short in shorts.items()}


def _sum(several: Iterable[Sizes]) -> Sizes:
    befores, afters = zip(*several, strict=True)
    return Sizes(_total(befores), _total(afters))


def _total(sizes: Iterable[int | None]) -> int | None:
    known = list(sizes)
    return None if None in known else sum(size for size in known if size is not None)
