"""kitbuild doctor: say what this machine can do."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from kitbuild.settings import add_setting_arguments

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from kitbuild.cli.checks import Check, State

_DESCRIPTION = """\
Says what this machine can do: which formats can be made, what is there for it, whether the caches can be reached,
and what to install for the rest.

  kitbuild doctor                          what is well and what is not
  kitbuild doctor --online                 also whether images come from their registry
  kitbuild doctor --online quay.io/me/app  the same, of an image of your own
  kitbuild doctor --remote-cache URL       is that one any good?
  kitbuild doctor --json | jq -r '.checks[] | select(.state != "ok") | .hint'

Builds need nothing but kitbuild itself; what is missing is needed for what stands beside it. The exit status is 1
if something would keep a build from working.
"""
# Docker Hub's own image for this question: some kilobytes.
_ASKED_FOR = "hello-world"
_TITLES = {
    "program": "kitbuild",
    "settings": "settings",
    "cache": "local cache",
    "elsewhere": "elsewhere",
    "loaders": "boot loaders",
    "formats": "formats",
    "tools": "programs (no build needs one, but for what stands beside it)",
    "emulators": "to boot what was built",
}
_MARKS: dict[State, tuple[str, str]] = {"ok": ("ok", "32"), "missing": ("--", "33"), "broken": ("NO", "1;31")}


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "doctor",
        usage="kitbuild doctor [flags]",
        help="say what this machine can do",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--online",
        nargs="?",
        const=_ASKED_FOR,
        metavar="IMAGE",
        help=f"ask a registry for this image too (default: {_ASKED_FOR}); without it none is asked",
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object for programs")
    add_setting_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Looks at everything and tells; 1 if something is broken."""
    found = list(examine(arguments))
    broken = any(check.state == "broken" for check in found)
    if arguments.json:
        import json

        from kitbuild import __version__
        from kitbuild.cli.checks import as_json

        document = {"version": __version__, "well": not broken, "checks": as_json(found)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        from kitbuild.report.text import encodable, use_color

        text = "\n".join(lines(found, color=use_color(sys.stdout))) + "\n"
        sys.stdout.write(encodable(text, sys.stdout.encoding))
    return 1 if broken else 0


def examine(arguments: Namespace) -> Iterator[Check]:
    """All checks, in the order they are told."""
    from kitbuild.cli import checks, checks_outside

    yield from checks.program()
    settings, told = checks.settled(arguments, os.environ)
    yield from told
    yield from checks_outside.images(settings)
    cache = list(checks.local_cache(settings))
    yield from cache
    yield from checks_outside.remote_cache(settings)
    yield from checks_outside.keys(settings)
    if arguments.online:
        yield checks_outside.registry(arguments.online, settings)
    from kitbuild.cache.directory import open_directory
    from kitbuild.settings import cache_dir

    folder = cache_dir(settings.cache_dir)
    is_well = folder.is_dir() and all(check.state != "broken" for check in cache)
    sources = checks.loader_sources(settings, open_directory(folder) if is_well else None)
    yield from checks.loaders(sources)
    yield from checks.formats(sources)
    yield from checks.tools()


def lines(found: Sequence[Check], *, color: bool) -> Iterator[str]:
    """The checks for people: a block a section, what to do at the end of each line that wants something done."""
    from kitbuild.report.text import painted, plural, printable

    section = ""
    told = list(_joined(found))
    for number, check in enumerate(told):
        if check.section != section:
            if section:
                yield ""
            section = check.section
            yield painted(_TITLES[section], "1", color=color)
        mark, style = _MARKS[check.state]
        yield f"  {painted(mark, style, color=color)}  {printable(check.name)}: {printable(check.text)}"
        # What is to be done about several is said once, below the last of them.
        below = told[number + 1] if number + 1 < len(told) else None
        # A format's is that of its boot loader, which is told above.
        if check.hint and check.section != "formats" and (below is None or below.hint != check.hint):
            yield f"      {painted('->', '2', color=color)} {printable(check.hint)}"
    states = [check.state for check in told if check.section != "formats"]
    broken, missing = states.count("broken"), states.count("missing")
    yield ""
    if broken:
        yield painted(
            f"{plural(broken, 'thing')} to mend before builds work", _MARKS["broken"][1], color=color
        )
    elif missing:
        yield f"this machine can build; {plural(missing, 'thing')} (--) to look at if you need it"
    else:
        yield "this machine can build"


def _joined(found: Iterable[Check]) -> Iterator[Check]:
    """The checks, with formats, and boot loaders, of which the same is to be said in one line."""
    joined = ("formats", "loaders")
    groups: dict[Check, list[str]] = {}
    for check in found:
        if check.section in joined:
            groups.setdefault(check._replace(name=""), []).append(check.name)
    for check in found:
        if check.section not in joined:
            yield check
        elif names := groups.pop(check._replace(name=""), None):
            yield check._replace(name=", ".join(names))
