"""Connection: calls to a server of the Remote Execution API, for the cache and for execution alike.

Two connections to the same server share one TCP connection: gRPC sees to that.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from kitbuild import __version__
from kitbuild.cache.credentials import Place, Trust, metadata_of, placed, secrets_of, trust_of
from kitbuild.cache.http_address import is_loopback
from kitbuild.cache.protobuf import Message
from kitbuild.cache.reapi_messages import Status
from kitbuild.cache.remote import MOST_RECORD_BYTES, Access, shown
from kitbuild.cache.streaming import Sending, StalledError, Watch
from kitbuild.errors import RemoteError, UsageError

MessageT = TypeVar("MessageT", bound=Message)

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 2.0
STALL_SECONDS = 5.0

# A record in the most a record may take, and what is around it.
_MOST_MESSAGE_BYTES = MOST_RECORD_BYTES + (1 << 20)
_MOST_DETAIL_CHARACTERS = 200
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"})
# google.rpc.Code, by number.
_CODES = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
# What gRPC says in UNAVAILABLE of things that asking again does not change.
_HOPELESS = re.compile(
    r"DNS resolution failed|Domain name not found|CERTIFICATE_VERIFY_FAILED|TLSV1_ALERT|SSLV3_ALERT"
    r"|WRONG_VERSION_NUMBER|Hostname Verification|[Cc]ertificate"
)
# What it says before what happened.
_PREFACE = re.compile(r"failed to connect to all addresses; last error: \w+: \S+: ")


class CallError(RemoteError):
    """A call did not succeed; `code` is the name of its gRPC status."""

    def __init__(self, message: str, *, code: str, lasting: bool = False, writing: bool = False) -> None:
        super().__init__(message, lasting=lasting, writing=writing)
        self.code = code


class Connection:
    """Calls to one instance of one server. Nothing is opened before the first call. Safe to use from several threads.

    `instance` is the path of the URL, `name` the URL as it may be shown. Every call raises CallError if the server
    refuses or cannot be reached, RemoteError if its answer makes no sense, and ends in the stated time.
    """

    def __init__(self, url: str, access: Access, *, stall_seconds: float = STALL_SECONDS) -> None:
        place = placed(url)
        self.name = shown(url)
        self.instance = place.instance
        self._place = place
        self._trust = trust_of(access) if place.is_secure else None
        self._metadata = metadata_of(place, access)
        self._secrets = secrets_of(place, access)
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._channel: Any | None = None
        self._is_closed = False
        self._watch = Watch()

    def call(
        self,
        method: str,
        request: Message,
        answer: type[MessageT],
        *,
        seconds: float = ANSWER_SECONDS,
        writing: bool = False,
    ) -> MessageT:
        """The answer to one request; `method` is such as `google.bytestream.ByteStream/Read`."""
        with self._failures(writing):
            made = self._open().unary_unary(f"/{method}")
            encoded = made(request.encode(), timeout=seconds, metadata=self._metadata)
        return self._decoded(answer, encoded)

    def stream(
        self,
        method: str,
        request: Message,
        answer: type[MessageT],
        *,
        stall_seconds: float = 0.0,
    ) -> Iterator[MessageT]:
        """The answers to one request as they come, each in `stall_seconds` (0.0: as usual) at most.

        Who stops early cancels the call.
        """
        with self._failures(writing=False):
            call = self._open().unary_stream(f"/{method}")(request.encode(), metadata=self._metadata)
            try:
                while True:
                    with self._watch.over(call, stall_seconds or self._stall_seconds):
                        encoded = next(call, None)
                    if encoded is None:
                        return
                    yield self._decoded(answer, encoded)
            finally:
                call.cancel()

    def send(
        self,
        method: str,
        requests: Iterable[Message],
        answer: type[MessageT],
        *,
        extra_seconds: float = 0.0,
    ) -> MessageT:
        """The answer to many requests; it may come before all are sent.

        Each request is to be taken in time, and the answer to come so after the last one, or `extra_seconds` later.
        What `requests` raises ends the call and is raised here.
        """
        with self._failures(writing=True):
            sending = Sending(requests, self._stall_seconds, self._stall_seconds + extra_seconds)
            made = self._open().stream_unary(f"/{method}")
            call = made.future(sending, metadata=self._metadata)
            try:
                encoded = sending.answer(call, library().FutureTimeoutError)
            finally:
                call.cancel()
                sending.stop()
        return self._decoded(answer, encoded)

    def check(self, status: Status | None, *, writing: bool = False) -> None:
        """Raises CallError for a status within an answer, unless it is good."""
        if status is not None and status.code:
            code = _CODES[status.code] if 0 < status.code < len(_CODES) else "UNKNOWN"
            raise self._failure(code, status.message, writing)

    def close(self) -> None:
        """Ends all calls; there may be no more."""
        with self._lock:
            self._is_closed = True
            channel, self._channel = self._channel, None
        self._watch.stop()
        if channel is not None:
            channel.close()

    def _open(self) -> Any:
        with self._lock:
            if self._is_closed:
                raise RemoteError(f"the connection to {self.name} is closed")
            if self._channel is None:
                self._channel = _channel(self._place, self._trust)
            return self._channel

    def _decoded(self, answer: type[MessageT], encoded: bytes) -> MessageT:
        try:
            return answer.decode(encoded)
        except ValueError as error:
            raise RemoteError(f"{self.name} gave a malformed {answer.__name__}: {error}") from error

    @contextmanager
    def _failures(self, writing: bool) -> Iterator[None]:
        grpc = library()
        try:
            yield
        except grpc.RpcError as error:
            code, details = error.code().name, error.details() or ""
            if code == "CANCELLED" and self._watch.has_cancelled(error):
                code, details = "DEADLINE_EXCEEDED", "no data came in time"
            raise self._failure(code, details, writing) from None
        except StalledError as error:
            raise self._failure("DEADLINE_EXCEEDED", str(error), writing) from None

    def _failure(self, code: str, details: str, writing: bool) -> CallError:
        if any(secret in details for secret in self._secrets):
            details = ""
        is_refused = code in _REFUSED
        is_full = writing and code == "RESOURCE_EXHAUSTED"
        is_hopeless = code == "UNAVAILABLE" and _HOPELESS.search(details) is not None
        words = " ".join(_PREFACE.sub("", details).split())[:_MOST_DETAIL_CHARACTERS]
        return CallError(
            f"{self.name}: {code.lower().replace('_', ' ')}{f' ({words})' if words else ''}",
            code=code,
            lasting=is_refused or is_full or is_hopeless,
            writing=writing and (is_refused or is_full),
        )


def library() -> Any:
    """gRPC, loaded when it is first needed: that takes a tenth of a second."""
    # Without this gRPC writes of every lost connection to standard error, past all reports.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    import grpc

    return grpc


def check_library(url: str) -> None:
    """Raises UsageError if gRPC is not installed; loads nothing."""
    from importlib.util import find_spec

    if find_spec("grpc") is None:
        raise UsageError(
            f"`{shown(url)}` needs the library grpcio", hint="run `pip install 'kitbuild[reapi]'`"
        )


def _channel(place: Place, trust: Trust | None) -> Any:
    grpc = library()
    options: tuple[tuple[str, str | int], ...] = (
        ("grpc.max_receive_message_length", _MOST_MESSAGE_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.primary_user_agent", f"kitbuild/{__version__}"),
        # An attempt to connect may take as long as the shortest pause between two.
        ("grpc.min_reconnect_backoff_ms", int(CONNECT_SECONDS * 1000)),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", int(CONNECT_SECONDS * 1000)),
    )
    if is_loopback(place.host):
        # To a proxy it would be another machine.
        options += (("grpc.enable_http_proxy", 0),)
    if trust is None:
        return grpc.insecure_channel(place.target, options)
    return grpc.secure_channel(place.target, grpc.ssl_channel_credentials(*trust), options)
