"""Making a lock: what of the old one stays, and what has to be looked up."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from kitbuild.cli.boot_loaders import default_loader, is_remote, loader_names, same_packages
from kitbuild.cli.configs import position_in, unavailable
from kitbuild.cli.images import refuse_templates, resolver_of
from kitbuild.cli.locked import address_of, keep_config, pinned_config, read_lock
from kitbuild.config.lower import references_of
from kitbuild.config.volumes import index_names_of
from kitbuild.errors import ConfigError, ConfigErrors, ImageError, KitbuildError, UsageError
from kitbuild.export import write_whole
from kitbuild.image import IndexName, Platform
from kitbuild.lock import (
    Lock,
    LockedName,
    LockedVolume,
    locked_image,
    locked_volume,
    volume_name,
)
from kitbuild.reference import Reference
from kitbuild.registry import formats_named
from kitbuild.report.text import printable
from kitbuild.settings import Settings, cache_dir, settings_of

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.config.model import Config, Place
    from kitbuild.digest import Digest
    from kitbuild.resolve import Resolver

# Says of what a lock names (a whole reference, an address, the name of a boot loader) whether it is to be looked up.
Moves = Callable[[str], bool]


class Wanted(NamedTuple):
    """What is to be locked: for which platforms, and the boot loaders (name, architecture) of which formats."""

    platforms: tuple[Platform, ...]
    loaders: tuple[tuple[str, str], ...]


class Read(NamedTuple):
    """The configs as they are now: their bytes by source, and the digests of those from URLs by address."""

    config: Config
    contents: Mapping[str, bytes]
    addresses: Mapping[str, Digest]


class Locking(NamedTuple):
    """All that is needed to look something up. `warnings` grows."""

    arguments: Namespace
    settings: Settings
    store: DirectoryStore
    wanted: Wanted
    warnings: list[str]

    def resolver(self, *, pull: bool) -> Resolver:
        """One that keeps to no lock."""
        return resolver_of(self.arguments, self.settings, notes=self.store, pull=pull)

    def is_given(self, given: Sequence[str], locked: Sequence[str]) -> bool:
        """Whether the files the user gives for a boot loader are the packages that are locked."""
        return bool(same_packages(given, locked, self.digest))

    def digest(self, path: Path) -> Digest:
        """The digest of a file of the user's."""
        from kitbuild.local_file import local_file

        return local_file(path, self.store)

    def tell_warnings(self) -> None:
        """Says what nobody asked for and should know."""
        for warning in self.warnings:
            _warn(printable(warning))


def locking_of(arguments: Namespace) -> Locking:
    """The settings, the cache and what is wanted; raises UsageError."""
    from kitbuild.cache.directory import open_directory
    from kitbuild.cli.configs import platform_of

    settings = settings_of(arguments)
    names = [name for text in arguments.arch for name in text.split(",") if name] or [None]
    platforms = tuple(dict.fromkeys(platform_of(Namespace(arch=name)) for name in names))
    formats = formats_named([name for text in arguments.format for name in text.split(",") if name])
    loaders = [
        (name, platform.architecture)
        for platform in platforms
        for name in loader_names(formats, platform.architecture)
    ]
    store = open_directory(cache_dir(settings.cache_dir), warn=_warn)
    return Locking(arguments, settings, store, Wanted(platforms, tuple(loaders)), [])


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")


def read_configs(locking: Locking, old: Lock, moves: Moves, *, where: str) -> Read:
    """The configs, those from URLs as locked unless they are to move; raises ConfigErrors."""
    from kitbuild.config.load import load
    from kitbuild.config.sources import folder_of
    from kitbuild.config.sources import read as read_plainly

    contents: dict[str, bytes] = {}
    addresses: dict[str, Digest] = {}

    def read(source: str, *, stdin: BinaryIO | None) -> bytes:
        if folder_of(source) is not None:
            contents[source] = read_plainly(source, stdin=stdin)
            return contents[source]
        address = address_of(source)
        expected = old.configs.get(address)
        if expected is None or moves(address):
            contents[source] = read_plainly(source, stdin=stdin)
        else:
            contents[source] = pinned_config(source, expected, locking.store, where=where)
        digest = keep_config(source, contents[source], locking.store)
        if addresses.setdefault(address, digest) != digest:
            raise ConfigError(
                f"expected one config at {address}, got two: a lock leaves out what follows `?`",
                hint="give them addresses that differ before the `?`, or as files",
            )
        return contents[source]

    config = load(locking.arguments.configs, stdin=sys.stdin.buffer, read=read)
    refuse_templates(references_of(config))
    return Read(config, contents, addresses)


