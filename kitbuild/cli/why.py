"""kitbuild why: say why a node ran, or would run."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.cli.configs import DEFAULT_FORMAT, add_config_arguments
from kitbuild.errors import KitbuildError, UsageError

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from kitbuild.cause.build import Explanation
    from kitbuild.cause.plan import Plan
    from kitbuild.cli.why_answer import Answer
    from kitbuild.record import Record
    from kitbuild.settings import Settings
    from kitbuild.store import Notes, Result

_DESCRIPTION = """\
Says why the last build ran what it ran, in terms of what you changed. With configs it says what a build would run
now, and why; nothing is built or fetched.

  kitbuild why                              what made the last build here run anything
  kitbuild why initrd                       why that node ran, from what changed to the node
  kitbuild why linuxkit-initrd.img          the same for the node behind an output
  kitbuild why "services web"               ... for a section; patterns such as "services *" work too
  kitbuild why linuxkit.yml                 what would run now
  kitbuild why initrd linuxkit.yml          would it run now, and why
  kitbuild why --since 20261123-1410        compared with an earlier build; `kitbuild history` lists them
  kitbuild why --since remote linuxkit.yml  compared with what CI built last, by its remote cache
"""
_REMOTE = "remote"
# What begins or ends like this is a config; a node of such a name is asked for together with its section.
_CONFIG_ENDINGS = (".yml", ".yaml")
_CONFIG_STARTS = ("http://", "https://")
# Builds of other configs in which a node is looked for, if the last one does not have it.
_MOST_BUILDS = 16


def add(subparsers: _SubParsersAction[ArgumentParser]) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "why",
        usage="kitbuild why [flags] [NODE] [CONFIG ...]",
        help="say why a node ran, or would run",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_config_arguments(parser)
    for action in parser._get_positional_actions():
        action.nargs, action.required, action.metavar = "*", False, "NODE|CONFIG"
        action.help = (
            "a node, section, output, image, file or pattern; then the configs of a build not made yet"
        )
    parser.add_argument(
        "--since",
        metavar="BUILD",
        help="compare with this build: an id of `kitbuild history` or the beginning of one, a file that "
        "`kitbuild build --record FILE` wrote, or `remote`",
    )
    parser.add_argument(
        "-f",
        "--format",
        action="append",
        default=[],
        metavar="FORMAT[,FORMAT]",
        help="with configs: what would be made (default: what was made last)",
    )
    parser.add_argument("--name", help="with configs: name of the outputs")
    parser.add_argument("--size", help="with configs: size of disks")
    parser.add_argument(
        "--json", action="store_true", help="write one JSON object; docs/why.md has its fields"
    )
    parser.set_defaults(run=run)


def run(arguments: Namespace) -> int:
    """Writes the answer and gives the exit status."""
    from kitbuild.cli.why_answer import as_json, as_text
    from kitbuild.report.text import encodable

    node, arguments.configs = split(arguments.configs)
    found = _of_plan(arguments, node) if arguments.configs else _of_last_build(arguments, node)
    text = as_json(found) if arguments.json else as_text(found)
    sys.stdout.write(encodable(text, sys.stdout.encoding))
    return 0


def split(words: Sequence[str]) -> tuple[str, list[str]]:
    """What is asked about, empty if that is everything, and the configs."""
    if words and not _is_config(words[0]):
        return words[0], list(words[1:])
    return "", list(words)


def _is_config(word: str) -> bool:
    ending = word.endswith(_CONFIG_ENDINGS) and ": " not in word
    return word == "-" or word.startswith(_CONFIG_STARTS) or ending


# -- the last build


def _of_last_build(arguments: Namespace, text: str) -> Answer:
    from kitbuild.cache.directory import open_directory
    from kitbuild.history import listed, load
    from kitbuild.settings import cache_dir, settings_of

    settings = settings_of(arguments)
    notes = open_directory(cache_dir(settings.cache_dir))
    builds = ((load(notes, name), scope) for name, scope in listed(notes)[:_MOST_BUILDS])
    known = [(record, scope) for record, scope in builds if record is not None]
    if not known:
        raise KitbuildError("no build is remembered here", hint="build something: `kitbuild build CONFIG`")
    record, scope = _with_node(known, text)
    return _answer(record, text, arguments, settings=settings, notes=notes, scope=scope)


def _with_node(builds: Sequence[tuple[Record, str]], text: str) -> tuple[Record, str]:
    """The last build that has what is asked about."""
    from kitbuild.cause.names import all_names, nodes_called
    from kitbuild.suggest import did_you_mean

    for record, scope in builds:
        if not text or nodes_called(text, record):
            return record, scope
    last = builds[0][0]
    configs = {path.name for ending in _CONFIG_ENDINGS for path in Path().glob(f"*{ending}")}
    configs.update(config for record, _ in builds for config in record.origins.configs)
    raise UsageError(
        f"expected a node, section or output of a build, got `{text}`",
        # What has an ending is more likely a config than anything else.
        hint=(did_you_mean(text, sorted(configs)) if "." in text else None)
        or did_you_mean(text, all_names(last))
        or f"`kitbuild graph {' '.join(last.origins.configs) or 'CONFIG'}` shows the nodes",
    )


def _answer(
    record: Record, text: str, arguments: Namespace, *, settings: Settings, notes: Notes, scope: str
) -> Answer:
    from kitbuild.cause.build import Explanation, last_ran
    from kitbuild.cause.names import nodes_called
    from kitbuild.cli.why_answer import Answer, NodeAnswer
    from kitbuild.history import earlier

    since = _since(arguments, settings, notes=notes, scope=scope)
    before = [since] if since else list(earlier(notes, scope, record.id))
    explanation = Explanation(record, before, differences_only=since is not None)
    if not text:
        roots = explanation.roots(_differing(explanation) if since else None)
        return Answer(record, since, (), roots)
    answers = []
    for name in nodes_called(text, record):
        fate, last = record.nodes[name].fate, None
        reasons = explanation.reasons(name)
        if fate in ("near", "far") and not since:
            position = last_ran(name, before)
            if position is not None:
                ran = Explanation(before[position], before[position + 1 :])
                last = NodeAnswer(name, "ran", ran.reasons(name), before[position])
        answers.append(NodeAnswer(name, fate, reasons, last=last))
    return Answer(record, since, tuple(answers), ())


def _differing(explanation: Explanation) -> list[str]:
    """The nodes that are made of something else than in the build they are compared with."""
    return [name for name in explanation.record.nodes if explanation.causes(name)]


# -- a build not made yet


def _of_plan(arguments: Namespace, text: str) -> Answer:
    from kitbuild.cli.configs import lowered, scope_of
    from kitbuild.cli.remote import Purpose, caches
    from kitbuild.history import earlier
    from kitbuild.settings import cache_dir, settings_of

    scope = scope_of(arguments)
    formats = tuple(name for one in arguments.format for name in one.split(",") if name)
    if not formats:
        from kitbuild.cache.directory import open_directory

        store = open_directory(cache_dir(settings_of(arguments).cache_dir))
        formats = _last_formats(next(earlier(store, scope), None))
    found = lowered(arguments, formats=formats, offline=True)
    before = list(earlier(found.store, scope))
    since = _since(arguments, found.settings, notes=found.store, scope=scope)
    # To look is not to write, nor to run anything.
    settings = found.settings._replace(remote_cache_write=False, executor="none")
    with caches(settings, found.store, _tell_warnings, Purpose(complete=True)) as using:
        from kitbuild.cause.plan import planned

        plan = planned(found.graph, using.store, found.origins(), wanted=_wanted(arguments, found.store))
    return _planned_answer(plan, [since] if since else before, text, since=since)


def _planned_answer(plan: Plan, before: Sequence[Record], text: str, *, since: Record | None) -> Answer:
    from kitbuild.cause.build import Explanation
    from kitbuild.cause.names import nodes_called
    from kitbuild.cli.why_answer import Answer, NodeAnswer

    explanation = Explanation(plan.record, before, differences_only=since is not None)
    if not text:
        names = _differing(explanation) if since else plan.runs
        return Answer(plan.record, since, (), explanation.roots(names), plan)
    _with_node([(plan.record, "")], text)
    answers = [
        NodeAnswer(name, plan.record.nodes[name].fate, explanation.reasons(name))
        for name in nodes_called(text, plan.record)
    ]
    return Answer(plan.record, since, tuple(answers), (), plan)


def _last_formats(record: Record | None) -> tuple[str, ...]:
    """The formats of the last build, as far as there still are formats of these names."""
    from kitbuild.registry import formats

    text = record.origins.flags.get("--format", "") if record else ""
    names = tuple(name for name in text.split(",") if name)
    return names if names and all(name in formats() for name in names) else (DEFAULT_FORMAT,)


def _wanted(arguments: Namespace, notes: Notes) -> Callable[[str, Result], bool]:
    """Whether an output is not in place yet, where a build would write it."""
    from kitbuild.cli.configs import output_name
    from kitbuild.export import in_place

    def wanted(suffix: str, result: Result) -> bool:
        return in_place(Path(f"{output_name(arguments)}{suffix}"), result.artifact, notes) is None

    return wanted


def _tell_warnings(event: object) -> None:
    from kitbuild.event import Warned

    if isinstance(event, Warned):
        sys.stderr.write(f"warning: {event.message}\n")


# -- the build to compare with


def _since(arguments: Namespace, settings: Settings, *, notes: Notes, scope: str) -> Record | None:
    """The build that `--since` names, None without it; raises UsageError if there is no such build."""
    text = arguments.since
    if text is None:
        return None
    if text == _REMOTE:
        return _recorded_elsewhere(settings, scope)
    from kitbuild.cli.records import record_in, remembered

    record = remembered(text, notes)
    if record is None and Path(text).is_file():
        return record_in(Path(text))
    if record is None:
        raise UsageError(
            f"expected a build with `--since`, got `{text}`",
            hint="`kitbuild history` lists the builds; `kitbuild build --record FILE` writes one to a file",
        )
    return record


def _recorded_elsewhere(settings: Settings, scope: str) -> Record:
    from kitbuild.cli.remote import recorded_elsewhere
    from kitbuild.history import marked_elsewhere

    record = recorded_elsewhere(settings, scope, _tell_warnings)
    if record is None:
        raise KitbuildError(
            "the remote cache has no record of a build of these configs",
            hint="a build that writes to it leaves one: `--remote-cache-write`",
        )
    return marked_elsewhere(record)
