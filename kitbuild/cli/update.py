"""kitbuild update: move entries of a lock."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _SubParsersAction
    from collections.abc import Sequence
    from pathlib import Path

_DESCRIPTION = """\
Asks registries what the names in a lock lead to today, writes that down, and shows what changed. Words that end in
.yml or .yaml, are files, URLs or `-` are configs; all others say what to move: an image with or without its tag, a
pattern, a section of the config or the name in one, a boot loader. Without any of those everything moves. Without a
config it is the one that has the only lock here.

  kitbuild update linuxkit.yml                  everything
  kitbuild update redis linuxkit.yml            whatever image of redis the config has, and nothing else
  kitbuild update services 'kit/*' linuxkit.yml the images of all services, and those of kit/
  kitbuild update syslinux linuxkit.yml         a boot loader: to the packages this kitbuild knows
  kitbuild update --dry-run linuxkit.yml        only show what would change
"""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "update",
        usage="kitbuild update [flags] [NAME ...] [CONFIG ...]",
        help="move entries of a lock",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    from kitbuild.cli.lock_flags import add_locking_arguments

    help_text = "what to move, and the configs whose lock it is in"
    add_locking_arguments(parser, configs="NAME|CONFIG", help_text=help_text, needed=False)
    parser.add_argument("--lock", metavar="FILE", help="where the lock is (default: CONFIG.lock)")
    parser.add_argument("--dry-run", action="store_true", help="show what would change and write nothing")
    parser.add_argument("--json", action="store_true", help="tell what changed as one JSON object")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Moves what is named, tells what changed, and gives the exit status."""
    from kitbuild.cli.lock_names import keys_of, split_words
    from kitbuild.cli.locked import lock_command, read_lock
    from kitbuild.cli.locking import locking_of, new_lock, path_to_write, read_configs, write_lock
    from kitbuild.errors import UsageError

    names, arguments.configs = split_words(arguments.configs, bool(arguments.lock))
    path = path_to_write(arguments)
    old = read_lock(path)
    if old is None:
        command = lock_command(arguments, path if arguments.lock else None)
        raise UsageError(f"expected a lock at `{path}`, got none", hint=f"run `{command}`")
    locking = locking_of(arguments)
    # What the names stand for shows in the config as it was locked.
    read = read_configs(locking, old, lambda name: not names, where=str(path))
    keys = keys_of(names, read.config, old)
    if names and keys & old.configs.keys():
        read = read_configs(locking, old, keys.__contains__, where=str(path))

    def moves(name: str) -> bool:
        return not names or name in keys

    new = new_lock(locking, read, old, moves=moves, pull=True)
    written = not arguments.dry_run and write_lock(path, new)
    locking.tell_warnings()
    _tell(arguments, old=old, new=new, path=path, written=written)
    return 0


def _tell(arguments: Namespace, *, old: object, new: object, path: Path, written: bool) -> None:
    import json
    import sys

    from kitbuild.cli.lock_changes import added_platforms, as_json, changes, lines_of
    from kitbuild.lock import Lock
    from kitbuild.report.text import plural, printable

    assert isinstance(old, Lock)
    assert isinstance(new, Lock)
    found, platforms = changes(old, new), added_platforms(old, new)
    if arguments.json:
        document = {"lock": str(path), "written": written, "changes": as_json(found), "added": platforms}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    lines: Sequence[str] = [*lines_of(found), *(f"{name}  added" for name in platforms)]
    sys.stdout.writelines(f"{printable(line)}\n" for line in lines)
    same = sum(old.images.get(name) == entry for name, entry in new.images.items())
    left = f"{plural(same, 'image')} as before"
    done = "would change" if arguments.dry_run else "changed"
    sys.stdout.write(printable(f"{path}: {len(lines)} {done}, {left}\n"))
