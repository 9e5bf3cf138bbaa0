"""Link: what a build has learnt of its remote cache, how quick it is and what is there; and the traffic so far."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kitbuild.digest import Digest

# A transfer of fewer bytes tells more of the latency than of the bandwidth, unless it takes that long.
_LEAST_BYTES = 4 << 20
_LEAST_SECONDS = 1.0
_LEAST_BYTES_IF_SLOW = 256 * 1024
# What goes on tells how quick it is before it is over when it has brought so much in so long.
_TRIAL_BYTES = 64 * 1024
_TRIAL_SECONDS = 2.0
_TELL_SECONDS = 0.1
# How much the newest of several measurements counts.
_WEIGHT = 0.4
# How often content that turns out to be lost makes one ask for all other content again.
_MOST_DOUBTS = 4
# What is believed of a remote cache nobody has measured yet: nothing is passed over for a guess.
_UNMEASURED_BYTES_PER_SECOND = 1e9
_UNMEASURED_LATENCY_SECONDS = 0.002

Clock = Callable[[], float]


class Traffic(NamedTuple):
    """What was taken from a remote cache and kept there, in results, blobs and bytes.

    `asked` is how many results were looked for there. `dear` blobs were not kept: to bring them here takes longer
    than to make them.
    """

    asked: int = 0
    results: int = 0
    blobs: int = 0
    bytes: int = 0
    kept_results: int = 0
    kept_blobs: int = 0
    kept_bytes: int = 0
    dear: int = 0


class Rate:
    """Bytes a second in one direction, of all transfers that go on at once; 0 while nothing is measured.

    `progressed` is when the last bytes went by. `progress` is told now and then how many did up to then.
    """

    def __init__(self, clock: Clock, progress: Callable[[int], None] = lambda size: None) -> None:
        self.bytes_per_second = 0.0
        self.progressed = clock()
        self._progress = progress
        self._total = 0
        self._told = self.progressed
        self._clock = clock
        self._lock = threading.Lock()
        self._transfers = 0
        self._begun = 0.0
        self._bytes = 0
        self._is_large = False

    @contextmanager
    def transfer(self) -> Iterator[Callable[[int], None]]:
        """One transfer, as long as the `with` lasts; gives what is to be told the size of each piece."""
        size, started = 0, self._clock()

        def passed(more: int) -> None:
            nonlocal size
            size += more
            with self._lock:
                self._bytes += more
                self._total += more
                self.progressed = self._clock()
                total, is_due = self._total, self.progressed - self._told >= _TELL_SECONDS
                if is_due:
                    self._told = self.progressed
            if is_due:
                self._progress(total)

        with self._lock:
            if not self._transfers:
                self._begun, self._bytes, self._is_large = self._clock(), 0, False
            self._transfers += 1
        try:
            yield passed
        finally:
            with self._lock:
                now = self._clock()
                self._transfers -= 1
                least = _LEAST_BYTES if now - started < _LEAST_SECONDS else _LEAST_BYTES_IF_SLOW
                self._is_large |= size >= least
                self._measure(now)

    def now(self) -> float:
        """Bytes a second of what goes on, if that can be told already, else as measured before."""
        with self._lock:
            seconds = self._clock() - self._begun
            if not self._transfers or self._bytes < _TRIAL_BYTES or seconds < _TRIAL_SECONDS:
                return self.bytes_per_second
            return self._bytes / seconds

    def _measure(self, now: float) -> None:
        seconds = now - self._begun
        # Many small ones together tell of the latency too.
        if self._is_large and seconds > 0:
            self.bytes_per_second = _mixed(self.bytes_per_second, self._bytes / seconds)
            self._begun, self._bytes, self._is_large = now, 0, False


class Link:
    """What is known of a remote cache in a build; shared by all that use it there, and safe to.

    `there` is content known to be there, `lost` what was asked for and could not be had: neither is asked for again,
    until something turns out to be lost that was said to be there. `progress` is told how many bytes came from there.
    """

    def __init__(
        self, clock: Clock = time.monotonic, *, progress: Callable[[int], None] = lambda size: None
    ) -> None:
        self.there: set[Digest] = set()
        self.lost: set[Digest] = set()
        self.down = Rate(clock, progress)
        self.up = Rate(clock)
        self.traffic = Traffic()
        self.clock = clock
        self._counting = threading.Lock()
        self._latency = 0.0
        self._doubts = _MOST_DOUBTS

    def lose(self, digest: Digest) -> None:
        """Takes note of content that could not be had: where it went, much else may have gone too."""
        self.lost.add(digest)
        if self._doubts:
            self._doubts -= 1
            self.there.clear()

    def count(self, traffic: Traffic) -> None:
        """Adds to every count."""
        with self._counting:
            self.traffic = Traffic(*map(sum, zip(self.traffic, traffic, strict=True)))

    @contextmanager
    def question(self) -> Iterator[None]:
        """A small request and its answer."""
        started = self.clock()
        yield
        self._latency = _mixed(self._latency, self.clock() - started)

    def seconds(self, size: int) -> float:
        """About how long `size` bytes from there take; hopeful while nothing is measured."""
        return (self._latency or _UNMEASURED_LATENCY_SECONDS) + size / self.believed()

    def believed(self) -> float:
        """Bytes a second that content is believed to come with."""
        return self.down.bytes_per_second or self.up.bytes_per_second or _UNMEASURED_BYTES_PER_SECOND


def _mixed(before: float, now: float) -> float:
    return before + _WEIGHT * (now - before) if before else now
