"""A registry of OCI images as a remote cache: oci://registry[:port]/repository[?insecure].

    content     a blob of the repository: registries name blobs by sha256 as we do, and check them when they come
    record      an image manifest under the tag kitbuild-<key hex>, see registry_record.py

So a record is read and written with one request, and a registry that collects garbage keeps what a record names.

`?insecure` is plain http, which registries on this machine speak anyway (`?insecure=false`: they do not). Who we are
stands in the URL, or in Docker's config file; a token of `Access` is sent as it is.

Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kitbuild.cache.action_result import decode, encode
from kitbuild.cache.registry_place import Place, headers_of, placed
from kitbuild.cache.registry_record import (
    CONTENT_TYPE,
    EMPTY,
    MANIFEST_TYPE,
    MOST_ANNOTATED_BYTES,
    MOST_MANIFEST_BYTES,
    manifest_of,
    read_manifest,
    tag_of,
)
from kitbuild.cache.remote import MOST_RECORD_BYTES, Access, Pieces, Record, Remote, missing_of, shown
from kitbuild.digest import Digest
from kitbuild.errors import ImageError, MissingBlobError, RemoteError
from kitbuild.node import Key

if TYPE_CHECKING:
    import requests

    from kitbuild.rules.fetch.connection import Connection
    from kitbuild.rules.fetch.transport import Transport

_CONNECT_SECONDS = 1.0
_ANSWER_SECONDS = 2.0
_STALL_SECONDS = 5.0
# A registry answers to an upload when it has hashed it, and perhaps copied it to where it keeps it.
_KEEPS_BYTES_PER_SECOND = 20 << 20
# Sent in one go each, within the stall time.
_PIECE_BYTES = 1 << 16
# Registries have no request that asks for several blobs.
_QUESTIONS_AT_ONCE = 8

_ERROR_CODE = re.compile(r"[A-Z_]{1,64}")
# Answers to a write that the next one will get too; 404: the repository has to be made by hand.
_CONTENT_REFUSED = frozenset({403, 404, 405, 413, 501, 507})
# The more: what is no image is not taken there, or a tag that is there stays as it is.
_RECORD_REFUSED = _CONTENT_REFUSED | {400, 409, 412}
_NO_SUCH_BLOB = frozenset({"BLOB_UNKNOWN", "MANIFEST_BLOB_UNKNOWN"})
_MAY_PASS = frozenset({408, 425, 429})


def open_remote(url: str, access: Access) -> Remote:
    """The remote cache in a repository; raises UsageError for a URL or headers that cannot be."""
    return RegistryRemote(url, access)


class RegistryRemote:
    """See Remote. Whether content put is what its digest says, the registry checks."""

    def __init__(self, url: str, access: Access) -> None:
        self._shown = shown(url)
        self._place = placed(url)
        self._access = access
        self._headers = headers_of(access)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._keeping = threading.Lock()
        self._has_empty = False

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        return missing_of(digests, self._has, at_once=_QUESTIONS_AT_ONCE)

    def _has(self, digest: Digest) -> bool:
        with self._asked("HEAD", f"blobs/{digest.oci}") as response:
            if response.status_code == 404:
                return False
            self._check(response, 200)
            # Nothing has another size than its digest says, so something is broken there: put it again.
            return response.headers.get("Content-Length", str(digest.size)) == str(digest.size)

    def get(self, digest: Digest) -> Iterator[bytes]:
        stall = (_CONNECT_SECONDS, _STALL_SECONDS)
        with self._asked("GET", f"blobs/{digest.oci}", timeouts=stall) as response:
            if response.status_code == 404:
                raise MissingBlobError(f"{digest.oci} is not in {self._shown}")
            self._check(response, 200)
            left = digest.size
            for piece in self._transport.pieces(response):
                left -= len(piece)
                if left < 0:
                    raise RemoteError(
                        f"{self._shown}: expected {digest.size} bytes for {digest.oci}, got more"
                    )
                yield piece
            if left:
                raise RemoteError(
                    f"{self._shown}: expected {left} more bytes for {digest.oci}, got their end"
                )

    def put(self, digest: Digest, pieces: Pieces) -> None:
        with self._asked("POST", "blobs/uploads/", content=bytes) as response:
            self._check(response, 202, refusals=_CONTENT_REFUSED)
            place = response.headers.get("Location", "")
        if not place:
            raise RemoteError(f"{self._shown} does not say where to send content")
        place = f"{place}{'&' if '?' in place else '?'}digest={digest.oci}"
        # In requests the first is for sending too.
        patience = (_STALL_SECONDS, _STALL_SECONDS + digest.size / _KEEPS_BYTES_PER_SECOND)
        content = bytes if digest.size == 0 else lambda: _Body(digest, pieces)
        headers = {"Content-Type": CONTENT_TYPE}
        with self._asked("PUT", place, content=content, headers=headers, timeouts=patience) as response:
            self._check(response, 201, refusals=_CONTENT_REFUSED)

    def record(self, key: Key) -> Record | None:
        path = f"manifests/{tag_of(key)}"
        with self._asked("GET", path, headers={"Accept": MANIFEST_TYPE}) as response:
            if response.status_code == 404:
                return None
            self._check(response, 200)
            content = self._body(response, MOST_MANIFEST_BYTES)
        found = read_manifest(content) if content is not None else None
        if isinstance(found, Digest):
            try:
                found = b"".join(self.get(found))
            except MissingBlobError:
                return None
        return decode(found) if found is not None else None

    def keep(self, key: Key, record: Record) -> None:
        content = encode(record)
        if len(content) > MOST_RECORD_BYTES:
            raise RemoteError(
                f"expected at most {MOST_RECORD_BYTES} bytes for the record {key.hex}, got {len(content)}"
            )
        with self._keeping:
            # One after the other: while the same blob is put twice at once, a registry may deny that it has it.
            if not self._has_empty:
                self._put_unless_there(EMPTY)
                self._has_empty = True
        if len(content) > MOST_ANNOTATED_BYTES:
            self._put_unless_there(content)
        manifest = manifest_of(record, content)
        path = f"manifests/{tag_of(key)}"
        headers = {"Content-Type": MANIFEST_TYPE}
        with self._asked("PUT", path, content=lambda: manifest, headers=headers) as response:
            self._check(response, 201, refusals=_RECORD_REFUSED)

    def close(self) -> None:
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.transport.close()

    def _put_unless_there(self, content: bytes) -> None:
        digest = Digest.of(content)
        if not self._has(digest):
            self.put(digest, lambda: (content,))

    @contextmanager
    def _asked(
        self,
        method: str,
        path: str,
        *,
        content: Callable[[], Any] | None = None,
        headers: dict[str, str] | None = None,
        timeouts: tuple[float, float] | None = None,
    ) -> Iterator[requests.Response]:
        """The answer to one request; what goes wrong with it or while it is read is a RemoteError."""
        from kitbuild.cache.http_failure import failure
        from kitbuild.rules.fetch.connection import DeniedError
        from kitbuild.rules.fetch.transport import UnavailableError, UnreachableError

        writing = content is not None
        try:
            response = self._open().send(
                method, self._place.repository, path, content=content, headers=headers, timeouts=timeouts
            )
            with response:
                yield response
                self._transport.drop(response)
        except DeniedError as error:
            message = f"{self._shown} denies access{' to write' if writing else ''}"
            raise RemoteError(message, lasting=True, writing=writing, hint=error.hint) from None
        except (UnreachableError, OSError, ValueError) as error:
            # ValueError: where the registry sends us to is no address.
            raise failure(self._shown, error) from None
        except ImageError as error:
            lasting = not isinstance(error, UnavailableError)
            raise RemoteError(f"{self._shown}: {error.message}", lasting=lasting, hint=error.hint) from None

    def _check(
        self, response: requests.Response, expected: int, *, refusals: frozenset[int] | None = None
    ) -> None:
        """Raises RemoteError for an answer with another status than the expected one.

        To a request that writes, the statuses in `refusals` mean that others would be refused too.
        """
        status = response.status_code
        if status == expected:
            return
        codes = self._error_codes(response)
        message = f"{self._shown} answers {status}{f' ({codes[0]})' if codes else ''}"
        if refusals is None:
            raise RemoteError(message, lasting=300 <= status < 500 and status not in _MAY_PASS)
        lasting = status in refusals and not _NO_SUCH_BLOB.intersection(codes)
        raise RemoteError(f"{message} to a write", lasting=lasting, writing=lasting)

    def _error_codes(self, response: requests.Response) -> list[str]:
        """What a registry calls its reasons (distribution-spec, "Error Codes"), if it gives any."""
        try:
            errors = json.loads(self._body(response, 1 << 16) or b"")["errors"]
            return [error["code"] for error in errors if _ERROR_CODE.fullmatch(error["code"])]
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            return []

    def _body(self, response: requests.Response, most: int) -> bytes | None:
        """A body of at most `most` bytes."""
        content = bytearray()
        for piece in self._transport.pieces(response):
            content += piece
            if len(content) > most:
                return None
        return bytes(content)

    @property
    def _transport(self) -> Transport:
        return self._open().transport

    def _open(self) -> Connection:
        """The connection, made when it is first needed."""
        with self._lock:
            if self._connection is None:
                self._connection = _connected(self._place, self._access, self._headers)
            return self._connection


class _Body:
    """Content to be sent: its length is known before, and it comes in small pieces."""

    def __init__(self, digest: Digest, pieces: Pieces) -> None:
        self._digest = digest
        self._pieces = pieces

    def __len__(self) -> int:
        return self._digest.size

    def __iter__(self) -> Iterator[memoryview]:
        left = self._digest.size
        for piece in self._pieces():
            left -= len(piece)
            if left < 0:
                break
            for start in range(0, len(piece), _PIECE_BYTES):
                yield memoryview(piece)[start : start + _PIECE_BYTES]
        if left:
            # The server would wait for the rest, or take the rest for a request.
            raise RemoteError(
                f"expected {self._digest.size} bytes to send for {self._digest.oci}, got others"
            )


def _connected(place: Place, access: Access, headers: dict[str, str]) -> Connection:
    from kitbuild.rules.fetch.connection import Connection
    from kitbuild.rules.fetch.credentials import Credentials
    from kitbuild.rules.fetch.transport import Transport

    certificate = access.client_certificate
    transport = Transport(
        place.host,
        # Whoever uses a remote cache tries again as often as is worth it.
        waits=(),
        timeouts=(_CONNECT_SECONDS, _ANSWER_SECONDS),
        cert_files=tuple(map(str, access.authorities)),
        client_cert=(certificate, access.client_key or certificate) if certificate else None,
    )
    schemes = {None: "", True: f"http://{place.host}", False: f"https://{place.host}"}
    credentials = Credentials(place.user, place.password) if place.user else None
    return Connection(transport, address=schemes[place.insecure], credentials=credentials, headers=headers)
