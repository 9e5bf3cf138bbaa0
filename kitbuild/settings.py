"""Settings: one table says for each its flag, its variable, its key in kitbuild.toml, and what it is for.

A flag wins over the variable, the variable over the file, the file over the default; mirrors and boot loaders are
joined in that order, so that each registry and each boot loader has the one given last. kitbuild.toml is looked for
in the current folder and those above it; paths in it are relative to it.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from kitbuild.errors import UsageError
from kitbuild.reference import Reference
from kitbuild.suggest import one_of
from kitbuild.system import Compression

FILE_NAME = "kitbuild.toml"
# The registry a mirror given without one is for.
ALL_OTHERS = "*"
# Docker Hub by each of its names; LinuxKit knows it by all three.
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_ADDRESS = re.compile(r"https?://[^/?#\s]+(?:/[^?#\s]*)?")
# What joins the sources of a boot loader is common in names of packages too, so it counts only behind a whole one.
_JOINT = re.compile(r"(?<=\.deb)\+|(?<=@sha256:[0-9a-f]{64})\+")
_PACKAGE = re.compile(r"(?:[\w.+~%-]+/)*[\w.+~%-]+\.deb@sha256:[0-9a-f]{64}")


class Settings(NamedTuple):
    """What can be set, with the defaults."""

    images: tuple[Path, ...] = ()
    cache_dir: Path | None = None
    image_cache: Path | None = None
    jobs: int = 0
    compression: Compression = "gzip"
    mirrors: tuple[tuple[str, str], ...] = ()
    cert_files: tuple[Path, ...] = ()
    boot_loaders: tuple[tuple[str, tuple[str, ...]], ...] = ()
    linuxkit_compatible: bool = False


def _paths(value: Any, base: Path) -> tuple[Path, ...]:
    texts = value.split(os.pathsep) if isinstance(value, str) else value
    return tuple(_path(text, base) for text in texts if text)


def _path(value: Any, base: Path) -> Path:
    if not isinstance(value, str):
        raise ValueError("give a path in quotes")
    try:
        return base / Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such user: write the path out") from error


def _number(value: Any, base: Path) -> int:
    # TOML has numbers of its own, and true is one to Python.
    if type(value) is int and value >= 0:
        return value
    if not (isinstance(value, str) and value.isdecimal()):
        raise ValueError("give a whole number, 0 or more")
    return int(value)


def _compression(value: Any, base: Path) -> str:
    if not isinstance(value, str) or value not in get_args(Compression):
        raise ValueError(one_of(str(value), get_args(Compression)))
    return str(value)


def _switch(value: Any, base: Path) -> bool:
    """A flag without a value, a truth of TOML, or text as LinuxKit's flags read it."""
    if value is True or value in ("1", "true"):
        return True
    if value is False or value in ("0", "false"):
        return False
    raise ValueError("write true or false")


