"""Builds killed with SIGKILL at random moments leave a cache that nobody complains about."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cache.directory import open_directory
from kitbuild.cache.gc import collect, info, verify
from tests.support.cache_processes import (
    alone,
    build,
    complain,
    content_of,
    key_of,
    kill_builds,
    kill_openings,
    result_of,
)

pytestmark = pytest.mark.integration

NUMBERS = 300


def _killed(folder: Path, kills: int, clean_up: bool) -> list[str]:
    return kill_builds(folder, kills, numbers=NUMBERS, clean_up=clean_up, seed=kills)


def test_two_hundred_killed_builds_leave_a_sound_cache(tmp_path: Path) -> None:
    complaints = alone(_killed, tmp_path / "cache", 220, False)

    assert complaints == []
    store = open_directory(tmp_path / "cache", warn=complain)
    # There must have been something to kill.
    assert info(store).results > 50
    found = [number for number in range(NUMBERS) if store.result(key_of(number)) is not None]
    assert [store.result(key_of(number)) for number in found] == [result_of(number) for number in found]
    # Content is committed before its result is recorded.
    assert set().union(*(store.missing(result_of(number).content()) for number in found)) == set()
    assert {store.note("node", str(number)) for number in range(NUMBERS)} <= {
        None,
        *(content_of(number)[:1000] for number in range(NUMBERS)),
    }
    report = verify(store)
    assert (report.wrong, report.dropped_results) == ((), 0)
    assert collect(store).dropped_leftovers > 0
    assert info(store).leftovers == 0
    assert list((tmp_path / "cache" / "leases").iterdir()) == []


def test_builds_killed_while_they_make_their_cache_leave_a_usable_one(tmp_path: Path) -> None:
    alone(kill_openings, tmp_path / "caches", 100, 1)

    for turn in range(100):
        store = open_directory(tmp_path / "caches" / str(turn), warn=complain)
        assert verify(store).wrong == ()
        build(store, 0)
        assert store.result(key_of(0)) == result_of(0)
        store.close()


def test_builds_killed_during_a_clean_up_leave_a_sound_cache(tmp_path: Path) -> None:
    complaints = alone(_killed, tmp_path / "cache", 60, True)

    assert complaints == []
    store = open_directory(tmp_path / "cache", warn=complain)
    assert verify(store).wrong == ()
    found = [number for number in range(NUMBERS) if store.result(key_of(number)) is not None]
    assert [store.result(key_of(number)) for number in found] == [result_of(number) for number in found]
    assert set().union(*(store.missing(result_of(number).content()) for number in found)) == set()
