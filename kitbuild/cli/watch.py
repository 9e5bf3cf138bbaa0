"""kitbuild watch: build again whenever something changes.

Files are looked at a few times a second, all that a config names: some dozens at most, which costs nothing one would
see. Unlike inotify this needs no library, and works on network file systems and in containers.
"""

from __future__ import annotations

import gc
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kitbuild.cli import build
from kitbuild.errors import KitbuildError, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from kitbuild.settings import Settings

_DESCRIPTION = """\
Builds, and builds again whenever a config, a file it names, an image layout or kitbuild.toml changes.

  kitbuild watch linuxkit.yml                      as `kitbuild build linuxkit.yml`, until Ctrl-C
  kitbuild watch --format iso base.yml site.yml    with any flags of `kitbuild build`
  kitbuild watch --exec './boot.sh' linuxkit.yml   runs a command after each build that wrote something

A build that fails says why, and the watch goes on. While the command of --exec runs, edits wait for its end: end one
that stays with `&`.
"""
_SECONDS = 0.25
# Editors and git write several files, one after another: what changes is left to come to rest for so long.
_REST_SECONDS = 0.1
# A config that is moved away comes back at once, or not.
_GONE_SECONDS = 1.0

# A path -> what tells that it is another file, or None if there is none.
Snapshot = Mapping[Path, tuple[int, int, int] | None]


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "watch",
        usage="kitbuild watch [flags] CONFIG [CONFIG ...]",
        help="build again whenever something changes",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--exec",
        metavar="COMMAND",
        help="run COMMAND in a shell after the first build, and after each that wrote an output; edits wait for it",
    )
    # All flags of a build, as `build` itself declares them.
    build.add(_Given(parser))  # type: ignore[arg-type]
    parser.set_defaults(run=run)


class _Given:
    """Stands where a command is registered, and gives a parser that is there already."""

    def __init__(self, parser: ArgumentParser) -> None:
        self._parser = parser

    def add_parser(self, _name: str, **_options: Any) -> ArgumentParser:
        return self._parser


def run(arguments: Namespace) -> int:
    """Builds until it is interrupted."""
    if "-" in arguments.configs:
        raise UsageError("expected files to watch, got stdin", hint="give the path of the config")
    watched = Watched(arguments)
    reason = ""
    is_due = True
    while True:
        before = snapshot(watched.paths())
        if not arguments.quiet:
            _say(reason or f"watching {' '.join(arguments.configs)}: Ctrl-C ends it")
        there = written(arguments)
        went_well = _built(arguments)
        # What a build wrote that failed in the end is news to the command too, later.
        is_due = is_due or there is None or written(arguments) != there
        if went_well and is_due and arguments.exec:
            _run_command(arguments.exec)
            is_due = False
        # The build may have found files that the config named all along, and could not be read before.
        reason = changed(before, watched.paths)


def written(arguments: Namespace) -> Snapshot | None:
    """What lies where the outputs go: a build leaves those alone that are up to date. None if they go to stdout."""
    try:
        target = build.target_of(arguments)
    except KitbuildError:
        return {}
    if target.single:
        return None if target.single == "-" else snapshot([Path(target.single)])
    folder, name = target.base.parent, target.base.name
    # A config often has the same name as its outputs, and may be edited at any time.
    configs = [Path(config).name for config in arguments.configs]
    given = {*configs, *(f"{config}.lock" for config in configs)}
    with suppress(OSError):
        names = [path for path in folder.iterdir() if path.name.startswith(name) and path.name not in given]
        return snapshot(sorted(names))
    return {}


def _built(arguments: Namespace) -> bool:
    from kitbuild.cli.main import tell

    try:
        return build.run(deepcopy(arguments)) == 0
    except KitbuildError as error:
        tell(error)
        return False
    finally:
        # A build leaves it to the end of the process to close its cache. This one goes on.
        gc.collect()


