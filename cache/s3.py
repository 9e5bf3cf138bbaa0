"""A bucket of an S3 store as a remote cache: s3://bucket[/prefix][?endpoint=URL&region=NAME]. Needs kitbuild[s3].

    <prefix>/cas/<sha256 hex>    content
    <prefix>/ac/<key hex>        a record, see action_result.py

An HTTP server in front of the bucket so gives what an HTTP remote cache gives (see http.py). With an `endpoint` the
bucket is a part of the path, as other stores than Amazon's want it.

Who we are is found where all programs for S3 find it: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile
(AWS_PROFILE), the role of the machine; who has none of them asks as nobody. Content is sent with its SHA-256, which a
store that knows the header checks.

Source: Amazon S3 API Reference, 2006-03-01.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from kitbuild.cache.action_result import decode, encode
from kitbuild.cache.remote import MOST_RECORD_BYTES, Access, Pieces, Record, Remote, missing_of, shown
from kitbuild.cache.s3_place import Place, placed
from kitbuild.digest import Digest
from kitbuild.errors import KitbuildError, MissingBlobError, RemoteError, UsageError
from kitbuild.node import Key

if TYPE_CHECKING:
    from kitbuild.cache.s3_client import Clients

_PIECE_BYTES = 1 << 18
# The most that S3 takes in one request; what is larger goes in parts, of which there may be 10,000.
MOST_SINGLE_BYTES = 5 << 30
PART_BYTES = 64 << 20
# S3 has no request that asks for several objects.
_QUESTIONS_AT_ONCE = 8

_NOT_THERE = frozenset({"404", "NoSuchKey", "NotFound"})
_CODE = re.compile(r"[A-Za-z0-9.]{1,64}")
# What a store may say that does not know the header with the SHA-256.
_CHECKSUM_UNKNOWN = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest"})
_WRITES_NOTHING = frozenset({401, 403, 405, 413, 501, 507})
_FULL = frozenset({"QuotaExceeded", "XMinioStorageFull", "EntityTooLarge"})
_MAY_PASS = frozenset({408, 425, 429})
_CREDENTIALS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile with AWS_PROFILE"
_HINTS = {
    "AccessDenied": "allow s3:GetObject, s3:ListBucket and, to write, s3:PutObject for the bucket and what is in it",
    "NoSuchBucket": "make the bucket, or check its name",
}


def open_remote(url: str, access: Access) -> Remote:
    """The remote cache in a bucket; raises UsageError for a URL that cannot be, or without the library."""
    from importlib.util import find_spec

    place = placed(url)
    if find_spec("boto3") is None:
        raise UsageError("a remote cache at s3:// needs boto3", hint="run `pip install 'kitbuild[s3]'`")
    return S3Remote(place, access, shown(url))


class S3Remote:
    """See Remote."""

    def __init__(self, place: Place, access: Access, name: str) -> None:
        self._place = place
        self._access = access
        self._name = name
        self._lock = threading.Lock()
        self._clients: Clients | None = None
        self._checks_content = True

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        return missing_of(digests, self._has, at_once=_QUESTIONS_AT_ONCE)

    def _has(self, digest: Digest) -> bool:
        with self._failures(digest.oci):
            try:
                found = self._open().quick.head_object(**self._object("cas", digest.hex))
            except self._open().refusal as error:
                if _code(error) in _NOT_THERE:
                    return False
                raise
            # Content has the size its digest says, or is not that content: put it again.
            return bool(found["ContentLength"] == digest.size)

    def get(self, digest: Digest) -> Iterator[bytes]:
        with self._failures(digest.oci):
            left = digest.size
            for piece in self._pieces(self._open().patient, "cas", digest.hex):
                left -= len(piece)
                if left < 0:
                    raise RemoteError(
                        f"{self._name}: expected {digest.size} bytes for {digest.oci}, got more"
                    )
                yield piece
            if left:
                raise RemoteError(f"{self._name}: expected {left} more bytes for {digest.oci}, got their end")

    def put(self, digest: Digest, pieces: Pieces) -> None:
        with self._failures(digest.oci, writing=True):
            if digest.size > MOST_SINGLE_BYTES:
                self._put_in_parts(digest, pieces)
            elif not (self._checks_content and self._put_whole(digest, pieces, checked=True)):
                self._put_whole(digest, pieces, checked=False)

    def _put_whole(self, digest: Digest, pieces: Pieces, *, checked: bool) -> bool:
        """Whether the store took content; False if it does not know what it is to be checked against."""
        checksum = {"ChecksumSHA256": base64.b64encode(bytes.fromhex(digest.hex)).decode()} if checked else {}
        with _reading(digest, pieces) as body:
            # Of a file S3's library asks first whether it may be sent.
            content = body if digest.size > _PIECE_BYTES else body.read()
            try:
                self._open().patient.put_object(
                    **self._object("cas", digest.hex), Body=content, ContentLength=digest.size, **checksum
                )
            except self._open().refusal as error:
                if checked and _code(error) in _CHECKSUM_UNKNOWN:
                    self._checks_content = False
                    return False
                raise
        return True

    def _put_in_parts(self, digest: Digest, pieces: Pieces) -> None:
        from botocore.exceptions import BotoCoreError

        # One part after the other: several uploads go on at once anyway, and each part is in memory while it is sent.
        client, where = self._open().patient, self._object("cas", digest.hex)
        upload = {**where, "UploadId": client.create_multipart_upload(**where)["UploadId"]}
        parts: list[dict[str, object]] = []

        def abort() -> None:
            with suppress(self._open().refusal, BotoCoreError):
                client.abort_multipart_upload(**upload)

        with ExitStack() as undoing:
            # Parts of an upload that is not ended either way are kept, and paid for.
            undoing.callback(abort)
            with _reading(digest, pieces) as body:
                while part := body.read(PART_BYTES):
                    number = len(parts) + 1
                    answer = client.upload_part(**upload, PartNumber=number, Body=part)
                    parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
            undoing.pop_all()

    def record(self, key: Key) -> Record | None:
        content = bytearray()
        try:
            with self._failures(key.hex):
                for piece in self._pieces(self._open().quick, "ac", key.hex):
                    content += piece
                    if len(content) > MOST_RECORD_BYTES:
                        return None
        except MissingBlobError:
            return None
        return decode(bytes(content))

    def keep(self, key: Key, record: Record) -> None:
        content = encode(record)
        if len(content) > MOST_RECORD_BYTES:
            raise RemoteError(
                f"expected at most {MOST_RECORD_BYTES} bytes for the record {key.hex}, got {len(content)}"
            )
        with self._failures(key.hex, writing=True):
            self._open().quick.put_object(**self._object("ac", key.hex), Body=content)

    def close(self) -> None:
        with self._lock:
            clients, self._clients = self._clients, None
        if clients is not None:
            clients.close()

    def _open(self) -> Clients:
        """What asks, made when it is first needed."""
        from kitbuild.cache.s3_client import opened

        with self._lock:
            if self._clients is None:
                self._clients = opened(self._place, self._access)
            return self._clients

    def _object(self, folder: str, name: str) -> dict[str, str]:
        prefix = f"{self._place.prefix}/" if self._place.prefix else ""
        return {"Bucket": self._place.bucket, "Key": f"{prefix}{folder}/{name}"}

    def _pieces(self, client: Any, folder: str, name: str) -> Iterator[bytes]:
        body = client.get_object(**self._object(folder, name))["Body"]
        try:
            yield from body.iter_chunks(_PIECE_BYTES)
        finally:
            body.close()

    @contextmanager
    def _failures(self, name: str, *, writing: bool = False) -> Iterator[None]:
        """What goes wrong with S3 is a RemoteError, or a MissingBlobError if it has no object for `name`."""
        from botocore.exceptions import BotoCoreError, ClientError

        from kitbuild.cache.http_failure import failure

        try:
            yield
        except ClientError as error:
            code = _code(error)
            if code in _NOT_THERE and not writing:
                raise MissingBlobError(f"{name} is not in {self._name}") from None
            raise self._refused(error, code, writing=writing) from None
        except (BotoCoreError, OSError, ValueError) as error:
            raise self._unopened(error) or failure(self._name, error) from None

    def _refused(self, error: Any, code: str, *, writing: bool) -> RemoteError:
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0)
        said = f" ({code})" if _CODE.fullmatch(code) and not code.isdecimal() else ""
        refused = writing and code != "NoSuchBucket" and (status in _WRITES_NOTHING or code in _FULL)
        lasting = refused or (300 <= status < 500 and status not in _MAY_PASS and code not in ("BadDigest",))
        hint = _HINTS.get(code) or (_CREDENTIALS if status in (401, 403) else None)
        if status == 403 and self._open().is_nobody:
            hint = _CREDENTIALS
        message = f"{self._name} answers {status}{said}{' to a write' if writing else ''}"
        return RemoteError(message, lasting=lasting, writing=refused, hint=hint)

    def _unopened(self, error: Exception) -> RemoteError | None:
        """The error for what is wrong on this side: credentials and profiles that are broken."""
        from botocore import exceptions

        mine = (
            exceptions.CredentialRetrievalError,
            exceptions.InvalidConfigError,
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.ProfileNotFound,
            exceptions.ConfigParseError,
            exceptions.TokenRetrievalError,
        )
        if not isinstance(error, mine):
            return None
        return RemoteError(
            f"there are no usable credentials for {self._name}", lasting=True, hint=_CREDENTIALS
        )


@contextmanager
def _reading(digest: Digest, pieces: Pieces) -> Iterator[_Body]:
    """What S3's library reads content from; an error of `pieces` comes out as it was."""
    body = _Body(digest, pieces)
    try:
        yield body
    finally:
        if body.failure is not None:
            raise body.failure


