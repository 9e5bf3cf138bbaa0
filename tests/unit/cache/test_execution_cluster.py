"""Runs on a cluster whose connection breaks, whose answers make no sense, or which says no."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest

from kitbuild.cache import execution_run
from kitbuild.cache.connection import CallError, Connection
from kitbuild.cache.execution_cluster import Cluster
from kitbuild.cache.execution_run import Limits
from kitbuild.cache.protobuf import Message
from kitbuild.cache.reapi_messages import (
    SHA256,
    ActionResult,
    CancelOperationRequest,
    ExecuteOperationMetadata,
    ExecuteRequest,
    ExecuteResponse,
    ExecutionCapabilities,
    Operation,
    ServerCapabilities,
    Status,
    WaitExecutionRequest,
)
from kitbuild.cache.reapi_messages import Any as AnyMessage
from kitbuild.cache.remote import Access
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError

ACTION = Digest.of(b"action")
RESULT = ActionResult(exit_code=3)
QUEUED = Operation(name="run/1")
SILENCE = CallError("no data came in time", code="DEADLINE_EXCEEDED")
BROKEN = CallError("the line is dead", code="UNAVAILABLE")

Told = Operation | CallError


def response(answer: ExecuteResponse) -> Operation:
    return Operation(name="run/1", done=True, response=AnyMessage(value=answer.encode()))


DONE = response(ExecuteResponse(result=RESULT))


class Line:
    """A connection that tells what it is given, stream by stream, and notes what it was asked."""

    name = "cluster"
    instance = "main"

    def __init__(self, *streams: Sequence[Told]) -> None:
        self.streams = list(streams)
        self.asked: list[Message] = []
        self.capabilities = ExecutionCapabilities(digest_function=SHA256, exec_enabled=True)
        self.cancelling: Exception | None = None
        self.closed = False
        self.meanwhile: Callable[[], object] = lambda: None

    def call(self, method: str, request: Message, answer: type[Message], **limits: float) -> Message:
        self.asked.append(request)
        if isinstance(request, CancelOperationRequest) and self.cancelling:
            raise self.cancelling
        if answer is ServerCapabilities:
            return ServerCapabilities(execution_capabilities=self.capabilities)
        return answer()

    def stream(
        self, method: str, request: Message, answer: type[Message], *, stall_seconds: float
    ) -> Iterator[Told]:
        self.asked.append(request)
        assert method.endswith("Execute" if isinstance(request, ExecuteRequest) else "WaitExecution")
        return self._told(self.streams.pop(0))

    def check(self, status: Status | None) -> None:
        Connection(f"grpc://{self.name}", Access()).check(status)

    def close(self) -> None:
        self.closed = True

    def _told(self, news: Iterable[Told]) -> Iterator[Told]:
        for one in news:
            if isinstance(one, CallError):
                raise one
            yield one
            self.meanwhile()

    @property
    def runs(self) -> list[type[Message]]:
        """What was asked about runs."""
        return [type(one) for one in self.asked[1:]]


def cluster(line: Any) -> Cluster:
    return Cluster(line)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution_run, "_PAUSE_SECONDS", 0.0)


def test_result_of_a_run() -> None:
    line = Line([QUEUED, QUEUED, DONE])

    assert cluster(line).execute(ACTION) == RESULT
    assert line.runs == [ExecuteRequest]
    request = line.asked[1]
    assert isinstance(request, ExecuteRequest)
    assert (request.instance_name, request.skip_cache_lookup) == ("main", True)


def test_capabilities_are_asked_once() -> None:
    line = Line([DONE], [DONE])
    runs = cluster(line)

    assert [runs.execute(ACTION), runs.execute(ACTION)] == [RESULT] * 2
    assert line.runs == [ExecuteRequest] * 2


@pytest.mark.parametrize(
    ("capabilities", "message"),
    [
        (None, "it is a cache alone"),
        (ExecutionCapabilities(digest_function=SHA256), "it is a cache alone"),
        (ExecutionCapabilities(exec_enabled=True, digest_functions=(9,)), "does not take sha256"),
    ],
)
def test_server_that_cannot_run_is_left_alone(
    capabilities: ExecutionCapabilities | None, message: str
) -> None:
    line = Line()
    line.capabilities = capabilities  # type: ignore[assignment]

    with pytest.raises(RemoteError, match=message) as caught:
        cluster(line).execute(ACTION)

    assert caught.value.lasting


def test_broken_stream_is_taken_up_again() -> None:
    line = Line([QUEUED, BROKEN], [BROKEN], [QUEUED], [QUEUED, DONE])

    assert cluster(line).execute(ACTION) == RESULT
    assert line.runs == [ExecuteRequest, *[WaitExecutionRequest] * 3]
    assert all(one.name == "run/1" for one in line.asked if isinstance(one, WaitExecutionRequest))


def test_stream_that_breaks_again_and_again_is_given_up_and_the_run_cancelled() -> None:
    line = Line([QUEUED, BROKEN], *([BROKEN] for _ in range(3)))

    with pytest.raises(CallError, match="the line is dead"):
        cluster(line).execute(ACTION)

    assert line.runs == [ExecuteRequest, *[WaitExecutionRequest] * 3, CancelOperationRequest]


def test_call_that_never_got_through_is_not_waited_for() -> None:
    line = Line([BROKEN])

    with pytest.raises(CallError, match="the line is dead"):
        cluster(line).execute(ACTION)

    assert line.runs == [ExecuteRequest]


def test_refusal_is_no_broken_stream() -> None:
    line = Line([QUEUED, CallError("no", code="PERMISSION_DENIED", lasting=True)])

    with pytest.raises(CallError, match="no"):
        cluster(line).execute(ACTION)


def test_server_that_is_silent_is_asked_again() -> None:
    line = Line([QUEUED, SILENCE], [SILENCE], [DONE])

    assert cluster(line).execute(ACTION) == RESULT
    assert line.runs == [ExecuteRequest, WaitExecutionRequest, WaitExecutionRequest]


def test_server_that_is_silent_from_the_beginning_is_given_up() -> None:
    line = Line([SILENCE])

    with pytest.raises(CallError, match="no data came in time"):
        cluster(line).execute(ACTION)


@pytest.mark.parametrize(
    ("limits", "stage", "message"),
    [
        pytest.param(Limits(whole=0.0), 3, "gave no result in 0 seconds", id="in all"),
        pytest.param(Limits(queued=0.0), 2, "no worker took a node in 0 seconds", id="in the queue"),
    ],
)
def test_run_that_takes_for_ever_is_cancelled(limits: Limits, stage: int, message: str) -> None:
    metadata = AnyMessage(value=ExecuteOperationMetadata(stage=stage).encode())
    line = Line([Operation(name="run/1", metadata=metadata)])

    with pytest.raises(RemoteError, match=message):
        Cluster(line, limits).execute(ACTION)  # type: ignore[arg-type]

    assert line.runs == [ExecuteRequest, CancelOperationRequest]


def test_run_that_has_begun_may_take_longer_than_one_in_the_queue() -> None:
    metadata = AnyMessage(value=ExecuteOperationMetadata(stage=3).encode())
    odd = Operation(name="run/1", metadata=AnyMessage(value=b"\xff"))
    line = Line([Operation(name="run/1", metadata=metadata), odd, DONE])

    assert Cluster(line, Limits(queued=0.0)).execute(ACTION) == RESULT  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("operation", "code", "message"),
    [
        pytest.param(
            Operation(done=True, error=Status(code=5, message="no action")),
            "NOT_FOUND",
            "no action",
            id="error of the operation",
        ),
        pytest.param(
            response(ExecuteResponse(result=RESULT, status=Status(code=13, message="a\nb"))),
            "INTERNAL",
            r"internal \(a b\)",
            id="status of the response",
        ),
        pytest.param(
            response(ExecuteResponse(status=Status(code=99))), "UNKNOWN", "unknown", id="code that is none"
        ),
    ],
)
def test_status_says_what_went_wrong(operation: Operation, code: str, message: str) -> None:
    with pytest.raises(CallError, match=message) as caught:
        cluster(Line([operation])).execute(ACTION)

    assert caught.value.code == code


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(Operation(done=True), id="nothing"),
        pytest.param(response(ExecuteResponse()), id="no result"),
        pytest.param(Operation(done=True, response=AnyMessage(value=b"\xff")), id="no message"),
    ],
)
def test_answer_without_a_result_is_refused(operation: Operation) -> None:
    with pytest.raises(RemoteError, match=r"cluster gave (a malformed|no) result"):
        cluster(Line([operation])).execute(ACTION)


@pytest.mark.parametrize(
    "cancelling",
    [
        pytest.param(None, id="cancelled"),
        pytest.param(CallError("what?", code="UNIMPLEMENTED"), id="cannot cancel"),
        pytest.param(CallError("dead", code="UNAVAILABLE"), id="dead"),
        pytest.param(RemoteError("closed"), id="closed"),
    ],
)
def test_what_goes_on_is_cancelled_when_it_stops(cancelling: Exception | None) -> None:
    line = Line([QUEUED, CallError("cut", code="CANCELLED")])
    line.cancelling = cancelling
    runs = cluster(line)
    line.meanwhile = runs.stop

    with pytest.raises(CallError, match="cut"):
        runs.execute(ACTION)

    assert line.closed
    assert CancelOperationRequest(name="run/1") in line.asked
    with pytest.raises(RemoteError, match="given up"):
        runs.execute(ACTION)
