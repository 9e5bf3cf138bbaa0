"""GuardedRemote: what is tried again, what is given up, and what that costs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from kitbuild.cache.guarded import GuardedRemote
from kitbuild.cache.remote import Record
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import RemoteContract
from tests.support.faulty_remote import Clock, FaultyRemote
from tests.support.remotes import MemoryRemote

KEY = Key("ab" * 32)
CONTENT = b"content"
DIGEST = Digest.of(CONTENT)
RECORD = Record(Result(Artifact("blob", DIGEST)), (DIGEST,))
LARGE = bytes(3 << 20)


class TestContract(RemoteContract):
    @pytest.fixture
    def remote(self) -> GuardedRemote:
        return GuardedRemote(MemoryRemote(), warn=pytest.fail)


class Guard:
    """A guarded remote cache that has content and a record, the faults it meets, and what is warned of."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.memory = MemoryRemote()
        self.memory.put(DIGEST, lambda: [CONTENT])
        self.memory.put(Digest.of(LARGE), lambda: [LARGE])
        self.memory.keep(KEY, RECORD)
        self.faulty = FaultyRemote(self.memory, clock=self.clock)
        self.warnings: list[str] = []
        self.remote = GuardedRemote(
            self.faulty, warn=self.warnings.append, clock=self.clock, sleep=self.clock.sleep
        )
        self.started = self.clock.now

    @property
    def seconds(self) -> float:
        """How long it all took."""
        return self.clock.now - self.started

    def get(self, digest: Digest = DIGEST) -> bytes:
        return b"".join(self.remote.get(digest))

    def answer(self) -> None:
        """Lets it answer once."""
        assert self.remote.record(KEY) == RECORD


@pytest.fixture
def guard() -> Guard:
    return Guard()


def off(reason: str) -> list[str]:
    return [f"the remote cache is not used for the rest of this build: {reason}"]


# -- what passes


def test_question_that_failed_is_asked_again_after_a_while(guard: Guard) -> None:
    guard.faulty.fail("record", RemoteError("busy"), times=2)

    record = guard.remote.record(KEY)

    assert record == RECORD
    assert len(guard.faulty.asked("record")) == 3
    assert [0.1 <= guard.clock.slept[0] <= 0.15, 0.4 <= guard.clock.slept[1] <= 0.6] == [True, True]
    assert guard.warnings == []


@pytest.mark.parametrize("error", [RemoteError("busy"), OSError("broken pipe")], ids=["remote", "system"])
def test_everything_is_tried_again(guard: Guard, error: Exception) -> None:
    for call in ("missing", "get", "put", "keep"):
        guard.answer()
        guard.faulty.fail(call, error, times=2)

    assert guard.remote.missing([DIGEST]) == set()
    assert guard.get() == CONTENT
    guard.remote.put(DIGEST, lambda: [CONTENT])
    guard.remote.keep(KEY, RECORD)

    assert [len(guard.faulty.asked(call)) for call in ("missing", "get", "put", "keep")] == [3, 3, 3, 3]
    assert guard.warnings == []


def test_what_ran_into_a_time_out_is_not_asked_again(guard: Guard) -> None:
    guard.answer()
    guard.faulty.fail("record", RemoteError("no answer within 2 s"), seconds=2.0)

    record = guard.remote.record(KEY)

    assert record is None
    assert guard.clock.slept == []


def test_content_that_is_not_there_is_no_failure(guard: Guard) -> None:
    away = Digest.of(b"away")

    for _ in range(5):
        with pytest.raises(MissingBlobError):
            guard.get(away)

    guard.remote.close()
    assert guard.get() == CONTENT
    assert guard.warnings == []


def test_transfer_that_breaks_off_is_said_to_whoever_reads(guard: Guard) -> None:
    guard.answer()
    guard.faulty.fail("get", RemoteError("connection reset"), pieces=2)

    with pytest.raises(RemoteError, match="connection reset"):
        guard.get(Digest.of(LARGE))

    assert guard.get(Digest.of(LARGE)) == LARGE


