"""From a command line to a graph: what every command that reads configs has in common."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kitbuild.cli.boot_loaders import Outside, loader_nodes
from kitbuild.cli.images import refuse_templates, resolver_of
from kitbuild.cli.linuxkit import disk_bytes
from kitbuild.cli.locked import add_lock_flags, lock_in_force, pins_in_force, reader_of
from kitbuild.errors import (
    ConfigError,
    ConfigErrors,
    ImageError,
    ImageNotFoundError,
    RuleError,
    UnavailableError,
    UsageError,
)
from kitbuild.graph import Graph
from kitbuild.image import Platform
from kitbuild.node import Node
from kitbuild.registry import formats_named
from kitbuild.settings import Settings, add_setting_arguments, cache_dir, settings_of
from kitbuild.suggest import one_of
from kitbuild.system import MTIME, Format, Part, System, Target
from kitbuild.tree import is_inside

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.config.lower import Sbom
    from kitbuild.config.model import Config, Place
    from kitbuild.config.nodes import Images
    from kitbuild.digest import Digest
    from kitbuild.image import Index, IndexName
    from kitbuild.record import Origins
    from kitbuild.resolve import Resolver
    from kitbuild.store import Notes

DEFAULT_FORMAT = "kernel+initrd"
# As `uname -m` calls them, and as Go and images do.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
KNOWN_ARCHITECTURES = ("amd64", "arm64", "riscv64", "s390x", "ppc64le", "arm", "386", "loong64", "mips64le")


class Lowered(NamedTuple):
    """A config as a graph whose outputs are named by what follows the output name ("-initrd.img").

    `warnings` is what the user should know of the images; `parts` is what the root file system is laid of; `origins`
    works out what the user gave, for the record of a build.
    """

    config: Config
    graph: Graph
    store: DirectoryStore
    settings: Settings
    warnings: tuple[str, ...]
    parts: tuple[Part, ...]
    origins: Callable[[], Origins]


def add_config_arguments(parser: ArgumentParser) -> None:
    """Adds what every such command takes."""
    parser.add_argument(
        "configs", nargs="+", metavar="CONFIG", help="a LinuxKit YAML file, a URL, or `-`; several are merged"
    )
    parser.add_argument("--arch", help="architecture of the system: amd64, arm64 (default: this machine's)")
    parser.add_argument("--pull", action="store_true", help="ask registries again for every tag")
    parser.add_argument("--offline", action="store_true", help="never ask a registry")
    add_lock_flags(parser)
    parser.add_argument(
        "--decompress-kernel", action="store_true", help="take the kernel out of its gzip, xz or zstd"
    )
    parser.add_argument("--no-sbom", action="store_true", help="leave the SBOMs of the images out")
    parser.add_argument(
        "--sbom-output",
        metavar="PATH",
        default="sbom.spdx.json",
        help="where in the system the SBOMs go, joined into one (default: sbom.spdx.json)",
    )
    parser.add_argument(
        "--sbom-current-time",
        action="store_true",
        help="say in it that it was made now, so that no two builds are the same",
    )
    add_setting_arguments(parser)


def lowered(
    arguments: Namespace, *, formats: Sequence[str] = (DEFAULT_FORMAT,), offline: bool = False
) -> Lowered:
    """Loads the configs, finds their images and files, and lowers them for `formats`.

    Raises UsageError, and ConfigErrors with all mistakes at once. `offline` asks no registry; then an image that
    is not at hand becomes a node that cannot run, otherwise it is a mistake like any other.
    """
    from kitbuild.cache.directory import open_directory
    from kitbuild.config.bootable import bootable_errors
    from kitbuild.config.load import load
    from kitbuild.config.lower import lower
    from kitbuild.config.nodes import Sources

    known_formats = formats_named(formats)
    settings = settings_of(arguments)
    platform = platform_of(arguments)
    _check_architecture(known_formats, platform)
    lock = lock_in_force(arguments)
    warnings: list[str] = []
    # Only a lock and a config from a URL together need the cache so early.
    opened = cache(lambda: open_directory(cache_dir(settings.cache_dir), warn=_warn))
    config = load(arguments.configs, stdin=sys.stdin.buffer, read=reader_of(lock, opened, warnings))
    store = opened()
    pins = pins_in_force(lock, config, platform, warnings=warnings) if lock else None
    resolver = resolver_of(arguments, settings, notes=store, offline=offline, pins=pins)
    images, indexes, errors = images_of(config, platform, resolver=resolver, offline=offline)
    files, file_errors = files_of(config, store)
    errors = [*bootable_errors(config, known_formats), *errors, *file_errors]
    if errors:
        raise ConfigErrors(sorted(errors, key=position_in(arguments.configs)))
    outside = Outside(resolver, platform, store, offline, offline or arguments.offline)
    loaders = loader_nodes(known_formats, settings, outside, lock=lock, warnings=warnings)
    system = lower(
        config,
        Sources(images, files, indexes),
        target=Target(
            settings.compression,
            platform.architecture,
            disk_bytes_of(arguments),
            loaders,
            output_name(arguments),
        ),
        decompress_kernel=arguments.decompress_kernel,
        bill=_bill(arguments),
        linuxkit_compatible=settings.linuxkit_compatible,
    )
    outputs = _outputs(known_formats, system)
    warnings += _warnings_of(images)
    if lock and arguments.pull:
        warnings.append(f"`--pull` leaves alone what is in {lock.name}: `kitbuild update` moves that")

    def origins() -> Origins:
        from kitbuild.config.origins import origins_of

        flags = _flags(arguments, settings, platform=platform, formats=formats)
        return origins_of(config, images, indexes, configs=_names(arguments.configs), flags=flags)

    return Lowered(config, Graph.of(outputs), store, settings, tuple(warnings), system.parts, origins)


def _warnings_of(images: Images) -> list[str]:
    found = (image for image in images.values() if not isinstance(image, ImageError))
    return [warning for image in found for warning in image.warnings]


def _names(configs: Sequence[str]) -> tuple[str, ...]:
    from kitbuild.config.sources import name_of

    return tuple(map(name_of, configs))


def _flags(
    arguments: Namespace, settings: Settings, *, platform: Platform, formats: Sequence[str]
) -> dict[str, str]:
    """What shapes the outputs and is not in a config, by the flag that says it."""
    flags = {
        "--arch": platform.architecture,
        "--format": ",".join(formats),
        "--compression": settings.compression,
        "--size": getattr(arguments, "size", None) or "",
        "--decompress-kernel": "yes" if arguments.decompress_kernel else "",
        "--linuxkit-compatible": "yes" if settings.linuxkit_compatible else "",
        "--sbom-output": "" if arguments.no_sbom else arguments.sbom_output,
        "--name": output_name(arguments),
    }
    loaders = {f"--boot-loader {name}": " ".join(source) for name, source in settings.boot_loaders}
    return {name: value for name, value in {**flags, **loaders}.items() if value}


def _check_architecture(formats: Sequence[Format], platform: Platform) -> None:
    for output_format in formats:
        if output_format.loaders and platform.architecture not in output_format.loaders:
            choices = " or ".join(f"`--arch {name}`" for name in output_format.loaders)
            raise UsageError(
                f"expected an architecture that `{output_format.name}` has a boot loader for, "
                f"got `{platform.architecture}`",
                hint=f"choose {choices}, or another of `kitbuild formats`",
            )


def _outputs(formats: Sequence[Format], system: System) -> dict[str, Node]:
    """The nodes of all files to write, by suffix; raises UsageError if two formats want one file for themselves."""
    outputs: dict[str, Node] = {}
    writers: dict[str, str] = {}
    for output_format in formats:
        for suffix, node in output_format.outputs(system).items():
            if outputs.setdefault(suffix, node) is not node:
                raise UsageError(
                    f"expected one format that writes NAME{suffix}, got `{writers[suffix]}` and "
                    f"`{output_format.name}`",
                    hint="build them one after the other, with another `--name` or `--dir`",
                )
            writers.setdefault(suffix, output_format.name)
    return outputs


def scope_of(arguments: Namespace) -> str:
    """What builds are remembered under: the configs, without the password a URL may hold, and the architecture."""
    from kitbuild.config.sources import folder_of, name_of

    configs = (
        name_of(config) if folder_of(config) is None else str(Path(config).absolute())
        for config in arguments.configs
    )
    return "\0".join((*configs, platform_of(arguments).architecture))


def output_name(arguments: Namespace) -> str:
    """What the outputs are called: as asked for, else after the last config, LinuxKit's `moby` for stdin."""
    last = arguments.configs[-1]
    name: str | None = getattr(arguments, "name", None)
    return name or ("moby" if last == "-" else Path(last).stem)


