"""Answers a shell that asks how its command line could go on: flags from the parsers, values from what is there.

argcomplete finds out which argument is being typed, and quotes for the shell; here is what such an argument may be,
by its metavar or its name. A question is never a nuisance: what goes wrong, or takes too long, is no answer.
"""

from __future__ import annotations

import os
import signal
from argparse import Action, ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, get_args

from kitbuild.errors import KitbuildError

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.record import Record

# What a prefix may become, each with a word on it, given what else the line says.
Completer = Callable[[str, Namespace], Mapping[str, str]]

# Who waits longer has typed it.
_SECONDS = 2
_CONFIGS = (".yml", ".yaml")
_REMOTE = "the last build in the remote cache"
# Of how many builds it is worked out what they ran for: the latest are asked about most, and nobody waits.
_TOLD_BUILDS = 5


def answer() -> int:
    """Writes what argcomplete's shell code waits for; gives the exit status, if it comes back at all."""
    import argcomplete
    from argcomplete.lexers import split_line

    from kitbuild.cli.main import parser_for

    signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
    signal.alarm(_SECONDS)
    # A question runs no program: a template in a config would ask git, in whatever folder it names.
    os.environ["PATH"] = os.devnull
    line = os.environ.get("COMP_LINE", "")
    # The name of a command is completed by the names of all: only behind it is there a command.
    words = split_line(line, int(os.environ.get("COMP_POINT", len(line))))[3]
    parser = parser_for(words[1:])
    attach(parser)
    argcomplete.autocomplete(parser, always_complete_options=False)
    return 1


def attach(parser: ArgumentParser) -> None:
    """Gives the arguments of a parser, and of the commands below it, what completes their values."""
    # argparse has no public way to ask; the names have been the same since it became part of Python.
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            _describe_commands(action)
            for child in dict.fromkeys(action.choices.values()):
                attach(child)
        elif action.nargs != 0:
            complete = _chosen(action) if action.choices else completer_of(action)
            action.completer = _called(complete)  # type: ignore[attr-defined]


def completer_of(action: Action) -> Completer:
    """What completes the values of an argument; numbers and new names are nobody's guess."""
    metavar = action.metavar[0] if isinstance(action.metavar, tuple) else action.metavar or ""
    return _BY_METAVAR.get(metavar) or _BY_NAME.get(action.dest, _nothing)


def _chosen(action: Action) -> Completer:
    """What an argument may be chosen from, with a word on each where there is one."""

    def complete(_prefix: str, _given: Namespace) -> Mapping[str, str]:
        texts: Mapping[str, str] = {}
        if action.dest == "starter":
            from kitbuild.cli.init import STARTERS as texts
        return {str(choice): texts.get(str(choice), "") for choice in action.choices or ()}

    return complete


def _nothing(_prefix: str, _given: Namespace) -> Mapping[str, str]:
    return {}


def _describe_commands(action: Any) -> None:
    """Commands are registered without their help when only one is asked for; shells show it all the same."""
    from kitbuild.cli.commands import SUMMARIES

    known = {choice.dest for choice in action._choices_actions}
    for name in action.choices:
        if name not in known and name in SUMMARIES:
            action._choices_actions.append(action._ChoicesPseudoAction(name, (), SUMMARIES[name]))


def _called(complete: Completer) -> Callable[..., Mapping[str, str]]:
    def called(prefix: str, parsed_args: Namespace, **_: Any) -> Mapping[str, str]:
        # A completion that cannot be found is none: nobody asked for an error.
        with suppress(Exception):
            found = complete(prefix, parsed_args)
            return {word: text for word, text in found.items() if word.startswith(prefix)}
        return {}

    return called


# -- files


