"""Uploads: results kept in a remote cache in the background, while the build goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from queue import SimpleQueue
from typing import NamedTuple, Protocol

from kitbuild.cache.keeper import Keeper
from kitbuild.cache.link import Link
from kitbuild.cache.remote import Remote
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.store import Notes, Result, Store

_MOST_AT_ONCE = 4
# How long what is known to be there is not asked for again: a day's builds, then the server may have been emptied.
_KNOWN_SECONDS = 24 * 3600
# How long the end of a build waits without any progress, and in all.
_PATIENCE_SECONDS = 10.0
_MOST_SECONDS = 300.0
_LOOK_SECONDS = 0.2


class LocalStore(Store, Notes, Protocol):
    """The local cache: a DirectoryStore, or a MemoryStore in tests."""

    def lease(self) -> AbstractContextManager[None]:
        """Keeps what this build uses from being cleaned up."""

    def close(self) -> None:
        """Closes what this thread has open."""


class _Task(NamedTuple):
    """A result to be kept; an `old` one may be there already, one to be kept `again` is, without a dense form."""

    key: Key
    result: Result
    old: bool
    again: bool = False


class Uploads:
    """Keeps results of `local` in `remote`; until it is their turn only their names are held in memory.

    `local` notes which results are in the remote cache called `name`.
    """

    def __init__(
        self, local: LocalStore, remote: Remote, link: Link, *, warn: Callable[[str], None], name: str
    ) -> None:
        self._local = local
        self._link = link
        self._warn = warn
        self._name = name
        self._keeper = Keeper(local, remote, link)
        self._queue: SimpleQueue[_Task | None] = SimpleQueue()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._pending = 0
        self._failed = 0
        self._advanced = link.clock()
        self._stopped = False
        self._offered: set[Key] = set()
        # What may go up with a dense form once its content is here; None when it is too late for that.
        self._later: list[_Task] | None = []

    def add(self, key: Key, result: Result) -> None:
        """A new result, to be kept."""
        self._offered.add(key)
        self._take(_Task(key, result, old=False))

    def offer(self, key: Key, result: Result) -> None:
        """A result of an earlier build, to be kept unless it is known to be there."""
        if key in self._offered or self._is_known(key):
            return
        self._offered.add(key)
        self._take(_Task(key, result, old=True))

    def remember(self, key: Key) -> None:
        """Notes that the result is there."""
        self._local.keep("uploaded", self._note_name(key), b"%d" % time.time())

    @property
    def pending(self) -> int:
        """How many results still wait, or are on their way."""
        return self._pending

    def finish(self) -> int:
        """Waits as long as there is progress, some minutes at most; gives how many results were not kept."""
        started = self._link.clock()
        try:
            with self._changed:
                later, self._later = self._later, None
            # By now more content may be here: that of outputs.
            for task in later or ():
                self._take(task._replace(old=False, again=True))
            with self._changed:
                while self._pending and self._is_worth_waiting(started):
                    self._changed.wait(_LOOK_SECONDS)
                given_up, left = self._pending, self._pending + self._failed
        finally:
            self._stopped = True
        if given_up:
            self._warn("gave up keeping results in the remote cache: it takes too long")
        return left

    def stop(self) -> bool:
        """Ends what waits; True if nothing goes on any more."""
        self._stopped = True
        for _ in self._threads:
            self._queue.put(None)
        if self._pending:
            return False
        for thread in self._threads:
            thread.join()
        return True

    def _is_worth_waiting(self, started: float) -> bool:
        now = self._link.clock()
        progressed = max(started, self._advanced, self._link.up.progressed)
        return now - progressed < _PATIENCE_SECONDS and now - started < _MOST_SECONDS

    def _is_known(self, key: Key) -> bool:
        noted = self._local.note("uploaded", self._note_name(key))
        return noted is not None and noted.isdigit() and abs(time.time() - int(noted)) < _KNOWN_SECONDS

    def _note_name(self, key: Key) -> str:
        return f"{self._name}\0{key.hex}"

    def _take(self, task: _Task) -> None:
        self._keeper.made(task.result)
        with self._changed:
            self._pending += 1
            if len(self._threads) < _MOST_AT_ONCE:
                thread = threading.Thread(target=self._run, name="kitbuild-upload", daemon=True)
                self._threads.append(thread)
                thread.start()
        self._queue.put(task)

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            kept = False
            try:
                if not self._stopped:
                    self._keep(task)
                    kept = True
            except (StoreError, OSError):
                # Who guards the remote cache says why; here it counts as not kept.
                pass
            finally:
                with self._changed:
                    self._pending -= 1
                    self._failed += not kept
                    self._advanced = self._link.clock()
                    self._changed.notify_all()
        self._local.close()

    def _keep(self, task: _Task) -> None:
        there = task.old and self._keeper.has(task.key)
        if not there and not self._keeper.keep(task.key, task.result, again=task.again):
            with self._changed:
                if self._later is not None:
                    self._later.append(task)
        self.remember(task.key)