def _mirrors(value: Any, base: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of a registry and the address of its mirror, the later one counting."""
    texts = re.split(r"[,\s]+", value) if isinstance(value, str) else value
    return tuple(pair for text in texts if text for pair in _mirror(text))


def _mirror(text: str) -> list[tuple[str, str]]:
    name, equals, address = text.partition("=")
    if not equals or "://" in name:
        name, address = ALL_OTHERS, text
    if "@" in address:
        raise ValueError("leave the password out: `docker login` keeps it by the mirror's host")
    if not name or not _ADDRESS.fullmatch(address):
        raise ValueError(f"`{address}`: write an address that begins with http:// or https://")
    return [(host, address.rstrip("/")) for host in (_HUB if name in _HUB[:2] else (name,))]


def _boot_loaders(value: Any, base: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Pairs of a boot loader and its sources, the later one counting.

    A source is `image:REFERENCE`, `package:PATH.deb@sha256:HEX` or an absolute path.
    """
    # A path may hold what else stands between two of them.
    texts = re.split(r"[,\s]+(?=[\w-]+=)", value) if isinstance(value, str) else value
    return tuple(_boot_loader(text.strip(), base) for text in texts if text.strip(", \t\n"))


def _boot_loader(text: str, base: Path) -> tuple[str, tuple[str, ...]]:
    name, equals, sources = text.partition("=")
    if not name or not equals or not sources:
        raise ValueError("write NAME=FOLDER, NAME=image:REFERENCE or NAME=package:PATH.deb@sha256:HEX")
    if sources.startswith("image:"):
        return name, (f"image:{Reference.parse(sources.removeprefix('image:'))}",)
    return name, tuple(_loader_source(part, base) for part in _JOINT.split(sources))


def _loader_source(text: str, base: Path) -> str:
    package = text.removeprefix("package:")
    if _PACKAGE.fullmatch(package) and ".." not in package.split("/"):
        return f"package:{package}"
    if package != text:
        raise ValueError("write package:PATH.deb@sha256:HEX, PATH as the mirrors have it: pool/...")
    if not text or "://" in text:
        raise ValueError(f"`{text}`: give a folder, a .deb, image:REFERENCE or package:PATH.deb@sha256:HEX")
    return str(_path(text, base).absolute())


class Setting(NamedTuple):
    """One row of the table: `read` makes the value from text (or a TOML value) and the folder paths start from.

    `many` may be given several times; a flag without a `metavar` takes no value; what is `joined` adds
    to what file and variable say instead of replacing it.
    """

    name: str
    flag: str
    variable: str
    metavar: str
    read: Callable[[Any, Path], Any]
    help: str
    many: bool = False
    joined: bool = False


TABLE = (
    Setting(
        "images",
        "--images",
        "KITBUILD_IMAGES",
        "PATH",
        _paths,
        "an OCI image layout folder, or a tar of `docker save` or OCI layout, to look images up in first "
        "(repeatable)",
        many=True,
    ),
    Setting(
        "image_cache",
        "--cache",
        "LINUXKIT_CACHE",
        "DIR",
        _path,
        "LinuxKit's image cache, read and never changed (default: ~/.linuxkit/cache)",
    ),
    Setting(
        "cache_dir",
        "--cache-dir",
        "KITBUILD_CACHE_DIR",
        "DIR",
        _path,
        "kitbuild's own cache (default: ~/.cache/kitbuild)",
    ),
    Setting(
        "jobs", "--jobs", "KITBUILD_JOBS", "N", _number, "run N nodes at once (default: one a processor)"
    ),
    Setting(
        "compression",
        "--compression",
        "KITBUILD_COMPRESSION",
        "KIND",
        _compression,
        "compress initrd, squashfs and OCI layers with gzip (default), zstd (smaller, Linux 5.9 or later) or none",
    ),
    Setting(
        "mirrors",
        "--mirror",
        "LINUXKIT_MIRROR",
        "[REGISTRY=]URL",
        _mirrors,
        "ask this address before the registry; without REGISTRY for all that have none of their own (repeatable)",
        many=True,
        joined=True,
    ),
    Setting(
        "cert_files",
        "--cert-file",
        "KITBUILD_CERT_FILES",
        "FILE",
        _paths,
        "certificate authorities (PEM) to trust for registries and mirrors too (repeatable)",
        many=True,
    ),
    Setting(
        "boot_loaders",
        "--boot-loader",
        "KITBUILD_BOOT_LOADERS",
        "NAME=SOURCE",
        _boot_loaders,
        "take a boot loader from a folder, a .deb, image:REFERENCE or package:PATH.deb@sha256:HEX (repeatable; "
        "default: packages of Debian, pinned)",
        many=True,
        joined=True,
    ),
    Setting(
        "linuxkit_compatible",
        "--linuxkit-compatible",
        "KITBUILD_LINUXKIT_COMPATIBLE",
        "",
        _switch,
        "lose in config.json and runtime.json what LinuxKit loses: camelCase keys, names of volumes in `mounts`",
    ),
)


def add_setting_arguments(parser: ArgumentParser) -> None:
    """Adds every flag of the table."""
    group = parser.add_argument_group("settings", f"also as variables and in {FILE_NAME}")
    for setting in TABLE:
        help_text = f"{setting.help} [{setting.variable}]"
        if setting.metavar:
            group.add_argument(
                setting.flag,
                dest=setting.name,
                metavar=setting.metavar,
                action="append" if setting.many else "store",
                help=help_text,
            )
        else:
            group.add_argument(
                setting.flag, dest=setting.name, action="store_const", const=True, help=help_text
            )


def settings_of(
    arguments: Namespace, *, environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> Settings:
    """The settings for a command line; raises UsageError for a value that does not fit, naming where it stands."""
    here = folder or Path.cwd()
    values: dict[str, Any] = {}
    file = _file(here)
    if file is not None:
        values.update(_from_file(file))
    for setting in TABLE:
        given = getattr(arguments, setting.name, None)
        variable = environment.get(setting.variable) or None
        said = [(setting.variable, variable), (setting.flag, given)]
        # What does not count is not read either: a wrong variable can be overruled.
        for source, text in said if given is None or setting.joined else said[1:]:
            if text is not None:
                value = _read(setting, text, here, place=f"`{source}`")
                values[setting.name] = values.get(setting.name, ()) + value if setting.joined else value
    return Settings(**values)


def cache_dir(given: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """kitbuild's own cache: the one that is set, else the one below XDG_CACHE_HOME or ~/.cache."""
    if given is not None:
        return given
    base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "kitbuild"


def _file(folder: Path) -> Path | None:
    for place in (folder, *folder.parents):
        if (place / FILE_NAME).is_file():
            return place / FILE_NAME
    return None


def _from_file(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {file}: {error}") from error
    keys = {setting.name.replace("_", "-"): setting for setting in TABLE}
    values = {}
    for key, value in content.items():
        if key not in keys:
            raise UsageError(f"{file}: unknown key `{key}`", hint=one_of(key, tuple(keys)))
        setting = keys[key]
        if setting.many and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
            raise UsageError(
                f"{file}: `{key}`: expected a list of texts, got `{value}`", hint=f'write {key} = ["..."]'
            )
        values[setting.name] = _read(setting, value, file.parent, place=f"{file}: `{key}`")
    return values


def _read(setting: Setting, value: str | Sequence[str], folder: Path, *, place: str) -> Any:
    try:
        return setting.read(value, folder)
    except ValueError as error:
        shown = ", ".join(value) if setting.many and isinstance(value, list) else value
        # Where an address may stand there may be a password in it.
        shown = re.sub(r"://[^\s,]*@", "://...@", str(shown))
        expected = setting.metavar or "true or false"
        raise UsageError(f"{place}: expected {expected}, got `{shown}`", hint=str(error)) from error
