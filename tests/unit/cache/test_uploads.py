"""Uploads: what is kept in a remote cache, in which form and order, and what is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.cache.link import Traffic
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.cache.tiered import TieredStore
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.extents import Extents, Slice, Zeros
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.faulty_remote import Clock, FaultyRemote
from tests.support.remotes import MemoryRemote

SECONDS = 20  # how long a test waits for another thread before it gives up
KEY, OTHER_KEY = Key("ab" * 32), Key("cd" * 32)
LAYER = bytes(range(256)) * 4096


class Machine:
    """A local cache whose results are kept in a remote one."""

    def __init__(
        self,
        folder: Path,
        remote: Remote | None = None,
        *,
        name: str = "there",
        bytes_per_second: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.memory = MemoryRemote()
        self.faulty = FaultyRemote(remote or self.memory, clock=self.clock, bytes_per_second=bytes_per_second)
        self.local = MemoryStore(folder)
        self.warnings: list[str] = []
        self.name = name
        self.store = self.next_build()

    def next_build(self) -> TieredStore:
        self.faulty.calls.clear()
        self.store = TieredStore(
            self.local,
            self.faulty,
            writes=True,
            warn=self.warnings.append,
            name=self.name,
            clock=self.clock,
        )
        return self.store

    def put(self, content: bytes) -> Digest:
        with self.store.writer() as writer:
            writer.write(content)
            return writer.commit()

    def made(self, kind: str, content: bytes, *blobs: Digest, seconds: float = 1.0) -> Result:
        return Result(Artifact(kind, self.put(content)), blobs, seconds)  # type: ignore[arg-type]

    def finish(self) -> int:
        left = self.store.finish()
        self.store.close()
        return left


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


def contents(machine: Machine) -> set[bytes]:
    return set(machine.memory.content.values())


# -- what is kept


def test_blob_goes_up_with_its_record(machine: Machine) -> None:
    result = machine.made("blob", b"content")

    machine.store.record(KEY, result)
    left = machine.finish()

    assert left == 0
    assert machine.memory.records == {KEY: Record(result, result.content())}
    assert contents(machine) == {b"content"}
    assert machine.local.results([KEY]) == [result]
    assert machine.store.traffic() == Traffic(kept_results=1, kept_blobs=1, kept_bytes=7)


def test_record_comes_after_content_and_references_after_what_they_refer_to(machine: Machine) -> None:
    layer = machine.put(LAYER)
    tree = machine.made("tree", b"a tree", layer)

    machine.store.record(KEY, tree)
    machine.finish()

    assert [(call, argument) for call, argument in machine.faulty.calls if call != "missing"] == [
        ("put", layer),
        ("put", tree.artifact.digest),
        ("keep", KEY),
    ]


def test_existence_is_asked_for_once_a_result_and_remembered(machine: Machine) -> None:
    layer = machine.put(LAYER)
    trees = [machine.made("tree", b"tree %d" % number, layer) for number in range(3)]

    for number, tree in enumerate(trees):
        machine.store.record(Key(f"{number:064x}"), tree)
        while machine.store.traffic().kept_results <= number:
            time.sleep(0.001)
    machine.finish()

    assert machine.faulty.asked("missing") == [
        {layer, trees[0].artifact.digest},
        {trees[1].artifact.digest},
        {trees[2].artifact.digest},
    ]
    assert machine.faulty.asked("put").count(layer) == 1


def test_what_is_there_is_not_put_again_and_counts_as_present(machine: Machine) -> None:
    result = machine.made("blob", b"content")
    machine.memory.put(result.artifact.digest, lambda: [b"content"])

    machine.store.record(KEY, result)
    machine.finish()

    assert machine.faulty.asked("put") == []
    assert machine.memory.records[KEY].present == result.content()


def test_what_is_neither_here_nor_there_is_not_present(machine: Machine) -> None:
    gone = Digest.of(b"gone")
    tree = machine.made("tree", b"a tree", gone)

    machine.store.record(KEY, tree)
    left = machine.finish()

    assert left == 0
    assert machine.memory.records == {KEY: Record(tree, (tree.artifact.digest,))}


def test_same_content_of_two_results_goes_up_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    layer = machine.put(LAYER)

    for number in range(12):
        machine.store.record(Key(f"{number:064x}"), machine.made("tree", b"%d" % number, layer))
    machine.finish()

    assert machine.faulty.asked("put").count(layer) == 1
    assert len(machine.memory.records) == 12
    assert all(layer in record.present for record in machine.memory.records.values())


def test_what_came_wrong_from_there_is_put_again(machine: Machine) -> None:
    digest = Digest.of(b"content")
    machine.memory.content[digest.hex] = b"tnetnoc"
    with pytest.raises(MissingBlobError):
        machine.store.path(digest)

    machine.store.record(KEY, machine.made("blob", b"content"))
    machine.finish()

    assert contents(machine) == {b"content"}


def test_content_damaged_here_does_not_go_up(tmp_path: Path) -> None:
    memory = MemoryRemote()
    machine = Machine(tmp_path, VerifiedRemote(memory))
    result = machine.made("blob", b"content")
    path = machine.local.path(result.artifact.digest)
    path.unlink()
    path.write_bytes(b"tnetnoc")

    machine.store.record(KEY, result)
    machine.finish()

    assert memory.content == {}
    assert memory.records == {KEY: Record(result, ())}


# -- dense forms


def sparse(machine: Machine) -> Result:
    """A kernel in a layer, and some zeros."""
    layer = machine.put(LAYER)
    recipe = Extents.of([Slice(layer, 4096, 10_000), Zeros(512)])
    return machine.made("extents", recipe.encode(), layer, seconds=0.01)


def test_extents_that_use_little_of_a_blob_go_up_with_a_dense_form(machine: Machine) -> None:
    result = sparse(machine)
    kernel = LAYER[4096:14_096]
    recipe = Extents.of([Slice(Digest.of(kernel), 0, 10_000), Zeros(512)]).encode()
    dense = (Digest.of(recipe), Digest.of(kernel))

    machine.store.record(KEY, result)
    machine.finish()

    denser = result._replace(dense=dense)
    assert machine.memory.records == {KEY: Record(denser, (*result.content(), *dense))}
    assert {kernel, recipe, LAYER} < contents(machine)
    assert machine.local.results([KEY]) == [denser]
    assert machine.local.missing(dense) == set(dense)  # they are put without being stored here


def test_extents_that_use_all_of_their_blobs_have_no_dense_form(machine: Machine) -> None:
    layer = machine.put(LAYER)
    result = machine.made("extents", Extents.whole(layer).encode(), layer)

    machine.store.record(KEY, result)
    machine.finish()

    assert machine.memory.records == {KEY: Record(result, result.content())}


def test_dense_form_made_elsewhere_stays_if_the_content_is_not_here(machine: Machine) -> None:
    dense = (Digest.of(b"recipe"), Digest.of(b"kernel"))
    for content in (b"recipe", b"kernel"):
        machine.put(content)
    result = Result(Artifact("extents", Digest.of(b"sparse")), (Digest.of(LAYER),), 0.1, dense)
    machine.local.record(KEY, result)

    machine.store.results([KEY])
    machine.finish()

    assert machine.memory.records == {KEY: Record(result, dense)}
    assert contents(machine) == {b"recipe", b"kernel"}


def test_dense_form_that_is_too_dear_is_left_out(tmp_path: Path) -> None:
    machine = slow(tmp_path)
    half = LAYER[: len(LAYER) // 2]
    layer = machine.put(LAYER)
    result = machine.made("extents", Extents.of([Slice(layer, 0, len(half))]).encode(), layer, seconds=0.01)

    machine.store.record(KEY, result)
    machine.finish()

    assert machine.memory.records == {KEY: Record(result, (result.artifact.digest,))}
    assert machine.local.results([KEY]) == [result]
    assert half not in contents(machine)


# -- what is too dear


def slow(folder: Path) -> Machine:
    """A megabyte takes 26 seconds, and that is known."""
    machine = Machine(folder, bytes_per_second=4e4)
    machine.memory.put(Digest.of(LAYER[::-1]), lambda: [LAYER[::-1]])
    machine.store.fetch([Digest.of(LAYER[::-1])])
    return machine


def test_content_that_is_made_sooner_than_brought_is_not_put(tmp_path: Path) -> None:
    machine = slow(tmp_path)
    result = machine.made("blob", LAYER, seconds=2.0)

    machine.store.record(KEY, result)
    left = machine.finish()

    assert left == 0
    assert machine.memory.records == {KEY: Record(result, ())}
    assert machine.faulty.asked("put") == []
    assert machine.store.traffic().dear == 1


def test_content_is_put_while_nothing_is_measured(machine: Machine) -> None:
    content = bytes(16 << 20)

    machine.store.record(KEY, machine.made("blob", content, seconds=0.0))
    machine.finish()

    assert machine.memory.records[KEY].present == (Digest.of(content),)


def test_content_that_took_long_is_put(tmp_path: Path) -> None:
    machine = slow(tmp_path)

    machine.store.record(KEY, machine.made("blob", LAYER, seconds=20.0))
    machine.finish()

    assert machine.memory.records[KEY].present == (Digest.of(LAYER),)


def test_small_content_is_put_however_little_it_took(tmp_path: Path) -> None:
    machine = slow(tmp_path)

    machine.store.record(KEY, machine.made("blob", b"small", seconds=0.0))
    machine.finish()

    assert machine.memory.records[KEY].present == (Digest.of(b"small"),)


def test_content_in_several_results_is_weighed_by_the_one_that_made_it(tmp_path: Path) -> None:
    machine = slow(tmp_path)
    layer = machine.made("blob", LAYER, seconds=20.0)
    tree = machine.made("tree", b"a tree", layer.artifact.digest, seconds=0.0)

    machine.store.record(OTHER_KEY, layer)
    machine.store.record(KEY, tree)
    machine.finish()

    assert machine.memory.records[KEY].present == tree.content()


# -- results of earlier builds


def test_result_that_was_here_before_goes_up(machine: Machine) -> None:
    result = machine.made("blob", b"content")
    machine.local.record(KEY, result)

    machine.store.results([KEY, KEY, OTHER_KEY])
    machine.finish()

    assert machine.memory.records == {KEY: Record(result, result.content())}
    assert machine.faulty.asked("keep") == [KEY]


def test_result_that_went_up_is_not_asked_for_in_the_next_build(machine: Machine) -> None:
    machine.store.record(KEY, machine.made("blob", b"content"))
    machine.finish()

    machine.next_build().results([KEY])
    machine.finish()

    assert machine.faulty.calls == []


def test_result_that_came_from_there_is_not_asked_for_in_the_next_build(machine: Machine) -> None:
    machine.memory.keep(KEY, Record(Result(Artifact("blob", Digest.of(b"content")))))
    machine.store.results([KEY])
    machine.finish()

    machine.next_build().results([KEY])
    machine.finish()

    assert machine.faulty.calls == []


def test_result_known_to_be_in_one_remote_cache_goes_up_to_another(machine: Machine, tmp_path: Path) -> None:
    machine.store.record(KEY, machine.made("blob", b"content"))
    machine.finish()
    machine.memory.records.clear()
    machine.name = "elsewhere"

    machine.next_build().results([KEY])
    machine.finish()

    assert list(machine.memory.records) == [KEY]


def test_result_is_asked_for_again_after_a_day(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.store.record(KEY, machine.made("blob", b"content"))
    machine.finish()
    day_later = time.time() + 24 * 3600 + 1
    monkeypatch.setattr("kitbuild.cache.uploads.time.time", lambda: day_later)

    machine.next_build().results([KEY])
    machine.finish()

    assert machine.faulty.asked("record") == [KEY]
    assert machine.faulty.asked("missing") == [{Digest.of(b"content")}]
    assert machine.faulty.asked("put") == machine.faulty.asked("keep") == []
    assert machine.store.traffic() == Traffic()


def test_result_there_whose_content_is_gone_is_kept_again(machine: Machine) -> None:
    result = machine.made("blob", b"content")
    machine.local.record(KEY, result)
    machine.memory.keep(KEY, Record(result, result.content()))

    machine.store.results([KEY])
    machine.finish()

    assert contents(machine) == {b"content"}


def test_result_there_that_was_kept_without_its_content_is_kept_with_it(machine: Machine) -> None:
    result = machine.made("blob", b"content")
    machine.local.record(KEY, result)
    machine.memory.keep(KEY, Record(result))

    machine.store.results([KEY])
    machine.finish()

    assert machine.memory.records == {KEY: Record(result, result.content())}
    assert contents(machine) == {b"content"}


def test_result_there_without_content_that_is_not_here_either_stays_as_it_is(machine: Machine) -> None:
    result = Result(Artifact("blob", Digest.of(b"content")))
    machine.local.record(KEY, result)
    machine.memory.keep(KEY, Record(result))

    machine.store.results([KEY])
    machine.finish()

    assert machine.faulty.asked("keep") == []


# -- failures


@pytest.mark.parametrize("call", ["missing", "put", "keep"])
def test_result_that_cannot_be_kept_is_counted_and_tried_in_the_next_build(
    machine: Machine, call: str
) -> None:
    result = machine.made("blob", b"content")
    machine.faulty.fail(call, RemoteError("server error 500"))
    machine.store.record(KEY, result)

    left = machine.finish()
    machine.next_build().results([KEY])
    left_later = machine.finish()

    assert (left, left_later) == (1, 0)
    assert machine.memory.records == {KEY: Record(result, result.content())}


def test_record_is_not_kept_without_its_content(machine: Machine) -> None:
    machine.faulty.fail("put", RemoteError("no space", writing=True, lasting=True))

    machine.store.record(KEY, machine.made("blob", b"content"))
    machine.finish()

    assert machine.memory.records == {}


class Stuck(MemoryRemote):
    """Puts nothing until it may."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.go_on = threading.Event(), threading.Event()

    def put(self, digest: Digest, pieces: Pieces) -> None:
        self.began.set()
        self.go_on.wait(SECONDS)
        super().put(digest, pieces)


