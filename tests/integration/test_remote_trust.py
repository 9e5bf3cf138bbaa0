"""Builds of unreviewed code that share a remote cache with builds that are trusted (CREEP, CVE-2025-36852).

A pull request runs whatever its author likes, with the same inputs as the trusted build, so it knows every key before
that has built anything. Here it tries all it can to have its results taken by the trusted build: it is faster, it
writes to the root, it signs with a key of its own, it copies and replays what is signed, and it spoils content.
"""

from __future__ import annotations

import shutil
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from kitbuild.cache.action_result import decode, encode
from kitbuild.cache.http import open_remote
from kitbuild.cache.namespaced import key_in
from kitbuild.cache.remote import NO_ACCESS, Record, Remote
from kitbuild.cache.signed import SignedRemote, new_secret_key, public_key
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.extents import Extents, Literal
from kitbuild.node import Key
from kitbuild.record import Record as BuildRecord
from kitbuild.rule import Artifact
from kitbuild.store import Result
from tests.support.nginx_places import NAMESPACE, PASSWORD, PULL, TRUSTED, Places, nginx_places
from tests.support.remote_builds import Builds, Built, wrong_content
from tests.support.remotes import MemoryRemote

pytestmark = pytest.mark.integration

SECRET, PULL_SECRET = new_secret_key(), new_secret_key()
SIGNING = ("--remote-cache-write", "--signing-key", SECRET)
TRUSTING = ("--trusted-key", public_key(SECRET))
IN_NAMESPACE = ("--remote-cache-namespace", NAMESPACE)
# Records of a namespace have other keys, with its name in them or without.
NAMES = ("", NAMESPACE)
# What a poisoned output holds.
POISON = b"poison" * 100


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Builds:
    return Builds(tmp_path_factory.mktemp("builds"), formats="kernel+initrd")


