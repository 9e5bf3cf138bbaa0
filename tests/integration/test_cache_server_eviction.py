"""`kitbuild cache serve --max-size`: what goes when it is full, and what never does."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kitbuild.cache import http as http_remote
from kitbuild.cache.remote import NO_ACCESS, Record, Remote
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import fresh, fresh_key, got, put
from tests.support.command import Site
from tests.support.prometheus import value
from tests.support.served import Served, served

pytestmark = pytest.mark.integration

HOUR = 3600
MOST_BYTES = 4 << 20


def kept(remote: Remote, *, blobs: int = 3, size: int = 40_000) -> tuple[Key, Record]:
    """A new record whose content was put before."""
    artifact, *others = (put(remote, fresh(size)) for _ in range(blobs))
    result = Result(Artifact("extents", artifact), tuple(others), 1.0)
    record = Record(result, result.content())
    key = fresh_key()
    remote.keep(key, record)
    return key, record


def files(server: Served, key: Key, record: Record) -> list[Path]:
    names = [("ac", key.hex), *(("cas", digest.hex) for digest in record.present)]
    return [server.folder / kind / name[:2] / name for kind, name in names]


def age(server: Served, key: Key, record: Record, hours: float) -> None:
    used = time.time() - hours * HOUR
    for file in files(server, key, record):
        os.utime(file, (used, used))


def settled(server: Served, most_bytes: int = MOST_BYTES) -> dict[str, int]:
    """Its status, once it has made room."""
    deadline = time.monotonic() + 20
    while not 0 < (status := server.json("/status"))["bytes"] <= most_bytes:
        assert time.monotonic() < deadline, status
        time.sleep(0.05)
    found: dict[str, int] = status
    return found


def test_what_was_used_longest_ago_goes_as_a_whole(tmp_path: Path) -> None:
    with served(tmp_path / "kept", "--max-size", "4M") as server:
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        records = [kept(remote) for _ in range(30)]
        for number, (key, record) in enumerate(records):
            age(server, key, record, 40 - number)
        # The oldest of all is asked for once more.
        assert remote.record(records[0][0]) is not None

        put(remote, fresh(1_000_000))
        status = settled(server)
        there = [remote.record(key) is not None for key, _ in records]
        left = [[file.exists() for file in files(server, *pair)] for pair in records]
        metrics = server.get("/metrics").body.decode()
        remote.close()

    assert there[0]
    gone = there[1:].index(True)
    assert 3 <= gone <= 15
    assert [False] * gone + [True] * (29 - gone) == there[1:]
    assert all(len(set(each)) == 1 for each in left)
    assert MOST_BYTES * 0.75 < status["bytes"]
    assert gone == value(metrics, "kitbuild_cache_evictions_total", kind="ac")
    assert gone * 3 == value(metrics, "kitbuild_cache_evictions_total", kind="cas")


def test_uses_are_known_after_a_restart(tmp_path: Path) -> None:
    with served(tmp_path / "kept") as server:
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        old, used = kept(remote), kept(remote)
        rest = [kept(remote) for _ in range(35)]
        for hours, pairs in ((10, [old, used]), (5, rest)):
            for pair in pairs:
                age(server, *pair, hours)
        assert remote.record(used[0]) is not None
        remote.close()

    with served(tmp_path / "kept", "--max-size", "4M") as server:
        settled(server)
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        there = [remote.record(key) is not None for key, _ in (old, used)]
        remote.close()

    assert [False, True] == there


def test_content_whose_result_is_on_its_way_stays(tmp_path: Path) -> None:
    with served(tmp_path / "kept", "--max-size", "4M") as server:
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        old = [kept(remote) for _ in range(20)]
        for key, record in old:
            age(server, key, record, 20)
        on_their_way = [put(remote, fresh(100_000)) for _ in range(20)]
        settled(server)

        result = Result(Artifact("tree", on_their_way[0]), tuple(on_their_way[1:]), 1.0)
        key = fresh_key()
        remote.keep(key, Record(result, result.content()))
        found = remote.record(key)
        remote.close()

    assert found is not None


def test_builds_are_right_while_it_drops_what_they_use(tmp_path: Path) -> None:
    """Nothing is kept locally from one to the next."""
    site = Site(tmp_path)
    site.run("build", "linuxkit.yml")
    expected = site.outputs()
    ended = threading.Event()

    def fill() -> None:
        while not ended.wait(0.05):
            server.put(os.urandom(30_000))

    with served(tmp_path / "kept", "--max-size", "5M") as server, ThreadPoolExecutor() as threads:
        for _ in range(140):
            server.put(os.urandom(30_000))
        filling = threads.submit(fill)
        outputs = []
        for _ in range(6):
            shutil.rmtree(tmp_path / "cache")
            site.run("build", "--remote-cache", server.url, "--remote-cache-write", "linuxkit.yml")
            outputs.append(site.outputs())
        ended.set()
        filling.result()
        status = server.json("/status")

    assert [expected] * 6 == outputs
    assert 0 < status["evictions"]
    assert 0 < status["hits"]


@pytest.mark.parametrize("seed", range(2))
def test_no_result_that_is_given_lacks_content_while_clients_fill_it(tmp_path: Path, seed: int) -> None:
    """Each client keeps records and asks for some of everybody's; what it is given it can read at once."""
    known: list[tuple[Key, Record]] = []

    def use(number: int) -> int:
        chance = random.Random(f"{seed} {number}")
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        hits = 0
        until = time.monotonic() + 4
        while time.monotonic() < until:
            known.append(kept(remote, blobs=chance.randint(1, 4), size=chance.choice((100, 9_000, 60_000))))
            key, record = chance.choice(known[-60:])
            found = remote.record(key)
            if found is not None:
                hits += 1
                assert set(record.present) == set(found.present)
                for digest in found.present:
                    assert digest.size == len(got(remote, digest))
        remote.close()
        return hits

    with served(tmp_path / "kept", "--max-size", "8M") as server, ThreadPoolExecutor(4) as threads:
        hits = list(threads.map(use, range(4)))
        status = settled(server, 8 << 20)
        remote = http_remote.open_remote(server.url, NO_ACCESS)
        left = [record for key, _ in known if (record := remote.record(key)) is not None]
        lacking = remote.missing({digest for record in left for digest in record.present})
        remote.close()

    assert min(hits) > 0
    assert 0 < status["evictions"]
    assert 0 < len(left) < len(known)
    assert set() == lacking
    assert [] == [line for line in server.lines() if line["event"] == "error"]
