"""Suggestions for a misspelt name: "did you mean `binds`?"."""

from __future__ import annotations

from collections.abc import Iterable

_FURTHEST = 2  # edits; more than that is another word, not a slip of the finger


def distance(one: str, other: str) -> int:
    """The number of letters to insert, delete, replace or swap with a neighbour to turn `one` into `other`.

    Source: optimal string alignment, the restricted Damerau-Levenshtein distance.
    """
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        line = [row]
        for column, wanted in enumerate(other, 1):
            cost = min(above[column] + 1, line[-1] + 1, above[column - 1] + (letter != wanted))
            swapped = row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted
            line.append(min(cost, before[column - 2] + 1) if swapped else cost)
        before, above = above, line
    return above[-1]


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name at most two edits from `word`, upper and lower case alike; the first of the nearest, or None."""
    folded = word.casefold()
    best, least = None, min(_FURTHEST, len(word) - 1) + 1
    for name in names:
        if abs(len(name) - len(word)) < least:
            edits = distance(folded, name.casefold())
            if edits < least:
                best, least = name, edits
    return best


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """The hint for a misspelt `word`, or None if no name is near it."""
    name = nearest(word, names)
    return f"did you mean `{name}`?" if name is not None else None


def one_of(word: str, names: Iterable[str]) -> str:
    """The hint for an unknown `word`: the name meant if one is near it, else all names in their order."""
    known = list(names)
    return did_you_mean(word, known) or f"use one of {', '.join(f'`{name}`' for name in known)}"
