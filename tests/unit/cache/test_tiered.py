"""TieredStore: what is taken from a remote cache, when, and what gets into the local one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from kitbuild.cache.apart import ApartStore, taken_by
from kitbuild.cache.directory import open_directory
from kitbuild.cache.link import Link, Traffic
from kitbuild.cache.memory import MemoryStore
from kitbuild.cache.remote import Record, Remote
from kitbuild.cache.tiered import TieredStore
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.faulty_remote import Clock, FaultyRemote
from tests.support.remotes import MemoryRemote

SECONDS = 20  # how long a test waits for another thread before it gives up
CONTENT = b"content"
DIGEST = Digest.of(CONTENT)
AWAY = Digest.of(b"nowhere")
LARGE = b"0123456789abcdef" * (6 << 16)
KEYS = [Key(f"{number:064x}") for number in range(20)]


class Machine:
    """A local cache before a remote one that has some content."""

    def __init__(self, folder: Path, remote: Remote | None = None, *, bytes_per_second: float = 0.0) -> None:
        self.clock = Clock()
        self.memory = MemoryRemote()
        for content in (CONTENT, LARGE):
            self.memory.put(Digest.of(content), lambda content=content: [content])  # type: ignore[misc]
        self.faulty = FaultyRemote(remote or self.memory, clock=self.clock, bytes_per_second=bytes_per_second)
        self.local = MemoryStore(folder)
        self.warnings: list[str] = []
        self.store = TieredStore(
            self.local, self.faulty, writes=False, warn=self.warnings.append, clock=self.clock
        )

    def put(self, content: bytes) -> Digest:
        with self.store.writer() as writer:
            writer.write(content)
            return writer.commit()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


def result(number: int) -> Result:
    return Result(Artifact("blob", Digest.of(b"%d" % number)), (), float(number))


# -- results


def test_result_that_is_here_is_not_asked_for(machine: Machine) -> None:
    machine.local.record(KEYS[0], result(0))

    found = machine.store.results([KEYS[0]])

    assert found == [result(0)]
    assert machine.faulty.calls == []


def test_results_come_from_here_and_there_in_the_order_of_their_keys(machine: Machine) -> None:
    for number in range(0, 20, 3):
        machine.local.record(KEYS[number], result(number))
    for number in range(0, 20, 2):
        machine.memory.keep(KEYS[number], Record(result(number)))

    found = machine.store.results(KEYS)

    here = [result(n) if n % 3 == 0 else None for n in range(20)]
    there = [result(n)._replace(far=True) if n % 2 == 0 else None for n in range(20)]
    assert found == [known or there[n] for n, known in enumerate(here)]
    assert set(machine.faulty.asked("record")) == {KEYS[n] for n in range(20) if n % 3}
    assert machine.store.traffic().results == 6


def test_result_found_there_is_known_here_from_then_on(machine: Machine) -> None:
    machine.memory.keep(KEYS[0], Record(result(0)))

    machine.store.results([KEYS[0]])

    assert machine.local.results([KEYS[0]]) == [result(0)]
    assert machine.local.missing([result(0).artifact.digest]) == {result(0).artifact.digest}


def test_results_are_asked_for_at_the_same_time(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)

    class Waiting(MemoryRemote):
        def record(self, key: Key) -> Record | None:
            barrier.wait(SECONDS)
            return None

    machine = Machine(tmp_path, Waiting())

    found = machine.store.results(KEYS[:16])

    assert found == [None] * 16  # alone, each would wait for the others
    machine.store.close()


def test_result_that_cannot_be_asked_for_is_none(machine: Machine) -> None:
    machine.memory.keep(KEYS[0], Record(result(0)))
    machine.faulty.fail("record", RemoteError("cannot connect"))

    assert machine.store.results(KEYS[:1]) == [None]


# -- distance


def test_what_is_here_is_at_no_distance_and_not_asked_for(machine: Machine) -> None:
    digest = machine.put(b"here")

    assert machine.store.distance([digest]) == 0.0
    assert machine.store.distance([]) == 0.0
    assert machine.store.fetch([digest]) == set()
    assert machine.faulty.calls == []


def test_what_is_there_is_near_and_asked_for_once_a_build(machine: Machine) -> None:
    distances = [machine.store.distance([DIGEST, machine.put(b"here")]) for _ in range(3)]

    assert all(0 < distance < 0.1 for distance in distances)
    assert machine.faulty.asked("missing") == [{DIGEST}]


def test_what_is_nowhere_is_out_of_reach_and_asked_for_once_a_build(machine: Machine) -> None:
    distances = [machine.store.distance([DIGEST, AWAY]) for _ in range(3)]

    assert distances == [math.inf] * 3
    assert machine.faulty.asked("missing") == [{DIGEST, AWAY}]


def test_what_cannot_be_asked_for_is_out_of_reach(machine: Machine) -> None:
    machine.faulty.fail("missing", RemoteError("cannot connect"))

    assert machine.store.distance([DIGEST]) == math.inf


def test_what_came_wrong_is_out_of_reach_for_the_rest_of_the_build(machine: Machine) -> None:
    machine.memory.content[DIGEST.hex] = b"tnetnoc"
    near = machine.store.distance([DIGEST])

    lost = machine.store.fetch([DIGEST])

    assert lost == {DIGEST}
    assert near < machine.store.distance([DIGEST]) == math.inf
    assert len(machine.faulty.asked("get")) == 2
    assert machine.store.fetch([DIGEST]) == {DIGEST}
    assert len(machine.faulty.asked("get")) == 2


def test_distance_follows_the_measured_bandwidth(tmp_path: Path) -> None:
    machine = Machine(tmp_path, bytes_per_second=1e6)
    content = bytes(1 << 20)
    machine.memory.put(Digest.of(content), lambda: [content])
    machine.store.fetch([Digest.of(content)])

    distance = machine.store.distance([Digest.of(LARGE)])

    assert distance == pytest.approx(len(LARGE) / 1e6, rel=0.01)


def test_small_transfers_say_nothing_of_the_bandwidth(tmp_path: Path) -> None:
    machine = Machine(tmp_path, bytes_per_second=1.0)

    machine.store.fetch([DIGEST])

    assert machine.store.distance([Digest.of(LARGE)]) < 1.0


def test_transfers_at_the_same_time_share_the_bandwidth() -> None:
    clock = Clock()
    link = Link(clock)

    with link.down.transfer() as one, link.down.transfer() as other:
        clock.now += 1.0
        one(1_000_000)
        other(1_000_000)

    assert link.seconds(4_000_000) == pytest.approx(2.0, abs=0.01)


def test_newer_transfers_count_more(tmp_path: Path) -> None:
    clock = Clock()
    link = Link(clock)

    for seconds in (10.0, 1.0, 1.0, 1.0, 1.0, 1.0):
        with link.down.transfer() as passed:
            clock.now += seconds
            passed(1_000_000)

    assert link.seconds(1_000_000) == pytest.approx(1.0, rel=0.1)


def test_what_comes_is_told_ten_times_a_second_at_most() -> None:
    clock, told = Clock(), list[int]()
    link = Link(clock, progress=told.append)

    with link.down.transfer() as one, link.down.transfer() as other:
        for passed in (one, other) * 3:
            clock.now += 0.06
            passed(10)
    with link.up.transfer() as passed:
        clock.now += 1.0
        passed(1)

    assert told == [20, 40, 60]


def test_latency_is_part_of_every_distance() -> None:
    clock = Clock()
    link = Link(clock)

    with link.question():
        clock.now += 0.7

    assert link.seconds(0) == pytest.approx(0.7)


# -- content


@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
def test_path_brings_content_here(machine: Machine, content: bytes) -> None:
    path = machine.store.path(Digest.of(content))

    assert path.read_bytes() == content
    assert machine.local.path(Digest.of(content)) == path
    assert machine.store.traffic() == Traffic(blobs=1, bytes=len(content))


def test_path_of_what_is_nowhere_is_a_missing_blob_error(machine: Machine) -> None:
    with pytest.raises(MissingBlobError):
        machine.store.path(AWAY)


def test_fetch_brings_all_it_can_and_names_the_rest(machine: Machine) -> None:
    here = machine.put(b"here")

    lost = machine.store.fetch([here, DIGEST, AWAY, Digest.of(LARGE)])

    assert lost == {AWAY}
    assert machine.local.missing([here, DIGEST, Digest.of(LARGE)]) == set()
    assert {here} - set(machine.faulty.asked("get")) == {here}


def test_fetch_begins_with_the_largest(tmp_path: Path) -> None:
    contents = {Digest.of(content): content for content in (bytes(size) for size in range(40))}
    barrier = threading.Barrier(4)

    class Waiting(MemoryRemote):
        def get(self, digest: Digest) -> Iterator[bytes]:
            barrier.wait(SECONDS)
            yield contents[digest]

    machine = Machine(tmp_path, Waiting())

    machine.store.fetch(contents)

    first = machine.faulty.asked("get")[:4]
    assert sorted(digest.size for digest in first if isinstance(digest, Digest)) == [36, 37, 38, 39]
    machine.store.close()


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda content: content[:-1], id="too-few"),
        pytest.param(lambda content: b"", id="none"),
        pytest.param(lambda content: content + b"x", id="too-many"),
        pytest.param(lambda content: content[:-1] + b"\xff", id="others"),
    ],
)
@pytest.mark.parametrize("content", [CONTENT, LARGE], ids=["small", "large"])
def test_wrong_bytes_never_get_here(
    machine: Machine, tmp_path: Path, content: bytes, wrong: type[bytes]
) -> None:
    machine.memory.content[Digest.of(content).hex] = wrong(content)

    with pytest.raises(MissingBlobError):
        machine.store.path(Digest.of(content))

    assert [path for path in (tmp_path / "here").rglob("*") if path.is_file()] == []
    assert machine.store.traffic().blobs == 0


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_transfer_that_breaks_off_is_begun_again(machine: Machine, pieces: int) -> None:
    machine.faulty.fail("get", RemoteError("connection reset"), pieces=pieces)

    path = machine.store.path(Digest.of(LARGE))

    assert path.read_bytes() == LARGE
    assert len(machine.faulty.asked("get")) == 2


def test_transfer_that_keeps_breaking_off_is_given_up(machine: Machine, tmp_path: Path) -> None:
    machine.faulty.fail("get", RemoteError("connection reset"), pieces=2, times=10)

    with pytest.raises(MissingBlobError):
        machine.store.path(Digest.of(LARGE))

    assert len(machine.faulty.asked("get")) == 2
    assert [path for path in (tmp_path / "here").rglob("*") if path.is_file()] == []


def test_threads_that_want_the_same_content_wait_for_one_download(tmp_path: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    class Waiting(MemoryRemote):
        def get(self, digest: Digest) -> Iterator[bytes]:
            started.set()
            go_on.wait(SECONDS)
            yield CONTENT

    machine = Machine(tmp_path, Waiting())

    with ThreadPoolExecutor(8) as threads:
        paths = [threads.submit(machine.store.path, DIGEST) for _ in range(8)]
        started.wait(SECONDS)
        go_on.set()
        contents = {path.result().read_bytes() for path in paths}

    assert contents == {CONTENT}
    assert machine.faulty.asked("get") == [DIGEST]


def test_different_content_is_brought_at_the_same_time(tmp_path: Path) -> None:
    barrier = threading.Barrier(4)
    contents = {Digest.of(b"%d" % number): b"%d" % number for number in range(8)}

    class Waiting(MemoryRemote):
        def get(self, digest: Digest) -> Iterator[bytes]:
            barrier.wait(SECONDS)
            yield contents[digest]

    machine = Machine(tmp_path, Waiting())

    assert machine.store.fetch(contents) == set()
    machine.store.close()


def test_interrupted_fetch_ends_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    received = threading.Semaphore(0)
    given: list[int] = []

    class Endless(MemoryRemote):
        def get(self, digest: Digest) -> Iterator[bytes]:
            for number in range(10_000):
                given.append(number)
                received.acquire(timeout=0.01)
                yield bytes(100)

    machine = Machine(tmp_path, Endless())
    wanted = [Digest("ab" * 32, 1_000_000), Digest("cd" * 32, 1_000_000)]

    class Interrupted:
        def __init__(self) -> None:
            self.threads = ThreadPoolExecutor(2)
            self.brought: list[Future[bool]] = []

        def map(self, bring: Callable[[Digest], bool], digests: object) -> None:
            self.brought += [self.threads.submit(bring, digest) for digest in wanted]
            raise KeyboardInterrupt

    pool = Interrupted()
    monkeypatch.setitem(machine.store._downloads.__dict__, "_pool", pool)

    with pytest.raises(KeyboardInterrupt):
        machine.store.fetch(wanted)

    assert [brought.result(SECONDS) for brought in pool.brought] == [False, False]
    assert len(given) < 10_000
    pool.threads.shutdown()


def test_trouble_with_the_local_disk_is_no_miss(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "here" / "tmp").rmdir()

    with pytest.raises(Exception, match="No such file"):
        machine.store.fetch([DIGEST, Digest.of(LARGE)])

    assert machine.store.distance([DIGEST]) != math.inf


def test_wrong_bytes_are_warned_of_once(machine: Machine) -> None:
    for content in (CONTENT, LARGE):
        machine.memory.content[Digest.of(content).hex] = content[::-1]

    lost = machine.store.fetch([DIGEST, Digest.of(LARGE)])

    assert lost == {DIGEST, Digest.of(LARGE)}
    assert [warning.startswith("the remote cache gave other bytes") for warning in machine.warnings] == [True]


# -- the rest


def test_writes_nothing_unless_told_to(machine: Machine) -> None:
    machine.store.record(KEYS[0], Result(Artifact("blob", machine.put(b"made here"))))

    assert machine.store.finish() == 0
    assert machine.faulty.calls == []
    assert machine.store.traffic() == Traffic()


def test_closes_the_remote_cache_and_not_the_local_one(machine: Machine) -> None:
    machine.store.results(KEYS)
    machine.store.fetch([DIGEST, AWAY])

    machine.store.close()

    assert machine.faulty.closed
    assert machine.store.path(DIGEST).read_bytes() == CONTENT


def test_content_that_is_lost_puts_the_rest_in_doubt(machine: Machine) -> None:
    other = Digest.of(LARGE)
    assert machine.store.distance([DIGEST]) < math.inf
    assert machine.store.distance([other]) < math.inf
    machine.memory.content.clear()

    assert machine.store.fetch([DIGEST]) == {DIGEST}

    assert machine.store.distance([other]) == math.inf


# -- results from elsewhere that are kept apart


class Apart:
    """A machine that keeps what it takes apart from what it makes; `name` is the remote cache's."""

    def __init__(
        self, folder: Path, memory: MemoryRemote, trusted: Sequence[str] = (), name: str = "a"
    ) -> None:
        self.local = open_directory(folder)
        self.taken = ApartStore(self.local, taken_by(trusted))
        self.store = TieredStore(
            self.local, memory, writes=True, warn=pytest.fail, name=name, taken=self.taken
        )


