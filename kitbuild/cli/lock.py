"""kitbuild lock: write down what every image is now."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Iterator
    from pathlib import Path

    from kitbuild.cli.locking import Locking, Read
    from kitbuild.lock import Lock

_DESCRIPTION = """\
Writes down what every name in the configs leads to now, so that builds anywhere use exactly that: for images the
digests of index, manifest, config and layers, for boot loaders their packages, for configs from URLs their content.
The lock lies beside the last config, as CONFIG.lock, and belongs into version control. What is in it already stays:
`kitbuild update` moves it. What the configs do not name any more is dropped.

  kitbuild lock linuxkit.yml                        write linuxkit.yml.lock, or add what is missing
  kitbuild lock --arch amd64,arm64 linuxkit.yml     for two architectures
  kitbuild lock --format iso,qcow2-efi linuxkit.yml also the boot loaders of these formats
  kitbuild lock --check linuxkit.yml                write nothing; fail if the lock is not what the config needs
  kitbuild build --locked linuxkit.yml              build from the lock and nothing else
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "lock",
        usage="kitbuild lock [flags] CONFIG [CONFIG ...]",
        help="write down what every image is now",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    from kitbuild.cli.lock_flags import add_locking_arguments

    add_locking_arguments(parser, configs="CONFIG", help_text="a LinuxKit YAML file, a URL, or `-`")
    parser.add_argument("-o", "--output", metavar="FILE", help="where the lock is (default: CONFIG.lock)")
    parser.add_argument(
        "--pull", action="store_true", help="ask registries again for tags that are not locked"
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 if something would change"
    )
    parser.add_argument("--json", action="store_true", help="tell what changed as one JSON object")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the lock, or checks it, and gives the exit status."""
    from kitbuild.cli.lock_changes import changes
    from kitbuild.cli.locking import (
        locking_of,
        new_lock,
        old_lock,
        path_to_write,
        read_configs,
        write_lock,
    )

    path = path_to_write(arguments)
    old = old_lock(path)
    locking = locking_of(arguments)
    read = read_configs(locking, old, lambda _: False, where=str(path))
    if arguments.check:
        return _check(arguments, locking, read, old, path=path)
    new = new_lock(locking, read, old, moves=lambda _: False, pull=arguments.pull)
    written = write_lock(path, new)
    locking.tell_warnings()
    _tell(arguments, old, new, path=path, written=written)
    assert written or not changes(old, new), "what has changed is written"
    return 0


def _tell(arguments: Namespace, old: Lock, new: Lock, *, path: Path, written: bool) -> None:
    from kitbuild.cli.lock_changes import added_platforms, as_json, changes, lines_of
    from kitbuild.report.text import plural, printable

    found, platforms = changes(old, new), added_platforms(old, new)
    if arguments.json:
        document = {"lock": str(path), "written": written, "changes": as_json(found), "added": platforms}
        _print_json(document)
        return
    for line in (*lines_of(found), *(f"{name}  added" for name in platforms)):
        _print(printable(line))
    counts = [plural(len(new.images), "image")]
    counts += [plural(len(new.loaders), "boot loader")] if new.loaders else []
    counts += [plural(len(new.volumes), "volume")] if new.volumes else []
    counts += [plural(len(new.configs), "remote config")] if new.configs else []
    _print(printable(f"{path}: {', '.join(counts)}{'' if written else ', as before'}"))


def _check(arguments: Namespace, locking: Locking, read: Read, old: Lock, *, path: Path) -> int:
    """Says what is missing and what is stale, asking nobody; 1 if there is anything."""
    from kitbuild.cli.lock_check import missing_in, stale_in
    from kitbuild.report.text import printable

    missing, stale = list(missing_in(old, locking, read)), list(stale_in(old, locking, read))
    if arguments.json:
        _print_json({"lock": str(path), "missing": missing, "stale": stale})
    else:
        problems = _problems(missing, stale, path) if path.exists() else [f"there is no lock at {path}"]
        for line in problems:
            _print(printable(line))
        if missing or stale:
            from kitbuild.cli.locked import lock_command

            command = lock_command(arguments, path if arguments.output else None)
            flags = [
                *(f"--arch {one}" for one in arguments.arch),
                *(f"--format {one}" for one in arguments.format),
            ]
            _print(
                f"run `{command.replace(' lock ', ' '.join([' lock', *flags, '']), 1)}` and commit the result"
            )
    return 1 if missing or stale else 0


def _problems(missing: list[str], stale: list[str], path: Path) -> Iterator[str]:
    yield from (f"{path}: {name} is missing" for name in missing)
    yield from (f"{path}: {name} is not needed any more" for name in stale)


def _print(line: str) -> None:
    import sys

    sys.stdout.write(f"{line}\n")


def _print_json(document: dict[str, object]) -> None:
    import json

    _print(json.dumps(document, indent=2))
