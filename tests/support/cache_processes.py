"""Processes that use one cache at the same time, for tests; each function runs in a process of its own.

What they build is told by a number, so that a test can say what every key must lead to.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from kitbuild.cache import index as _index  # noqa: F401 (loaded before a fork, so that a child begins at once)
from kitbuild.cache.directory import DirectoryStore, open_directory
from kitbuild.cache.gc import collect
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result

T = TypeVar("T")


def content_of(number: int) -> bytes:
    """The content of this number: from some bytes to 300 KB."""
    return b"%d," % number * (1 + number * 7919 % 50_000)


def key_of(number: int) -> Key:
    """The key of this number."""
    return Key(f"{number:064x}")


def result_of(number: int) -> Result:
    """What the key of this number leads to: its content, which refers to the content of the next number."""
    return Result(Artifact("tree", Digest.of(content_of(number))), (Digest.of(content_of(number + 1)),), 0.5)


def build(store: DirectoryStore, number: int) -> None:
    """Commits the content of the number's result and records it."""
    for content in (content_of(number), content_of(number + 1)):
        with store.writer() as writer:
            for start in range(0, len(content), 50_000):
                writer.write(content[start : start + 50_000])
            writer.commit()
    store.record(key_of(number), result_of(number))


def processes(count: int) -> ProcessPoolExecutor:
    """A pool of fresh processes; nothing of the test's own process is forked."""
    return ProcessPoolExecutor(count, mp_context=get_context("spawn"))


def alone(function: Callable[..., T], *arguments: object) -> T:
    """What the function gives in a process of its own."""
    with processes(1) as pool:
        future: Future[T] = pool.submit(function, *arguments)
        return future.result()


def complain(message: str) -> None:
    """A warning is an error here."""
    raise AssertionError(message)


def kill_builds(folder: Path, kills: int, *, numbers: int, clean_up: bool, seed: int) -> list[str]:
    """Starts a build and kills it with SIGKILL at a random moment, `kills` times; gives the complaints of builds."""
    chance = random.Random(seed)
    complaints = []
    for turn in range(kills):
        child = os.fork()
        if child == 0:
            _build_until_killed(folder, random.Random(seed + turn), numbers=numbers, clean_up=clean_up)
        # Some die while they open the cache, most in the midst of their work.
        time.sleep(chance.uniform(0.001, 0.06))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            complaints.append(f"build {turn} ended with {status}: {_trace(folder).read_text()}")
    return complaints


def kill_openings(folder: Path, kills: int, seed: int) -> None:
    """Kills builds while they make their cache, each in a folder of its own named 0, 1, ..."""
    chance = random.Random(seed)
    for turn in range(kills):
        child = os.fork()
        if child == 0:
            _build_until_killed(folder / str(turn), chance, numbers=3, clean_up=False)
        time.sleep(chance.uniform(0.001, 0.012))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _build_until_killed(folder: Path, chance: random.Random, *, numbers: int, clean_up: bool) -> None:
    try:
        store = open_directory(folder, warn=complain)
        with store.lease():
            while True:
                number = chance.randrange(numbers)
                build(store, number)
                assert store.result(key_of(number)) == result_of(number)
                assert not store.missing(result_of(number).content())
                store.keep("node", str(number), content_of(number)[:1000])
                if clean_up and chance.random() < 0.2:
                    collect(store, max_bytes=1_000_000)
    except BaseException:
        _trace(folder).write_text(traceback.format_exc())
    os._exit(3)


def _trace(folder: Path) -> Path:
    return folder.parent / "trace"


def hammer(folder: Path, seed: int, *, rounds: int, numbers: int) -> int:
    """Builds and asks at random; gives how often somebody else's result was found."""
    chance = random.Random(seed)
    store = open_directory(folder, warn=complain)
    found = 0
    for _ in range(rounds):
        number = chance.randrange(numbers)
        result = store.result(key_of(number))
        if result is None:
            build(store, number)
        else:
            found += 1
            assert result == result_of(number)
            assert not store.missing(result.content())
            assert store.path(result.artifact.digest).read_bytes() == content_of(number)
        store.keep("node", str(number), content_of(number)[:100])
        assert store.note("node", str(number)) == content_of(number)[:100]
    return found


def build_under_lease(folder: Path, seed: int, *, leases: int, numbers: int) -> list[str]:
    """Builds in lease after lease what is not there; gives what vanished though the build had been told about it."""
    chance = random.Random(seed)
    store = open_directory(folder, warn=complain)
    vanished = []
    for lease in range(leases):
        age(store)
        with store.lease():
            told: set[Digest] = set()
            for _ in range(30):
                number = chance.randrange(numbers)
                result = store.result(key_of(number))
                if result is None or store.missing(result.content()):
                    build(store, number)
                told.update(result_of(number).content())
                vanished += [f"lease {lease}: {digest}" for digest in told if not _there(store, digest)]
    return vanished


def age(store: DirectoryStore) -> None:
    """Makes every blob look unused for two days; a clean-up may be at work."""
    used = time.time() - 2 * 24 * 3600
    for blob in store.blobs.all():
        try:
            os.utime(store.blobs.file(blob.hex), (used, used))
        except FileNotFoundError:
            continue


def _there(store: DirectoryStore, digest: Digest) -> bool:
    # Asking the store would count as a use.
    return Path(store.blobs.file(digest.hex)).exists()


def write_beyond_a_limit(folder: Path, max_bytes: int) -> tuple[str, list[str]]:
    """Writes a blob of twice `max_bytes` where no file may be larger; gives the error and what is left in `tmp/`."""
    store = open_directory(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))
    try:
        with store.writer() as writer:
            writer.write(b"x" * (2 * max_bytes))
            writer.commit()
    except StoreError as error:
        return str(error), [path.name for path in (folder / "tmp").iterdir()]
    return "no error", []


def open_as_nobody(folder: Path) -> str:
    """The error a user without rights gets who opens the cache."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    try:
        open_directory(folder, warn=complain)
    except StoreError as error:
        return f"{error} ({error.hint})"
    return "no error"
