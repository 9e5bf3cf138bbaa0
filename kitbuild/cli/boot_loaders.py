"""The boot loaders of a build: from where the settings say, or from where a lock does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kitbuild.cli.locked import InForce, warning_of
from kitbuild.errors import ImageError, RuleError, UsageError
from kitbuild.report.text import printable

if TYPE_CHECKING:
    from kitbuild.digest import Digest
    from kitbuild.image import Image, Platform
    from kitbuild.node import Node
    from kitbuild.reference import Reference
    from kitbuild.resolve import Resolver
    from kitbuild.settings import Settings
    from kitbuild.store import Notes
    from kitbuild.system import Format


class Outside(NamedTuple):
    """Who is asked for what boot loaders are made of; `graph_only`: what is not at hand does not matter."""

    resolver: Resolver
    platform: Platform
    notes: Notes
    graph_only: bool
    offline: bool


def loader_names(formats: Sequence[Format], architecture: str) -> list[str]:
    """The boot loaders that the formats take, once each."""
    return list(
        dict.fromkeys(name for one in formats if one.loaders for name in one.loaders.get(architecture, ()))
    )


def loader_nodes(
    formats: Sequence[Format],
    settings: Settings,
    outside: Outside,
    *,
    lock: InForce | None,
    warnings: list[str],
) -> dict[str, Node]:
    """The boot loaders that the formats take, each from where the lock or the settings say."""
    architecture = outside.platform.architecture
    names = loader_names(formats, architecture)
    # Most builds need none, and are spared the loading of all that is behind them.
    if not names and not settings.boot_loaders:
        return {}
    from kitbuild.config.loaders import World, loaders
    from kitbuild.local_file import local_file

    def image(reference: Reference) -> Image | ImageError:
        answer = outside.resolver.images([reference], outside.platform)[reference]
        if isinstance(answer, ImageError) and not outside.graph_only:
            raise answer
        return answer

    def digest(path: Path) -> Digest:
        return local_file(path, outside.notes)

    sources: Mapping[str, Sequence[str]] = dict(settings.boot_loaders)
    if lock is not None:
        takers = ",".join(one.name for one in formats if one.loaders)
        lock = lock._replace(command=lock.command.replace(" lock ", f" lock --format {takers} ", 1))
        found = locked_loaders(names, outside.platform, settings=settings, lock=lock, digest=digest)
        sources = found.sources
        warnings += found.warnings
    world = World(image, digest, outside.offline)
    return loaders(names, architecture, sources=sources, world=world)


class Loaders(NamedTuple):
    """The sources of boot loaders as they count, by name, and what the user should know of them."""

    sources: Mapping[str, tuple[str, ...]]
    warnings: tuple[str, ...] = ()


def locked_loaders(
    names: Iterable[str],
    platform: Platform,
    *,
    settings: Settings,
    lock: InForce,
    digest: Callable[[Path], Digest],
) -> Loaders:
    """The sources of these boot loaders: what is locked wins, but for files of the user's own.

    Raises UsageError for what differs, or is not in the lock, if nothing else may be used.
    """
    architecture = platform.architecture
    sources = dict(settings.boot_loaders)
    warnings: list[str] = []
    for name in dict.fromkeys(names):
        given = sources.get(name, ())
        locked = lock.lock.loaders.get(name, {}).get(architecture)
        if locked is None:
            if not given or is_remote(given):
                message = f"expected the boot loader `{name}` for {architecture} in {lock.name}, got nothing"
                _say_or_refuse(message, warning_of([f"the boot loader {name}"], lock), lock, warnings)
            continue
        found = _one_loader(name, given, tuple(locked), lock=lock, digest=digest, warnings=warnings)
        sources.pop(name, None)
        if found and found != default_loader(name, architecture):
            sources[name] = found
        images = [source.removeprefix("image:") for source in found if source.startswith("image:")]
        for image in images:
            if str(platform) not in _platforms(lock, image):
                message = f"expected {image} for {platform} in {lock.name}, got nothing"
                _say_or_refuse(message, warning_of([image], lock), lock, warnings)
    return Loaders(sources, tuple(warnings))


def _one_loader(
    name: str,
    given: tuple[str, ...],
    locked: tuple[str, ...],
    *,
    lock: InForce,
    digest: Callable[[Path], Digest],
    warnings: list[str],
) -> tuple[str, ...]:
    if not given or given == locked:
        return locked
    same = same_packages(given, locked, digest)
    if same:
        return same
    remote = is_remote(given)
    kept = "the lock's counts" if remote else "the one given counts"
    message = f"expected the boot loader `{name}` as in {lock.name}, got {' and '.join(given)}"
    _say_or_refuse(
        message,
        f"the boot loader {name} is another in {lock.name} than `--boot-loader` says: {kept}",
        lock,
        warnings,
    )
    return locked if remote else given


def _say_or_refuse(message: str, warning: str, lock: InForce, warnings: list[str]) -> None:
    if lock.only:
        raise UsageError(message, hint=f"run `{lock.command}`, with the same `--boot-loader` if there is any")
    warnings.append(printable(warning))


def is_remote(sources: Sequence[str]) -> bool:
    """Whether a boot loader comes from elsewhere; folders and files are the user's own, and never locked."""
    return all(source.startswith(("image:", "package:")) for source in sources)


def default_loader(name: str, architecture: str) -> tuple[str, ...]:
    """The packages a boot loader comes from unless somebody says otherwise, as a lock has them."""
    from kitbuild.config.loaders import LOADERS

    loader = LOADERS.get(name, {}).get(architecture)
    return tuple(f"package:{one.path}@sha256:{one.hex}" for one in loader.packages) if loader else ()


def same_packages(
    given: Sequence[str], locked: Sequence[str], digest: Callable[[Path], Digest]
) -> tuple[str, ...]:
    """The files given, if they are what is locked (and perhaps others, of other architectures); else nothing."""
    if not given or not all(source.endswith(".deb") and Path(source).is_absolute() for source in given):
        return ()
    try:
        found = {digest(Path(source)).hex: source for source in given}
    except RuleError:
        return ()
    wanted = [source.rpartition("@sha256:")[2] for source in locked]
    return tuple(found[one] for one in wanted) if all(one in found for one in wanted) else ()


def _platforms(lock: InForce, image: str) -> Iterable[str]:
    name = lock.lock.images.get(image)
    return name.platforms if name else ()
