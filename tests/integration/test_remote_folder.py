"""A folder as a remote cache: several processes, one of them killed; users of a group, and others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kitbuild.cache.folder import FolderRemote
from kitbuild.cache.remote import Record
from kitbuild.cache.verified import VerifiedRemote
from kitbuild.digest import Digest
from kitbuild.errors import RemoteError
from kitbuild.node import Key
from kitbuild.rule import Artifact
from kitbuild.store import Result

pytestmark = pytest.mark.integration

# Users and a group that nobody has.
ONE, OTHER, STRANGER, GROUP = 54_321, 54_322, 54_323, 54_400

# Puts the same contents as every other one of its kind, over and over, as fast as it can.
WRITER = """
import sys
from pathlib import Path
from kitbuild.cache.folder import FolderRemote
from tests.integration.test_remote_folder import contents, kept
remote = FolderRemote(Path(sys.argv[1]))
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    for content in contents():
        kept(remote, content)
"""


def contents() -> list[bytes]:
    """Of sizes that take one write or many."""
    return [bytes([number]) * (1 << (2 * number)) for number in range(11)]


def kept(remote: FolderRemote, content: bytes) -> Key:
    """Keeps content in pieces, and a record under a key of its own that refers to it."""
    digest = Digest.of(content)
    remote.put(digest, lambda: (content[start : start + 65_536] for start in range(0, len(content), 65_536)))
    key = Key(Digest.of(digest.hex.encode()).hex)
    remote.keep(key, Record(Result(Artifact("blob", digest)), (digest,)))
    return key


def start_writer(folder: Path, times: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(folder), str(times)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert process.stdout
    process.stdout.readline()
    return process


def test_what_is_there_is_whole_whoever_writes_and_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writers = [start_writer(folder, times) for times in (3, 3, 10_000)]
    reader = VerifiedRemote(FolderRemote(folder))
    digests = [Digest.of(content) for content in contents()]
    try:
        for _ in range(20):
            there = set(digests) - reader.missing(digests)
            sizes = [sum(map(len, reader.get(digest))) for digest in there]
            assert [digest.size for digest in there] == sizes
            time.sleep(0.01)
        writers[2].send_signal(signal.SIGKILL)
        statuses = [writer.wait(60) for writer in writers]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
            assert writer.stdout
            writer.stdout.close()

    assert [0, 0, -signal.SIGKILL] == statuses
    assert set() == reader.missing(digests)
    for content in contents():
        record = reader.record(kept(FolderRemote(folder), content))
        assert record is not None
        assert content == b"".join(reader.get(record.result.artifact.digest))


def as_user(user: int, groups: list[int], folder: Path, action: Callable[[FolderRemote], object]) -> str:
    """What `action` gives, as text, done by a user over `folder`, or the error it raises."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        # From here on nothing may raise, or the tests would go on twice.
        try:
            # Folders above belong to root alone, and need not be gone through from here.
            os.chdir(folder.parent)
            os.setgroups(groups)
            os.setgid(user)
            os.setuid(user)
            os.umask(0o077)
            try:
                told = str(action(FolderRemote(Path(folder.name))))
            except RemoteError as error:
                told = f"RemoteError lasting={error.lasting} writing={error.writing}"
            os.write(writes, told.encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        answer = pipe.read().decode()
    os.waitpid(child, 0)
    return answer


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of a group, which others may read."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # A child must not import: it may not read our files.
    import kitbuild.cache.action_result  # noqa: F401

    tmp_path.chmod(0o755)
    folder = tmp_path / "cache"
    folder.mkdir()
    os.chown(folder, 0, GROUP)
    folder.chmod(0o2775)
    return folder


def put(remote: FolderRemote) -> str:
    return kept(remote, b"content").hex


def read(remote: FolderRemote) -> bytes:
    return b"".join(remote.get(Digest.of(b"content")))


def test_members_of_a_group_read_and_replace_what_others_wrote(shared: Path) -> None:
    first = as_user(ONE, [GROUP], shared, put)
    again = as_user(OTHER, [GROUP], shared, put)
    content = as_user(ONE, [GROUP], shared, read)

    assert first == again == Digest.of(Digest.of(b"content").hex.encode()).hex
    assert content == "b'content'"
    assert {GROUP} == {path.stat().st_gid for path in shared.rglob("*")}


def test_member_of_a_group_makes_what_another_wrote_fresh(shared: Path) -> None:
    as_user(ONE, [GROUP], shared, put)
    path = FolderRemote(shared).files.path("cas", Digest.of(b"content").hex)
    os.utime(path, (1000, 1000))

    as_user(OTHER, [GROUP], shared, read)

    assert path.stat().st_mtime > 1000


def test_stranger_reads_and_is_refused_to_write(shared: Path) -> None:
    as_user(ONE, [GROUP], shared, put)

    content = as_user(STRANGER, [], shared, read)
    refused = as_user(STRANGER, [], shared, put)

    assert content == "b'content'"
    assert refused == "RemoteError lasting=True writing=True"


def test_stranger_is_refused_to_read_a_private_folder(shared: Path) -> None:
    shared.chmod(0o2770)
    as_user(ONE, [GROUP], shared, put)

    refused = as_user(STRANGER, [], shared, read)

    assert refused == "RemoteError lasting=True writing=False"
