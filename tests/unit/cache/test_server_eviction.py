from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.cache import server_eviction
from kitbuild.cache.action_result import blob_digest
from kitbuild.cache.reapi_messages import ActionResult, OutputFile
from kitbuild.cache.server_eviction import GRACE_SECONDS, Drop, Evictor, File, Survey, drops, survey
from kitbuild.cache.server_metrics import Metrics
from kitbuild.cache.server_storage import Name, Storage, on_disk
from kitbuild.cache.server_uploads import Upload
from kitbuild.digest import Digest

NOW = 1_000_000.0
HOUR = 3600.0


def found(
    *, results: dict[str, tuple[float, tuple[str, ...] | None]], content: dict[str, tuple[float, int]]
) -> Survey:
    """Results as name to (hours since their use, needs), of ten bytes; content as name to (hours, bytes)."""
    return Survey(
        tuple(File(name, 10, NOW - hours * HOUR) for name, (hours, _) in results.items()),
        {name: File(name, size, NOW - hours * HOUR) for name, (hours, size) in content.items()},
        {name: needs for name, (_, needs) in results.items()},
    )


def dropped(survey: Survey, goal_bytes: float) -> list[str]:
    return [drop.file.path for drop in drops(survey, goal_bytes=goal_bytes, now=NOW)]


def test_nothing_goes_while_there_is_room() -> None:
    there = found(results={"r": (9, ("a",))}, content={"a": (9, 100), "loose": (9, 100)})

    assert [] == dropped(there, there.bytes)


def test_result_used_longest_ago_goes_with_its_content() -> None:
    there = found(
        results={"new": (1, ("a",)), "old": (5, ("b", "c"))},
        content={"a": (1, 100), "b": (5, 100), "c": (5, 100)},
    )

    assert ["old", "b", "c"] == dropped(there, there.bytes - 1)


def test_content_that_another_result_needs_stays() -> None:
    there = found(
        results={"new": (1, ("a", "b")), "old": (5, ("b",))}, content={"a": (1, 100), "b": (5, 100)}
    )

    assert ["old"] == dropped(there, there.bytes - 1)


def test_content_goes_with_the_last_result_that_needs_it() -> None:
    there = found(results={"new": (1, ("a",)), "old": (5, ("a",))}, content={"a": (5, 100)})

    assert ["old", "new", "a"] == dropped(there, there.bytes - 11)


def test_content_without_a_result_goes_by_its_own_use() -> None:
    there = found(results={"r": (5, ("a",))}, content={"a": (5, 100), "older": (6, 100), "newer": (4, 100)})

    assert ["older"] == dropped(there, there.bytes - 100)
    assert ["older", "r", "a"] == dropped(there, there.bytes - 101)


def test_content_whose_result_may_be_on_its_way_stays() -> None:
    there = found(
        results={"r": (0.1, ("a",)), "s": (0.2, ("b",))},
        content={"a": (0.1, 400), "b": (0.2, 400), "uploaded": (0.5, 100)},
    )

    assert ["s", "b"] == dropped(there, 510)
    assert ["s", "b", "r", "a"] == dropped(there, 400)
    assert ["uploaded", "s", "b", "r", "a"] == dropped(there, 399)


def test_uploads_that_no_result_follows_do_not_push_out_everything() -> None:
    uploads = {f"uploaded{number}": (0.5 - number / 100, 100) for number in range(10)}
    there = found(results={"r": (0.45, ("a",))}, content={"a": (0.45, 100), **uploads})

    gone = dropped(there, 900)

    assert [f"uploaded{number}" for number in range(3)] == gone


def test_content_used_after_its_result_does_not_go_with_it() -> None:
    there = found(results={"r": (9, ("a", "b"))}, content={"a": (9, 100), "b": (2, 100)})

    assert ["r", "a"] == dropped(there, 100)
    assert ["r", "a", "b"] == dropped(there, 0)


@pytest.mark.parametrize("needs", [None, ("gone",)], ids=["folder-gone", "content-gone"])
def test_result_whose_content_is_gone_goes_though_there_is_room(needs: tuple[str, ...] | None) -> None:
    there = found(results={"broken": (2, needs), "whole": (9, ("a",))}, content={"a": (9, 100)})

    assert ["broken"] == dropped(there, there.bytes)


def test_result_whose_content_may_be_on_its_way_stays() -> None:
    there = found(results={"early": (0.5, ("coming",))}, content={})

    assert [] == dropped(there, 100)