def disk_bytes_of(arguments: Namespace) -> int:
    """The size of disks that was asked for, 0 if none was; raises UsageError."""
    text = getattr(arguments, "size", None)
    return disk_bytes(text) if text is not None else 0


def platform_of(arguments: Namespace) -> Platform:
    """The platform the system is for; raises UsageError for an architecture nobody knows."""
    if not arguments.arch:
        return Platform("linux", _ARCHITECTURES.get(os.uname().machine, os.uname().machine))
    name = _ARCHITECTURES.get(arguments.arch, arguments.arch)
    if name not in KNOWN_ARCHITECTURES:
        raise UsageError(
            f"expected an architecture with `--arch`, got `{arguments.arch}`",
            hint=one_of(name, KNOWN_ARCHITECTURES),
        )
    return Platform("linux", name)


def images_of(
    config: Config, platform: Platform, *, resolver: Resolver, offline: bool
) -> tuple[Images, Mapping[IndexName, Index | ImageError], list[ConfigError]]:
    """The images and stored images a config names, and the mistakes that those not found are."""
    from kitbuild.config.lower import references_of
    from kitbuild.config.volumes import index_names_of

    places, stored = references_of(config), index_names_of(config)
    refuse_templates(places)
    images = resolver.images(places, platform)
    indexes = resolver.indexes(stored, platform)
    found = [
        *((image, places[reference]) for reference, image in images.items()),
        *((index, stored[name]) for name, index in indexes.items()),
    ]
    errors = [
        unavailable(answer, place)
        for answer, place in found
        if isinstance(answer, ImageError) and not offline
    ]
    return images, indexes, errors


