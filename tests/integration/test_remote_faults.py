"""A remote cache may fail in any way: every build succeeds, says why once, and gives what it gives without one.

Between the builds and nginx stands a proxy that does to requests what networks, disks and servers do; three hundred
builds meet faults drawn from a seed. A seed that fails once fails again: `pytest -k "chunk 3"` runs 30 of them.
"""

from __future__ import annotations

import itertools
import random
import re
import shutil
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from tests.support.cache_processes import processes
from tests.support.fault_proxy import NONE, Fault, FaultProxy, Plan, always, fault_proxy
from tests.support.nginx import NginxServer, nginx
from tests.support.registry import free_port
from tests.support.remote_builds import Builds, Built, wrong_content
from tests.support.remote_faults import Place, cache_at, trouble

pytestmark = pytest.mark.integration

CHUNKS = 12
SEEDS_OF_A_CHUNK = 30
PROCESSES = 6
_NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return Builds(tmp_path_factory.mktemp("builds"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, builds: Builds) -> Iterator[NginxServer]:
    """Caches below paths: /warm has all of the config, /half what it shares with another; tests add their own."""
    with nginx(tmp_path_factory.mktemp("nginx")) as server:
        folder = tmp_path_factory.mktemp("writers")
        for name, config in (("warm", "linuxkit.yml"), ("half", "other.yml")):
            built = builds.build(
                folder / name, *cache_at(host_of(server), name), "--remote-cache-write", config=config
            )
            assert (0, []) == (built.status, built.warnings), built.stderr
            assert all(any((server.root / name / kind).iterdir()) for kind in ("ac", "cas"))
        yield server


def host_of(server: NginxServer) -> str:
    return server.url.partition("://")[2]


def place_of(server: NginxServer) -> Place:
    return Place(host_of(server), server.root)


@pytest.fixture
def place(server: NginxServer) -> Iterator[str]:
    """The path of a warm cache of this test's own."""
    name = f"test{next(_NUMBERS)}"
    place_of(server).copied("warm", name)
    yield name
    shutil.rmtree(server.root / name)


# -- three hundred builds


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    """Most of the time of a faulty build is waiting, so that several at once are hardly slower than one."""
    with processes(PROCESSES) as pool:
        yield pool


@pytest.mark.parametrize("chunk", [pytest.param(number, id=f"chunk {number}") for number in range(CHUNKS)])
def test_builds_over_a_faulty_network_are_right(
    builds: Builds, server: NginxServer, tmp_path: Path, pool: ProcessPoolExecutor, chunk: int
) -> None:
    seeds = range(chunk * SEEDS_OF_A_CHUNK, (chunk + 1) * SEEDS_OF_A_CHUNK)

    assert [] == troubles(builds, server, tmp_path, pool, seeds)


@pytest.mark.slow
def test_thousands_of_builds_over_a_faulty_network_are_right(
    builds: Builds, server: NginxServer, tmp_path: Path, pool: ProcessPoolExecutor
) -> None:
    assert [] == troubles(builds, server, tmp_path, pool, range(10_000, 13_000))


def troubles(
    builds: Builds, server: NginxServer, folder: Path, pool: ProcessPoolExecutor, seeds: Sequence[int]
) -> list[str]:
    assert builds.expected
    futures = [pool.submit(trouble, builds, place_of(server), folder / str(seed), seed) for seed in seeds]
    return [told for future in futures if (told := future.result())]


# -- one fault, one warning


def assert_right(builds: Builds, built: Built, folder: Path) -> None:
    assert (0, builds.expected) == (built.status, built.outputs), built.stderr
    assert () == wrong_content(folder)
    assert "Traceback" not in built.stdout + built.stderr


@pytest.mark.parametrize(
    ("plan", "reason", "most_seconds"),
    [
        pytest.param(always("refuse"), r"broke the connection", 5, id="resets"),
        pytest.param(always("mute"), r"time|answer", 8, id="never answers"),
        pytest.param(always("half-head"), r"answer|clos|header|broke", 5, id="half an answer"),
        pytest.param(always("garbage"), r"answer|HTTP", 5, id="no HTTP"),
        pytest.param(always("status", status=401), r"401", 3, id="401"),
        pytest.param(always("status", status=403), r"403", 3, id="403"),
        pytest.param(always("status", status=500), r"500", 5, id="500"),
        pytest.param(always("status", status=503), r"503", 5, id="503"),
        pytest.param(
            always("drop", methods=("GET",), amount=0.5), r"clos|reset|broke|bytes", 5, id="breaks off"
        ),
        pytest.param(
            always("stall", methods=("GET",), below="/", amount=0.5), r"time|stall|bytes", 15, id="stalls"
        ),
    ],
)
def test_fault_is_told_once_with_its_reason(
    builds: Builds,
    server: NginxServer,
    tmp_path: Path,
    place: str,
    plan: Plan,
    reason: str,
    most_seconds: float,
) -> None:
    with fault_proxy(host_of(server), plan) as proxy:
        built = builds.build(tmp_path, *cache_at(proxy.host, place), "--remote-cache-write")

    assert_right(builds, built, tmp_path)
    (warning,) = built.warnings
    assert_says(warning, proxy.host, reason)
    assert built.seconds < most_seconds


def assert_says(warning: str, host: str, reason: str) -> None:
    assert host in warning
    assert re.search(reason, warning), warning


def test_server_that_is_down_is_told_once(builds: Builds, tmp_path: Path) -> None:
    host = f"127.0.0.1:{free_port()}"

    built = builds.build(tmp_path, *cache_at(host, "x"), "--remote-cache-write")

    assert_right(builds, built, tmp_path)
    (warning,) = built.warnings
    assert_says(warning, host, "refuses connections")
    assert built.seconds < 3


def test_host_that_is_unknown_is_told_once(builds: Builds, tmp_path: Path) -> None:
    built = builds.build(tmp_path, "--remote-cache", "http://nowhere.invalid/cache")

    assert_right(builds, built, tmp_path)
    (warning,) = built.warnings
    assert_says(warning, "nowhere.invalid", "name|host|known|resol")


def test_full_server_is_told_once_and_still_read(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str
) -> None:
    shutil.rmtree(server.root / place)
    place_of(server).copied("half", place)
    reading = builds.build(tmp_path / "reading", *cache_at(host_of(server), place))
    with fault_proxy(host_of(server), always("status", methods=("PUT",), status=507)) as proxy:
        built = builds.build(tmp_path, *cache_at(proxy.host, place), "--remote-cache-write")

    assert_right(builds, built, tmp_path)
    (warning,) = built.warnings
    assert_says(warning, proxy.host, "507")
    assert reading.ran == built.ran < builds.alone.ran


def test_slow_server_does_not_make_a_build_slow(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str
) -> None:
    # 1 KB a second: no time-out ever sees a transfer stall.
    with fault_proxy(host_of(server), always("drip", below=f"/{place}/cas", amount=10)) as proxy:
        built = builds.build(tmp_path, *cache_at(proxy.host, place))

    assert_right(builds, built, tmp_path)
    assert len(built.warnings) <= 1
    assert built.seconds < 10


@pytest.mark.parametrize("after", [1, 5, 12])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_server_killed_in_a_transfer_is_told_once(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str, method: str, after: int
) -> None:
    if method == "PUT":
        shutil.rmtree(server.root / place)
        place_of(server).copied("cold", place)
    proxies: list[FaultProxy] = []
    seen = 0

    def plan(asked: str, _path: str, _number: int) -> Fault:
        nonlocal seen
        seen += asked == method
        if seen < after:
            return NONE
        if seen == after:
            threading.Thread(target=proxies[0].close).start()
        return Fault("drop" if method == "GET" else "break", 0.5)

    with fault_proxy(host_of(server), plan) as proxy:
        proxies.append(proxy)
        built = builds.build(tmp_path, *cache_at(proxy.host, place), "--remote-cache-write")

    assert_right(builds, built, tmp_path)
    assert seen >= after
    (warning,) = built.warnings
    assert proxy.host in warning
    assert built.seconds < 6


@pytest.mark.parametrize("amount", [0.0, 0.5, 0.999])
def test_wrong_bytes_are_told_once_and_never_kept(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str, amount: float
) -> None:
    with fault_proxy(
        host_of(server), always("flip", below=f"/{place}/cas", methods=("GET",), amount=amount)
    ) as proxy:
        built = builds.build(tmp_path, *cache_at(proxy.host, place))

    assert_right(builds, built, tmp_path)
    assert proxy.met["flip"] > 0
    (warning,) = built.warnings
    assert "got other bytes" in warning


@pytest.mark.parametrize("amount", [0.0, 0.5, 0.999])
def test_content_that_is_too_short_is_content_that_is_gone(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str, amount: float
) -> None:
    with fault_proxy(
        host_of(server), always("truncate", below=f"/{place}/cas", methods=("GET",), amount=amount)
    ) as proxy:
        built = builds.build(tmp_path, *cache_at(proxy.host, place))

    assert_right(builds, built, tmp_path)
    assert proxy.met["truncate"] > 0
    assert len(built.warnings) <= 1


@pytest.mark.parametrize("amount", [0.0, 0.2, 0.4, 0.6, 0.8, 0.999])
@pytest.mark.parametrize("kind", ["flip", "truncate"])
def test_wrong_results_do_no_harm(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str, kind: str, amount: float
) -> None:
    with fault_proxy(
        host_of(server), always(kind, below=f"/{place}/ac", methods=("GET",), amount=amount)
    ) as proxy:
        built = builds.build(tmp_path, *cache_at(proxy.host, place))

    assert_right(builds, built, tmp_path)
    assert proxy.met[kind] > 0
    assert len(built.warnings) <= 1


def test_results_whose_content_is_gone_are_made_again(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str
) -> None:
    shutil.rmtree(server.root / place / "cas")

    built = builds.build(tmp_path, *cache_at(host_of(server), place))

    assert_right(builds, built, tmp_path)
    assert len(built.warnings) <= 1


@pytest.mark.parametrize("seed", range(12))
def test_results_with_some_of_their_content_gone_are_made_again(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str, seed: int
) -> None:
    chance = random.Random(seed)
    for kind, share in (("cas", 0.5), ("ac", 0.2)):
        for path in sorted((server.root / place / kind).iterdir()):
            if chance.random() < share:
                path.unlink()

    built = builds.build(tmp_path / "reading", *cache_at(host_of(server), place))
    wrote = builds.build(tmp_path / "writing", *cache_at(host_of(server), place), "--remote-cache-write")
    later = builds.build(tmp_path / "later", *cache_at(host_of(server), place))

    assert_right(builds, built, tmp_path / "reading")
    assert_right(builds, wrote, tmp_path / "writing")
    assert_right(builds, later, tmp_path / "later")
    # What was gone is there again.
    assert 0 == later.ran


def test_writer_mends_what_is_wrong_on_the_server(
    builds: Builds, server: NginxServer, tmp_path: Path, place: str
) -> None:
    for path in sorted((server.root / place / "cas").iterdir()):
        # Hard links of other tests' files: written anew, not changed.
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:] if content else b"")

    wrote = builds.build(tmp_path / "writing", *cache_at(host_of(server), place), "--remote-cache-write")
    later = builds.build(tmp_path / "later", *cache_at(host_of(server), place))

    assert_right(builds, wrote, tmp_path / "writing")
    assert_right(builds, later, tmp_path / "later")