def new_lock(locking: Locking, read: Read, old: Lock, *, moves: Moves, pull: bool) -> Lock:
    """A lock with all that is wanted, and with what the old one has of it unless it `moves`.

    What is not needed any more is left out; platforms and boot loaders that nobody asked for now stay. With `pull`
    registries are asked what a tag means today. Raises ConfigErrors.
    """
    loaders = _loaders(locking, old, moves)
    making = _Making(locking, old, moves=moves, resolver=locking.resolver(pull=pull))
    images = making.images(references_of(read.config), _loader_images(loaders))
    volumes = making.volumes(index_names_of(read.config), images)
    making.raise_any()
    return Lock(read.addresses, images, loaders, volumes)


def _loaders(locking: Locking, old: Lock, moves: Moves) -> dict[str, dict[str, tuple[str, ...]]]:
    """The sources of the boot loaders: as set, else as locked, else the packages known here."""
    settings = dict(locking.settings.boot_loaders)
    found: dict[str, dict[str, tuple[str, ...]]] = {}
    pairs = [(name, one) for name, by_architecture in old.loaders.items() for one in by_architecture]
    for name, architecture in dict.fromkeys([*pairs, *locking.wanted.loaders]):
        asked = (name, architecture) in locking.wanted.loaders
        given = settings.get(name, ())
        locked = tuple(old.loaders.get(name, {}).get(architecture, ()))
        sources = locked
        if not locked or moves(name):
            sources = default_loader(name, architecture)
        if given and (asked or moves(name)) and not locking.is_given(given, sources):
            # A folder or file is the user's own, and never locked.
            sources = given if is_remote(given) else ()
        if sources:
            found.setdefault(name, {})[architecture] = sources
    return found


