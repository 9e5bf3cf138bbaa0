"""What `kitbuild doctor` asks of what is not kitbuild's own: images, registries, remote caches, keys.

Nothing is changed but in a remote cache that is to be written to: it is given some bytes, and asked for them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.cli.checks import Check, State
from kitbuild.errors import KitbuildError

if TYPE_CHECKING:
    from kitbuild.cache.remote import Remote
    from kitbuild.settings import Settings

# What a remote cache that is written to is given, and asked for.
_QUESTION = b"kitbuild doctor: is anybody there?\n"


def images(settings: Settings) -> Iterator[Check]:
    """Every place where images are looked for, and the files of certificates, opened as a build does."""
    from kitbuild.cli.images import route_of

    for path in settings.images:
        yield _image_place(path, settings)
    try:
        route_of(settings)
    except KitbuildError as error:
        yield Check("settings", "certificates", "broken", error.message, error.hint or "")


def _image_place(path: Path, settings: Settings) -> Check:
    from kitbuild.cli.images import image_sources
    from kitbuild.errors import ImageError, ImageNotFoundError
    from kitbuild.image import Platform
    from kitbuild.reference import Reference
    from kitbuild.rules.fetch import open_source

    try:
        # Asked for an image that it hardly has, it has to read what it does have.
        source = open_source(image_sources(settings._replace(images=(path,)))[0])
        source.image(Reference.parse("kitbuild.invalid/doctor:v1"), Platform("linux", "amd64"))
    except ImageNotFoundError:
        pass
    except (ImageError, KitbuildError) as error:
        return Check("settings", "images", "broken", error.message, error.hint or "mend or remove `--images`")
    return Check("settings", "images", "ok", str(path))


def keys(settings: Settings) -> Iterator[Check]:
    """The keys to sign with and to trust, read as a build does that has a remote cache."""
    from kitbuild.cache.folder import FolderRemote
    from kitbuild.cache.signed import SignedRemote
    from kitbuild.cli.remote import secret_of
    from kitbuild.setting_values import SECRET_KEY

    secret = settings.signing_key
    if not secret and not settings.trusted_keys:
        return
    try:
        if secret and not secret.startswith(SECRET_KEY):
            secret = secret_of(Path(secret), "--signing-key", name="its file")
        SignedRemote(FolderRemote(Path()), settings.trusted_keys, secret)
    except KitbuildError as error:
        state: State = "broken" if _is_used(settings.remote_cache or settings.executor) else "missing"
        yield Check("elsewhere", "keys", state, error.message, error.hint or "mend or remove `--signing-key`")
    else:
        yield Check("elsewhere", "keys", "ok", "can be read")


def _is_used(url: str) -> bool:
    from kitbuild.setting_values import NOWHERE

    return url not in ("", NOWHERE)


def remote_cache(settings: Settings) -> Iterator[Check]:
    """The remote cache and the executor, each asked for what it hardly has; what is to be written is tried too."""
    from kitbuild.cli.remote import below, check_written

    try:
        check_written(settings)
        if _is_used(settings.remote_cache):
            url = below(settings.remote_cache, settings.remote_cache_namespace)
            yield _asked("remote cache", url, settings, writes=settings.remote_cache_write)
        else:
            yield Check("elsewhere", "remote cache", "ok", "none is set")
    except KitbuildError as error:
        yield Check("elsewhere", "remote cache", "broken", error.message, error.hint or "")
    if _is_used(settings.executor):
        yield _asked("executor", settings.executor, settings, writes=False)
    else:
        yield Check("elsewhere", "executor", "ok", "none is set")


def _asked(name: str, url: str, settings: Settings, *, writes: bool) -> Check:
    from kitbuild.cache.remote import shown
    from kitbuild.cli.remote import access_of
    from kitbuild.digest import Digest
    from kitbuild.registry import remote_at

    place = shown(url)
    started = time.monotonic()
    try:
        remote = remote_at(url, access_of(settings))
        try:
            if name == "executor":
                remote.missing([Digest.of(_QUESTION)])
                told = ""
            else:
                told = _answer(remote, place, writes=writes)
        finally:
            remote.close()
    except KitbuildError as error:
        # Builds go on without a remote cache that cannot be reached; one that is written wrong ends them.
        state: State = "broken" if error.exit_status == 2 else "missing"
        said = error.message if place in error.message else f"{place}: {error.message}"
        return Check("elsewhere", name, state, said, error.hint or "")
    took = f"answers in {(time.monotonic() - started) * 1000:.0f} ms"
    return Check("elsewhere", name, "ok", f"{place}: {took}{told}")


def _answer(remote: Remote, place: str, *, writes: bool) -> str:
    """What else is to be told of a remote cache that answers; raises KitbuildError for one that is of no use."""
    from kitbuild.cache.folder import FolderRemote
    from kitbuild.digest import Digest
    from kitbuild.errors import MissingBlobError, RemoteError
    from kitbuild.node import Key

    digest = Digest.of(_QUESTION)
    if isinstance(remote, FolderRemote) and not writes and not remote.folder.is_dir():
        raise RemoteError(f"{place}: there is no such folder", hint="make it, or mend `--remote-cache`")
    remote.missing([digest])
    remote.record(Key(digest.hex))
    if not writes:
        return "; writing not tried"
    remote.put(digest, lambda: [_QUESTION])
    try:
        given = b"".join(remote.get(digest))
    except MissingBlobError:
        given = b""
    if given != _QUESTION:
        raise RemoteError(f"{place} does not have what it was given just now", hint="is it a remote cache?")
    return ", and keeps what it is given"


def registry(reference: str, settings: Settings) -> Check:
    """Whether an image can be had from its registry, over mirrors if they are set."""
    from kitbuild.cli.images import route_of
    from kitbuild.errors import ImageError
    from kitbuild.image import Platform
    from kitbuild.reference import Reference
    from kitbuild.rules.fetch import open_source

    started = time.monotonic()
    try:
        name = Reference.parse(reference)
        source = open_source(route_of(settings)(f"registry:{name.host}"))
        source.image(name, Platform("linux", "amd64"))
    except (ImageError, KitbuildError) as error:
        hint = error.hint or "check the network; `--mirror` names another address to ask"
        return Check("elsewhere", "registry", "missing", f"{reference}: {error.message}", hint)
    return Check(
        "elsewhere", "registry", "ok", f"{name}: found in {(time.monotonic() - started) * 1000:.0f} ms"
    )
