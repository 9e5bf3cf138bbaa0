"""What goes into a VendorFolder: from configs and their lock to all that a build of them reads."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from kitbuild.cli.boot_loaders import same_packages
from kitbuild.cli.configs import files_of, images_of, position_in
from kitbuild.cli.images import image_sources, resolver_of, route_of
from kitbuild.cli.lock_check import loader_images, missing_in
from kitbuild.cli.locked import lock_command, lock_path, pins_of, read_lock
from kitbuild.cli.locking import Locking, Read, locking_of, new_lock, read_configs
from kitbuild.cli.vendor_configs import copy_file, copy_files, local_files, names_of, rewritten
from kitbuild.cli.vendor_folder import MARK, SETTINGS, Counts, VendorFolder
from kitbuild.cli.vendor_images import ImageCopy, archives_of
from kitbuild.config.loaders import World, loaders
from kitbuild.digest import Digest
from kitbuild.errors import ConfigErrors, ImageError, UsageError
from kitbuild.graph import Graph
from kitbuild.image import Image, Index
from kitbuild.local_file import local_file
from kitbuild.lock import Lock
from kitbuild.node import Node
from kitbuild.reference import Reference
from kitbuild.settings import Settings

_FETCH_PACKAGE, _FETCH_FILE = "fetch/package", "fetch/file"


class _Content(NamedTuple):
    """The images and stored images for all platforms."""

    images: list[Image]
    indexes: list[Index]


def vendor(arguments: Namespace) -> Counts:
    """Fills the folder; raises KitbuildError."""
    _check_folder(arguments)
    path = Path(arguments.lock) if arguments.lock else lock_path(arguments.configs)
    where = str(path or "the lock")
    old = read_lock(path) if path else None
    if old is None and (arguments.lock or arguments.locked):
        raise UsageError(f"expected a lock at `{path or '-'}`, got none", hint=f"run `{_command(arguments)}`")
    locking = locking_of(arguments)
    with locking.store.lease():
        return _filled(locking, old or Lock(), where)


def _check_folder(arguments: Namespace) -> None:
    folder = Path(arguments.folder)
    if not folder.is_dir() and (folder.is_file() or folder.suffix in (".yml", ".yaml")):
        words = [arguments.configs[-1], arguments.folder, *arguments.configs[:-1]]
        raise UsageError(
            f"expected a folder to fill, got the config `{folder}`",
            hint=f"DIR comes first: kitbuild vendor {' '.join(map(quote, words))}",
        )


def _command(arguments: Namespace) -> str:
    command = lock_command(arguments, Path(arguments.lock) if arguments.lock else None)
    flags = [*(f"--arch {one}" for one in arguments.arch), *(f"--format {one}" for one in arguments.format)]
    return command.replace(" lock ", f" lock {' '.join(flags)} ", 1) if flags else command


def _filled(locking: Locking, old: Lock, where: str) -> Counts:
    arguments = locking.arguments
    read = read_configs(locking, old, lambda _: False, where=where)
    missing = list(missing_in(old, locking, read))
    if missing and arguments.locked:
        message = f"expected everything in {where}, got nothing for {', '.join(missing[:3])}"
        raise UsageError(message, hint=f"run `{_command(arguments)}`")
    if missing and old != Lock():
        locking.warnings.append(f"{len(missing)} names were not in {where} and have been looked up now")
    lock = new_lock(locking, read, old, moves=lambda _: False, pull=False)
    content = _content(locking, read, lock, where)
    digests, errors = files_of(read.config, locking.store)
    if errors:
        raise ConfigErrors(sorted(errors, key=position_in(arguments.configs)))
    folder = VendorFolder(Path(arguments.folder))
    names = names_of(arguments.configs)
    last = names[arguments.configs[-1]]
    files = local_files(read.config, digests, folder, taken=(*names.values(), f"{last}.lock"))
    settings = _Settings(locking, folder)
    archives = settings.archives(content.images)
    boot_loaders = settings.boot_loaders(lock)
    near = image_sources(locking.settings)
    route = route_of(locking.settings, offline=arguments.offline)
    copy = ImageCopy(folder, near, route=route, tell=_tell)
    entries = copy.copy([image for image in content.images if image.manifest], content.indexes)
    copy_files(files, folder)
    for source, name in names.items():
        folder.write_text(name, rewritten(source, read.contents[source], read.config, files))
    # In the folder they are files like any other.
    folder.write_text(f"{last}.lock", lock._replace(configs={}).encode())
    folder.write_text(SETTINGS, settings.text(list(names.values()), archives, boot_loaders))
    folder.write_index(entries, prune=arguments.prune)
    locking.tell_warnings()
    return folder.counts(folder.prune() if arguments.prune else 0)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _content(locking: Locking, read: Read, lock: Lock, where: str) -> _Content:
    """All images as locked; raises ConfigErrors and ImageError."""
    found = _Content([], [])
    resolver = resolver_of(
        locking.arguments, locking.settings, notes=locking.store, pins=pins_of(lock, where)
    )
    wanted = {platform.architecture for platform in locking.wanted.platforms}
    for platform in locking.wanted.platforms:
        images, indexes, errors = images_of(read.config, platform, resolver=resolver, offline=False)
        if errors:
            raise ConfigErrors(sorted(errors, key=position_in(locking.arguments.configs)))
        found.images.extend(image for image in images.values() if not isinstance(image, ImageError))
        found.indexes.extend(index for index in indexes.values() if not isinstance(index, ImageError))
    for reference, platform in loader_images(lock):
        if platform.architecture in wanted:
            found.images.append(resolver.image(reference, platform))
    return found


class _Settings:
    """The settings a build in the folder needs, and what goes into the folder for them."""

    def __init__(self, locking: Locking, folder: VendorFolder) -> None:
        self._locking = locking
        self._folder = folder
        self._names: dict[str, Digest] = {}
        self._architectures = {platform.architecture for platform in locking.wanted.platforms}

    def archives(self, images: Sequence[Image]) -> list[str]:
        """Brings the archives of `docker save`; gives their names in the folder."""
        names = []
        for path in archives_of(images):
            digest = local_file(path, self._locking.store)
            names.append(f"archives/{digest.hex[:16]}-{path.name}")
            copy_file(path, digest, self._folder, names[-1])
        return names

    def boot_loaders(self, lock: Lock) -> list[str]:
        """Brings packages and the user's own files; gives the values of `boot-loaders`."""
        settings = dict(self._locking.settings.boot_loaders)
        sources: dict[str, dict[str, None]] = {}
        asked = self._locking.wanted.loaders
        locked = [(name, one) for name, by_architecture in lock.loaders.items() for one in by_architecture]
        for name, architecture in dict.fromkeys([*asked, *locked]):
            if architecture not in self._architectures:
                continue
            own = settings.get(name, ())
            pinned = lock.loaders.get(name, {}).get(architecture, ())
            # What is here need not be fetched.
            given = same_packages(own, pinned, self._locking.digest) or pinned or own
            for source in given:
                if source.startswith("image:"):
                    sources.setdefault(name, {})[source] = None
            node = self._node(name, architecture, given)
            for text in self._brought(name, node):
                sources.setdefault(name, {})[text] = None
        return [f"{name}={'+'.join(texts)}" for name, texts in sorted(sources.items())]

    def _node(self, name: str, architecture: str, given: Sequence[str]) -> Node:
        """The node of a boot loader without its images, which go into the layout."""
        store = self._locking.store

        def image(reference: Reference) -> ImageError:
            return ImageError(f"{reference} is not looked for here")

        world = World(image, lambda path: local_file(path, store), self._locking.arguments.offline)
        return loaders([name], architecture, sources={name: given} if given else {}, world=world)[name]

    def _brought(self, loader: str, node: Node) -> Iterator[str]:
        graph = Graph.of({"": node})
        packages = [one for one in graph if one.rule.name == _FETCH_PACKAGE]
        yield from self._packages(packages)
        for one in graph:
            if one.rule.name == _FETCH_FILE:
                options = one.options
                path = Path(options.path)
                digest = self._locking.digest(path)
                if path.name.endswith(".deb"):
                    yield self._package(path, digest, path.name)
                    continue
                name = one.name.removeprefix(f"boot loader {loader}: ")
                copy_file(path, digest, self._folder, f"loaders/{loader}/{name}")
                yield f"loaders/{loader}"

    def _packages(self, packages: Sequence[Node]) -> Iterator[str]:
        """Fetches packages like a build does, unless they are in the cache."""
        from kitbuild.engine import build
        from kitbuild.report import open_report

        if not packages:
            return
        store = self._locking.store
        report = open_report("quiet", verbosity=0, stream=sys.stderr)
        results = build(Graph.of({node.name: node for node in packages}), store, report=report)
        for node in packages:
            digest = results[node.name].artifact.digest
            yield self._package(store.path(digest), digest, node.options.source.rpartition("/")[2])

    def _package(self, path: Path, digest: Digest, name: str) -> str:
        """Brings one; its name in the folder, which another one of the same name makes longer."""
        if self._names.setdefault(name, digest) != digest:
            name = f"{digest.hex[:16]}-{name}"
        copy_file(path, digest, self._folder, f"packages/{name}")
        return f"packages/{name}"

    def text(self, configs: Sequence[str], archives: Sequence[str], boot_loaders: Sequence[str]) -> bytes:
        """kitbuild.toml."""
        settings, plain = self._locking.settings, Settings()
        lines = [
            f"{MARK}. In this folder:",
            f"#   kitbuild build --locked {' '.join(map(quote, configs))}",
            f"images = {_toml(['.', *archives])}",
        ]
        if boot_loaders:
            lines.append(f"boot-loaders = {_toml(boot_loaders)}")
        if settings.compression != plain.compression:
            lines.append(f"compression = {json.dumps(settings.compression)}")
        if settings.linuxkit_compatible:
            lines.append("linuxkit-compatible = true")
        return ("\n".join(lines) + "\n").encode()


def _toml(texts: Sequence[str]) -> str:
    # Strings of JSON are strings of TOML.
    inner = "".join(f"  {json.dumps(text)},\n" for text in texts)
    return f"[\n{inner}]"