def _loader_images(loaders: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[Reference, list[Platform]]:
    images: dict[Reference, list[Platform]] = {}
    for by_architecture in loaders.values():
        for architecture, sources in by_architecture.items():
            for source in sources:
                if source.startswith("image:"):
                    reference = Reference.parse(source.removeprefix("image:"))
                    images.setdefault(reference, []).append(Platform("linux", architecture))
    return images


class _Entry:
    """One reference on its way: what it led to so far, and the platforms to look up."""

    def __init__(self, reference: Reference, old: LockedName | None, *, moves: bool) -> None:
        self.reference = reference
        self.known = dict(old.platforms) if old and not moves else {}
        self.top = old.top if old and not moves else None
        self.top_index = old.top_index if old and not moves else None
        self.wanted: dict[Platform, bool] = {}
        if old and moves:
            for name in old.platforms:
                self.want(Platform(*name.split("/")), needed=False)

    def want(self, platform: Platform, *, needed: bool = True) -> None:
        """Has a platform looked up, unless it is known; what is not `needed` may turn out to be gone."""
        if str(platform) not in self.known:
            self.wanted[platform] = needed or self.wanted.get(platform, False)

    @property
    def asked(self) -> Reference:
        """What to look up: one content, whatever happens to the tag between two questions."""
        return self.reference._replace(digest=self.top.oci) if self.top else self.reference

    def locked(self) -> LockedName:
        """What goes into the lock."""
        return LockedName(self.top_index, self.known)


class _Making:
    def __init__(self, locking: Locking, old: Lock, *, moves: Moves, resolver: Resolver) -> None:
        self._locking = locking
        self._old = old
        self._moves = moves
        self._resolver = resolver
        self._errors: list[KitbuildError] = []

    def images(
        self, places: Mapping[Reference, Place], loaders: Mapping[Reference, Sequence[Platform]]
    ) -> dict[str, LockedName]:
        """What every reference leads to, those of boot loaders for the architectures they are for."""
        entries: dict[Reference, _Entry] = {}
        for reference in (*places, *loaders):
            name = str(reference)
            entry = _Entry(reference, self._old.images.get(name), moves=self._moves(name))
            entries.setdefault(reference, entry)
            for platform in self._locking.wanted.platforms if reference in places else loaders[reference]:
                entries[reference].want(platform)
        # A platform at a time: the first says which content it is that the others are of.
        while any(entry.wanted for entry in entries.values()):
            platform = next(one for entry in entries.values() for one in entry.wanted)
            self._look_up([entry for entry in entries.values() if platform in entry.wanted], platform, places)
        return {str(reference): entry.locked() for reference, entry in entries.items() if entry.known}

    def _look_up(
        self, entries: Sequence[_Entry], platform: Platform, places: Mapping[Reference, Place]
    ) -> None:
        answers = self._resolver.images([entry.asked for entry in entries], platform)
        for entry in entries:
            needed = entry.wanted.pop(platform)
            image = answers[entry.asked]
            if not isinstance(image, ImageError):
                entry.known[str(platform)] = locked_image(image)
                self._locking.warnings.extend(image.warnings)
                entry.top_index = image.top_index
                entry.top = image.top_index or image.manifest
            elif needed:
                self._fail(image, places.get(entry.reference))
            else:
                self._locking.warnings.append(
                    f"{entry.reference} is no longer locked for {platform}: {image}"
                )

    def volumes(
        self, places: Mapping[IndexName, Place], images: Mapping[str, LockedName]
    ) -> dict[str, LockedVolume]:
        """What volumes hold; of an image that is unpacked too the same content."""
        locked: dict[str, LockedVolume] = {}
        for name, place in places.items():
            title, reference = volume_name(name), str(name.reference)
            old = self._old.volumes.get(title)
            if old and not self._moves(reference):
                locked[title] = old
                continue
            top = images[reference].top if reference in images else None
            asked = name._replace(reference=name.reference._replace(digest=top.oci)) if top else name
            for platform in self._locking.wanted.platforms:
                answer = self._resolver.indexes([asked], platform)[asked]
                if isinstance(answer, ImageError):
                    self._fail(answer, place)
                else:
                    locked[title] = locked_volume(answer)
        return locked

    def _fail(self, error: ImageError, place: Place | None) -> None:
        self._errors.append(unavailable(error, place) if place else error)

    def raise_any(self) -> None:
        """Raises what went wrong, if anything did."""
        mistakes = [error for error in self._errors if isinstance(error, ConfigError)]
        if mistakes:
            raise ConfigErrors(sorted(mistakes, key=position_in(self._locking.arguments.configs)))
        if self._errors:
            raise self._errors[0]


# -- the file


def old_lock(path: Path) -> Lock:
    """The lock as it is, empty if there is none; raises ConfigErrors."""
    return read_lock(path) or Lock()


def write_lock(path: Path, lock: Lock) -> bool:
    """Writes a lock in one step; false if the file says the same already. Raises KitbuildError."""
    content = lock.encode()
    with suppress(OSError):
        if path.is_file() and path.read_bytes() == content:
            return False
    write_whole(path, content)
    return True


def path_to_write(arguments: Namespace) -> Path:
    """Where the lock goes; raises UsageError if nobody can tell."""
    from kitbuild.cli.locked import lock_path

    given: str | None = getattr(arguments, "output", None) or getattr(arguments, "lock", None)
    path = Path(given) if given else lock_path(arguments.configs)
    if path is None:
        flag = "-o" if hasattr(arguments, "output") else "--lock"
        raise UsageError(
            "expected a place for the lock of these configs, got none", hint=f"give one with `{flag} FILE`"
        )
    return path
