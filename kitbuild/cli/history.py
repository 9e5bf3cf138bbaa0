"""kitbuild history: list the builds that are remembered."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
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
  kitbuild history 20261123-1410        that build, by its id or the beginning of one
  kitbuild history -n 3 --json          the last three, for programs

`kitbuild why --since ID` and `kitbuild diff ID ID` take the id, or the beginning of one.
"""
_MOST = 20
_MOST_DIGITS = 9


class _Line(NamedTuple):
    record: Record
    counts: dict[str, int]
    cause: Cause | None
    differs: Cause | None
    """What differs from the build before, if nothing ran for it."""


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "history",
        usage="kitbuild history [flags] [CONFIG|BUILD ...]",
        help="list the builds that are remembered",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "configs",
        nargs="*",
        metavar="CONFIG",
        help="only builds of these configs, and maybe others; or one build, by its id or the beginning of one",
    )
    parser.add_argument("-n", "--number", default=str(_MOST), help=f"how many (default: {_MOST}; 0: all)")
    parser.add_argument("--cache-dir", metavar="DIR", help="the cache that remembers them")
    parser.add_argument("--json", action="store_true", help="write one JSON array for programs")
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes a line a build, or an object a build."""
    from kitbuild.cache.directory import open_directory
    from kitbuild.report.text import encodable, printable
    from kitbuild.settings import cache_dir, settings_of

    number = _number(arguments.number)
    notes = open_directory(cache_dir(settings_of(arguments).cache_dir))
    lines = list(islice(_lines(notes, _chosen(notes, arguments.configs)), number or None))
    if arguments.json:
        import json

        text = json.dumps(list(map(_plain, lines)), indent=2) + "\n"
    else:
        text = printable("".join(map(_text, lines)))
    if not lines:
        of = f" of {' '.join(arguments.configs)}" if arguments.configs else ""
        sys.stderr.write(printable(f"no build{of} is remembered\n"))
    sys.stdout.write(encodable(text, sys.stdout.encoding))
    return 0


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"`--number`: expected 0 or more, got `{text}`")
    # More digits than anybody counts, and than Python reads, are as good as all.
    return int(text) if len(text) <= _MOST_DIGITS else 0


def _chosen(notes: Notes, words: list[str]) -> list[tuple[str, str]]:
    """The builds that the words mean, as ids and scopes; raises UsageError for a word that means nothing."""
    from kitbuild.config.sources import folder_of, name_of
    from kitbuild.history import listed

    found = listed(notes)
    known = {config for _, scope in found for config in _configs(scope)}
    for word in words:
        config = name_of(word) if folder_of(word) is None else str(Path(word).absolute())
        if config in known or (word and Path(word).exists()):
            found = [line for line in found if config in _configs(line[1])]
            continue
        builds = [line for line in found if word and line[0].startswith(word)]
        if not builds:
            raise _unknown(word, known)
        found = builds
    return found


def _configs(scope: str) -> list[str]:
    return scope.split("\0")[:-1]


def _unknown(word: str, known: Collection[str]) -> UsageError:
    from kitbuild.suggest import did_you_mean

    hint = did_you_mean(word, [Path(config).name for config in known])
    return UsageError(
        f"expected a config or a build that is remembered, got `{word}`",
        hint=hint or "`kitbuild history` lists the builds and their configs",
    )


def _lines(notes: Notes, builds: Iterable[tuple[str, str]]) -> Iterator[_Line]:
    from kitbuild.cause.build import Explanation
    from kitbuild.cli.why_answer import summary
    from kitbuild.history import earlier, load

    for name, scope in builds:
        record = load(notes, name)
        if record is None:
            continue
        explanation = Explanation(record, list(earlier(notes, scope, name)))
        roots = explanation.roots()
        differs = () if roots else explanation.roots(record.nodes)
        yield _Line(
            record,
            summary(record),
            roots[0].cause if roots else None,
            differs[0].cause if differs else None,
        )


def _text(line: _Line) -> str:
    from kitbuild.cli.why_answer import duration
    from kitbuild.report.text import one_line

    record, counts = line.record, line.counts
    moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.began))
    told = [f"{counts['ran']} run", f"{counts['near'] + counts['far']} cached"]
    told += [f"{counts['far']} of them far"] if counts["far"] else []
    told += [f"{counts[fate]} {fate}" for fate in ("failed", "left") if counts[fate]]
    first = f"{record.id}  {moment}  {one_line(' '.join(record.origins.configs))}"
    first += f"  {', '.join(told)}, {duration(record)}\n"
    if line.cause:
        return f"{first}    {one_line(line.cause.sentence)}\n"
    for_what = f": {line.differs.sentence}" if line.differs else ""
    return f"{first}    {one_line(f'nothing ran, all results were there{for_what}')}\n"


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