def unavailable(error: ImageError, place: Place) -> ConfigError:
    """An image's error at the place that names it; that no source has it may well be the config's mistake."""
    kind = ConfigError if isinstance(error, ImageNotFoundError) else UnavailableError
    return kind(error.message, where=place.where(), hint=error.hint)


def _bill(arguments: Namespace) -> Sbom | None:
    """Where the joined SBOM goes, and when it was made; raises UsageError for what is no path in a system."""
    from kitbuild.config.lower import Sbom

    if arguments.no_sbom:
        return None
    path = arguments.sbom_output.removeprefix("/")
    if not is_inside(path):
        raise UsageError(
            f"expected a path such as sbom.spdx.json with `--sbom-output`, got `{arguments.sbom_output}`"
        )
    seconds = time.time() if arguments.sbom_current_time else MTIME // 1_000_000_000
    return Sbom(path, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)))


def files_of(config: Config, notes: Notes) -> tuple[Mapping[str, Digest], list[ConfigError]]:
    """The digests of the local files the config names, by the path as written."""
    from kitbuild.local_file import local_file

    digests: dict[str, Digest] = {}
    errors = []
    for file in config.files:
        if not file.source or file.source in digests:
            continue
        try:
            path = Path(file.source).expanduser()
            if not file.optional or path.exists():
                digests[file.source] = local_file(path, notes)
        except RuleError as error:
            hint = error.hint or _source_hint(file.source)
            errors.append(ConfigError(error.message, where=file.place.where("source"), hint=hint))
        except (OSError, RuntimeError, ValueError):  # too long a name, `~nobody/file`, or a NUL byte
            message = f"expected the path of a file, got `{file.source}`"
            errors.append(ConfigError(message, where=file.place.where("source")))
    return digests, errors


def _source_hint(source: str) -> str:
    if source.startswith(("/", "~")):
        return "check the path, or add `optional: true`"
    return f"check the path: it starts where kitbuild is run, in {Path.cwd()}"


def position_in(configs: Sequence[str]) -> Callable[[ConfigError], tuple[int, int, int]]:
    """What sorts mistakes as their places stand in the configs."""
    from kitbuild.config.sources import name_of

    order = {name_of(source): number for number, source in enumerate(configs)}

    def position(error: ConfigError) -> tuple[int, int, int]:
        where = error.where
        return (order.get(where.file, -1), where.line, where.column) if where else (-1, 0, 0)

    return position


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")