names = st.sampled_from([f"blob{number}" for number in range(8)])
hours = st.integers(0, 480).map(lambda tenths: tenths / 10)
contents = st.dictionaries(names, st.tuples(hours, st.integers(0, 1000)))
needs = st.none() | st.lists(names, max_size=4, unique=True).map(tuple)
results = st.dictionaries(
    st.sampled_from([f"result{number}" for number in range(8)]), st.tuples(hours, needs)
)


@settings(max_examples=60, deadline=None)
@given(contents, results, st.integers(0, 8000))
def test_no_result_that_stays_loses_content(
    content: dict[str, tuple[float, int]],
    results: dict[str, tuple[float, tuple[str, ...] | None]],
    goal_bytes: int,
) -> None:
    there = found(results=results, content=content)

    gone = dropped(there, goal_bytes)

    assert len(gone) == len(set(gone))
    for name, (_, needed) in results.items():
        if name not in gone:
            assert not set(needed or ()) & set(gone)


@settings(max_examples=60, deadline=None)
@given(contents, results, st.integers(0, 8000))
def test_there_is_room_afterwards_and_no_more_than_needed(
    content: dict[str, tuple[float, int]],
    results: dict[str, tuple[float, tuple[str, ...] | None]],
    goal_bytes: int,
) -> None:
    there = found(results=results, content=content)
    planned = drops(there, goal_bytes=goal_bytes, now=NOW)

    left = there.bytes - sum(drop.file.size for drop in planned)
    assert left <= goal_bytes
    wanted = [
        drop for drop in planned if drop.kind == "cas" or not _is_useless(results[drop.file.path], content)
    ]
    assert not wanted or left + sum(drop.file.size for drop in _last_group(wanted, results)) > goal_bytes


@settings(max_examples=60, deadline=None)
@given(contents, results, st.integers(0, 8000))
def test_results_go_in_the_order_of_their_last_use(
    content: dict[str, tuple[float, int]],
    results: dict[str, tuple[float, tuple[str, ...] | None]],
    goal_bytes: int,
) -> None:
    there = found(results=results, content=content)
    kept = {name for name, result in results.items() if not _is_useless(result, content)}
    used = {file.path: file.used for file in there.results}

    gone = [name for name in dropped(there, goal_bytes) if name in kept]

    assert [used[name] for name in gone] == sorted(used[name] for name in gone)
    stayed = [used[name] for name in kept - set(gone)]
    assert not gone or not stayed or used[gone[-1]] <= min(stayed)


def _is_useless(result: tuple[float, tuple[str, ...] | None], content: dict[str, tuple[float, int]]) -> bool:
    """True if it lacks content and is too old to be given it."""
    age, needed = result
    return age * HOUR > GRACE_SECONDS and (needed is None or not set(needed) <= set(content))


def _last_group(wanted: list[Drop], results: dict[str, tuple[float, tuple[str, ...] | None]]) -> list[Drop]:
    """The last thing that was given up: content of its own, or a result with what went with it."""
    for start in range(len(wanted) - 1, -1, -1):
        path = wanted[start].file.path
        if path in results:
            with_it = {drop.file.path for drop in wanted[start + 1 :]} <= set(results[path][1] or ())
            return wanted[start:] if with_it else wanted[-1:]
    return wanted[-1:]


# What is on the disk.


def put(storage: Storage, content: bytes) -> Digest:
    digest = Digest.of(content)
    _write(storage, Name("", "cas", digest.hex), content)
    return digest


def keep(storage: Storage, key: str, *needed: Digest, namespace: str = "") -> str:
    files = tuple(OutputFile(path=digest.hex, digest=blob_digest(digest)) for digest in needed)
    name = Name(namespace, "ac", hashlib.sha256(key.encode()).hexdigest())
    _write(storage, name, ActionResult(output_files=files, stdout_raw=b"out").encode())
    return storage.path(name)


def _write(storage: Storage, name: Name, content: bytes) -> None:
    upload = Upload(storage, name)
    upload.write(content)
    upload.commit()
    upload.close()


