from __future__ import annotations

from itertools import product

import pytest

from kitbuild.cache.complete import CompleteRemote
from kitbuild.cache.remote import Record
from kitbuild.digest import Digest
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.remotes import MemoryRemote

KEY = Key("ab" * 32)
ARTIFACT, BLOB, RECIPE, PART = contents = (b"artifact", b"blob", b"recipe", b"part")
RESULT = Result(
    Artifact("extents", Digest.of(ARTIFACT)), (Digest.of(BLOB),), 1.5, (Digest.of(RECIPE), Digest.of(PART))
)


def remote_with(record: Record, *contents: bytes) -> CompleteRemote:
    inner = MemoryRemote()
    inner.content = {Digest.of(content).hex: content for content in contents}
    inner.records[KEY] = record
    return CompleteRemote(inner)


@pytest.mark.parametrize("there", list(product([True, False], repeat=4)))
def test_record_counts_with_all_of_its_content_or_all_of_its_dense_form(there: tuple[bool, ...]) -> None:
    record = Record(RESULT)
    here = [content for content, is_here in zip(contents, there, strict=True) if is_here]

    found = remote_with(record, *here).record(KEY)

    assert (found == record) == ({ARTIFACT, BLOB} <= set(here) or {RECIPE, PART} <= set(here))


def test_record_that_claims_content_which_is_gone_does_not_count() -> None:
    record = Record(RESULT, (Digest.of(ARTIFACT), Digest.of(BLOB), Digest.of(RECIPE)))

    found = remote_with(record, ARTIFACT, BLOB).record(KEY)

    assert found is None


def test_record_without_dense_form_needs_its_content() -> None:
    record = Record(Result(Artifact("tree", Digest.of(ARTIFACT)), (Digest.of(BLOB),)))

    assert remote_with(record, ARTIFACT).record(KEY) is None
    assert remote_with(record, ARTIFACT, BLOB).record(KEY) == record


def test_content_is_asked_for_once_and_at_once() -> None:
    asked = []

    class Counting(MemoryRemote):
        def missing(self, digests):  # type: ignore[no-untyped-def]
            asked.append(list(digests))
            return super().missing(digests)

    inner = Counting()
    inner.records[KEY] = Record(RESULT, (Digest.of(ARTIFACT), Digest.of(BLOB)))

    CompleteRemote(inner).record(KEY)

    assert [[Digest.of(content) for content in contents]] == asked


def test_nothing_is_asked_for_a_key_without_record() -> None:
    class Unasked(MemoryRemote):
        def missing(self, digests):  # type: ignore[no-untyped-def]
            raise AssertionError("asked")

    assert CompleteRemote(Unasked()).record(KEY) is None