def test_local_content_that_is_gone_is_not_the_remote_caches_failure(guard: Guard) -> None:
    guard.faulty.fail("put", MissingBlobError("gone"), times=4)

    for _ in range(4):
        with pytest.raises(MissingBlobError):
            guard.remote.put(DIGEST, lambda: [])

    assert guard.remote.record(KEY) == RECORD
    assert guard.warnings == []


# -- what is given up


def test_what_fails_for_good_is_not_there(guard: Guard) -> None:
    for call in ("record", "missing", "get", "put", "keep"):
        guard.answer()
        guard.faulty.fail(call, RemoteError("server error 500"), times=3)
        match call:
            case "record":
                assert guard.remote.record(KEY) is None
            case "missing":
                assert guard.remote.missing([DIGEST]) == {DIGEST}
            case "get":
                with pytest.raises(MissingBlobError, match="server error 500"):
                    guard.get()
            case "put":
                with pytest.raises(RemoteError, match="server error 500"):
                    guard.remote.put(DIGEST, lambda: [CONTENT])
            case _:
                with pytest.raises(RemoteError, match="server error 500"):
                    guard.remote.keep(KEY, RECORD)

    guard.answer()


def test_failures_that_ended_nothing_are_warned_of_once_at_the_end(guard: Guard) -> None:
    for _ in range(2):
        guard.answer()
        guard.faulty.fail("missing", RemoteError("server error 500"), times=3)
        guard.remote.missing([DIGEST])

    guard.remote.close()
    guard.remote.close()

    assert guard.warnings == ["the remote cache failed 2 times, the last time: server error 500"]


def test_closes_what_it_guards(guard: Guard) -> None:
    guard.remote.close()

    assert guard.faulty.closed


# -- when it is switched off


def test_three_requests_in_a_row_that_fail_switch_it_off(guard: Guard) -> None:
    guard.answer()
    guard.faulty.fail("record", RemoteError("server error 500"), times=100)

    for _ in range(5):
        assert guard.remote.record(KEY) is None

    assert len(guard.faulty.asked("record")) == 1 + 3 * 3
    assert guard.warnings == off("server error 500")


def test_success_in_between_keeps_it_on(guard: Guard) -> None:
    for _ in range(5):
        guard.answer()
        guard.faulty.fail("record", RemoteError("server error 500"), times=3)
        guard.remote.record(KEY)

    assert guard.remote.record(KEY) == RECORD


def test_what_is_switched_off_is_asked_nothing_more(guard: Guard) -> None:
    guard.faulty.fail("record", RemoteError("refused", lasting=True))
    guard.remote.record(KEY)
    asked = len(guard.faulty.calls)

    assert guard.remote.record(KEY) is None
    assert guard.remote.missing([DIGEST]) == {DIGEST}
    with pytest.raises(MissingBlobError):
        guard.get()
    with pytest.raises(RemoteError, match="refused"):
        guard.remote.put(DIGEST, lambda: [CONTENT])
    with pytest.raises(RemoteError, match="refused"):
        guard.remote.keep(KEY, RECORD)

    guard.remote.close()
    assert len(guard.faulty.calls) == asked
    assert guard.warnings == off("refused")


def test_error_that_lasts_switches_it_off_at_once(guard: Guard) -> None:
    guard.faulty.fail("get", RemoteError("server says 401", lasting=True))

    with pytest.raises(MissingBlobError):
        guard.get()

    assert guard.clock.slept == []
    assert guard.warnings == off("server says 401")


def test_server_that_refuses_connections_costs_half_a_second(guard: Guard) -> None:
    guard.faulty.fail("record", RemoteError("cannot connect"), times=100)

    for _ in range(10):
        guard.remote.record(KEY)

    assert guard.seconds <= 0.8
    assert guard.warnings == off("cannot connect")


@pytest.mark.parametrize("seconds", [0.3, 0.6, 1.0, 2.0])
def test_server_out_of_reach_costs_two_seconds_at_most(guard: Guard, seconds: float) -> None:
    guard.faulty.fail("record", RemoteError("cannot connect"), times=100, seconds=seconds)

    for _ in range(10):
        guard.remote.record(KEY)

    assert guard.seconds <= 2.0
    assert guard.warnings == off("cannot connect")