def test_survey_finds_results_of_all_namespaces_and_their_needs(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    one, two = put(storage, b"one"), put(storage, b"two" * 5000)
    plain, inner = keep(storage, "plain", one), keep(storage, "inner", one, two, namespace="pr-1/x")
    folder = keep(storage, "folder", Digest.of(b""))
    (tmp_path / "cas" / "notes.txt").write_text("of somebody else")
    (tmp_path / "upload-left").write_text("half")

    there = survey(storage)

    paths = {digest: storage.path(Name("", "cas", digest.hex)) for digest in (one, two)}
    assert {plain, inner, folder} == {file.path for file in there.results}
    assert {plain: (paths[one],), inner: (paths[one], paths[two]), folder: ()} == there.needs
    assert {paths[one]: 4096, paths[two]: 4096 * 4} == {
        path: file.size for path, file in there.content.items()
    }
    assert storage.bytes == there.bytes == 4096 * 8
    storage.close()


def test_survey_counts_what_is_no_result_as_broken(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    name = Name("", "ac", "ab" * 32)
    _write(storage, name, b"hello")

    there = survey(storage)

    assert {storage.path(name): None} == there.needs
    storage.close()


def test_survey_gives_the_last_use(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    path = storage.path(Name("", "cas", put(storage, b"one").hex))
    os.utime(path, (NOW, NOW))

    (file,) = survey(storage).content.values()

    assert File(path, on_disk(3), NOW) == file
    assert time.time() > file.used
    storage.close()


# Making room while others use what is there.


class Room:
    """Five results some time apart, of 12 KiB each with their content, for a server that takes 40 KiB."""

    def __init__(self, folder: Path, *, step: float = HOUR) -> None:
        self.storage = Storage(folder)
        self.contents = [put(self.storage, b"%d" % number * 5000) for number in range(5)]
        self.results = [
            keep(self.storage, f"{number}", digest) for number, digest in enumerate(self.contents)
        ]
        for number in range(5):
            for path in (self.results[number], self.path(number)):
                used = time.time() - (10 - number) * step
                os.utime(path, (used, used))
        self.metrics = Metrics()
        self.said: list[str] = []

    def path(self, number: int) -> str:
        return self.storage.path(Name("", "cas", self.contents[number].hex))

    def touch(self, path: str) -> None:
        status = self.storage.status(path)
        assert status
        self.storage.touch(path, status)

    def sweep(self) -> list[int]:
        """Makes room; gives which results are left, each with its content."""

        async def run() -> None:
            await Evictor(self.storage, 40 << 10, self.metrics, self.said.append).sweep()

        asyncio.run(run())
        left = [number for number, path in enumerate(self.results) if Path(path).exists()]
        assert all(Path(self.path(number)).exists() for number in left)
        return left


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path)
    yield room
    room.storage.close()


def between(room: Room, monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Lets something happen after it was decided what to drop, and before it is."""

    def decided(*arguments: Any, **options: Any) -> list[Drop]:
        planned = drops(*arguments, **options)
        happens()
        return planned

    monkeypatch.setattr(server_eviction, "drops", decided)


def test_sweep_leaves_some_room(room: Room) -> None:
    left = room.sweep()

    assert [2, 3, 4] == left
    assert (36 << 10, 3, 3) == (room.storage.bytes, room.storage.counts["ac"], room.storage.counts["cas"])
    assert {"ac": 2, "cas": 2} == room.metrics.evictions
    assert 24 << 10 == room.metrics.evicted_bytes
    assert room.storage.used is None


def test_result_that_is_given_meanwhile_stays_with_its_content(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(room, monkeypatch, lambda: room.touch(room.results[0]))

    assert [0, 2, 3, 4] == room.sweep()


def test_use_shortly_after_another_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(tmp_path, step=1.0)
    between(room, monkeypatch, lambda: room.touch(room.results[0]))

    assert [0, 2, 3, 4] == room.sweep()
    room.storage.close()


def test_result_that_another_program_uses_meanwhile_stays_with_its_content(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    between(room, monkeypatch, lambda: os.utime(room.results[1]))

    assert [1, 2, 3, 4] == room.sweep()


def test_content_that_is_asked_for_meanwhile_stays(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    between(room, monkeypatch, lambda: room.touch(room.path(0)))

    assert [2, 3, 4] == room.sweep()
    assert Path(room.path(0)).exists()


def test_content_that_is_uploaded_again_meanwhile_stays(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    between(room, monkeypatch, lambda: put(room.storage, b"0" * 5000))

    room.sweep()

    assert Path(room.path(0)).exists()


def test_what_comes_while_it_looks_is_counted_once(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def surveyed(storage: Storage) -> Survey:
        early = put(storage, b"early")
        found = survey(storage)
        keep(storage, "late", early)
        return found

    monkeypatch.setattr(server_eviction, "survey", surveyed)
    left = room.sweep()

    assert [3, 4] == left
    assert (2 * 12 + 8) << 10 == room.storage.bytes == survey(room.storage).bytes
    assert (3, 3) == (room.storage.counts["ac"], room.storage.counts["cas"])


def test_folder_that_is_small_enough_is_only_counted(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    keep(storage, "one", put(storage, b"one"))
    storage.bytes = 0

    async def run() -> None:
        await Evictor(storage, 8 << 10, Metrics(), print).sweep()

    asyncio.run(run())

    assert (8 << 10, 1, 1) == (storage.bytes, storage.counts["ac"], storage.counts["cas"])
    storage.close()