class _Body:
    """Content as a file that is read from its beginning to its end, and perhaps again from its beginning."""

    def __init__(self, digest: Digest, pieces: Pieces) -> None:
        self._digest = digest
        self._pieces = pieces
        self.failure: KitbuildError | OSError | None = None
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        """The next bytes; raises RemoteError if there are not as many as the digest says."""
        while size < 0 or len(self._waiting) < size:
            try:
                piece = next(self._rest, None)
                self._got += len(piece or b"")
                if self._got > self._digest.size or (piece is None and self._got < self._digest.size):
                    # The store would wait for the rest, or take the rest for a request.
                    raise RemoteError(
                        f"expected {self._digest.size} bytes to send for {self._digest.oci}, got others"
                    )
            except (KitbuildError, OSError) as error:
                self.failure = error
                raise
            if piece is None:
                break
            self._waiting += piece
        size = len(self._waiting) if size < 0 else size
        given = bytes(self._waiting[:size])
        del self._waiting[:size]
        return given

    def seek(self, offset: int, whence: int = 0) -> int:
        """Back to the beginning: when S3 says that the bucket is elsewhere."""
        if offset or whence:
            raise OSError("expected to go back to the beginning")
        self._rest = iter(self._pieces())
        self._waiting = bytearray()
        self._got = 0
        return 0

    def tell(self) -> int:
        """How many bytes were read."""
        return self._got - len(self._waiting)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
