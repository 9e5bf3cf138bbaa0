"""Leases and the lock of a cache folder: how a clean-up and running builds keep out of each other's way.

    lock                    empty; flock shared for an instant by who uses or adds, exclusive by who removes
    leases/<pid>-<random>   one for each running build, under flock as long as it runs; inside: the build's start,
                            seconds since 1970

The kernel drops a flock when its process ends in any way, so a lease that can be locked belongs to a build that
is dead. The number in its name is for people only: process numbers are reused, and differ between containers.

The promise to a build that holds a lease: content it was told about (by `missing`, `path` or `result`) or has
committed stays until the lease ends. It rests on four things:

- Each use gives a file a fresh time unless it has one of the last hour (FRESH_SECONDS), so everything a build
  was told about has a time later than the start of its lease less that hour.
- A clean-up removes under the exclusive lock only, looks at the leases and at the file's time again after it
  got the lock, and leaves everything alone that is younger than the oldest living lease less that hour.
- A file gets its fresh time, and its place, under the shared lock. So the clean-up has either removed it
  before, and the build is told that it is missing, or sees the fresh time.
- A lease begins under the shared lock too: no clean-up can have overlooked it.

Every lock here opens the file anew. A flock belongs to the open file, not to the thread: on a file shared by
two threads, or with a forked child, the first to unlock would unlock for both.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kitbuild.cache.failure import failure

# How old a file's time may be before a use writes a new one: a build with nothing to do shall write nothing.
FRESH_SECONDS = 3600


class Leases:
    """The leases and the lock of the cache at `folder`, which must be on a local file system."""

    def __init__(self, folder: Path) -> None:
        self._lock = str(folder / "lock")
        self._folder = folder / "leases"
        self._folder.mkdir(mode=0o700, exist_ok=True)

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Keeps clean-ups out; to be held for an instant."""
        with _locked(self._lock, fcntl.LOCK_SH):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keeps everyone out who adds or uses; to be held briefly, builds wait for it."""
        with _locked(self._lock, fcntl.LOCK_EX):
            yield

    @contextmanager
    def hold(self) -> Iterator[None]:
        """A lease, as long as the `with` lasts; raises StoreError."""
        path = self._folder / f"{os.getpid()}-{os.urandom(8).hex()}"
        try:
            with self.shared():
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # On a full disk it stays empty, which protects more than it need.
                with suppress(OSError):
                    os.write(descriptor, b"%.6f\n" % time.time())
        except OSError as error:
            raise failure(self._folder.parent, error) from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(descriptor)

    def starts(self) -> list[float]:
        """When the builds that run now began, in seconds since 1970; removes the leases of dead builds.

        Call it under the exclusive lock: a lease that is just being made would look dead.
        """
        return [start for path in self._folder.iterdir() if (start := _start(path)) is not None]


def abandoned(path: Path) -> bool:
    """True if the process that made and locked the file at `path` has ended."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


@contextmanager
def _locked(path: str, operation: int) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _start(path: Path) -> float | None:
    if abandoned(path):
        path.unlink(missing_ok=True)
        return None
    try:
        return float(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        # Alive but unreadable: nothing may be removed as long as it lives.
        return 0.0
