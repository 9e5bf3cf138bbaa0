"""FaultyRemote: a remote cache that fails as a test says, over a clock that only moves when something takes time.

clock = Clock()
remote = FaultyRemote(MemoryRemote(), clock=clock)
remote.fail("record", RemoteError("refused"), times=2, seconds=1.0)
"""

from __future__ import annotations

import random
import threading
from collections.abc import Collection, Iterator

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key


class Clock:
    """Seconds that pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Fault:
    """What happens to some calls: they take `seconds`, then raise `error`, if any, after `pieces` of content."""

    def __init__(self, error: Exception | None, times: int, *, seconds: float, pieces: int) -> None:
        self.error = error
        self.times = times
        self.seconds = seconds
        self.pieces = pieces


class FaultyRemote:
    """Passes calls on, and notes them in `calls`; those a fault was said for take time, or fail."""

    def __init__(self, inner: Remote, *, clock: Clock | None = None, bytes_per_second: float = 0.0) -> None:
        self.calls: list[tuple[str, object]] = []
        self.closed = False
        self._inner = inner
        self._clock = clock or Clock()
        self._bytes_per_second = bytes_per_second
        self._faults: dict[str, list[Fault]] = {}
        self._lock = threading.Lock()

    def fail(
        self, call: str, error: Exception | None, *, times: int = 1, seconds: float = 0.0, pieces: int = 0
    ) -> None:
        """The next `times` calls of a method, after those said before."""
        self._faults.setdefault(call, []).append(Fault(error, times, seconds=seconds, pieces=pieces))

    def asked(self, call: str) -> list[object]:
        """What a method was called with, in order."""
        return [argument for name, argument in self.calls if name == call]

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        self._meet("missing", frozenset(digests))
        return self._inner.missing(digests)

    def get(self, digest: Digest) -> Iterator[bytes]:
        fault = self._met("get", digest)
        if fault is not None and not fault.pieces:
            self._strike(fault)
        for number, piece in enumerate(self._inner.get(digest), 1):
            self._take(piece)
            yield piece
            if fault is not None and number == fault.pieces:
                self._strike(fault)

    def put(self, digest: Digest, pieces: Pieces) -> None:
        self._meet("put", digest)
        content = list(pieces())
        for piece in content:
            self._take(piece)
        self._inner.put(digest, lambda: content)

    def record(self, key: Key) -> Record | None:
        self._meet("record", key)
        return self._inner.record(key)

    def keep(self, key: Key, record: Record) -> None:
        self._meet("keep", key)
        self._inner.keep(key, record)

    def close(self) -> None:
        self.closed = True
        self._inner.close()

    def _take(self, piece: bytes) -> None:
        if self._bytes_per_second:
            self._clock.now += len(piece) / self._bytes_per_second

    def _meet(self, call: str, argument: object) -> None:
        fault = self._met(call, argument)
        if fault is not None:
            self._strike(fault)

    def _met(self, call: str, argument: object) -> Fault | None:
        with self._lock:
            self.calls.append((call, argument))
            for fault in self._faults.get(call, ()):
                if fault.times:
                    fault.times -= 1
                    return fault
        return None

    def _strike(self, fault: Fault) -> None:
        self._clock.now += fault.seconds
        if fault.error is not None:
            raise fault.error


class RandomlyFaultyRemote:
    """Fails by chance, `odds` of all calls, as a seed says: errors, wrong bytes, too few, lost content."""

    def __init__(self, inner: Remote, seed: int, *, odds: float) -> None:
        self._inner = inner
        self._random = random.Random(seed)
        self._odds = odds
        self._lock = threading.Lock()

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        match self._fate():
            case "error":
                raise RemoteError("cannot say what is missing")
            case "lie":
                return set()
            case "loss":
                return set(digests)
            case _:
                return self._inner.missing(digests)

    def get(self, digest: Digest) -> Iterator[bytes]:
        fate = self._fate()
        content = b"".join(self._inner.get(digest))
        if fate == "loss":
            raise MissingBlobError("gone meanwhile")
        if fate == "lie" and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        middle = len(content) // 2
        yield content[:middle]
        if fate == "error":
            raise RemoteError("the transfer broke off")
        if fate != "short":
            yield content[middle:]

    def put(self, digest: Digest, pieces: Pieces) -> None:
        content = b"".join(pieces())
        match self._fate():
            case "error":
                raise RemoteError("cannot be written to")
            case "loss":
                return
            case "lie" if content:
                content = content[:-1] + bytes([content[-1] ^ 1])
            case "short":
                content = content[: len(content) // 2]
        self._inner.put(digest, lambda: [content])

    def record(self, key: Key) -> Record | None:
        match self._fate():
            case "error":
                raise RemoteError("cannot be read")
            case "loss":
                return None
            case _:
                return self._inner.record(key)

    def keep(self, key: Key, record: Record) -> None:
        match self._fate():
            case "error":
                raise RemoteError("cannot be written to")
            case "loss":
                return
            case _:
                self._inner.keep(key, record)

    def close(self) -> None:
        self._inner.close()

    def _fate(self) -> str:
        with self._lock:
            if self._random.random() >= self._odds:
                return "fine"
            return self._random.choice(("error", "lie", "loss", "short"))
