"""Run: one action on a server, followed until it is done, over as many streams of news as that takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

from kitbuild.cache.connection import CallError, Connection
from kitbuild.cache.execution_inputs import sent
from kitbuild.cache.reapi_messages import (
    STAGE_QUEUED,
    ActionResult,
    ExecuteOperationMetadata,
    ExecuteRequest,
    ExecuteResponse,
    Operation,
    WaitExecutionRequest,
)
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError

# How often a stream of news may break before the next news, and the pauses between, which double.
_MOST_BREAKS = 3
_PAUSE_SECONDS = 0.1

_EXECUTION = "build.bazel.remote.execution.v2.Execution"
# A stream that ends so may have lost the connection; what it was about goes on.
_BREAKS = frozenset({"UNAVAILABLE", "UNKNOWN", "ABORTED", "INTERNAL"})
_SILENCE = "DEADLINE_EXCEEDED"


class Limits(NamedTuple):
    """How long a run may take, in seconds: in all, and until a worker takes it.

    After `silent` seconds without news a server is asked again: a connection may be dead without anyone knowing.
    """

    whole: float = 900.0
    queued: float = 120.0
    silent: float = 60.0


class Run:
    """One action, from now on. `name` is what the server calls the run; empty before it said so, and afterwards."""

    def __init__(self, action: Digest, connection: Connection, limits: Limits) -> None:
        self._request = ExecuteRequest(
            instance_name=connection.instance, action_digest=sent(action), skip_cache_lookup=True
        )
        self._connection = connection
        self._limits = limits
        self._started = time.monotonic()
        self._is_queued = False
        self.name = ""

    def result(self, stopped: threading.Event) -> ActionResult:
        """What the action gave; raises CallError with the code the server gave, and RemoteError for nonsense."""
        breaks = 0
        while True:
            try:
                for operation in self._news():
                    breaks = 0
                    if self._took(operation):
                        return self._result_in(operation)
                error = CallError(f"{self._connection.name} stopped telling of a run", code="UNAVAILABLE")
            except CallError as raised:
                if not self._goes_on(raised):
                    raise
                if raised.code == _SILENCE:
                    self._check_time()
                    continue
                error = raised
            breaks += 1
            if breaks > _MOST_BREAKS or stopped.wait(_PAUSE_SECONDS * 2**breaks):
                raise error

    def _news(self) -> Iterator[Operation]:
        left = self._limits.whole - (time.monotonic() - self._started)
        seconds = max(0.1, min(self._limits.silent, left))
        stream = self._connection.stream
        if not self.name:
            return stream(f"{_EXECUTION}/Execute", self._request, Operation, stall_seconds=seconds)
        request = WaitExecutionRequest(name=self.name)
        return stream(f"{_EXECUTION}/WaitExecution", request, Operation, stall_seconds=seconds)

    def _took(self, operation: Operation) -> bool:
        """Takes note of news; True if there will be no more."""
        if operation.done:
            self.name = ""
            return True
        self.name = operation.name
        try:
            value = operation.metadata.value if operation.metadata else b""
            self._is_queued = ExecuteOperationMetadata.decode(value).stage == STAGE_QUEUED
        except ValueError:
            # It says no more than how to pass the time.
            self._is_queued = False
        self._check_time()
        return False

    def _goes_on(self, error: CallError) -> bool:
        return bool(self.name) and not error.lasting and (error.code in _BREAKS or error.code == _SILENCE)

    def _check_time(self) -> None:
        seconds = time.monotonic() - self._started
        name, whole, queued = self._connection.name, self._limits.whole, self._limits.queued
        if self._is_queued and seconds >= queued:
            raise RemoteError(f"{name}: no worker took a node in {queued:.0f} seconds")
        if seconds >= whole:
            raise RemoteError(f"{name}: a node gave no result in {whole:.0f} seconds")

    def _result_in(self, operation: Operation) -> ActionResult:
        self._connection.check(operation.error)
        try:
            answer = ExecuteResponse.decode(operation.response.value if operation.response else b"")
        except ValueError as error:
            raise RemoteError(f"{self._connection.name} gave a malformed result: {error}") from error
        self._connection.check(answer.status)
        if answer.result is None:
            raise RemoteError(f"{self._connection.name} gave no result of a run that is over")
        return answer.result
