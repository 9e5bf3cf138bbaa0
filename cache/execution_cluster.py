"""Cluster: a server of the Remote Execution API that runs actions."""

from __future__ import annotations

import threading

from kitbuild.cache.connection import CallError, Connection
from kitbuild.cache.execution_run import Limits, Run
from kitbuild.cache.reapi_messages import (
    SHA256,
    ActionResult,
    CancelOperationRequest,
    Empty,
    GetCapabilitiesRequest,
    ServerCapabilities,
)
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError

# For saying that something is no longer wanted: nobody waits longer for that.
_CANCEL_SECONDS = 0.5
_CANCEL = "google.longrunning.Operations/CancelOperation"
_CAPABILITIES = "build.bazel.remote.execution.v2.Capabilities/GetCapabilities"


class Cluster:
    """Runs actions, several at once. Safe to use from several threads; the connection is closed by `stop`."""

    def __init__(self, connection: Connection, limits: Limits | None = None) -> None:
        self._connection = connection
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._checked = False
        self._stopped = threading.Event()
        self._running: set[Run] = set()

    def execute(self, action: Digest) -> ActionResult:
        """What an action gave, whatever its exit status; it runs even if somebody ran the same before.

        Raises CallError with the code a server gave, and RemoteError for an answer without sense or for none in time.
        """
        self._check()
        run = Run(action, self._connection, self._limits)
        with self._lock:
            self._running.add(run)
        try:
            return run.result(self._stopped)
        finally:
            with self._lock:
                self._running.discard(run)
            if run.name and not self._stopped.is_set():
                self._cancel(run.name)

    def stop(self) -> None:
        """Has everything cancelled that goes on there; every `execute` raises soon."""
        self._stopped.set()
        with self._lock:
            names = tuple(run.name for run in self._running if run.name)
        for name in names:
            if not self._cancel(name):
                break
        self._connection.close()

    def _check(self) -> None:
        if self._stopped.is_set():
            raise RemoteError(f"{self._connection.name} was given up")
        with self._lock:
            if self._checked:
                return
            asked = GetCapabilitiesRequest(instance_name=self._connection.instance)
            found = self._connection.call(_CAPABILITIES, asked, ServerCapabilities).execution_capabilities
            name = self._connection.name
            if found is None or not found.exec_enabled:
                raise RemoteError(f"{name} runs nothing: it is a cache alone", lasting=True)
            if SHA256 not in (found.digest_function, *found.digest_functions):
                raise RemoteError(f"{name} does not take sha256", lasting=True)
            self._checked = True

    def _cancel(self, name: str) -> bool:
        """Says that a run is no longer wanted; False if nobody listens."""
        try:
            self._connection.call(_CANCEL, CancelOperationRequest(name=name), Empty, seconds=_CANCEL_SECONDS)
        except CallError as error:
            # Some servers cannot cancel, which is an answer too.
            return error.code in ("UNIMPLEMENTED", "NOT_FOUND")
        except RemoteError:
            return False
        return True
