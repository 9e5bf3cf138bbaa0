"""Starts the real BuildGrid as an executor: with PostgreSQL for its queue, and a worker of our own.

    with executing_buildgrid(tmp_path) as server:
        ... f"grpc://{server.host}" ...

BuildGrid comes without a worker. This one, a thread, takes leases as the Remote Workers API says (it speaks just
enough of google.devtools.remoteworkers.v1test2) and lets casd's buildbox-run run each in its sandbox.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from kitbuild.cache.connection import Connection
from kitbuild.cache.protobuf import Message, integer, message, messages, text
from kitbuild.cache.reapi_messages import Action, Any, BlobDigest, Status
from kitbuild.cache.remote import Access
from kitbuild.errors import RemoteError
from tests.support.buildgrid import VERSION
from tests.support.cache_servers import bundle
from tests.support.casd import Server, running
from tests.support.registry import free_port, tool

_POSTGRES = Path("/usr/lib/postgresql")
_BOTS = "google.devtools.remoteworkers.v1test2.Bots"
_PROPERTIES = (("ISA", "x86-64"), ("OSFamily", "linux"))
_OK, _TERMINATING = 1, 4  # BotStatus
_PENDING, _ACTIVE, _COMPLETED, _CANCELLED = 1, 2, 4, 5  # LeaseState
_POLL_SECONDS = 10.0
_BINDS = ("/usr:/usr", "/usr/bin:/bin", "/usr/lib:/lib", "/usr/lib64:/lib64")


class Property(Message):
    key: str = text(1)
    value: str = text(2)


class Device(Message):
    handle: str = text(1)
    properties: tuple[Property, ...] = messages(2, Property)


class WorkerMessage(Message):
    devices: tuple[Device, ...] = messages(1, Device)


class Lease(Message):
    state: int = integer(2)
    status: Status | None = message(3, Status)
    id: str = text(7)
    payload: Any | None = message(8, Any)
    result: Any | None = message(9, Any)


class BotSession(Message):
    name: str = text(1)
    bot_id: str = text(2)
    status: int = integer(3)
    worker: WorkerMessage | None = message(4, WorkerMessage)
    leases: tuple[Lease, ...] = messages(5, Lease)
    version: str = text(7)


class CreateBotSessionRequest(Message):
    parent: str = text(1)
    bot_session: BotSession | None = message(2, BotSession)


class UpdateBotSessionRequest(Message):
    name: str = text(1)
    bot_session: BotSession | None = message(2, BotSession)


@contextmanager
def executing_buildgrid(folder: Path, *, updates: bool = True) -> Iterator[Server]:
    """BuildGrid and one worker until the block ends; it takes no results of clients if `updates` is false."""
    environment = bundle(f"buildgrid-{VERSION}")
    program = environment / "bin/bgd"
    _need(
        any(environment.glob("lib/python*/site-packages/psycopg2")),
        "psycopg2 is not installed: run .ci/servers",
    )
    runner = bundle("casd-1.4.25") / "buildstream/subprojects/buildbox/buildbox-run"
    tool("bwrap")
    folder = folder / "buildgrid"
    folder.mkdir(parents=True)
    host = f"127.0.0.1:{free_port()}"
    with ExitStack() as closing:
        database = closing.enter_context(_postgres(folder / "database"))
        done = subprocess.run([program, "migrate", "apply", database], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        config = folder / "config.yml"
        config.write_text(_config(host, database, updates=updates))
        server = closing.enter_context(running([str(program), "server", "start", str(config)], folder, host))
        closing.enter_context(_worker(host, runner, folder / "runs"))
        yield server


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    """A database of its own; gives its address as SQLAlchemy wants it."""
    found = sorted(_POSTGRES.glob("*/bin"))
    _need(bool(found), "postgresql is not installed")
    binaries = found[-1]
    port = free_port()
    _call(binaries / "initdb", "--pgdata", folder, "--auth=trust", "--username=kitbuild", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
    _call(binaries / "pg_ctl", "--pgdata", folder, "-o", options, "--log", folder / "log", "-w", "start")
    try:
        _call(binaries / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "kitbuild", "runs")
        # The driver has to be named: BuildGrid 0.4.4 works with psycopg2 alone, and waits for ever with another.
        yield f"postgresql+psycopg2://kitbuild@127.0.0.1:{port}/runs"
    finally:
        _call(binaries / "pg_ctl", "--pgdata", folder, "-m", "immediate", "-w", "stop")


def _need(there: bool, reason: str) -> None:
    if not there and os.environ.get("KITBUILD_NO_SKIP") == "1":
        pytest.fail(reason)
    if not there:
        pytest.skip(reason)


def _call(*command: object) -> None:
    # PostgreSQL does not run as root. In a user namespace we can be somebody else, who may use our files.
    nobody = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    if nobody:
        allowed = subprocess.run([*nobody, "true"], capture_output=True).returncode == 0
        _need(allowed, "user namespaces are not allowed, and PostgreSQL does not run as root")
    done = subprocess.run([*nobody, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        pytest.fail(f"{command[0]}: {done.stderr.decode()[-2000:]}")


@contextmanager
def _worker(host: str, runner: Path, folder: Path) -> Iterator[None]:
    stopped = threading.Event()
    connection = Connection(f"grpc://{host}", Access())
    folder.mkdir()
    thread = threading.Thread(target=_work, args=(connection, host, runner, folder, stopped))
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        connection.close()
        thread.join()


def _work(connection: Connection, host: str, runner: Path, folder: Path, stopped: threading.Event) -> None:
    properties = tuple(Property(key=key, value=value) for key, value in _PROPERTIES)
    worker = WorkerMessage(devices=(Device(handle="here", properties=properties),))
    session = BotSession(bot_id="worker", status=_OK, worker=worker)
    request: Message = CreateBotSessionRequest(bot_session=session)
    method = "CreateBotSession"
    while not stopped.is_set():
        with suppress(RemoteError):
            session = connection.call(f"{_BOTS}/{method}", request, BotSession, seconds=_POLL_SECONDS)
            method = "UpdateBotSession"
        leases = tuple(_step(lease, host, runner, folder) for lease in session.leases)
        session = BotSession(
            name=session.name,
            bot_id=session.bot_id,
            status=_OK,
            worker=session.worker,
            leases=leases,
            version=session.version,
        )
        if method == "UpdateBotSession":
            request = UpdateBotSessionRequest(name=session.name, bot_session=session)


def _step(lease: Lease, host: str, runner: Path, folder: Path) -> Lease:
    """The lease as it is after what its state asks for."""
    if lease.state == _PENDING:
        return Lease(id=lease.id, state=_ACTIVE, payload=lease.payload)
    if lease.state != _ACTIVE:
        return Lease(id=lease.id, state=_COMPLETED, payload=lease.payload)
    status, result = _run(lease, host, runner, folder / lease.id.replace("/", "-"))
    return Lease(id=lease.id, state=_COMPLETED, payload=lease.payload, status=status, result=result)


def _run(lease: Lease, host: str, runner: Path, folder: Path) -> tuple[Status, Any | None]:
    folder.mkdir()
    assert lease.payload is not None
    action, answer = folder / "action", folder / "answer"
    action.write_bytes(_action(lease.payload, host))
    binds = [f"--ro-bind-mount={bind}" for bind in _BINDS]
    command = [str(runner), f"--remote=http://{host}", "--disable-localcas", "--staging-mode=copy-or-link"]
    done = subprocess.run(
        [*command, f"--action={action}", f"--action-result={answer}", f"--workspace-path={folder}", *binds],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if not answer.exists():
        return Status(code=13, message=done.stderr.decode("utf-8", "replace")[-500:]), None
    url = "type.googleapis.com/build.bazel.remote.execution.v2.ActionResult"
    return Status(), Any(type_url=url, value=answer.read_bytes())


def _action(payload: Any, host: str) -> bytes:
    """The action of a lease, which holds it or its digest."""
    if payload.type_url.endswith(".Action"):
        return payload.value
    from kitbuild.cache.reapi import ReapiRemote
    from kitbuild.digest import Digest

    named = BlobDigest.decode(payload.value)
    remote = ReapiRemote(Connection(f"grpc://{host}", Access()))
    content = b"".join(remote.get(Digest.parse(named.hash, named.size_bytes)))
    remote.close()
    assert Action.decode(content).command_digest
    return content


def _config(host: str, database: str, *, updates: bool) -> str:
    keys = ", ".join(key for key, _ in _PROPERTIES)
    lines: Sequence[str] = (
        "description: what tests talk to",
        "server:",
        f'  - !channel {{address: "{host}", insecure-mode: true}}',
        "authorization: {method: none}",
        "monitoring: {enabled: false}",
        "connections:",
        f"  - !sql-connection &database {{connection-string: '{database}', pool-size: 5}}",
        "storages:",
        "  - !lru-storage &content {size: 512M}",
        "caches:",
        "  - !lru-action-cache &results {storage: *content, max-cached-refs: 4096, "
        f"allow-updates: {str(updates).lower()}, cache-failed-actions: false}}",
        "schedulers:",
        "  - !sql-scheduler &scheduler",
        "    sql: *database",
        "    storage: *content",
        "    action-cache: *results",
        "    property-set:",
        "      !dynamic-property-set",
        f"      match-property-keys: [{keys}]",
        "    assigners:",
        "      - !priority-age-assigner {count: 1, interval: 0.05}",
        "instances:",
        "  - name: ''",
        "    services:",
        "      - !action-cache {cache: *results}",
        "      - !cas {storage: *content}",
        "      - !bytestream {storage: *content}",
        "      - !execution {scheduler: *scheduler}",
        "thread-pool-size: 20",
    )
    return "\n".join([*lines, ""])