@pytest.fixture
def stuck() -> Iterator[Stuck]:
    remote = Stuck()
    yield remote
    remote.go_on.set()


def test_recording_does_not_wait_for_uploads(tmp_path: Path, stuck: Stuck) -> None:
    machine = Machine(tmp_path, stuck)

    for number in range(100):
        machine.store.record(Key(f"{number:064x}"), machine.made("blob", b"%d" % number))
    before = len(stuck.records)
    stuck.go_on.set()
    left = machine.finish()

    assert (before, left, len(stuck.records)) == (0, 0, 100)


def test_end_of_a_build_does_not_wait_without_progress(tmp_path: Path, stuck: Stuck) -> None:
    machine = Machine(tmp_path, stuck)
    for number in range(10):
        machine.store.record(Key(f"{number:064x}"), machine.made("blob", b"%d" % number))
    stuck.began.wait(SECONDS)
    patience = threading.Timer(0.05, lambda: machine.clock.sleep(11.0))
    patience.start()

    left = machine.finish()

    assert left == 10
    assert machine.warnings == ["gave up keeping results in the remote cache: it takes too long"]
    patience.join()


def test_interrupt_while_waiting_abandons_what_is_left(
    tmp_path: Path, stuck: Stuck, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine(tmp_path, stuck)
    for number in range(10):
        machine.store.record(Key(f"{number:064x}"), machine.made("blob", b"%d" % number))
    stuck.began.wait(SECONDS)

    def interrupted(_seconds: float) -> bool:
        raise KeyboardInterrupt

    assert machine.store._uploads is not None
    monkeypatch.setattr(machine.store._uploads._changed, "wait", interrupted)

    with pytest.raises(KeyboardInterrupt):
        machine.store.finish()
    machine.store.close()
    threads = machine.store._uploads._threads
    stuck.go_on.set()
    for thread in threads:
        thread.join(SECONDS)

    assert len(stuck.content) <= 4  # what was on its way
    assert not any(thread.is_alive() for thread in threads)


def test_dense_form_is_made_when_the_content_came_here_only_later(machine: Machine) -> None:
    result = sparse(machine)
    layer = machine.local.path(Digest.of(LAYER))
    hidden = layer.with_name("hidden")
    layer.rename(hidden)
    machine.store.record(KEY, result)
    for _ in range(5000):
        if KEY in machine.memory.records and machine.store.traffic().kept_results:
            break
        time.sleep(0.001)
    without = machine.memory.records[KEY]
    hidden.rename(layer)

    machine.finish()

    assert without.result.dense == ()
    assert Digest.of(LAYER[4096:14_096]) in machine.memory.records[KEY].result.dense
    assert machine.store.traffic().kept_results == 1