def paths(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """Files, and folders with a slash behind them."""
    return dict(_paths(prefix, lambda _: True))


def folders(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """Folders alone."""
    return dict(_paths(prefix, lambda _: False))


def configs(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """YAML files, and folders on the way to some."""
    return dict(_paths(prefix, lambda name: name.endswith(_CONFIGS)))


def _paths(prefix: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Paths that begin so, each with what it is."""
    folder, slash, begun = prefix.rpartition("/")
    entries: list[os.DirEntry[str]] = []
    with suppress(OSError):
        entries = sorted(os.scandir(os.path.expanduser(f"{folder}{slash}") or "."), key=lambda one: one.name)  # noqa: PTH111
    for entry in entries:
        # As shells do: what is hidden is shown to those who begin with a dot.
        if not entry.name.startswith(begun) or (entry.name.startswith(".") and not begun):
            continue
        if entry.is_dir():
            yield f"{folder}{slash}{entry.name}/", "folder"
        elif wanted(entry.name):
            yield f"{folder}{slash}{entry.name}", "file"


# -- what builds left behind


def nodes(prefix: str, given: Namespace) -> Mapping[str, str]:
    """The nodes of the configs on the line, or of the last build, with their rules."""
    record = _record(given)
    if record is not None:
        return {name: node.rule for name, node in record.nodes.items()}
    return _lowered_nodes(given) if _configs_of(given) else {}


def outputs(prefix: str, given: Namespace) -> Mapping[str, str]:
    """Nodes, the sections they are in, and the outputs by the end of their names."""
    record = _record(given)
    named = {node.section: "section" for node in record.nodes.values() if node.section} if record else {}
    named |= {name: f"output: {node}" for name, node in record.outputs.items()} if record else {}
    return {**named, **nodes(prefix, given)}


def images(prefix: str, given: Namespace) -> Mapping[str, str]:
    """The images that the configs on the line name, or those of the last build."""
    record = _record(given)
    return {name: origin.source for name, origin in record.origins.images.items()} if record else {}


def builds(prefix: str, given: Namespace) -> Mapping[str, str]:
    """The builds that are remembered, newest first, and files that may hold a record."""
    from kitbuild.history import listed

    store = _store(given)
    if store is None:
        return {"remote": _REMOTE, **paths(prefix, given)}
    known = listed(store)
    named = {name: " ".join(scope.split("\0")[:-1]) for name, scope in known}
    for name, scope in known[:_TOLD_BUILDS]:
        if cause := _first_cause(store, name, scope):
            named[name] += f": {cause}"
    return {**named, "remote": _REMOTE, **paths(prefix, given)}


def _first_cause(store: DirectoryStore, name: str, scope: str) -> str:
    """What most of a build ran for, by what it is compared with first; nothing if nothing ran."""
    from kitbuild.cause.build import Explanation
    from kitbuild.history import earlier, load

    with suppress(KitbuildError):
        record = load(store, name)
        if record is not None:
            roots = Explanation(record, list(islice(earlier(store, scope, name), 1))).roots()
            return roots[0].cause.sentence if roots else ""
    return ""


def nodes_and_configs(prefix: str, given: Namespace) -> Mapping[str, str]:
    """What can be asked about, and of which config."""
    return {**outputs(prefix, given), **configs(prefix, given)}


def images_and_configs(prefix: str, given: Namespace) -> Mapping[str, str]:
    """Images, and the configs that name them."""
    return {**images(prefix, given), **configs(prefix, given)}


def _configs_of(given: Namespace) -> list[str]:
    return [word for word in _words_of(given) if word.endswith(_CONFIGS)]


def _words_of(given: Namespace) -> Iterator[str]:
    for value in vars(given).values():
        yield from (word for word in (value if isinstance(value, list) else [value]) if isinstance(word, str))


def _store(given: Namespace) -> DirectoryStore | None:
    from kitbuild.cache.directory import open_directory
    from kitbuild.settings import cache_dir, settings_of

    folder = cache_dir(settings_of(given).cache_dir)
    return open_directory(folder) if folder.is_dir() else None


def _record(given: Namespace) -> Record | None:
    """The record of the last build of the configs on the line, of the last build at all without any."""
    from kitbuild.cli.configs import scope_of
    from kitbuild.history import Builds, listed, load

    store = _store(given)
    if store is None:
        return None
    found = _configs_of(given)
    if not found:
        return next(filter(None, (load(store, name) for name, _ in listed(store)[:1])), None)
    return Builds(store, scope_of(Namespace(configs=found, arch=getattr(given, "arch", None)))).latest()


def _lowered_nodes(given: Namespace) -> Mapping[str, str]:
    """The nodes of configs nobody has built yet; nobody is asked for anything, whatever the configs are."""
    from kitbuild.cli.configs import add_config_arguments, lowered

    found = _configs_of(given)
    # Those from URLs would be fetched; what is no file (a pipe) may be read once.
    if not all(os.path.isfile(config) for config in found):  # noqa: PTH113 - as it is written
        return {}
    parser = ArgumentParser()
    add_config_arguments(parser)
    filled = parser.parse_args(found, Namespace(**vars(given)))
    filled.configs = found
    return {node.name: node.rule.name for node in lowered(filled, offline=True).graph}


# -- names


def formats(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """Formats, also behind others and a comma."""
    from kitbuild.registry import formats as known

    begun = prefix[: prefix.rfind(",") + 1]
    taken = begun.split(",")
    return {f"{begun}{name}": one.summary for name, one in known().items() if name not in taken}


def architectures(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """Architectures as Go names them, also behind others and a comma."""
    from kitbuild.cli.configs import KNOWN_ARCHITECTURES

    begun = prefix[: prefix.rfind(",") + 1]
    return {f"{begun}{name}": "architecture" for name in KNOWN_ARCHITECTURES}


def compressions(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """What a segment may be compressed with."""
    from kitbuild.system import Compression

    return dict.fromkeys(get_args(Compression), "compression")


def boot_loaders(prefix: str, given: Namespace) -> Mapping[str, str]:
    """A boot loader's name, then where it comes from."""
    name, equals, begun = prefix.partition("=")
    if equals:
        return {f"{name}={path}": "source" for path in chain(["image:", "package:"], paths(begun, given))}
    from kitbuild.config.loaders import LOADERS

    return {f"{known}=": f"for {', '.join(found)}" for known, found in LOADERS.items()}


def places(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """How URLs of remote caches begin."""
    from kitbuild.registry import REMOTES

    return {**{f"{scheme}://": f"kind {module}" for scheme, module in REMOTES.items()}, "none": "nowhere"}


def topics(prefix: str, _given: Namespace) -> Mapping[str, str]:
    """What `kitbuild help` explains."""
    from kitbuild.cli.commands import SUMMARIES
    from kitbuild.cli.topics import TOPICS

    return {**{name: topic.summary for name, topic in TOPICS.items()}, **SUMMARIES}


_BY_METAVAR: Mapping[str, Completer] = {
    "AFTER": builds,
    "BEFORE": builds,
    "BUILD": builds,
    "CONFIG": configs,
    "DIR": folders,
    "FILE": paths,
    "FORMAT": formats,
    "FORMAT[,FORMAT]": formats,
    "IMAGE": images,
    "NAME|CONFIG": images_and_configs,
    "NODE": nodes,
    "NODE|CONFIG": nodes_and_configs,
    "NODE|OUTPUT": outputs,
    "OUTPUT": paths,
    "PATH": paths,
    "PATTERN": nodes,
    "RECORD": builds,
    "TOPIC": topics,
}
# By the name of the argument, where the metavar says too little.
_BY_NAME: Mapping[str, Completer] = {
    "arch": architectures,
    "boot_loaders": boot_loaders,
    "compression": compressions,
    "executor": places,
    "folder": folders,
    "remote_cache": places,
}
