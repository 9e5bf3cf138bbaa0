"""GuardedRemote: a remote cache that fails costs a build a warning and little time."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import TypeVar

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key

T = TypeVar("T")

# Before the second and the third attempt; up to half as long again, so that many clients do not come back as one.
_BACK_OFF_SECONDS = (0.1, 0.4)
# What failed after longer than this ran into a time-out, and would again.
_QUICK_SECONDS = 0.5
# Failures in a row that end the use for this build: attempts before anything was answered, then requests.
_MOST_FAILURES = 3
# A cache that never answered may cost no more than this, one that did a little more in a row, and this in all.
_MOST_SECONDS_UNANSWERED = 1.9
_MOST_SECONDS_IN_A_ROW = 4.0
_MOST_SECONDS = 10.0
# So many small requests in a row that took so long on average are too slow; those about many blobs are not small.
_SLOW_REQUESTS = 5
_SLOW_SECONDS = 1.0
_FEW_DIGESTS = 16


class GuardedRemote:
    """Tries again what may pass, and stops using `inner` for the rest of the build once it costs too much.

    One warning says why. From then on nothing is there: `missing` and `record` say so, `get` raises MissingBlobError.
    They do as well for what failed at last. `put` and `keep` raise RemoteError, for whoever counts what was kept; a
    transfer that breaks off raises it from `get`, and may be begun again. If a build ends with failures that ended
    nothing, `close` warns of them. `name` is what the remote cache is called in warnings.
    """

    def __init__(
        self,
        inner: Remote,
        *,
        warn: Callable[[str], None],
        name: str = "the remote cache",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._inner = inner
        self._warn = warn
        self._name = name
        self._clock = clock
        self._is_off = threading.Event()
        # Whoever waits to try again stops waiting when there is no more use in it.
        self._sleep = sleep or self._is_off.wait
        self._lock = threading.Lock()
        self._writes = True
        self._reason = ""
        # When the first answer came; what was asked before that paid for loading libraries and connecting too.
        self._answered_at = float("inf")
        self._failures_in_a_row = 0
        self._failed_at = float("-inf")
        self._lost_in_a_row = 0.0
        self._lost = 0.0
        self._given_up = 0
        self._answers: deque[float] = deque(maxlen=_SLOW_REQUESTS)

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        """Those of `digests` that are not there; all of them if that cannot be said."""
        if not digests:
            return set()
        try:
            return self._tried(lambda: self._inner.missing(digests), small=len(digests) <= _FEW_DIGESTS)
        except RemoteError:
            return set(digests)

    def get(self, digest: Digest) -> Iterator[bytes]:
        """The content; raises MissingBlobError, and RemoteError once pieces were given."""
        try:
            first, rest = self._tried(lambda: _opened(self._inner.get(digest)))
        except RemoteError as error:
            raise MissingBlobError(f"{digest.oci} cannot be had: {error.message}") from error
        yield first
        asked = self._clock()
        try:
            for piece in rest:
                yield piece
                asked = self._clock()
        except (RemoteError, OSError) as error:
            raise self._failed(error, asked, last=True) from error

    def put(self, digest: Digest, pieces: Pieces) -> None:
        """Keeps content; raises RemoteError, and MissingBlobError if the local content is not what it should be."""
        self._write(lambda: self._inner.put(digest, lambda: _read_here(pieces)))

    def record(self, key: Key) -> Record | None:
        """The record of `key`; None too if it cannot be had."""
        try:
            return self._tried(lambda: self._inner.record(key), small=True)
        except RemoteError:
            return None

    def keep(self, key: Key, record: Record) -> None:
        """Keeps or replaces a record; raises RemoteError."""
        self._write(lambda: self._inner.keep(key, record))

    def close(self) -> None:
        """Closes what is open, and warns of failures nobody was told of yet."""
        if self._given_up and not self._is_off.is_set() and self._writes:
            times = "once" if self._given_up == 1 else f"{self._given_up} times"
            self._warn(f"{self._name} failed {times}, the last time: {self._told(self._reason, None)}")
            self._given_up = 0
        self._inner.close()

    def _write(self, action: Callable[[], None]) -> None:
        if not self._writes:
            raise RemoteError(self._reason, writing=True, lasting=True)
        self._tried(action)

    def _tried(self, ask: Callable[[], T], *, small: bool = False) -> T:
        """The answer, asked for up to three times; raises the RemoteError of the last time."""
        for wait in (*_BACK_OFF_SECONDS, 0.0):
            if self._is_off.is_set():
                break
            started = self._clock()
            try:
                answer = ask()
            except (RemoteError, OSError) as error:
                quick = self._clock() - started <= _QUICK_SECONDS
                last = not wait or not quick or getattr(error, "lasting", False)
                failure = self._failed(error, started, last=last)
                if last:
                    raise failure from error
                self._wait(wait)
            except MissingBlobError:
                self._succeeded()
                raise
            else:
                self._succeeded(started if small else None)
                return answer
        raise RemoteError(self._reason)

    def _wait(self, seconds: float) -> None:
        seconds *= 1 + random.random() / 2
        with self._lock:
            self._lost += seconds
        self._sleep(seconds)

    def _succeeded(self, started: float | None = None) -> None:
        """Takes an answer; one to a small request that began at `started` tells how quick they are."""
        with self._lock:
            now = self._clock()
            self._answered_at = min(self._answered_at, now)
            self._failures_in_a_row, self._lost_in_a_row = 0, 0.0
            if started is not None and started >= self._answered_at:
                self._answers.append(now - started)
            average = sum(self._answers) / _SLOW_REQUESTS
            if len(self._answers) == _SLOW_REQUESTS and average > _SLOW_SECONDS:
                self._switch_off(f"it answers too slowly, in {average:.1f} s on average")

    def _failed(self, error: RemoteError | OSError, started: float, *, last: bool) -> RemoteError:
        """Counts a failure of what began at `started`, the `last` if nobody tries again; gives it to be raised."""
        failure = error if isinstance(error, RemoteError) else RemoteError(error.strerror or str(error))
        with self._lock:
            if self._is_off.is_set():
                return failure
            self._reason = failure.message
            self._given_up += last
            if failure.writing:
                self._stop_writing(failure)
            elif failure.lasting:
                self._switch_off(failure.message, failure.hint)
            elif started >= self._failed_at:
                # Of many requests that go on at once and fail together one counts: they met the same trouble.
                self._count(self._clock(), started, last=last)
        return failure

    def _count(self, now: float, started: float, *, last: bool) -> None:
        seconds = now - started
        self._failed_at = now
        answered = self._answered_at <= now
        self._failures_in_a_row += last or not answered
        self._lost_in_a_row += seconds
        self._lost += seconds
        if answered:
            too_long = self._lost_in_a_row >= _MOST_SECONDS_IN_A_ROW
        else:
            # The next failure will take as long.
            too_long = self._lost_in_a_row + seconds >= _MOST_SECONDS_UNANSWERED
        if too_long or self._lost >= _MOST_SECONDS or self._failures_in_a_row >= _MOST_FAILURES:
            self._switch_off(self._reason)

    def _stop_writing(self, failure: RemoteError) -> None:
        if self._writes:
            self._writes = False
            reason = self._told(failure.message, failure.hint)
            self._warn(f"nothing more is put into {self._name} by this build: {reason}")

    def _switch_off(self, reason: str, hint: str | None = None) -> None:
        if not self._is_off.is_set():
            self._reason = reason
            self._is_off.set()
            told = self._told(reason, hint)
            self._warn(f"{self._name} is not used for the rest of this build: {told}")

    def _told(self, reason: str, hint: str | None) -> str:
        """A reason without the URL it begins with, which is in the name already, and what puts it right."""
        short = reason.removeprefix(self._name.rpartition(" ")[2]).lstrip(": ")
        return f"{short}; {hint}" if hint else short


def _opened(pieces: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first piece and the others: what fails before there is a piece may be asked for again."""
    pieces = iter(pieces)
    return next(pieces, b""), pieces


def _read_here(pieces: Pieces) -> Iterator[bytes]:
    """The pieces; what fails in reading them is no failure of the remote cache."""
    try:
        yield from pieces()
    except OSError as error:
        raise MissingBlobError(f"content cannot be read: {error.strerror or error}") from error
