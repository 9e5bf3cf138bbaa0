"""A remote cache that speaks the Remote Execution API: bazel-remote, BuildGrid, buildbox-casd, Buildbarn, NativeLink.

The path of a URL is the name of the instance. Not every server keeps the results of instances apart, so what a result
is kept under is the key for the instance without a name, and the key and the name hashed for any other.

Source: remote_execution.proto of the Remote APIs working group, version 2.12, and google/bytestream/bytestream.proto.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from kitbuild.cache.action_result import action_result, blob_digest, digest_of, record_of
from kitbuild.cache.connection import STALL_SECONDS, CallError, Connection, check_library
from kitbuild.cache.reapi_messages import (
    SHA256,
    ActionResult,
    BatchReadBlobsRequest,
    BatchReadBlobsResponse,
    BatchUpdateBlobsRequest,
    BatchUpdateBlobsResponse,
    BlobDigest,
    BlobUpdate,
    CacheCapabilities,
    FindMissingBlobsRequest,
    FindMissingBlobsResponse,
    GetActionResultRequest,
    GetCapabilitiesRequest,
    ReadRequest,
    ReadResponse,
    ServerCapabilities,
    UpdateActionResultRequest,
    WriteRequest,
    WriteResponse,
)
from kitbuild.cache.remote import MOST_RECORD_BYTES, Access, Pieces, Record, Remote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, RemoteError
from kitbuild.node import Key

_API = "build.bazel.remote.execution.v2"
_CONTENT = f"{_API}.ContentAddressableStorage"
_RESULTS = f"{_API}.ActionCache"
_STREAM = "google.bytestream.ByteStream"
# The versions of the API that this module knows to be spoken as it speaks them.
_OLDEST, _NEWEST = (2, 0), (2, 12)

_PIECE_BYTES = 1 << 20
# Up to here one call with all of it costs a third of a stream; larger, it might not come in time on a slow line.
_SMALL_BYTES = 128 << 10
# What gRPC takes in a message unless it is told otherwise, and servers that name no limit.
_MOST_BATCH_BYTES = 4 << 20
# What a message takes besides the blob in it: names, digests, the instance.
_OVERHEAD_BYTES = 4096
# A digest takes some eighty bytes, and a server a millisecond for some of them.
_DIGESTS_A_CALL = 1000
# Servers that hash or copy what came before they answer do so at least as fast.
_LEAST_BYTES_A_SECOND = 50_000_000
# What is named so is an action elsewhere, whose size is part of its name; a key has none. Servers refuse 0.
_KEY_SIZE = 64


def open_remote(url: str, access: Access) -> Remote:
    """The remote cache at `grpc[s]://host[:port][/instance]`; raises UsageError for a malformed URL."""
    check_library(url)
    return ReapiRemote(Connection(url, access))


class _Terms(NamedTuple):
    """What a server allows."""

    small_bytes: int
    takes_results: bool


class ReapiRemote:
    """A remote cache behind a connection, which it closes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._known: _Terms | None = None
        self._failure: RemoteError | None = None
        self._failed_at = 0.0

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        self._terms()
        asked, missing = iter(set(digests)), set[Digest]()
        while some := set(islice(asked, _DIGESTS_A_CALL)):
            missing |= some & self._missing(some)
        return missing

    def get(self, digest: Digest) -> Iterator[bytes]:
        content = self._read(digest) if digest.size <= self._terms().small_bytes else self._stream(digest)
        try:
            yield from content
        except CallError as error:
            if error.code != "NOT_FOUND":
                raise
            raise self._gone(digest) from None

    def put(self, digest: Digest, pieces: Pieces) -> None:
        terms = self.writable()
        if digest.size <= terms.small_bytes:
            self._update(digest, b"".join(_exactly(digest, pieces())))
            return
        answer = self._connection.send(
            f"{_STREAM}/Write",
            self._writes(digest, pieces()),
            WriteResponse,
            extra_seconds=digest.size / _LEAST_BYTES_A_SECOND,
        )
        if answer.committed_size != digest.size:
            raise RemoteError(
                f"{self._connection.name} took {answer.committed_size} of {digest.size} bytes of {digest.oci}"
            )

    def record(self, key: Key) -> Record | None:
        self._terms()
        request = GetActionResultRequest(
            instance_name=self._connection.instance, action_digest=self._name(key), inline_stdout=True
        )
        try:
            message = self._connection.call(f"{_RESULTS}/GetActionResult", request, ActionResult)
            if not message.stdout_raw and message.stdout_digest:
                message = self._with_stdout(message)
        except (MissingBlobError, ValueError):
            return None
        except CallError as error:
            if error.code != "NOT_FOUND":
                raise
            return None
        return record_of(message)

    def keep(self, key: Key, record: Record) -> None:
        self.writable()
        request = UpdateActionResultRequest(
            instance_name=self._connection.instance,
            action_digest=self._name(key),
            action_result=action_result(record),
        )
        self._connection.call(f"{_RESULTS}/UpdateActionResult", request, ActionResult, writing=True)

    def close(self) -> None:
        self._connection.close()

    def _missing(self, digests: set[Digest]) -> set[Digest]:
        request = FindMissingBlobsRequest(
            instance_name=self._connection.instance, blob_digests=tuple(map(blob_digest, digests))
        )
        # Not the small request that ANSWER_SECONDS are for: each digest may be looked for on a disk.
        answer = self._connection.call(
            f"{_CONTENT}/FindMissingBlobs", request, FindMissingBlobsResponse, seconds=STALL_SECONDS
        )
        return set(map(self._digest, answer.missing_blob_digests))

    def _digest(self, message: BlobDigest | None) -> Digest:
        try:
            return digest_of(message)
        except ValueError as error:
            raise RemoteError(f"{self._connection.name}: {error}") from error

    def _read(self, digest: Digest) -> Iterator[bytes]:
        request = BatchReadBlobsRequest(
            instance_name=self._connection.instance, digests=(blob_digest(digest),)
        )
        answer = self._connection.call(
            f"{_CONTENT}/BatchReadBlobs", request, BatchReadBlobsResponse, seconds=STALL_SECONDS
        )
        for response in answer.responses:
            if response.digest == request.digests[0]:
                self._connection.check(response.status)
                yield from _exactly(digest, [response.data])
                return
        raise RemoteError(f"{self._connection.name} says nothing about {digest.oci}")

    def _stream(self, digest: Digest) -> Iterator[bytes]:
        request = ReadRequest(resource_name=self._resource(f"blobs/{digest.hex}/{digest.size}"))
        answers = self._connection.stream(f"{_STREAM}/Read", request, ReadResponse)
        return _exactly(digest, (answer.data for answer in answers))

    def _update(self, digest: Digest, content: bytes) -> None:
        update = BlobUpdate(digest=blob_digest(digest), data=content)
        request = BatchUpdateBlobsRequest(instance_name=self._connection.instance, requests=(update,))
        answer = self._connection.call(
            f"{_CONTENT}/BatchUpdateBlobs",
            request,
            BatchUpdateBlobsResponse,
            seconds=STALL_SECONDS,
            writing=True,
        )
        for response in answer.responses:
            self._connection.check(response.status, writing=True)

    def _writes(self, digest: Digest, pieces: Iterable[bytes]) -> Iterator[WriteRequest]:
        name = self._resource(f"uploads/{_uuid()}/blobs/{digest.hex}/{digest.size}")
        offset = 0
        for piece in _exactly(digest, pieces):
            end = offset + len(piece)
            yield WriteRequest(
                resource_name="" if offset else name,
                write_offset=offset,
                finish_write=end == digest.size,
                data=piece,
            )
            offset = end

    def _with_stdout(self, message: ActionResult) -> ActionResult:
        """The result with what it refers to in it: a server may keep that as a blob all the same."""
        digest = digest_of(message.stdout_digest)
        if digest.size > MOST_RECORD_BYTES:
            return message
        return ActionResult(output_files=message.output_files, stdout_raw=b"".join(self.get(digest)))

    def _gone(self, digest: Digest) -> MissingBlobError:
        return MissingBlobError(f"{digest.oci} is not in {self._connection.name}")

    def _resource(self, name: str) -> str:
        return f"{self._connection.instance}/{name}" if self._connection.instance else name

    def _name(self, key: Key) -> BlobDigest:
        instance = self._connection.instance
        name = hashlib.sha256(f"{instance}\n{key.hex}".encode()).hexdigest() if instance else key.hex
        return BlobDigest(hash=name, size_bytes=_KEY_SIZE)

    def writable(self) -> _Terms:
        terms = self._terms()
        if not terms.takes_results:
            raise RemoteError(f"{self._connection.name} takes no results", lasting=True, writing=True)
        return terms

    def _terms(self) -> _Terms:
        """What the server allows, asked once. Who waits while somebody asks in vain need not ask again."""
        came = time.monotonic()
        with self._lock:
            if self._known is None:
                if self._failure is not None and came < self._failed_at:
                    raise self._failure
                try:
                    self._known = self._asked()
                except RemoteError as error:
                    self._failure, self._failed_at = error, time.monotonic()
                    raise
            return self._known

    def _asked(self) -> _Terms:
        request = GetCapabilitiesRequest(instance_name=self._connection.instance)
        try:
            answer = self._connection.call(
                f"{_API}.Capabilities/GetCapabilities", request, ServerCapabilities
            )
        except CallError as error:
            # What servers say of an instance they do not know.
            if error.code in ("NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"):
                raise RemoteError(error.message, lasting=True) from error
            raise
        found = answer.cache_capabilities or CacheCapabilities()
        if SHA256 not in found.digest_functions:
            raise RemoteError(f"{self._connection.name} is no cache by sha256", lasting=True)
        _check_version(self._connection.name, answer)
        results = found.action_cache_update_capabilities
        most = found.max_batch_total_size_bytes or _MOST_BATCH_BYTES
        return _Terms(
            max(0, min(_SMALL_BYTES, most - _OVERHEAD_BYTES)), bool(results and results.update_enabled)
        )


def _check_version(name: str, answer: ServerCapabilities) -> None:
    low, high = answer.low_api_version, answer.high_api_version
    if low and high and ((low.major, low.minor) > _NEWEST or (high.major, high.minor) < _OLDEST):
        raise RemoteError(
            f"{name}: expected a version of the API from {_shown(_OLDEST)} to {_shown(_NEWEST)}, got "
            f"{_shown((low.major, low.minor))} to {_shown((high.major, high.minor))}",
            lasting=True,
        )


def _shown(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _exactly(digest: Digest, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces in others of at most 1 MiB, none empty; raises RemoteError for too few or too many bytes."""
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > digest.size:
            raise RemoteError(f"expected {digest.size} bytes of {digest.oci}, got more")
        for start in range(0, len(piece), _PIECE_BYTES):
            yield piece[start : start + _PIECE_BYTES]
    if size < digest.size:
        raise RemoteError(f"expected {digest.size} bytes of {digest.oci}, got {size}")


def _uuid() -> str:
    from uuid import uuid4

    return str(uuid4())