@pytest.fixture(scope="module")
def kept(builds: Builds, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a server keeps after a trusted build that signs."""
    folder = tmp_path_factory.mktemp("kept")
    with nginx_places(folder / "nginx") as server:
        built = builds.build(folder / "build", "--remote-cache", server.url(TRUSTED), *SIGNING)
        assert_right(builds, built)
    return folder / "nginx/served"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Places]:
    with nginx_places(tmp_path / "nginx") as server:
        yield server


def assert_right(builds: Builds, built: Built) -> None:
    """The build succeeded and made what a build without remote cache makes."""
    assert (0, builds.expected) == (built.status, built.outputs), built.stderr


def results_in(place: Path) -> dict[Key, Record]:
    """Every result that is kept in a place, without the record of the build, which tells when it was."""
    read = {path.name: decode(path.read_bytes()) for path in (place / "ac").iterdir()}
    return {
        Key(name): record for name, record in read.items() if record and not _tells_of_a_build(record, place)
    }


def _tells_of_a_build(record: Record, place: Path) -> bool:
    blob = place / "cas" / record.result.artifact.digest.hex
    try:
        return blob.is_file() and bool(BuildRecord.decode(blob.read_bytes()).nodes)
    except ValueError:
        return False


def poisoned(records: Mapping[Key, Record], put: Remote) -> dict[Key, Record]:
    """What would become a poisoned file, under the key of every file, with its content put where it belongs."""
    content = Extents((Literal(POISON),)).encode()
    digest = Digest.of(content)
    put.put(digest, lambda: [content])
    bad = Record(Result(Artifact("extents", digest)), (digest,))
    return {key: bad for key, record in records.items() if record.result.artifact.kind == "extents"}


def write(place: Path, key: Key, record: Record) -> None:
    """Keeps a record where the server keeps it, past all its rules."""
    (place / "ac").mkdir(parents=True, exist_ok=True)
    (place / "ac" / key.hex).write_bytes(encode(record))


def signed(secret: str, key: Key, record: Record) -> Record:
    """A record with the signature of whoever has `secret`."""
    memory = MemoryRemote()
    SignedRemote(memory, [], secret).keep(key, record)
    return memory.records[key]


def keep_in_namespace(own: Remote, key: Key, record: Record) -> None:
    """Keeps a record where builds of the namespace look for it."""
    for name in NAMES:
        own.keep(key_in(name, key), record)


@contextmanager
def opened(server: Places, user: str, namespace: str = "") -> Iterator[Remote]:
    remote = open_remote(f"{server.url(user)}{namespace}", NO_ACCESS)
    yield remote
    remote.close()


def poison_place(server: Places, kept: Path, secret: str = "") -> None:
    """Puts poison under every key of the trusted build into the root, past the server, perhaps signed."""
    with opened(server, TRUSTED) as remote:
        for key, bad in poisoned(results_in(kept), remote).items():
            write(server.root, key, signed(secret, key, bad) if secret else bad)


def copy_kept(kept: Path, server: Places) -> None:
    shutil.copytree(kept, server.root, dirs_exist_ok=True)


def test_poison_works_where_nobody_protects_himself(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    poison_place(server, kept)

    built = builds.build(tmp_path, "--remote-cache", server.url(TRUSTED))

    assert built.status == 0
    assert POISON in (tmp_path / "out/linuxkit-kernel").read_bytes()


def test_trusted_build_takes_nothing_of_a_faster_pull_request(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    keys = results_in(kept)
    ended, refused = threading.Event(), []

    def attack() -> None:
        with opened(server, PULL) as root, opened(server, PULL, f"/{NAMESPACE}") as own:
            while not ended.is_set():
                for key, bad in poisoned(keys, own).items():
                    own.keep(key, bad)
                    keep_in_namespace(own, key, bad)
                    try:
                        root.keep(key, bad)
                    except RemoteError as error:
                        refused.append(error)

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        built = builds.build(tmp_path, "--remote-cache", server.url(TRUSTED), *SIGNING)
    finally:
        ended.set()
        attacker.join()

    assert_right(builds, built)
    assert [] == built.warnings
    assert builds.alone.ran == built.ran
    assert refused
    assert all(error.writing for error in refused)
    assert keys.keys() == results_in(server.root).keys()
    for key, record in results_in(server.root).items():
        assert keys[key].result._replace(seconds=0) == record.result._replace(seconds=0)


def test_pull_request_takes_what_is_trusted_and_keeps_the_rest_apart(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    copy_kept(kept, server)
    before = {path: path.read_bytes() for path in server.root.rglob("*") if path.is_file()}
    url = server.url(PULL)

    same = builds.build(tmp_path / "same", "--remote-cache", url, *IN_NAMESPACE, *TRUSTING)
    other = builds.build(
        tmp_path / "other", "--remote-cache", url, *IN_NAMESPACE, "--remote-cache-write", config="other.yml"
    )
    again = builds.build(tmp_path / "again", "--remote-cache", url, *IN_NAMESPACE, config="other.yml")

    assert_right(builds, same)
    assert same.ran == 0
    assert 0 < other.ran < builds.alone.ran
    assert again.ran == 0
    assert other.outputs == again.outputs != builds.expected
    assert results_in(server.root / NAMESPACE)
    assert before == {path: path.read_bytes() for path in before}
    new = {path for path in server.root.rglob("*") if path.is_file()} - before.keys()
    assert new
    assert all(path.is_relative_to(server.root / NAMESPACE) for path in new)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("PUT", "/ac/{key}", id="record"),
        pytest.param("PUT", "/cas/{key}", id="content"),
        pytest.param("PUT", "/pull-7/../ac/{key}", id="dots"),
        pytest.param("PUT", "/pull-7/%2e%2e/ac/{key}", id="encoded-dots"),
        pytest.param("PUT", "/pull-7//../ac/{key}", id="slashes"),
        pytest.param("PUT", "//ac/{key}", id="two-slashes"),
        pytest.param("PUT", "/pull-8/ac/{key}", id="other-namespace"),
        pytest.param("DELETE", "/ac/{key}", id="delete"),
        pytest.param("DELETE", "/pull-7/ac/{key}", id="delete-own"),
        pytest.param("MOVE", "/pull-7/ac/{key}", id="move"),
        pytest.param("COPY", "/pull-7/ac/{key}", id="copy"),
        pytest.param("MKCOL", "/ac/x/", id="folder"),
    ],
)
def test_pull_request_writes_to_its_namespace_alone(server: Places, method: str, path: str) -> None:
    key = "ab" * 32
    for place in (server.root, server.root / NAMESPACE):
        (place / "ac").mkdir(parents=True)
        (place / "ac" / key).write_bytes(b"trusted")

    line = asked(server, method, path.format(key=key), b"poison")

    assert line.split(" ")[1] in ("403", "405")
    files = {str(found.relative_to(server.root)) for found in server.root.rglob("*") if found.is_file()}
    assert {f"ac/{key}", f"{NAMESPACE}/ac/{key}"} == files
    assert (server.root / "ac" / key).read_bytes() == b"trusted"


def asked(server: Places, method: str, path: str, body: bytes) -> str:
    """The first line of the answer to a request that no client of ours would send."""
    host, _, port = server.host.partition(":")
    password = b64encode(f"{PULL}:{PASSWORD}".encode()).decode()
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Basic {password}\r\n"
        f"Destination: http://{server.host}/ac/{'ab' * 32}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode() + body)
        return connection.makefile("r", encoding="latin-1").readline().strip()


def test_refused_write_is_one_warning_and_no_failure(builds: Builds, server: Places, tmp_path: Path) -> None:
    built = builds.build(tmp_path, "--remote-cache", server.url(PULL), "--remote-cache-write")

    assert_right(builds, built)
    assert len(built.warnings) == 1
    assert not (server.root / "ac").exists()
    assert PASSWORD not in built.stdout + built.stderr


@pytest.mark.parametrize("secret", ["", PULL_SECRET], ids=["unsigned", "signed-by-the-attacker"])
def test_trusted_build_takes_no_poison_from_the_root(
    builds: Builds, kept: Path, server: Places, tmp_path: Path, secret: str
) -> None:
    poison_place(server, kept, secret)

    built = builds.build(tmp_path, "--remote-cache", server.url(TRUSTED), *TRUSTING)

    assert_right(builds, built)
    assert builds.alone.ran == built.ran


def test_trusted_build_mends_a_poisoned_root(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    poison_place(server, kept, PULL_SECRET)
    url = server.url(TRUSTED)
    builds.build(tmp_path / "first", "--remote-cache", url, *SIGNING, *TRUSTING)

    built = builds.build(tmp_path / "second", "--remote-cache", url, *TRUSTING)

    assert_right(builds, built)
    assert built.ran == 0


def test_signed_result_counts_under_no_other_key(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    copy_kept(kept, server)
    records = results_in(kept)
    for key, record in records.items():
        # One of the same kind: the build could go on with it.
        others = (
            other
            for other_key, other in records.items()
            if other_key != key and other.result.artifact.kind == record.result.artifact.kind
        )
        with suppress(StopIteration):
            write(server.root, key, next(others))

    built = builds.build(tmp_path, "--remote-cache", server.url(TRUSTED), *TRUSTING)

    assert_right(builds, built)
    assert built.ran > 0


@pytest.mark.parametrize("secret", ["", PULL_SECRET], ids=["unsigned", "signed-by-the-attacker"])
def test_records_copied_from_the_namespace_to_the_root_do_not_count(
    builds: Builds, kept: Path, server: Places, tmp_path: Path, secret: str
) -> None:
    signing = ("--signing-key", secret) if secret else ()
    url = server.url(PULL)
    builds.build(tmp_path / "pull", "--remote-cache", url, *IN_NAMESPACE, "--remote-cache-write", *signing)
    shutil.copytree(server.root / NAMESPACE, server.root, dirs_exist_ok=True)
    for key in results_in(kept):
        for name in NAMES:
            with suppress(FileNotFoundError):
                shutil.copy(server.root / "ac" / key_in(name, key).hex, server.root / "ac" / key.hex)
    assert results_in(server.root).keys() >= results_in(kept).keys()

    built = builds.build(tmp_path / "trusted", "--remote-cache", server.url(TRUSTED), *TRUSTING)

    assert_right(builds, built)
    assert builds.alone.ran == built.ran


def test_wrong_bytes_under_right_digests_come_into_no_build(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    copy_kept(kept, server)
    for path in (server.root / "cas").iterdir():
        spoil(path)

    built = builds.build(tmp_path, "--remote-cache", server.url(TRUSTED), *TRUSTING)

    assert_right(builds, built)
    assert len(built.warnings) == 1
    assert () == wrong_content(tmp_path)


def test_build_that_writes_mends_wrong_bytes(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    copy_kept(kept, server)
    url = server.url(TRUSTED)
    builds.build(tmp_path / "before", "--remote-cache", url)
    fetched = sorted((tmp_path / "before/cache/blobs").glob("*/*"), key=lambda path: path.stat().st_size)
    name = fetched[-1].parent.name + fetched[-1].name
    spoil(server.root / "cas" / name)
    first = builds.build(tmp_path / "first", "--remote-cache", url, *SIGNING)

    built = builds.build(tmp_path / "second", "--remote-cache", url)

    assert_right(builds, built)
    assert [] == built.warnings
    assert built.ran == 0
    assert first.ran > 0
    assert Digest.of((server.root / "cas" / name).read_bytes()).hex == name


def spoil(path: Path) -> None:
    """Makes content wrong, of its size as before."""
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if content else b"x")


def test_machine_that_builds_both_hands_nothing_on(
    builds: Builds, kept: Path, server: Places, tmp_path: Path
) -> None:
    with opened(server, PULL, f"/{NAMESPACE}") as own:
        for key, bad in poisoned(results_in(kept), own).items():
            keep_in_namespace(own, key, bad)
    url = server.url(PULL)

    pull = builds.build(tmp_path, "--remote-cache", url, *IN_NAMESPACE)
    trusted = builds.build(tmp_path, "--remote-cache", server.url(TRUSTED))

    assert builds.expected != pull.outputs
    assert_right(builds, trusted)


def test_keys_and_passwords_are_in_nothing_that_is_told(
    builds: Builds, server: Places, tmp_path: Path
) -> None:
    told: list[str] = []
    for secret in (SECRET, SECRET[:-5], "no-such-file"):
        built = builds.build(
            tmp_path / str(len(told)), "-vv", "--remote-cache", server.url(TRUSTED), *SIGNING[:2], secret
        )
        told.append(built.stdout + built.stderr)

    for secret in (SECRET.partition(":")[2], PASSWORD):
        assert not any(secret[:20] in text for text in told)
