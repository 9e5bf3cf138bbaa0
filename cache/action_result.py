"""Records as other build tools keep theirs: a serialised ActionResult of the Remote Execution API.

    output_files     what is present, under paths that say which it is: artifact, blobs/<number>, dense/<number>
    stdout_raw       kitbuild-record 1
                     <the result's row, see row.py>
                     <signature, or an empty line>

Servers that look into what they keep find in `output_files` the content that belongs to the record, and take it for
gone, or remove it, together with that. All else about it is theirs to change: a server may add who made it.
"""

from __future__ import annotations

from kitbuild.cache.reapi_messages import ActionResult, BlobDigest, OutputFile
from kitbuild.cache.remote import Record
from kitbuild.cache.row import decode_result, encode_result
from kitbuild.digest import Digest
from kitbuild.store import Result

_MAGIC = b"kitbuild-record 1"


def encode(record: Record) -> bytes:
    """The canonical bytes of a record; what is present twice is listed once."""
    return action_result(record).encode()


def decode(content: bytes) -> Record | None:
    """Reads what `encode` wrote, None if it did not write this."""
    try:
        return record_of(ActionResult.decode(content))
    except ValueError:
        return None


def action_result(record: Record) -> ActionResult:
    """A record as a message."""
    paths = _paths(record.result)
    lines = (_MAGIC, encode_result(record.result), record.signature.encode("ascii"), b"")
    return ActionResult(
        output_files=tuple(
            OutputFile(path=paths[digest], digest=blob_digest(digest))
            for digest in dict.fromkeys(record.present)
        ),
        stdout_raw=b"\n".join(lines),
    )


def record_of(message: ActionResult) -> Record | None:
    """The record that a message holds, None if there is none in it."""
    try:
        magic, row, signature, rest = message.stdout_raw.split(b"\n")
        result = decode_result(row)
        if magic != _MAGIC or rest or result is None:
            return None
        present = tuple(digest_of(file.digest) for file in message.output_files)
        if not _paths(result).keys() >= set(present):
            return None
        return Record(result, present, signature.decode("ascii"))
    except ValueError:
        return None


def blob_digest(digest: Digest) -> BlobDigest:
    """A digest as it is sent."""
    return BlobDigest(hash=digest.hex, size_bytes=digest.size)


def digest_of(message: BlobDigest | None) -> Digest:
    """A digest as it was sent; raises ValueError if it is malformed or was left out."""
    if message is None:
        raise ValueError("expected a digest, got none")
    return Digest.parse(message.hash, message.size_bytes)


def _paths(result: Result) -> dict[Digest, str]:
    paths = {result.artifact.digest: "artifact"}
    for folder, digests in (("blobs", result.blobs), ("dense", result.dense)):
        for number, digest in enumerate(digests):
            paths.setdefault(digest, f"{folder}/{number}")
    return paths
