"""The record of the last build of some configs, for machines that never built them.

One blob, as Record.encode writes it; its own record is under the sha256 of `kitbuild-record 1`, a zero byte and the
names of the configs, without folders, which differ from machine to machine. It only ever explains; nothing is built
from it.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import PurePath

from kitbuild.cache.remote import Record as RemoteRecord
from kitbuild.cache.remote import Remote
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.node import Key
from kitbuild.record import Record
from kitbuild.rule import Artifact
from kitbuild.store import Result

# The record of some forty thousand nodes; what is larger is neither put there nor taken from there.
_MOST_BYTES = 1 << 23


def publish(remote: Remote, scope: str, record: Record) -> None:
    """Keeps the record of a build for other machines; `scope` is the paths of its configs, zero bytes between."""
    content = record.encode()
    if len(content) > _MOST_BYTES:
        return
    digest = Digest.of(content)
    # What only explains is not worth a word when it cannot be kept.
    with suppress(StoreError):
        remote.put(digest, lambda: [content])
        remote.keep(_key(scope), RemoteRecord(Result(Artifact("blob", digest)), (digest,)))


def published(remote: Remote, scope: str) -> Record | None:
    """The record that was kept last for configs of these names, None if there is none that can be read."""
    with suppress(StoreError, ValueError):
        found = remote.record(_key(scope))
        if found is not None and found.result.artifact.digest.size <= _MOST_BYTES:
            return Record.decode(b"".join(remote.get(found.result.artifact.digest)))
    return None


def _key(scope: str) -> Key:
    names = "\0".join(PurePath(path).name for path in scope.split("\0"))
    return Key(hashlib.sha256(b"kitbuild-record 1\0" + names.encode("utf-8", "surrogateescape")).hexdigest())
