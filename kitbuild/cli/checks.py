"""What `kitbuild doctor` looks at, and what it finds. Nothing is changed, and nothing secret is told."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kitbuild.errors import KitbuildError
from kitbuild.report.text import human_size, plural

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.config.loaders import Loader
    from kitbuild.settings import Settings

# "ok"; "missing" is what some builds would use and others can do without; "broken" keeps builds from working.
State = Literal["ok", "missing", "broken"]

# Extra -> the module that shows that it is there, and what it is for.
EXTRAS: Mapping[str, tuple[str, str]] = {
    "reapi": ("grpc", "remote caches and executors of grpc(s)://"),
    "s3": ("boto3", "remote caches of s3://"),
    "server": ("aiohttp", "kitbuild cache serve"),
    "signing": ("cryptography", "signing results, and taking signed ones alone"),
}
# What builds call when they need what it is for; and what to do without.
TOOLS: Mapping[str, tuple[str, str]] = {
    "apt-get": ("fetching the default boot loaders", "give them with `--boot-loader NAME=FOLDER`"),
    "git": ("`@pkg:` templates in configs", ""),
}
# To boot what was built: program or file -> Debian package, what for.
EMULATORS: Mapping[str, tuple[str, str]] = {
    "qemu-system-x86_64": ("qemu-system-x86", "booting amd64"),
    "/usr/share/OVMF/OVMF_CODE_4M.fd": ("ovmf", "booting amd64 with UEFI"),
    "qemu-system-aarch64": ("qemu-system-arm", "booting arm64"),
    "/usr/share/AAVMF/AAVMF_CODE.fd": ("qemu-efi-aarch64", "booting arm64 with UEFI"),
}
_KVM = Path("/dev/kvm")
_FEWEST_BYTES = 1 << 30
# linux/fs.h: _IOW(0x94, 9, int)
_FICLONE = 0x40049409


class Check(NamedTuple):
    """One thing that was looked at: its name, how it is, a sentence on it, and what to do if it is not well."""

    section: str
    name: str
    state: State
    text: str
    hint: str = ""


class Settled(NamedTuple):
    """The settings as far as they can be read, and what is wrong with the rest."""

    settings: Settings
    checks: tuple[Check, ...]


def program() -> Iterator[Check]:
    """kitbuild, Python, and the extras."""
    from kitbuild import __version__

    yield Check("program", "kitbuild", "ok", f"{__version__} in {Path(__file__).parents[1]}")
    yield Check(
        "program", "python", "ok", f"{platform.python_version()} ({sys.executable}), {platform.machine()}"
    )
    for name, (module, purpose) in EXTRAS.items():
        if find_spec(module) is not None:
            yield Check("program", name, "ok", f"extra for {purpose}")
        else:
            yield Check("program", name, "missing", f"extra for {purpose}", f"pip install 'kitbuild[{name}]'")


def settled(arguments: Namespace, environment: Mapping[str, str]) -> Settled:
    """The settings of flags, variables and kitbuild.toml; what cannot be read counts as not set."""
    from kitbuild.settings import Settings, settings_of

    checks = [*_file_checks(), *_variable_checks(environment)]
    try:
        settings = settings_of(arguments, environment=environment)
    except KitbuildError as error:
        settings = Settings()
        if not any(check.text in error.message for check in checks if check.state == "broken"):
            checks.append(Check("settings", "value", "broken", error.message, error.hint or ""))
    return Settled(settings, tuple(checks))


def _file_checks() -> Iterator[Check]:
    import tomllib

    from kitbuild.settings import FILE_NAME, TABLE
    from kitbuild.suggest import one_of

    here = Path.cwd()
    file = next((place / FILE_NAME for place in (here, *here.parents) if (place / FILE_NAME).is_file()), None)
    if file is None:
        yield Check("settings", FILE_NAME, "ok", "none here or above: every setting has its default")
        return
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        yield Check("settings", FILE_NAME, "broken", f"cannot read {file}: {error}", "mend or remove it")
        return
    keys = [setting.name.replace("_", "-") for setting in TABLE]
    unknown = [key for key in content if key not in keys]
    yield Check(
        "settings", FILE_NAME, "ok", f"{file}: {', '.join(key for key in content if key in keys) or 'empty'}"
    )
    for key in unknown:
        yield Check("settings", FILE_NAME, "broken", f"unknown key `{key}`", one_of(key, keys))


def _variable_checks(environment: Mapping[str, str]) -> Iterator[Check]:
    from kitbuild.cli.topics import OTHER_VARIABLES
    from kitbuild.settings import TABLE
    from kitbuild.suggest import nearest

    settings = {setting.variable: setting for setting in TABLE}
    known = [*settings, *(name for name in OTHER_VARIABLES if name.startswith("KITBUILD_"))]
    for name in sorted(environment):
        if name in settings:
            yield Check("settings", name, "ok", _shown(environment[name], hidden=settings[name].secret))
        elif name in known:
            yield Check("settings", name, "ok", "...")
        elif name.startswith("KITBUILD_"):
            near = nearest(name, known) or _begun(name, known)
            hint = f"did you mean `{near}`?" if near else "`kitbuild help environment` lists those that are"
            yield Check("settings", name, "missing", "no variable of kitbuild: it is not read", hint)


def _begun(name: str, known: Sequence[str]) -> str | None:
    """The one variable that a name begins, or that begins it: KITBUILD_CACHE."""
    found = [one for one in known if one.startswith(name) or name.startswith(one)]
    return found[0] if len(found) == 1 else None


def _shown(value: str, *, hidden: bool) -> str:
    """A value without what may be a secret in it: a header's content, a password in a URL, a query."""
    from kitbuild.cache.remote import shown

    if hidden or "\n" in value:
        return "..."
    if "://" in value:
        return shown(value)
    name, colon, _ = value.partition(":")
    return f"{name}: ..." if colon and " " in value else value