def test_result_that_was_taken_is_found_again_without_asking(tmp_path: Path) -> None:
    memory = MemoryRemote()
    memory.keep(KEYS[0], Record(result(0)))
    Apart(tmp_path, memory).store.results(KEYS[:1])

    found = Apart(tmp_path, MemoryRemote()).store.results(KEYS[:2])

    assert found == [result(0), None]


def test_result_that_was_taken_is_never_put_into_another_remote_cache(tmp_path: Path) -> None:
    poisoned, signed = MemoryRemote(), MemoryRemote()
    poisoned.keep(KEYS[0], Record(result(0)))
    Apart(tmp_path, poisoned).store.results(KEYS[:1])
    machine = Apart(tmp_path, signed, name="b")

    machine.store.results(KEYS[:1])
    machine.store.record(KEYS[1], result(1))
    machine.store.finish()

    # It would be signed there, as everything is that a machine which signs keeps.
    assert list(signed.records) == [KEYS[1]]


def test_result_that_was_taken_is_believed_by_those_alone_who_trust_the_same(tmp_path: Path) -> None:
    poisoned = MemoryRemote()
    poisoned.keep(KEYS[0], Record(result(0)))
    Apart(tmp_path, poisoned).store.results(KEYS[:1])

    found = Apart(tmp_path, MemoryRemote(), ["kitbuild-ed25519:key"]).store.results(KEYS[:1])

    assert found == [None]