def test_server_out_of_reach_of_many_threads_costs_as_much_as_of_one() -> None:
    barrier = threading.Barrier(8)
    clock, warnings = Clock(), list[str]()

    class Unreachable(MemoryRemote):
        asked = 0

        def record(self, key: Key) -> Record | None:
            Unreachable.asked += 1
            barrier.wait(20)
            clock.now = 1001.0
            barrier.wait(20)
            raise RemoteError("cannot connect")

    remote = GuardedRemote(Unreachable(), warn=warnings.append, clock=clock, sleep=clock.sleep)

    with ThreadPoolExecutor(8) as threads:
        records = list(threads.map(remote.record, [KEY] * 40))

    assert records == [None] * 40
    assert Unreachable.asked == 8
    assert warnings == off("cannot connect")


def test_requests_that_fail_together_count_as_one_failure() -> None:
    barrier = threading.Barrier(8)
    clock, warnings = Clock(), list[str]()

    class Hiccup(MemoryRemote):
        def missing(self, digests: object) -> set[Digest]:
            barrier.wait(20)
            clock.now = 1000.6
            barrier.wait(20)
            raise RemoteError("connection reset")

    remote = GuardedRemote(Hiccup(), warn=warnings.append, clock=clock, sleep=clock.sleep)
    remote.record(KEY)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(remote.missing, [[DIGEST]] * 8))

    assert warnings == []


def test_server_that_stops_answering_in_the_midst_costs_a_few_seconds(guard: Guard) -> None:
    guard.answer()
    guard.faulty.fail("record", RemoteError("no answer within 2 s"), times=100, seconds=2.0)

    for _ in range(10):
        guard.remote.record(KEY)

    assert guard.seconds == 4.0
    assert guard.warnings == off("no answer within 2 s")


def test_server_that_fails_again_and_again_costs_ten_seconds_at_most(guard: Guard) -> None:
    for _ in range(100):
        guard.remote.record(KEY)
        guard.faulty.fail("missing", RemoteError("no answer within 2 s"), seconds=2.0)
        guard.remote.missing([DIGEST])

    assert guard.seconds <= 10.0
    assert guard.warnings == off("no answer within 2 s")


def test_server_that_is_slow_on_average_is_switched_off(guard: Guard) -> None:
    guard.faulty.fail("record", None, times=100, seconds=1.5)

    for _ in range(10):
        guard.remote.record(KEY)

    assert len(guard.faulty.asked("record")) == 6  # the first also paid for connecting
    assert guard.warnings == off("it answers too slowly, in 1.5 s on average")


def test_large_question_may_take_its_time(guard: Guard) -> None:
    guard.faulty.fail("missing", None, times=100, seconds=1.5)
    digests = {Digest.of(b"%d" % number) for number in range(1000)}

    for _ in range(10):
        guard.remote.missing(digests)

    assert guard.warnings == []


def test_server_that_takes_no_writes_is_still_read(guard: Guard) -> None:
    guard.faulty.fail("put", RemoteError("server says 403", writing=True, lasting=True))

    for _ in range(2):
        with pytest.raises(RemoteError, match="server says 403"):
            guard.remote.put(DIGEST, lambda: [CONTENT])
    with pytest.raises(RemoteError, match="server says 403"):
        guard.remote.keep(KEY, RECORD)

    guard.remote.close()
    assert [len(guard.faulty.asked(call)) for call in ("put", "keep")] == [1, 0]
    assert guard.get() == CONTENT
    assert guard.warnings == ["nothing more is put into the remote cache by this build: server says 403"]


def test_url_in_the_name_is_not_said_twice() -> None:
    warnings: list[str] = []
    faulty = FaultyRemote(MemoryRemote())
    faulty.fail("record", RemoteError("http://host/c refuses connections", lasting=True))
    remote = GuardedRemote(faulty, warn=warnings.append, name="the remote cache http://host/c")

    remote.record(KEY)

    assert warnings == [
        "the remote cache http://host/c is not used for the rest of this build: refuses connections"
    ]


def test_slow_first_answers_that_pay_for_connecting_do_not_count(guard: Guard) -> None:
    guard.faulty.fail("record", None, times=1, seconds=9.0)

    for _ in range(10):
        guard.remote.record(KEY)

    assert guard.warnings == []