def local_cache(settings: Settings) -> Iterator[Check]:
    """The folder: whether it can be written to, what is in it, and what there is room for."""
    from kitbuild.settings import cache_dir

    folder = cache_dir(settings.cache_dir).absolute()
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    if not _can_write(there):
        hint = "give a folder of your own with `--cache-dir` or KITBUILD_CACHE_DIR"
        yield Check("cache", "folder", "broken", f"{folder}: cannot write there", hint)
        return
    if there == folder:
        yield _contents(folder)
    else:
        yield Check("cache", "folder", "ok", f"{folder}: will be made by the first build")
    free = shutil.disk_usage(there).free
    room: State = "ok" if free >= _FEWEST_BYTES else "missing"
    hint = "" if room == "ok" else "`kitbuild cache gc --max-size 1G` makes room"
    yield Check("cache", "room", room, f"{human_size(free)} free", hint)
    shares = _shares_blocks(there)
    yield Check(
        "cache",
        "copies",
        "ok",
        "share blocks with the cache (reflink)"
        if shares
        else "are real ones: this file system has no reflink",
    )


def _can_write(folder: Path) -> bool:
    # Tried, not asked: what root may do, a read-only file system may still refuse.
    with suppress(OSError), tempfile.TemporaryFile(dir=folder):
        return True
    return False


def _contents(folder: Path) -> Check:
    from kitbuild.cache.directory import open_directory
    from kitbuild.cache.gc import info

    try:
        store = open_directory(folder)
        found = info(store)
        store.close()
    except (KitbuildError, OSError) as error:
        return Check("cache", "folder", "broken", f"{error}", getattr(error, "hint", None) or "")
    held = f"{plural(found.blobs, 'blob')}, {human_size(found.bytes)}, {plural(found.results, 'result')}"
    return Check("cache", "folder", "ok", f"{folder}: {held}")


def _shares_blocks(folder: Path) -> bool:
    import fcntl

    with (
        suppress(OSError),
        tempfile.TemporaryFile(dir=folder) as one,
        tempfile.TemporaryFile(dir=folder) as other,
    ):
        one.write(bytes(4096))
        one.flush()
        fcntl.ioctl(other.fileno(), _FICLONE, one.fileno())
        return True
    return False


