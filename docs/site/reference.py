"""Reference pages, made from what the program declares: nothing in them is written twice."""

from __future__ import annotations

import argparse
import json
import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from kitbuild.registry import formats
from kitbuild.rule import Rule

_GROUPS = ("fetch", "unpack", "assemble", "format")


def pages() -> dict[str, str]:
    """Every generated page, by its place in the site."""
    return {
        "reference/commands.md": commands_page(),
        "reference/formats.md": formats_page(),
        "reference/rules.md": rules_page(),
        "reference/events.md": schema_page("Events", _EVENTS, events_schema()),
        "reference/config.md": schema_page("Config schema", _CONFIG, config_schema()),
    }


# -- commands


def commands_page() -> str:
    """Every command with its help and its flags."""
    from kitbuild.cli.main import parser_of_all

    lines = ["# Commands", "", "What `kitbuild COMMAND --help` says, of every command.", ""]
    for parser in _leaves(parser_of_all()):
        lines += _command(parser)
    return "\n".join(lines)


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield parser
    for action in inner:
        for child in dict.fromkeys(action.choices.values()):
            yield from _leaves(child)


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    yield from (f"## {parser.prog}", "", "```text", usage, "```", "")
    if parser.description:
        yield from ("```text", parser.description.strip(), "```", "")
    rows = [
        (_named(action), (action.help or "").replace("%%", "%"))
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]
    if rows:
        yield from table(("argument", "what it says"), rows)


def _named(action: argparse.Action) -> str:
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    if isinstance(value, tuple):
        value = " ".join(value)
    if action.choices and not action.metavar:
        value = "|".join(map(str, action.choices))
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(
        f"`{flag}{f' {value}' if value and action.nargs != 0 else ''}`" for flag in action.option_strings
    )


# -- formats and rules


def formats_page() -> str:
    """Every format: what it is for, its files, its boot loaders."""
    rows = []
    for one in formats().values():
        loaders = "; ".join(f"{name}: {', '.join(needed)}" for name, needed in one.loaders.items())
        rows.append((f"`{one.name}`", one.summary, loaders or "none", "yes" if one.stream else ""))
    lines = ["# Formats", "", "What `kitbuild formats` lists; [how to choose one](../formats.md).", ""]
    return "\n".join([*lines, *table(("format", "what it is", "boot loaders", "into a pipe"), rows)])


def rules() -> list[Rule[Any]]:
    """Every rule there is, by name."""
    found = {}
    for group in _GROUPS:
        package = import_module(f"kitbuild.rules.{group}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for value in vars(import_module(module.name)).values():
                if isinstance(value, Rule):
                    found[value.name] = value
    return [found[name] for name in sorted(found)]


def rules_page() -> str:
    """Every rule: what it does, what it takes and gives."""
    lines = [
        "# Rules",
        "",
        "A rule says what a node does. Its version is part of every key; it goes up when the same inputs give other",
        "bytes. Options marked with * do not shape the result and stay out of the key.",
        "",
    ]
    for rule in rules():
        options = [f"`{name}`{'*' if name in rule.unkeyed else ''}" for name in rule.options._fields]
        takes = [
            f"`{name}` ({'any number of ' if one.many else ''}{'optional ' if one.optional else ''}{one.kind})"
            for name, one in rule.inputs.items()
        ]
        lines += [f"## {rule.name}", "", f"{rule.summary}. Version {rule.version}.", ""]
        lines += [f"- takes: {', '.join(takes) or 'nothing'}", f"- gives: {rule.output}"]
        lines += [f"- options: {', '.join(options) or 'none'}", ""]
    return "\n".join(lines)


# -- JSON Schemas

_EVENTS = (
    "What `--json` writes: one JSON object a line. `kitbuild schema --events` gives this as a JSON Schema."
)
_CONFIG = "What a config may hold. `kitbuild schema` gives this as a JSON Schema, for editors."


def events_schema() -> dict[str, Any]:
    """The schema of events."""
    from kitbuild.report.schema import event_schema

    return event_schema()


def config_schema() -> dict[str, Any]:
    """The schema of configs."""
    from kitbuild.config.json_schema import json_schema_text

    schema: dict[str, Any] = json.loads(json_schema_text())
    return schema


def schema_page(title: str, text: str, schema: Mapping[str, Any]) -> str:
    """A page for a schema: a table an object that it describes."""
    lines = [f"# {title}", "", text, ""]
    for name, one in _objects(schema):
        lines += [f"## {name}", ""]
        if one.get("description") and one is not schema:
            lines += [one["description"], ""]
        required = set(one.get("required", ()))
        rows = [
            (f"`{key}`", _type(value), "yes" if key in required else "", value.get("description", ""))
            for key, value in one.get("properties", {}).items()
        ]
        if rows:
            lines += table(("key", "type", "required", "what it is"), rows)
    return "\n".join(lines)


def _objects(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if "properties" in schema:
        yield "Top level", schema
    definitions = {**schema.get("$defs", {}), **schema.get("definitions", {})}
    variants = {one["title"]: one for one in schema.get("oneOf", ()) if "title" in one}
    for name, one in {**variants, **definitions}.items():
        if isinstance(one, dict) and "properties" in one:
            yield name, one


def _type(value: Mapping[str, Any]) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return " or ".join(f"`{json.dumps(one)}`" for one in value["enum"])
    choices = value.get("oneOf") or value.get("anyOf")
    if choices:
        return " or ".join(dict.fromkeys(map(_type, choices)))
    kind = value.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array" and isinstance(value.get("items"), dict):
        return f"list of {_type(value['items'])}"
    return str(kind)


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    """A Markdown table, and the empty line after it."""
    lines = [heads, tuple("---" for _ in heads), *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines] + [""]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
