"""What every remote cache promises: a suite that each kind of it and each wrapper runs.

    class TestHttp(RemoteContract):
        @pytest.fixture(scope="class")
        def server(self, ...): ...          # one server does for all tests: content and keys are new each time

        @pytest.fixture
        def remote(self, server) -> Iterator[Remote]:
            remote = open_remote(server.url, NO_ACCESS)
            yield remote
            remote.close()

What is put in wrong (too few bytes, too many, others) has to be noticed by somebody. A backend whose server hashes
raises; every other one gives it back, and VerifiedRemote, which every build has around its backend, refuses it.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from kitbuild.cache.remote import Pieces, Record, Remote
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import MissingBlobError, StoreError
from kitbuild.node import Key
from kitbuild.rule import Artifact, ArtifactKind
from kitbuild.store import Result

# More than a gRPC message and a piece of ours may take, and no multiple of anything.
LARGE_BYTES = (4 << 20) + 12_345
MOST_PIECE_BYTES = 1 << 20


def fresh(size: int = 40) -> bytes:
    """Content nobody has put anywhere yet; of at least 16 bytes."""
    return os.urandom(16) + random.Random(size).randbytes(size - 16)


def fresh_key() -> Key:
    """A key nothing was kept under yet."""
    return Key(os.urandom(32).hex())


def in_pieces(content: bytes, *sizes: int) -> Pieces:
    """Content in pieces of the given sizes, over and over; as one piece without sizes."""

    def pieces() -> Iterator[bytes]:
        start, number = 0, 0
        while start < len(content):
            size = sizes[number % len(sizes)] if sizes else len(content)
            yield content[start : start + size]
            start, number = start + size, number + 1

    return pieces


def put(remote: Remote, content: bytes) -> Digest:
    """Puts content; gives its digest."""
    digest = Digest.of(content)
    remote.put(digest, in_pieces(content))
    return digest


def got(remote: Remote, digest: Digest) -> bytes:
    """Content as it comes back."""
    return b"".join(remote.get(digest))


def assert_same(expected: Record, record: Record | None) -> None:
    """The record kept and the one that came back say the same; `present` is a set."""
    assert record is not None
    assert expected.result == record.result
    assert set(expected.present) == set(record.present)


class RemoteContract:
    """The suite; a subclass named Test... gives the fixture `remote`."""

    # A wrapper that signs what it keeps, or looks at signatures, gives other ones back.
    gives_signatures_back = True
    # A wrapper may give records only whose content is there.
    gives_incomplete_records = True

    @pytest.mark.parametrize("size", [0, 1, 4096, LARGE_BYTES], ids=["empty", "byte", "page", "large"])
    def test_content_comes_back(self, remote: Remote, size: int) -> None:
        content = fresh(LARGE_BYTES)[:size]

        digest = put(remote, content)

        assert content == got(remote, digest)
        assert set() == remote.missing([digest])

    def test_content_put_in_odd_pieces_comes_back(self, remote: Remote) -> None:
        content = fresh(300_000)
        digest = Digest.of(content)

        remote.put(digest, in_pieces(content, 1, 65_537, 7, 100_000))

        assert content == got(remote, digest)

    def test_content_put_with_empty_pieces_comes_back(self, remote: Remote) -> None:
        content = fresh()
        digest = Digest.of(content)

        remote.put(digest, lambda: [b"", content[:5], b"", content[5:], b""])

        assert content == got(remote, digest)

    def test_pieces_that_come_back_are_of_a_mebibyte_at_most(self, remote: Remote) -> None:
        digest = put(remote, fresh(LARGE_BYTES))

        sizes = [len(piece) for piece in remote.get(digest)]

        assert max(sizes) <= MOST_PIECE_BYTES

    def test_same_content_may_be_put_twice(self, remote: Remote) -> None:
        content = fresh()

        put(remote, content)
        digest = put(remote, content)

        assert content == got(remote, digest)

    def test_content_that_is_not_there_is_a_missing_blob_error(self, remote: Remote) -> None:
        with pytest.raises(MissingBlobError):
            next(iter(remote.get(Digest.of(fresh()))))

    def test_nothing_of_nothing_is_missing(self, remote: Remote) -> None:
        assert set() == remote.missing([])

    def test_everything_is_missing_before_it_is_put(self, remote: Remote) -> None:
        digests = {Digest.of(fresh()) for _ in range(3)}

        assert digests == remote.missing(digests)

    def test_missing_names_only_what_is_not_there(self, remote: Remote) -> None:
        here = [put(remote, fresh()) for _ in range(2)]
        away = Digest.of(fresh())

        assert {away} == remote.missing([here[0], away, here[1]])

    def test_more_than_a_thousand_may_be_asked_for_at_once(self, remote: Remote) -> None:
        here = put(remote, fresh())
        mark = fresh()
        away = {Digest.of(mark + b"%d" % number) for number in range(1100)}

        assert away == remote.missing([*away, here])

    def test_content_half_read_does_not_disturb_what_comes_next(self, remote: Remote) -> None:
        large = put(remote, fresh(LARGE_BYTES))
        small = fresh()
        digest = put(remote, small)

        half = iter(remote.get(large))
        next(half)
        between = got(remote, digest)
        del half

        assert small == between == got(remote, digest)

    @pytest.mark.parametrize("kind", ["blob", "tree", "extents"])
    def test_kept_record_comes_back(self, remote: Remote, kind: ArtifactKind) -> None:
        artifact, *blobs = (put(remote, fresh()) for _ in range(4))
        result = Result(Artifact(kind, artifact), tuple(blobs), 0.1 + 0.2)
        record = Record(result, result.content())
        key = fresh_key()

        remote.keep(key, record)

        assert_same(record, remote.record(key))

    def test_record_of_which_the_dense_form_alone_is_there_comes_back(self, remote: Remote) -> None:
        dense = (put(remote, fresh()), put(remote, fresh()))
        result = Result(Artifact("extents", Digest.of(fresh())), (Digest.of(fresh()),), 1.5, dense)
        key = fresh_key()

        remote.keep(key, Record(result, dense))

        assert_same(Record(result, dense), remote.record(key))

    def test_record_of_empty_content_comes_back(self, remote: Remote) -> None:
        result = Result(Artifact("blob", put(remote, b"")))
        key = fresh_key()

        remote.keep(key, Record(result, result.content()))

        assert_same(Record(result, result.content()), remote.record(key))

    def test_record_of_a_thousand_blobs_comes_back(self, remote: Remote) -> None:
        mark = fresh()
        contents = [mark + b"%d" % number for number in range(1000)]
        blobs = tuple(map(Digest.of, contents))
        if not self.gives_incomplete_records:
            for content in contents:
                put(remote, content)
        artifact = put(remote, fresh())
        record = Record(Result(Artifact("tree", artifact), blobs), (artifact,))
        key = fresh_key()

        remote.keep(key, record)

        assert_same(record, remote.record(key))

    def test_record_of_which_nothing_is_there_comes_back(self, remote: Remote) -> None:
        record = Record(Result(Artifact("blob", Digest.of(fresh()))))
        key = fresh_key()

        remote.keep(key, record)

        if self.gives_incomplete_records:
            assert_same(record, remote.record(key))
        else:
            assert remote.record(key) is None

    def test_signature_comes_back(self, remote: Remote) -> None:
        signature = f"{'ab' * 32}:{'cd' * 64}"
        result = Result(Artifact("blob", put(remote, fresh())))
        key = fresh_key()

        remote.keep(key, Record(result, result.content(), signature))
        record = remote.record(key)

        if self.gives_signatures_back:
            assert record is not None
            assert signature == record.signature

    def test_unknown_key_has_no_record(self, remote: Remote) -> None:
        assert remote.record(fresh_key()) is None

    def test_content_is_not_a_record(self, remote: Remote) -> None:
        digest = put(remote, fresh())

        assert remote.record(Key(digest.hex)) is None

    def test_record_is_not_content(self, remote: Remote) -> None:
        digest = Digest.of(fresh())
        result = Result(Artifact("blob", put(remote, fresh())))

        remote.keep(Key(digest.hex), Record(result, result.content()))

        assert {digest} == remote.missing([digest])

    def test_later_record_replaces_an_earlier_one(self, remote: Remote) -> None:
        earlier, later = (Result(Artifact("blob", put(remote, fresh()))) for _ in range(2))
        key = fresh_key()
        remote.keep(key, Record(earlier, earlier.content()))

        remote.keep(key, Record(later, later.content()))

        assert_same(Record(later, later.content()), remote.record(key))

    def test_threads_share_it(self, remote: Remote) -> None:
        def use(_number: int) -> bool:
            content = fresh(100_000)
            key = fresh_key()
            result = Result(Artifact("blob", put(remote, content)))
            remote.keep(key, Record(result, result.content()))
            found = remote.record(key)
            return found is not None and got(remote, found.result.artifact.digest) == content

        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(use, range(24)))

        assert all(answers)

    def test_threads_may_put_the_same_content(self, remote: Remote) -> None:
        content = fresh(300_000)

        with ThreadPoolExecutor(8) as threads:
            digests = set(threads.map(lambda _: put(remote, content), range(8)))

        assert content == got(remote, digests.pop())

    def test_put_whose_pieces_fail_leaves_nothing(self, remote: Remote) -> None:
        content = fresh(2 << 20)
        digest = Digest.of(content)

        def pieces() -> Iterator[bytes]:
            yield content[: 1 << 20]
            raise OSError("the local disk is broken")

        with pytest.raises((OSError, StoreError)):
            remote.put(digest, pieces)

        assert {digest} == remote.missing([digest])
        with pytest.raises(MissingBlobError):
            got(remote, digest)

    def test_put_can_be_tried_again_after_its_pieces_failed(self, remote: Remote) -> None:
        content = fresh(2 << 20)
        digest = Digest.of(content)
        failures = iter([OSError("the local disk is broken")])

        def pieces() -> Iterator[bytes]:
            yield content[:1000]
            for failure in failures:
                raise failure
            yield content[1000:]

        with pytest.raises((OSError, StoreError)):
            remote.put(digest, pieces)
        remote.put(digest, pieces)

        assert content == got(remote, digest)

    @pytest.mark.parametrize(
        "wrong",
        [
            pytest.param(lambda content: content[:-1], id="too-few"),
            pytest.param(lambda content: b"", id="none"),
            pytest.param(lambda content: content + b"x", id="too-many"),
            pytest.param(lambda content: content[:-1] + bytes([content[-1] ^ 1]), id="others"),
        ],
    )
    def test_wrong_bytes_put_in_never_come_out_as_right(
        self, remote: Remote, wrong: Callable[[bytes], bytes]
    ) -> None:
        content = fresh(100_000)
        digest = Digest.of(content)

        # Who hashes on the way in refuses them here; behind anything else VerifiedRemote does on the way out.
        with suppress(StoreError):
            remote.put(digest, in_pieces(wrong(content), 30_000))

        with pytest.raises(StoreError):
            got(VerifiedRemote(remote), digest)

    def test_what_is_closed_may_be_closed_again(self, remote: Remote) -> None:
        put(remote, fresh())

        remote.close()
        remote.close()
