"""Streams of gRPC that end when they stall: gRPC itself has deadlines for whole calls only."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kitbuild.cache.protobuf import Message

# How often a call is looked at while somebody waits for it.
_LOOK_SECONDS = 0.05
_WATCH_SECONDS = 0.2


class StalledError(Exception):
    """Nobody takes what is sent."""


class Sending:
    """Requests on their way out, encoded, taken by a thread of gRPC's.

    Each is to be taken `stall_seconds` after the one before, the answer to come `last_seconds` after the last one.
    """

    def __init__(self, requests: Iterable[Message], stall_seconds: float, last_seconds: float) -> None:
        self._requests = iter(requests)
        self._stall_seconds = stall_seconds
        self._last_seconds = last_seconds
        self._moved = time.monotonic()
        self._is_done = False
        self._stopped = threading.Event()
        self._error: Exception | None = None

    def __iter__(self) -> Sending:
        return self

    def __next__(self) -> bytes:
        if self._stopped.is_set():
            raise StopIteration
        try:
            encoded = next(self._requests).encode()
        except StopIteration:
            self._is_done = True
            raise
        # Whatever it is, it belongs to the thread that waits for the answer; gRPC would log and forget it.
        except Exception as error:
            self._error = error
            # Not the end of the requests, as it would be if this returned: the call is cancelled now.
            self._stopped.wait()
            raise StopIteration from None
        finally:
            self._moved = time.monotonic()
        return encoded

    def answer(self, call: Any, timed_out: type[Exception]) -> bytes:
        """The answer to the call that takes them; raises what the requests raise, and StalledError.

        `timed_out` is what gRPC raises when an answer is not there yet.
        """
        while True:
            try:
                answer: bytes = call.result(timeout=_LOOK_SECONDS)
            except timed_out:
                self._check()
            else:
                return answer

    def stop(self) -> None:
        """Gives no more requests."""
        self._stopped.set()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if time.monotonic() - self._moved > (self._last_seconds if self._is_done else self._stall_seconds):
            raise StalledError("no answer came in time" if self._is_done else "no data was taken in time")


class Watch:
    """Cancels calls that somebody waits for too long: gRPC has deadlines for whole calls only."""

    def __init__(self) -> None:
        # Setting and removing an item of a dict is atomic.
        self._deadlines: dict[Any, float] = {}
        self._cancelled: set[Any] = set()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def over(self, call: Any, seconds: float) -> Iterator[None]:
        """Watches over the call while the block runs."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="kitbuild-watch", daemon=True)
                self._thread.start()
        self._deadlines[call] = time.monotonic() + seconds
        try:
            yield
        finally:
            del self._deadlines[call]

    def has_cancelled(self, call: Any) -> bool:
        """Whether the call ended that way."""
        return call in self._cancelled

    def stop(self) -> None:
        """Ends the watch."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(_WATCH_SECONDS):
            now = time.monotonic()
            for call, deadline in list(self._deadlines.items()):
                if deadline < now:
                    self._cancelled.add(call)
                    call.cancel()
