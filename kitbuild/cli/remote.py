"""From settings to the store of a build: the local cache alone, or a remote cache behind it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kitbuild.errors import UsageError
from kitbuild.event import Downloaded, KeepStarted, RemoteUsed, Warned
from kitbuild.setting_values import NOWHERE, SECRET_KEY

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.cache.execution import ReapiExecutor
    from kitbuild.cache.remote import Access, Remote
    from kitbuild.cache.signed import SignedRemote
    from kitbuild.cache.tiered import TieredStore
    from kitbuild.cache.uploads import LocalStore
    from kitbuild.engine import Executor
    from kitbuild.event import Reporter
    from kitbuild.history import Builds
    from kitbuild.record import Record
    from kitbuild.settings import Settings
    from kitbuild.store import Notes, Store

TOKEN_VARIABLE = "KITBUILD_REMOTE_CACHE_TOKEN"
_EXECUTOR_JOBS = 16
# No token, key or list of them is as large; a disk given by mistake is.
_MOST_SECRET_BYTES = 1 << 16


class Caches(NamedTuple):
    """What a build works with: where results come from, and where heavy nodes run if not here.

    `elsewhere` gives the record of the last build of these configs on another machine; `share` is called after a
    build that came to its end; `stop` ends what runs may wait for elsewhere; `remote` is true if the
    store has content elsewhere.
    """

    store: Store
    executor: Executor | None = None
    elsewhere: Callable[[], Record | None] = lambda: None
    share: Callable[[Builds], None] = lambda builds: None
    stop: Callable[[], None] = lambda: None
    remote: bool = False


class Purpose(NamedTuple):
    """What caches are opened for.

    `scope` is what the nodes of the build are remembered under; a build that `explains` asks elsewhere too what they
    were made of. If `complete`, results elsewhere count only with their content.
    """

    scope: str = ""
    explains: bool = False
    complete: bool = False


@contextmanager
def caches(settings: Settings, local: DirectoryStore, report: Reporter, purpose: Purpose) -> Iterator[Caches]:
    """The caches for a build; what is to be kept elsewhere has been kept, or given up, when the block ends.

    Raises UsageError for settings that do not fit together, before anything is asked.
    """
    # Without a cache of its own a build reads that of its executor, which has what ran there, unless it wants none.
    url = settings.remote_cache or settings.executor
    url = "" if url == NOWHERE else url
    check_written(settings)
    if not url:
        store = _taken(settings, local, keeps_apart=False)
        with ExitStack() as closing:
            yield _caches(settings, store, None, purpose, closing=closing, report=report)
        return
    from kitbuild.cache.remote import shown
    from kitbuild.cache.tiered import TieredStore

    place = shown(below(url, settings.remote_cache_namespace))
    with ExitStack() as closing:
        remote = _remote(url, settings, closing=closing, warn=lambda message: report(Warned(message)))
        if purpose.complete:
            from kitbuild.cache.complete import CompleteRemote

            remote = CompleteRemote(remote)
        store = TieredStore(
            _here(settings, local),
            remote,
            writes=settings.remote_cache_write,
            warn=lambda message: report(Warned(message)),
            name=place,
            taken=_looking(settings, local) if purpose.complete else _taken_apart(settings, local),
            progress=lambda size: report(Downloaded(size)),
        )
        closing.callback(store.close)
        try:
            yield _caches(settings, store, remote, purpose, closing=closing, report=report)
        except KeyboardInterrupt:
            raise
        except BaseException:
            # What was built before something failed is worth keeping all the same.
            _finish(store, place, report)
            raise
        _finish(store, place, report)


def _caches(
    settings: Settings,
    store: LocalStore,
    remote: Remote | None,
    purpose: Purpose,
    *,
    closing: ExitStack,
    report: Reporter,
) -> Caches:
    executor = _executor(settings, store, report) if settings.executor not in ("", NOWHERE) else None
    if executor is not None:
        closing.callback(executor.close)

    def elsewhere() -> Record | None:
        from kitbuild.cache.shared_record import published

        return published(remote, purpose.scope) if purpose.explains and remote is not None else None

    def share(builds: Builds) -> None:
        if settings.remote_cache_write and remote is not None:
            _share(builds, remote, store, purpose.scope)

    def stop() -> None:
        if remote is not None:
            store.stop()  # type: ignore[attr-defined]
        if executor is not None:
            executor.stop()

    return Caches(store, executor, elsewhere, share, stop, remote is not None)


def _finish(store: TieredStore, place: str, report: Reporter) -> None:
    """Waits until everything is kept elsewhere, or given up, and tells what the remote cache was used for."""
    started = time.monotonic()
    if pending := store.pending():
        report(KeepStarted(place, pending))
    left = store.finish()
    traffic = store.traffic()
    report(
        RemoteUsed(
            place,
            asked=traffic.asked,
            results=traffic.results,
            blobs=traffic.blobs,
            bytes=traffic.bytes,
            kept_results=traffic.kept_results,
            kept_blobs=traffic.kept_blobs,
            kept_bytes=traffic.kept_bytes,
            left=left,
            seconds=time.monotonic() - started,
        )
    )


def _here(settings: Settings, local: DirectoryStore) -> LocalStore:
    """The local cache, in which what comes from a namespace stays apart."""
    if not settings.remote_cache_namespace:
        return local
    from kitbuild.cache.apart import ApartStore

    return ApartStore(local, settings.remote_cache_namespace)


def _taken_apart(settings: Settings, local: DirectoryStore) -> LocalStore | None:
    """Where to keep what is taken from elsewhere, if not with all that is of the same namespace."""
    return None if settings.remote_cache_namespace else _taken(settings, local)


def _looking(settings: Settings, local: DirectoryStore) -> LocalStore:
    """The local cache for those who look at what is elsewhere and leave everything here as it is."""
    from kitbuild.cache.apart import UnchangedStore, taken_by

    return UnchangedStore(local, settings.remote_cache_namespace or taken_by(settings.trusted_keys))


def _taken(settings: Settings, local: DirectoryStore, *, keeps_apart: bool = True) -> LocalStore:
    """The local cache with what builds that trust the same keys took from elsewhere; there new results are kept."""
    from kitbuild.cache.apart import ApartStore, taken_by

    return ApartStore(local, taken_by(settings.trusted_keys), keeps_apart=keeps_apart)


def access_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> Access:
    """With what to ask; raises UsageError for a file that cannot be read, or a variable that is not set."""
    from kitbuild.cache.remote import Access

    token = environment.get(TOKEN_VARIABLE, "").strip()
    if settings.remote_cache_token_file is not None:
        token = secret_of(settings.remote_cache_token_file, "--remote-cache-token-file")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise UsageError("expected a token of printable ASCII characters for the remote cache, got others")
    return Access(
        tuple((name, _header(value, environment)) for name, value in settings.remote_cache_headers),
        token,
        settings.cert_files,
        settings.remote_cache_certificate,
        settings.remote_cache_key,
    )


def _remote(url: str, settings: Settings, *, closing: ExitStack, warn: Callable[[str], None]) -> Remote:
    """The remote cache behind all that makes it safe to use; `closing` tells at last what nobody signed."""
    access = access_of(settings)
    from kitbuild.cache.guarded import GuardedRemote
    from kitbuild.cache.remote import shown
    from kitbuild.cache.verified import VerifiedRemote
    from kitbuild.registry import remote_at

    secret = settings.signing_key
    if secret and not secret.startswith(SECRET_KEY):
        secret = secret_of(Path(secret), "--signing-key", name="its file")

    def opened(url: str) -> Remote:
        remote = remote_at(url, access)
        if not settings.remote_cache_write:
            from kitbuild.cache.readonly import ReadonlyRemote

            remote = ReadonlyRemote(remote)
        if secret or settings.trusted_keys:
            from kitbuild.cache.signed import SignedRemote

            remote = SignedRemote(remote, settings.trusted_keys, secret)
            closing.callback(_tell_refused, remote, shown(url), warn)
        return remote

    remote = opened(url)
    if settings.remote_cache_namespace:
        from kitbuild.cache.namespaced import NamespacedRemote

        own = opened(below(url, settings.remote_cache_namespace))
        remote = NamespacedRemote(remote, own, namespace=settings.remote_cache_namespace)
    return GuardedRemote(VerifiedRemote(remote), warn=warn, name=f"the remote cache {shown(url)}")


def _tell_refused(remote: SignedRemote, place: str, warn: Callable[[str], None]) -> None:
    if remote.refused:
        warn(
            f"{remote.refused} results of the remote cache {place} are signed by no trusted key and were not used"
        )


def _share(builds: Builds, remote: Remote, notes: Notes, scope: str) -> None:
    """Lets other machines know what the nodes are made of, unless that is what was told last time."""
    from kitbuild.cache.shared_record import publish

    state = builds.state().encode("ascii")
    record = builds.latest() if notes.note("shared", scope) != state else None
    if record is not None:
        publish(remote, scope, record)
        notes.keep("shared", scope, state)


def recorded_elsewhere(settings: Settings, scope: str, report: Reporter) -> Record | None:
    """The record of the last build of a scope that the remote cache has; raises UsageError if none is named."""
    url = settings.remote_cache
    if url in ("", NOWHERE):
        raise UsageError(
            "expected a remote cache to find a build in, got none",
            hint="name it with `--remote-cache URL` or KITBUILD_REMOTE_CACHE",
        )
    from kitbuild.cache.shared_record import published

    settings = settings._replace(remote_cache_write=False)
    with ExitStack() as closing:
        remote = _remote(url, settings, closing=closing, warn=lambda message: report(Warned(message)))
        return published(remote, scope)


def _executor(settings: Settings, store: Store, report: Reporter) -> ReapiExecutor:
    from kitbuild.cache.execution import open_executor

    return open_executor(
        settings.executor,
        access_of(settings),
        store=store,
        jobs=settings.executor_jobs or _EXECUTOR_JOBS,
        properties=settings.executor_properties,
        lazy=settings.remote_cache in ("", settings.executor),  # where the store can get it from
        warn=lambda message: report(Warned(message)),
    )


def below(url: str, namespace: str) -> str:
    """The URL of a namespace: a part more of its path. No namespace is the URL itself."""
    if not namespace:
        return url
    place, mark, query = url.partition("?")
    return f"{place.rstrip('/')}/{namespace}{mark}{query}"


def check_written(settings: Settings) -> None:
    """Refuses to write where no remote cache is named: an executor's is written to by what runs there."""
    if settings.remote_cache_write and settings.remote_cache in ("", NOWHERE):
        raise UsageError(
            "expected a remote cache with `--remote-cache-write`, got none",
            hint="name it with `--remote-cache URL` or KITBUILD_REMOTE_CACHE",
        )


def _header(value: str, environment: Mapping[str, str]) -> str:
    variable = re.fullmatch(r"\$(?:(\w+)|\{(\w+)\})", value)
    if variable is None:
        return value
    name = variable[1] or variable[2]
    if name not in environment:
        raise UsageError(f"expected the variable `{name}` for a header of the remote cache, got none")
    return environment[name]


def secret_of(path: Path, flag: str, *, name: str = "") -> str:
    """The one line of a file, called `name` if its path may be a key given by mistake; nothing of it is shown."""
    name = name or str(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_SECRET_BYTES)
        text = content.decode("ascii").strip()
    except OSError as error:
        raise UsageError(f"`{flag}`: cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"`{flag}`: expected one line of text in {name}, got other bytes") from error
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    if len(lines) != 1:
        raise UsageError(f"`{flag}`: expected one line in {name}, got {len(lines)}")
    return lines[0]
