"""Rows: how results and notes are written as the names and values of an index.

    result:<key hex>       1 <kind> <seconds> <artifact hex>:<size> <blob hex>:<size> ... [/ <dense hex>:<size> ...]
    note:<space>:<name>    the note's bytes

A result's row is ASCII. The 1 is the version of the format. A row of another version, or a malformed one, is no
result.
"""

from __future__ import annotations

import math
from typing import get_args

from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import Artifact, ArtifactKind
from kitbuild.store import Result

_VERSION = "1"
_KINDS: dict[str, ArtifactKind] = {kind: kind for kind in get_args(ArtifactKind)}

RESULT_PREFIX = "result:"
NOTE_PREFIX = "note:"


def result_name(key: Key) -> str:
    """The name of a result's row."""
    return RESULT_PREFIX + key.hex


def note_name(space: str, name: str) -> str:
    """The name of a note's row."""
    return f"{NOTE_PREFIX}{space}:{name}"


def encode_result(result: Result) -> bytes:
    """The value of a result's row."""
    dense = ("/", *map(_text, result.dense)) if result.dense else ()
    content = " ".join((*map(_text, result.content()), *dense))
    return f"{_VERSION} {result.artifact.kind} {result.seconds!r} {content}".encode("ascii")


def decode_result(content: bytes) -> Result | None:
    """Reads what `encode_result` wrote, None if it did not write this."""
    try:
        version, kind, seconds, *digests = content.decode("ascii").split(" ")
        if version != _VERSION:
            return None
        end = digests.index("/") if "/" in digests else len(digests)
        artifact, *blobs = map(_digest, digests[:end])
        dense = tuple(map(_digest, digests[end + 1 :]))
        taken = float(seconds)
        # Records come from elsewhere: what is no time at all would spoil every sum and comparison it is part of.
        if not 0.0 <= taken < math.inf:
            return None
        return Result(Artifact(_KINDS[kind], artifact), tuple(blobs), taken, dense)
    except (ValueError, KeyError):
        return None


def _text(digest: Digest) -> str:
    return f"{digest.hex}:{digest.size}"


def _digest(text: str) -> Digest:
    hexdigits, _, size = text.partition(":")
    return Digest.parse(hexdigits, int(size))
