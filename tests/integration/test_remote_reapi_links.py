"""The remote cache over REAPI behind bad links: whatever happens, errors are told as such and content is right."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from kitbuild.cache.connection import Connection
from kitbuild.cache.reapi import ReapiRemote, open_remote
from kitbuild.cache.remote import NO_ACCESS, Record
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import StoreError
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.contract.remote_suite import fresh_key, got, in_pieces
from tests.support.casd import Server, casd
from tests.support.faulty_link import faulty_link

pytestmark = pytest.mark.integration

# The fault of a seed is one of three; some of those that fall silent cost seconds.
SEEDS = [*range(15), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(15, 300))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with casd(tmp_path_factory.mktemp("casd")) as running:
        yield running


@pytest.mark.parametrize("seed", SEEDS)
def test_bad_link_costs_time_and_nothing_else(server: Server, seed: int) -> None:
    content = random.Random(seed).randbytes(1_500_000) + os.urandom(16)
    digest = Digest.of(content)
    record = Record(Result(Artifact("blob", digest)), (digest,), "signature")
    key = fresh_key()
    right = open_remote(f"grpc://{server.host}", NO_ACCESS)
    with faulty_link(server.host, seed) as link:
        remote = VerifiedRemote(ReapiRemote(Connection(f"grpc://{link.host}", NO_ACCESS, stall_seconds=0.3)))
        calls: list[Callable[[], object]] = [
            lambda: remote.missing([digest]),
            lambda: remote.put(digest, in_pieces(content, 100_000)),
            lambda: remote.keep(key, record),
            lambda: remote.record(key),
            lambda: got(remote, digest),
        ]

        started = time.monotonic()
        for call in calls:
            try:
                found = call()
            except StoreError:
                continue
            assert not isinstance(found, bytes) or content == found
        took = time.monotonic() - started
        remote.close()

    # What the server says it has is right, whatever happened on the way.
    if not right.missing([digest]):
        assert content == got(right, digest)
    right.close()
    assert took < 15