def _run_command(command: str) -> None:
    import subprocess

    status = subprocess.run(command, shell=True, check=False).returncode
    if status:
        _say(f"`{command}` ended with status {status}")


def _say(text: str) -> None:
    from kitbuild.report.text import one_line, painted, use_color

    line = f"{time.strftime('%H:%M:%S')} {one_line(text)}"
    with suppress(OSError):
        sys.stderr.write(painted(line, "1;36", color=use_color(sys.stderr)) + "\n")


class Watched:
    """The files that a build reads, by what its command line and its configs say."""

    def __init__(self, arguments: Namespace) -> None:
        self._arguments = arguments
        self._configs = [Path(config) for config in arguments.configs if "://" not in config]
        self._sources: tuple[Path, ...] = ()
        self._of: Snapshot = {}

    def paths(self) -> list[Path]:
        """All of them, whether they are there or not; what a broken config named before it broke stays watched."""
        here = snapshot([*self._configs, *_setting_files()])
        if here != self._of:
            # RuntimeError: `~nobody/file`.
            with suppress(KitbuildError, OSError, RuntimeError):
                self._sources = tuple(self._named())
            self._of = here
        locks = [Path(f"{config}.lock") for config in self._configs]
        given = getattr(self._arguments, "lock", None)
        locks += [Path(given)] if given else []
        return list(dict.fromkeys([*here, *locks, *self._sources]))

    def _named(self) -> Iterator[Path]:
        from kitbuild.config.load import load
        from kitbuild.settings import settings_of

        yield from _set_paths(settings_of(self._arguments))
        for file in load([str(path) for path in self._configs], stdin=None).files:
            if file.source:
                yield Path(file.source).expanduser()


def _setting_files() -> list[Path]:
    from kitbuild.settings import FILE_NAME

    here = Path.cwd()
    return [folder / FILE_NAME for folder in (here, *here.parents)]


def _set_paths(settings: Settings) -> Iterator[Path]:
    """The files that settings name and a build reads; of an image layout the one that changes with every image."""
    image_cache = settings.image_cache or Path("~/.linuxkit/cache").expanduser()
    for path in (*settings.images, image_cache):
        yield path / "index.json" if path.is_dir() else path
    yield from settings.cert_files
    for _, sources in settings.boot_loaders:
        yield from (Path(source) for source in sources if source.startswith("/"))


def snapshot(paths: list[Path]) -> Snapshot:
    """What is at each path now."""
    return {path: _identity(path) for path in paths}


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def changed(
    before: Snapshot, paths: Callable[[], list[Path]], *, sleep: Callable[[float], None] = time.sleep
) -> str:
    """Waits until something is not as it was and has come to rest, and says what: "linuxkit.yml changed"."""
    while True:
        if difference(before, snapshot(paths())):
            reason = difference(before, _rested(before, paths, sleep=sleep))
            # Empty if it was put back in the meantime.
            if reason:
                return reason
        sleep(_SECONDS)


def _rested(before: Snapshot, paths: Callable[[], list[Path]], *, sleep: Callable[[float], None]) -> Snapshot:
    """The files once they stay as they are; what has vanished is given the time to come back."""
    now, waited = snapshot(paths()), 0.0
    while True:
        sleep(_REST_SECONDS)
        waited += _REST_SECONDS
        later = snapshot(paths())
        is_gone = any(identity is None and before.get(path) for path, identity in later.items())
        if later == now and not (is_gone and waited < _GONE_SECONDS):
            return later
        now = later


def difference(before: Snapshot, now: Snapshot) -> str:
    """What became of the files, for people; empty if nothing did. Files that are named only now count as they are."""
    told = []
    for path, identity in now.items():
        earlier = before.get(path, None)
        if path not in before or identity == earlier:
            continue
        verb = "vanished" if identity is None else "appeared" if earlier is None else "changed"
        told.append(f"{_short(path)} {verb}")
    if len(told) > 2:
        return f"{told[0]}, and {len(told) - 1} more"
    return " and ".join(told)


def _short(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
