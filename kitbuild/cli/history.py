"""kitbuild history: list the builds that are remembered."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kitbuild.errors import UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from kitbuild.cause.value import Cause
    from kitbuild.record import Record
    from kitbuild.store import Notes

_DESCRIPTION = """\
Lists the builds that are remembered, newest first: those that changed anything, up to 16 of the same configs.

  kitbuild history                      of all configs
  kitbuild history linuxkit.yml         those with this config
  kitbuild history -n 3 --json          the last three, for programs

`kitbuild why --since ID` and `kitbuild diff ID ID` take the id, or the beginning of one.
"""
_MOST = 20


class _Line(NamedTuple):
    record: Record
    counts: dict[str, int]
    cause: Cause | None


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "history",
        usage="kitbuild history [flags] [CONFIG ...]",
        help="list the builds that are remembered",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help="only builds of these, and maybe others")
    parser.add_argument(
        "-n", "--number", type=int, default=_MOST, help=f"how many (default: {_MOST}; 0: all)"
    )
    parser.add_argument("--cache-dir", metavar="DIR", help="the cache that remembers them")
    parser.add_argument("--json", action="store_true", help="write one JSON array for programs")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes a line a build, or an object a build."""
    from kitbuild.cache.directory import open_directory
    from kitbuild.report.text import encodable, printable
    from kitbuild.settings import cache_dir, settings_of

    if arguments.number < 0:
        raise UsageError(f"`--number`: expected 0 or more, got `{arguments.number}`")
    notes = open_directory(cache_dir(settings_of(arguments).cache_dir))
    lines = []
    for line in _lines(notes, arguments.configs):
        lines.append(line)
        if len(lines) == arguments.number:
            break
    if arguments.json:
        import json

        text = json.dumps(list(map(_plain, lines)), indent=2) + "\n"
    else:
        text = printable("".join(map(_text, lines)))
    if not lines:
        sys.stderr.write("no build is remembered\n")
    sys.stdout.write(encodable(text, sys.stdout.encoding))
    return 0


def _lines(notes: Notes, configs: list[str]) -> Iterator[_Line]:
    from kitbuild.cause.build import Explanation
    from kitbuild.cli.why_answer import summary
    from kitbuild.config.sources import folder_of, name_of
    from kitbuild.history import earlier, listed, load

    wanted = {name_of(one) if folder_of(one) is None else str(Path(one).absolute()) for one in configs}
    for name, scope in listed(notes):
        if not wanted <= set(scope.split("\0")[:-1]):
            continue
        record = load(notes, name)
        if record is None:
            continue
        roots = Explanation(record, list(earlier(notes, scope, name))).roots()
        yield _Line(record, summary(record), roots[0].cause if roots else None)


def _text(line: _Line) -> str:
    from kitbuild.cli.why_answer import duration

    record, counts = line.record, line.counts
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.began))
    told = [f"{counts['ran']} run", f"{counts['near'] + counts['far']} cached"]
    told += [f"{counts['far']} of them far"] if counts["far"] else []
    told += [f"{counts[fate]} {fate}" for fate in ("failed", "left") if counts[fate]]
    first = f"{record.id}  {moment}  {' '.join(record.origins.configs)}"
    first += f"  {', '.join(told)}, {duration(record)}\n"
    return first + (f"    {line.cause.sentence}\n" if line.cause else "")


def _plain(line: _Line) -> dict[str, Any]:
    record = line.record
    return {
        "id": record.id,
        "began": record.began,
        "seconds": record.seconds,
        "version": record.version,
        "configs": list(record.origins.configs),
        "flags": dict(record.origins.flags),
        **line.counts,
        "cause": line.cause._asdict() if line.cause else None,
    }
