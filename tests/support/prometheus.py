"""Reads Prometheus' text format strictly, as a server that scrapes it would, and refuses what that would refuse."""

from __future__ import annotations

import re
from typing import NamedTuple

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|\Z)')


class Sample(NamedTuple):
    """One line: its name, its labels sorted by name, its value."""

    name: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(NamedTuple):
    """What HELP and TYPE say of samples, and the samples."""

    about: str
    kind: str
    samples: list[Sample]


def families(text: str) -> dict[str, Family]:
    """Everything by name; fails on anything out of order, twice there, or not in the format."""
    assert text.endswith("\n")
    found: dict[str, Family] = {}
    name = about = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name, about = line.removeprefix("# HELP ").split(" ", 1)
            assert name not in found, f"{name} twice"
        elif line.startswith("# TYPE "):
            typed, kind = line.removeprefix("# TYPE ").split(" ")
            assert typed == name, f"HELP of {name} before TYPE of {typed}"
            assert kind in ("counter", "gauge", "histogram")
            assert (kind == "counter") == name.endswith("_total")
            found[name] = Family(about, kind, [])
        else:
            sample = _sample(line)
            suffix = sample.name.removeprefix(name)
            assert suffix in (("_bucket", "_sum", "_count") if found[name].kind == "histogram" else ("",)), (
                line
            )
            assert all(sample[:2] != other[:2] for other in found[name].samples), f"{line} twice"
            found[name].samples.append(sample)
    for name, family in found.items():
        if family.kind == "histogram":
            _check_histogram(name, family.samples)
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The value of one sample; 0.0 if it is not there, as a query would have it."""
    wanted = tuple(sorted(labels.items()))
    return sum(
        sample.value
        for family in families(text).values()
        for sample in family.samples
        if sample.name == name and sample.labels == wanted
    )


def _sample(line: str) -> Sample:
    match = _SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line}"
    labels, position = [], 0
    text = match[2] or ""
    while position < len(text):
        label = _LABEL.match(text, position)
        assert label, f"not labels: {text}"
        labels.append((label[1], label[2]))
        position = label.end()
    assert len(dict(labels)) == len(labels), f"a label twice: {line}"
    return Sample(match[1], tuple(sorted(labels)), float(match[3]))


def _check_histogram(name: str, samples: list[Sample]) -> None:
    """Buckets grow to +Inf, which is the count."""
    rest = {tuple(pair for pair in sample.labels if pair[0] != "le") for sample in samples}
    for labels in rest:
        buckets = [
            (float(dict(sample.labels)["le"]), sample.value)
            for sample in samples
            if sample.name == f"{name}_bucket" and set(labels) <= set(sample.labels)
        ]
        assert buckets == sorted(buckets)
        assert [number for _, number in buckets] == sorted(number for _, number in buckets)
        (count,) = (sample.value for sample in samples if sample[:2] == (f"{name}_count", labels))
        assert (float("inf"), count) == buckets[-1]
        assert any(sample[:2] == (f"{name}_sum", labels) for sample in samples)
