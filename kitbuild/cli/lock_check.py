"""Whether a lock is what its configs need: nothing is looked up for that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from kitbuild.cli.boot_loaders import is_remote
from kitbuild.cli.locked import unlocked
from kitbuild.config.lower import references_of
from kitbuild.config.volumes import index_names_of
from kitbuild.image import Platform
from kitbuild.lock import Lock, volume_name
from kitbuild.reference import Reference

if TYPE_CHECKING:
    from kitbuild.cli.locking import Locking, Read


def missing_in(lock: Lock, locking: Locking, read: Read) -> Iterator[str]:
    """What is needed and not locked, each once."""
    found: dict[str, None] = {}
    for address, digest in read.addresses.items():
        if lock.configs.get(address) != digest:
            found[address] = None
    images, volumes = references_of(read.config), index_names_of(read.config)
    for platform in locking.wanted.platforms:
        for name, _ in unlocked(lock, platform, images, volumes):
            found[f"{name} for {platform}" if name in map(str, images) else name] = None
    settings = dict(locking.settings.boot_loaders)
    for name, architecture in locking.wanted.loaders:
        given = settings.get(name, ())
        if given and not is_remote(given):
            continue
        locked = tuple(lock.loaders.get(name, {}).get(architecture, ()))
        if not locked or (given and given != locked):
            found[f"boot loader {name} ({architecture})"] = None
    for reference, platform in loader_images(lock):
        if lock.image(reference, platform) is None:
            found[f"{reference} for {platform}"] = None
    yield from found


def stale_in(lock: Lock, locking: Locking, read: Read) -> Iterator[str]:
    """What is locked and not needed; platforms and boot loaders that are not asked for count as needed."""
    images = {*map(str, references_of(read.config)), *(str(one) for one, _ in loader_images(lock))}
    volumes = {*map(volume_name, index_names_of(read.config))}
    yield from (name for name in lock.configs if name not in read.addresses)
    yield from (name for name in lock.images if name not in images)
    yield from (name for name in lock.volumes if name not in volumes)
    settings = dict(locking.settings.boot_loaders)
    for name, architecture in locking.wanted.loaders:
        given = settings.get(name, ())
        locked = lock.loaders.get(name, {}).get(architecture, ())
        if locked and given and not is_remote(given) and not locking.is_given(given, locked):
            yield f"boot loader {name} ({architecture})"


def loader_images(lock: Lock) -> Iterator[tuple[Reference, Platform]]:
    """The images that boot loaders come out of, and for which platform."""
    for by_architecture in lock.loaders.values():
        for architecture, sources in by_architecture.items():
            for source in sources:
                if source.startswith("image:"):
                    yield Reference.parse(source.removeprefix("image:")), Platform("linux", architecture)
