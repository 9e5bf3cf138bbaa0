"""The suite of remote caches over the kinds that need no server, over every wrapper, and over all of them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from kitbuild.cache.complete import CompleteRemote
from kitbuild.cache.folder import open_remote
from kitbuild.cache.namespaced import NamespacedRemote
from kitbuild.cache.readonly import ReadonlyRemote
from kitbuild.cache.remote import NO_ACCESS, Pieces, Record, Remote
from kitbuild.cache.signed import SignedRemote, new_secret_key, public_key
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.node import Key
from tests.contract.remote_suite import RemoteContract
from tests.support.remotes import MemoryRemote


class Split:
    """One that is read, over another that is written to, as builds that only read have it beside those that write."""

    def __init__(self, reads: Remote, writes: Remote) -> None:
        self._reads = reads
        self._writes = writes

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        return self._reads.missing(digests)

    def get(self, digest: Digest) -> Iterator[bytes]:
        return self._reads.get(digest)

    def put(self, digest: Digest, pieces: Pieces) -> None:
        self._writes.put(digest, pieces)

    def record(self, key: Key) -> Record | None:
        return self._reads.record(key)

    def keep(self, key: Key, record: Record) -> None:
        self._writes.keep(key, record)

    def close(self) -> None:
        self._reads.close()
        self._writes.close()


class TestMemory(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        return MemoryRemote()


class TestFolder(RemoteContract):
    @pytest.fixture
    def remote(self, tmp_path: Path) -> Remote:
        return open_remote(f"file://{tmp_path}/cache", NO_ACCESS)


class TestVerified(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        return VerifiedRemote(MemoryRemote())


class TestComplete(RemoteContract):
    gives_incomplete_records = False

    @pytest.fixture
    def remote(self) -> Remote:
        return CompleteRemote(MemoryRemote())


class TestReadonly(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        inner = MemoryRemote()
        return Split(ReadonlyRemote(inner), inner)


class TestSigned(RemoteContract):
    gives_signatures_back = False

    @pytest.fixture
    def remote(self) -> Remote:
        secret = new_secret_key()
        return SignedRemote(MemoryRemote(), [public_key(secret)], secret)


class TestSignedByOthers(RemoteContract):
    """A build that trusts a key and has none reads what the build with that key keeps."""

    gives_signatures_back = False

    @pytest.fixture
    def remote(self) -> Remote:
        secret, inner = new_secret_key(), MemoryRemote()
        return Split(SignedRemote(inner, [public_key(secret)]), SignedRemote(inner, [], secret))


class TestUnsigned(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        return SignedRemote(MemoryRemote(), [])


class TestNamespaced(RemoteContract):
    @pytest.fixture
    def remote(self) -> Remote:
        return NamespacedRemote(ReadonlyRemote(MemoryRemote()), MemoryRemote())


class TestNamespacedTrusted(RemoteContract):
    """What is in the trusted place is found as if it were one's own."""

    @pytest.fixture
    def remote(self) -> Remote:
        trusted = MemoryRemote()
        return Split(NamespacedRemote(ReadonlyRemote(trusted), MemoryRemote()), trusted)


class TestAllTogether(RemoteContract):
    gives_signatures_back = False
    gives_incomplete_records = False

    @pytest.fixture
    def remote(self, tmp_path: Path) -> Remote:
        secret = new_secret_key()
        places = [open_remote(f"file://{tmp_path}/{name}", NO_ACCESS) for name in ("trusted", "own")]
        trusted, own = (SignedRemote(place, [public_key(secret)], secret) for place in places)
        return CompleteRemote(VerifiedRemote(NamespacedRemote(ReadonlyRemote(trusted), own)))
