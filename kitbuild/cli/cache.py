"""kitbuild cache: looks after the local cache."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kitbuild.cli import cache_keygen, cache_serve
from kitbuild.errors import StoreError
from kitbuild.report.text import human_size, plural
from kitbuild.settings import cache_dir, settings_of

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.cache.gc import Collection, Info, Verification

_DESCRIPTION = """\
Looks after the local cache: the content builds made and fetched, and the results that say what led to it.

  kitbuild cache info                  how much is there
  kitbuild cache gc --max-size 10G     drop what was used longest ago, until 10 GiB are left
  kitbuild cache verify                hash everything again, remove what is wrong
  kitbuild cache clear                 start afresh

All of these are safe while builds run: nothing they need is dropped, and `clear` refuses. What is dropped is built or
fetched again when it is next needed.

The cache is the folder given by --cache-dir, else $KITBUILD_CACHE_DIR, else `cache-dir` in kitbuild.toml, else
$XDG_CACHE_HOME/kitbuild, else ~/.cache/kitbuild.

For a remote cache, which several machines share:

  kitbuild cache serve --dir D         be one
  kitbuild cache keygen FILE           make a key to sign results with
"""

_UNITS = "KMGT"


class _Command(NamedTuple):
    summary: str
    description: str
    run: Callable[[DirectoryStore, argparse.Namespace], tuple[Any, str, int]]


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds `cache` and its own commands to the command line."""
    parser = subparsers.add_parser(
        "cache",
        help="look after the local cache: info, verify, gc, clear; serve a remote one: serve, keygen",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", dest="cache_command", metavar="COMMAND", required=True)
    for name, command in _COMMANDS.items():
        child = commands.add_parser(name, help=command.summary, description=command.description)
        child.add_argument("--cache-dir", metavar="DIR", help="the cache to work on")
        child.add_argument("--json", action="store_true", help="print one JSON object")
        if name == "gc":
            child.add_argument(
                "--max-size",
                type=size_in_bytes,
                metavar="SIZE",
                help="how much content to keep at most: 500M, 10G (1024s), 10GB (1000s), 10GiB, or bytes",
            )
        child.set_defaults(run=run)
    cache_serve.add(commands)
    cache_keygen.add(commands)


def run(arguments: argparse.Namespace) -> int:
    """Runs one `cache` command; raises StoreError. The exit status is 1 if `verify` found wrong content."""
    command = _COMMANDS[arguments.cache_command]
    folder = cache_dir(settings_of(arguments).cache_dir)
    if not _is_cache(folder):
        _print(arguments, {"folder": str(folder), "blobs": 0, "bytes": 0}, f"the cache {folder} is empty")
        return 0
    from kitbuild.cache.directory import open_directory
    from kitbuild.cache.failure import failure

    store = open_directory(folder, warn=_warn)
    try:
        report, text, status = command.run(store, arguments)
    except OSError as error:
        raise failure(folder, error) from error
    finally:
        store.close()
    _print(arguments, {"folder": str(folder), **report._asdict()}, text)
    return status


def size_in_bytes(text: str) -> int:
    """Reads `10G`, `500MiB`, `2.5GB` or a number of bytes; raises ArgumentTypeError."""
    match = re.fullmatch(rf"(\d+(?:\.\d+)?)\s*(?:([{_UNITS}])(iB|B)?|B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise argparse.ArgumentTypeError(f"expected a size such as 500M, 10G or 10GiB, got `{text}`")
    number, unit, suffix = match.groups()
    step = 1000 if suffix and suffix.upper() == "B" else 1024
    return int(float(number) * step ** (_UNITS.index(unit.upper()) + 1)) if unit else int(float(number))


def _info(store: DirectoryStore, _arguments: argparse.Namespace) -> tuple[Info, str, int]:
    from kitbuild.cache.gc import info

    report = info(store)
    lines = [
        f"cache    {store.folder}",
        f"content  {plural(report.blobs, 'blob')}, {human_size(report.bytes)}",
        f"index    {plural(report.results, 'result')}, {plural(report.notes, 'note')}, "
        f"{human_size(report.index_bytes)}",
    ]
    if report.oldest_use is not None:
        lines.append(f"oldest   last used {_ago(time.time() - report.oldest_use)} ago")
    if report.builds:
        lines.append(f"in use   by {plural(report.builds, 'running build')}")
    elif report.leftovers:
        lines.append(
            f"waste    {plural(report.leftovers, 'leftover')} of killed builds: run `kitbuild cache gc`"
        )
    return report, "\n".join(lines), 0


def _verify(store: DirectoryStore, _arguments: argparse.Namespace) -> tuple[Verification, str, int]:
    from kitbuild.cache.gc import verify

    report = verify(store)
    checked = f"checked {plural(report.blobs, 'blob')}, {human_size(report.bytes)}"
    lines = [f"removed sha256:{hexdigits}: its content was another" for hexdigits in report.wrong]
    lines.append(f"{checked}: {plural(len(report.wrong), 'wrong one') if report.wrong else 'all right'}")
    if report.dropped_results:
        lines.append(f"dropped {plural(report.dropped_results, 'result')} whose content is not here")
    return report, "\n".join(lines), 1 if report.wrong else 0


def _gc(store: DirectoryStore, arguments: argparse.Namespace) -> tuple[Collection, str, int]:
    from kitbuild.cache.gc import collect

    max_bytes: int | None = arguments.max_size
    report = collect(store, max_bytes=max_bytes)
    lines = [_dropped(report), f"left    {plural(report.blobs, 'blob')}, {human_size(report.bytes)}"]
    if max_bytes is None:
        lines.append("give --max-size to drop content too, oldest use first")
    elif report.bytes > max_bytes:
        lines.append(
            f"{plural(report.kept_for_builds, 'blob')} over the limit may be needed by running builds"
        )
    return report, "\n".join(lines), 0


def _clear(store: DirectoryStore, _arguments: argparse.Namespace) -> tuple[Collection, str, int]:
    from kitbuild.cache.gc import clear

    report = clear(store)
    return report, _dropped(report), 0


_COMMANDS = {
    "info": _Command("how much is there", "Counts content, results and notes.", _info),
    "verify": _Command(
        "hash everything again",
        "Hashes all content again and removes what is not what its name says. Exit status 1 if there was any.",
        _verify,
    ),
    "gc": _Command(
        "drop what was used longest ago",
        "Drops content until it takes --max-size at most, oldest use first and never what a running build needs, "
        "then results whose content is gone and what killed builds left behind.",
        _gc,
    ),
    "clear": _Command("remove everything", "Removes everything; refuses while builds run.", _clear),
}


def _dropped(report: Collection) -> str:
    return (
        f"dropped {plural(report.dropped_blobs, 'blob')}, {human_size(report.dropped_bytes)}, "
        f"{plural(report.dropped_results, 'result')}, {plural(report.dropped_leftovers, 'leftover')}"
    )


def _print(arguments: argparse.Namespace, report: dict[str, Any], text: str) -> None:
    if arguments.json:
        import json

        text = json.dumps(report, indent=2)
    sys.stdout.write(text + "\n")


def _warn(message: str) -> None:
    sys.stderr.write(f"warning: {message}\n")


def _is_cache(folder: Path) -> bool:
    """False for a folder that is not there yet or empty; raises StoreError for one with other things in it."""
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(
            f"the cache {folder} cannot be read: {error.strerror}",
            hint="give the folder of a cache as --cache-dir",
        ) from error
    # A build killed early may have made some of them only.
    if names - {"blobs", "tmp", "index", "leases", "lock", "CACHEDIR.TAG"} and "blobs" not in names:
        raise StoreError(
            f"`{folder}` holds other things than a cache", hint="give the folder of a cache as --cache-dir"
        )
    return bool(names)


def _ago(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            return plural(int(seconds // length), unit)
    return plural(max(int(seconds), 0), "second")
