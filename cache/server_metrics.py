"""Metrics: what a cache server counts, and how it tells it.

Source: Prometheus documentation, "Exposition formats": the text format, version 0.0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Seconds: from a small file that is in memory to a disk image over a slow line.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0)

_PREFIX = "kitbuild_cache"


class Answered(NamedTuple):
    """One request and how it ended; `kind` is "ac", "cas" or "other", sizes are of bodies in bytes."""

    method: str
    kind: str
    status: int
    seconds: float
    received: int = 0
    sent: int = 0


class Metrics:
    """Counters since the server started."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, str, int]] = Counter()
        self.evictions: Counter[str] = Counter()
        self.evicted_bytes = 0
        self._received = 0
        self._sent = 0
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._seconds: Counter[tuple[str, str]] = Counter()

    def count(self, answered: Answered) -> None:
        """Counts one request."""
        method, kind, status, seconds, received, sent = answered
        self.requests[method, kind, status] += 1
        self._received += received
        self._sent += sent
        what = (method, kind)
        buckets = self._buckets.get(what)
        if buckets is None:
            buckets = self._buckets[what] = [0] * (len(BUCKETS) + 1)
        buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds[what] += seconds  # type: ignore[assignment] # a Counter adds floats as well

    def evicted(self, kind: str, size: int) -> None:
        """Counts one file that was dropped to make room."""
        self.evictions[kind] += 1
        self.evicted_bytes += size

    @property
    def hits(self) -> int:
        """How many GETs found what they asked for."""
        return sum(
            number
            for (method, kind, status), number in self.requests.items()
            if method == "GET" and kind != "other" and status in (200, 206, 304)
        )

    @property
    def misses(self) -> int:
        """How many GETs did not."""
        return sum(self.requests["GET", kind, 404] for kind in ("ac", "cas"))

    def text(self, gauges: Mapping[str, tuple[str, float]], *, version: str) -> str:
        """Everything in Prometheus' text format; `gauges` are names to (help, value)."""
        return "\n".join((*self._lines(gauges, version), ""))

    def _lines(self, gauges: Mapping[str, tuple[str, float]], version: str) -> Iterator[str]:
        yield from _family("info", "gauge", "Which version serves.", [({"version": version}, 1)])
        for name, (about, value) in gauges.items():
            yield from _family(name, "gauge", about, [({}, value)])
        yield from _family(
            "requests_total",
            "counter",
            "Requests answered.",
            (
                ({"method": method, "kind": kind, "status": str(status)}, number)
                for (method, kind, status), number in sorted(self.requests.items())
            ),
        )
        for name, about, value in (
            ("hits_total", "GETs of results and content that were there.", self.hits),
            ("misses_total", "GETs of results and content that were not there.", self.misses),
            ("received_bytes_total", "Bytes of results and content taken.", self._received),
            ("sent_bytes_total", "Bytes of results and content given.", self._sent),
            ("evicted_bytes_total", "Bytes dropped to make room.", self.evicted_bytes),
        ):
            yield from _family(name, "counter", about, [({}, value)])
        yield from _family(
            "evictions_total",
            "counter",
            "Files dropped to make room.",
            (({"kind": kind}, self.evictions[kind]) for kind in ("ac", "cas")),
        )
        yield from self._histogram()

    def _histogram(self) -> Iterator[str]:
        name = "request_seconds"
        yield from _head(name, "histogram", "How long requests took, bodies included.")
        for (method, kind), buckets in sorted(self._buckets.items()):
            labels = {"method": method, "kind": kind}
            below = 0
            for limit, number in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
                below += number
                yield _sample(f"{name}_bucket", {**labels, "le": limit}, below)
            yield _sample(f"{name}_sum", labels, round(self._seconds[method, kind], 6))
            yield _sample(f"{name}_count", labels, below)


def _family(
    name: str, kind: str, about: str, samples: Iterable[tuple[Mapping[str, str], float]]
) -> Iterator[str]:
    yield from _head(name, kind, about)
    for labels, value in samples:
        yield _sample(name, labels, value)


def _head(name: str, kind: str, about: str) -> tuple[str, str]:
    return f"# HELP {_PREFIX}_{name} {about}", f"# TYPE {_PREFIX}_{name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    # Values are methods, kinds, statuses and versions: nothing in them needs to be escaped.
    inner = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{_PREFIX}_{name}{{{inner}}} {value}" if inner else f"{_PREFIX}_{name} {value}"
