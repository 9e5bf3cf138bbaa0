"""Several processes share one cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cache.gc import collect, info, verify
from tests.support.cache_processes import build_under_lease, complain, hammer, key_of, processes, result_of

pytestmark = pytest.mark.integration


def test_processes_that_hammer_one_cache_never_see_a_wrong_result(tmp_path: Path) -> None:
    with processes(4) as pool:
        futures = [
            pool.submit(hammer, tmp_path / "cache", seed, rounds=300, numbers=200) for seed in range(4)
        ]
        found = sum(future.result() for future in futures)

    assert found > 0
    store = open_directory(tmp_path / "cache", warn=complain)
    report = verify(store)
    assert (report.wrong, report.dropped_results) == ((), 0)
    assert info(store).leftovers == 0


def test_processes_open_a_new_cache_at_the_same_time(tmp_path: Path) -> None:
    with processes(4) as pool:
        for turn in range(20):
            futures = [pool.submit(hammer, tmp_path / str(turn), 0, rounds=1, numbers=1) for _ in range(4)]
            for future in futures:
                future.result()

    stores = [open_directory(tmp_path / str(turn), warn=complain) for turn in range(20)]
    assert [store.result(key_of(0)) for store in stores] == [result_of(0)] * 20


def test_clean_up_never_takes_what_a_running_build_was_told_about(tmp_path: Path) -> None:
    store = open_directory(tmp_path / "cache", warn=complain)
    dropped = 0

    # One build: it makes the blobs look old between its leases, those of another would not be its to touch.
    with processes(1) as pool:
        building = pool.submit(build_under_lease, tmp_path / "cache", 1, leases=60, numbers=60)
        while not building.done():
            dropped += collect(store, max_bytes=0).dropped_blobs
        vanished = building.result()

    assert vanished == []
    # The clean-up must have had something to take.
    assert dropped > 100
