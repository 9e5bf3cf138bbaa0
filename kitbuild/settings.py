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
from typing import Any, NamedTuple

from kitbuild import setting_values as read
from kitbuild.errors import UsageError
from kitbuild.suggest import one_of
from kitbuild.system import Compression

FILE_NAME = "kitbuild.toml"


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
    remote_cache: str = ""
    remote_cache_write: bool = False
    remote_cache_namespace: str = ""
    remote_cache_headers: tuple[tuple[str, str], ...] = ()
    remote_cache_token_file: Path | None = None
    remote_cache_certificate: Path | None = None
    remote_cache_key: Path | None = None
    signing_key: str = ""
    trusted_keys: tuple[str, ...] = ()
    executor: str = ""
    executor_jobs: int = 0
    executor_properties: tuple[tuple[str, str], ...] = ()


class Setting(NamedTuple):
    """One row of the table: `read` makes the value from text (or a TOML value) and the folder paths start from.

    `many` may be given several times; a flag without a `metavar` takes no value; what is `joined` adds
    to what file and variable say instead of replacing it; what is `secret` is shown in no message.
    """

    name: str
    flag: str
    variable: str
    metavar: str
    read: Callable[[Any, Path], Any]
    help: str
    many: bool = False
    joined: bool = False
    secret: bool = False


TABLE = (
    Setting(
        "images",
        "--images",
        "KITBUILD_IMAGES",
        "PATH",
        read.paths,
        "an OCI image layout folder, or a tar of `docker save` or OCI layout, to look images up in first "
        "(repeatable)",
        many=True,
    ),
    Setting(
        "image_cache",
        "--cache",
        "LINUXKIT_CACHE",
        "DIR",
        read.path,
        "LinuxKit's image cache, read and never changed (default: ~/.linuxkit/cache)",
    ),
    Setting(
        "cache_dir",
        "--cache-dir",
        "KITBUILD_CACHE_DIR",
        "DIR",
        read.path,
        "kitbuild's own cache (default: ~/.cache/kitbuild)",
    ),
    Setting(
        "jobs", "--jobs", "KITBUILD_JOBS", "N", read.number, "run N nodes at once (default: one a processor)"
    ),
    Setting(
        "compression",
        "--compression",
        "KITBUILD_COMPRESSION",
        "KIND",
        read.compression,
        "compress initrd, squashfs and OCI layers with gzip (default), zstd (smaller, Linux 5.9 or later) or none",
    ),
    Setting(
        "mirrors",
        "--mirror",
        "LINUXKIT_MIRROR",
        "[REGISTRY=]URL",
        read.mirrors,
        "ask this address before the registry; without REGISTRY for all that have none of their own (repeatable)",
        many=True,
        joined=True,
    ),
    Setting(
        "cert_files",
        "--cert-file",
        "KITBUILD_CERT_FILES",
        "FILE",
        read.paths,
        "certificate authorities (PEM) to trust for registries and mirrors too (repeatable)",
        many=True,
    ),
    Setting(
        "boot_loaders",
        "--boot-loader",
        "KITBUILD_BOOT_LOADERS",
        "NAME=SOURCE",
        read.boot_loaders,
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
        read.switch,
        "lose in config.json and runtime.json what LinuxKit loses: camelCase keys, names of volumes in `mounts`",
    ),
    Setting(
        "remote_cache",
        "--remote-cache",
        "KITBUILD_REMOTE_CACHE",
        "URL",
        read.place,
        "look results up there too: http(s)://, grpc(s):// (REAPI), oci://, s3:// or file://; none: nowhere",
    ),
    Setting(
        "remote_cache_write",
        "--remote-cache-write",
        "KITBUILD_REMOTE_CACHE_WRITE",
        "",
        read.switch,
        "keep what is built there too (default: only read)",
    ),
    Setting(
        "remote_cache_namespace",
        "--remote-cache-namespace",
        "KITBUILD_REMOTE_CACHE_NAMESPACE",
        "NAME",
        read.namespace,
        "keep it apart under NAME, as builds of pull requests should; nobody else reads it",
    ),
    Setting(
        "remote_cache_headers",
        "--remote-cache-header",
        "KITBUILD_REMOTE_CACHE_HEADERS",
        "NAME: VALUE",
        read.headers,
        "send this header to the remote cache (repeatable; VALUE may be $VARIABLE)",
        many=True,
        secret=True,
    ),
    Setting(
        "remote_cache_token_file",
        "--remote-cache-token-file",
        "KITBUILD_REMOTE_CACHE_TOKEN_FILE",
        "FILE",
        read.path,
        "send the token in FILE to the remote cache (default: that in KITBUILD_REMOTE_CACHE_TOKEN, if any)",
    ),
    Setting(
        "remote_cache_certificate",
        "--remote-cache-certificate",
        "KITBUILD_REMOTE_CACHE_CERTIFICATE",
        "FILE",
        read.path,
        "show the remote cache this client certificate (PEM)",
    ),
    Setting(
        "remote_cache_key",
        "--remote-cache-key",
        "KITBUILD_REMOTE_CACHE_KEY",
        "FILE",
        read.path,
        "the client certificate's key (PEM), if it is not in the same file",
    ),
    Setting(
        "signing_key",
        "--signing-key",
        "KITBUILD_SIGNING_KEY",
        "FILE",
        read.signing_key,
        "sign what is kept in the remote cache with the key in FILE; the variable may hold the key itself",
        secret=True,
    ),
    Setting(
        "trusted_keys",
        "--trusted-key",
        "KITBUILD_TRUSTED_KEYS",
        "KEY",
        read.trusted_keys,
        "take only results signed with one of these keys of `kitbuild cache keygen` (repeatable)",
        many=True,
        secret=True,
    ),
    Setting(
        "executor",
        "--executor",
        "KITBUILD_EXECUTOR",
        "URL",
        read.place,
        "run heavy nodes there: grpc(s)://, a server of REAPI's remote execution; none: here",
    ),
    Setting(
        "executor_jobs",
        "--executor-jobs",
        "KITBUILD_EXECUTOR_JOBS",
        "N",
        read.number,
        "run N nodes at once there (default: 16)",
    ),
    Setting(
        "executor_properties",
        "--executor-property",
        "KITBUILD_EXECUTOR_PROPERTIES",
        "NAME=VALUE",
        read.pairs,
        "ask for workers with this platform property (repeatable)",
        many=True,
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
        if setting.secret:
            shown = "..."
        # Where an address may stand there may be a password in it, even in one that is wrong.
        address = r"[^\s,]*@" if setting.read is read.place else r"(?<=://)[^\s,]*@"
        shown = re.sub(address, "...@", str(shown))
        expected = setting.metavar or "true or false"
        raise UsageError(f"{place}: expected {expected}, got `{shown}`", hint=str(error)) from error