def tools() -> Iterator[Check]:
    """Programs that builds may call, and what boots what they made."""
    for name, (purpose, hint) in TOOLS.items():
        yield _tool("tools", name, purpose, hint or _install(name))
    for name, (package, purpose) in EMULATORS.items():
        yield _tool("emulators", name, purpose, _install(package))
    if os.access(_KVM, os.R_OK | os.W_OK):
        yield Check("emulators", str(_KVM), "ok", "emulators run at full speed")
    else:
        hint = "be in the group kvm, on a machine that lets virtual machines in"
        yield Check("emulators", str(_KVM), "missing", "emulators run slowly", hint)


def _install(package: str) -> str:
    return f"apt-get install {package}" if shutil.which("apt-get") else f"install {package}"


def _tool(section: str, name: str, purpose: str, hint: str) -> Check:
    found = name if name.startswith("/") and Path(name).is_file() else shutil.which(name)
    if found:
        return Check(section, name, "ok", purpose)
    return Check(section, name, "missing", purpose, hint)


# -- formats


class Source(NamedTuple):
    """Where the boot loader of an architecture would come from; `offline` if no network is needed for it."""

    text: str
    state: State
    offline: bool
    hint: str = ""


def loader_sources(settings: Settings, store: DirectoryStore | None) -> dict[tuple[str, str], Source]:
    """For every boot loader and architecture where it would come from."""
    from kitbuild.config.loaders import LOADERS

    given = dict(settings.boot_loaders)
    return {
        (name, architecture): _given(given[name]) if name in given else _packaged(loader, store)
        for name, loaders in LOADERS.items()
        for architecture, loader in loaders.items()
    }


def _given(sources: Sequence[str]) -> Source:
    gone = [one for one in sources if not one.startswith(("image:", "package:")) and not Path(one).exists()]
    if gone:
        return Source(f"{gone[0]} is not there", "broken", True, "mend or remove `--boot-loader`")
    return Source(
        " and ".join(sources), "ok", not any(one.startswith(("image:", "package:")) for one in sources)
    )


def _packaged(loader: Loader, store: DirectoryStore | None) -> Source:
    from kitbuild.digest import Digest

    digests = [Digest(package.hex, package.size) for package in loader.packages]
    if store is not None and not store.missing(digests):
        return Source("in the cache", "ok", True)
    if shutil.which("apt-get"):
        return Source("fetched with apt when it is first needed", "ok", False)
    hint = "give it with `--boot-loader NAME=FOLDER` (`kitbuild help boot-loaders`)"
    return Source("there is no apt to fetch it with", "missing", False, hint)


def loaders(sources: Mapping[tuple[str, str], Source]) -> Iterator[Check]:
    """Every boot loader, by architecture, and where it would come from."""
    for (name, architecture), source in sources.items():
        network = " (needs a network)" if source.state == "ok" and not source.offline else ""
        title = f"{name} for {architecture}"
        yield Check("loaders", title, source.state, f"{source.text}{network}", source.hint)


def formats(sources: Mapping[tuple[str, str], Source]) -> Iterator[Check]:
    """Every format: for which architectures it can be made, and with which boot loaders."""
    from kitbuild.registry import formats as known

    for name, one in known().items():
        wanting = [
            f"{loader} for {architecture}"
            for architecture, needed in one.loaders.items()
            for loader in needed
            if sources[loader, architecture].state != "ok"
        ]
        needs = [
            f"{architecture} with {' and '.join(needed)}" for architecture, needed in one.loaders.items()
        ]
        hint = f"see to {' and '.join(wanting)}, above" if wanting else ""
        state: State = "missing" if wanting else "ok"
        yield Check("formats", name, state, ", ".join(needs) or "every architecture", hint)


def as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """The checks as they are written for programs."""
    return [check._asdict() for check in checks]
