from __future__ import annotations

import pytest

from kitbuild.cache.readonly import ReadonlyRemote
from kitbuild.cache.remote import Record
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.remotes import MemoryRemote

KEY = Key("ab" * 32)
DIGEST = Digest.of(b"content")
RECORD = Record(Result(Artifact("blob", DIGEST)), (DIGEST,))


def test_content_is_refused_before_it_is_read() -> None:
    inner = MemoryRemote()

    with pytest.raises(RemoteError) as caught:
        ReadonlyRemote(inner).put(DIGEST, lambda: pytest.fail("read"))

    assert caught.value.lasting
    assert caught.value.writing
    assert inner.content == {}


def test_record_is_refused() -> None:
    inner = MemoryRemote()

    with pytest.raises(RemoteError) as caught:
        ReadonlyRemote(inner).keep(KEY, RECORD)

    assert caught.value.lasting
    assert caught.value.writing
    assert inner.records == {}


def test_reading_is_as_it_was() -> None:
    inner = MemoryRemote()
    inner.put(DIGEST, lambda: [b"content"])
    inner.keep(KEY, RECORD)
    remote = ReadonlyRemote(inner)

    assert set() == remote.missing([DIGEST])
    assert [b"content"] == list(remote.get(DIGEST))
    assert remote.record(KEY) == RECORD
