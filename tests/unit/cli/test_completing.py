"""What an argument may be completed by; how shells take it is tested in real ones."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace, _SubParsersAction
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kitbuild.cli import completing
from kitbuild.cli.completing import attach, boot_loaders, configs, folders, formats, nodes, paths
from kitbuild.cli.init import STARTERS
from kitbuild.cli.main import parser_for, parser_of_all
from kitbuild.registry import formats as known_formats

NOTHING = Namespace()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.yml", "b.yaml", "note.txt", ".hidden.yml", "more/c.yml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KITBUILD_CACHE_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", ["a.yml", "b.yaml", "more/"]),
        ("a", ["a.yml"]),
        ("more/", ["more/c.yml"]),
        ("./m", ["./more/"]),
        ("~/more/", ["~/more/c.yml"]),
        (".", [".hidden.yml"]),
        ("nowhere/", []),
    ],
)
def test_configs_are_yaml_files_and_folders_on_the_way(prefix: str, found: list[str]) -> None:
    assert list(configs(prefix, NOTHING)) == found


def test_other_files_and_folders_are_told_apart() -> None:
    assert paths("", NOTHING) == {"a.yml": "file", "b.yaml": "file", "more/": "folder", "note.txt": "file"}
    assert folders("", NOTHING) == {"more/": "folder"}


def test_formats_go_on_behind_a_comma() -> None:
    assert list(formats("", NOTHING)) == list(known_formats())
    assert "iso,tar" in formats("iso,", NOTHING)
    assert "iso,iso" not in formats("iso,", NOTHING)


def test_boot_loader_is_followed_by_its_source() -> None:
    assert "grub=" in boot_loaders("gr", NOTHING)
    assert "grub=more/" in boot_loaders("grub=mo", NOTHING)


def test_nodes_of_a_config_nobody_built_are_those_it_is_lowered_to(folder: Path) -> None:
    (folder / "a.yml").write_text("files: [{path: etc/a, contents: a}]\n")

    found = nodes("", Namespace(configs=["a.yml"]))

    assert found["initrd"] == "format/join"


def test_nobody_knows_nodes_without_a_config_and_without_a_build() -> None:
    assert nodes("", Namespace(configs=[])) == {}


def actions(parser: ArgumentParser) -> Iterator[tuple[str, object, Mapping[str, object]]]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for child in action.choices.values():
                yield from actions(child)
        elif action.nargs != 0 and not action.choices:
            yield f"{parser.prog} {action.dest}", action.metavar, vars(action)


def test_every_argument_that_takes_a_value_has_a_completer() -> None:
    parser = parser_of_all()

    attach(parser)

    assert [name for name, _, given in actions(parser) if "completer" not in given] == []


@pytest.mark.parametrize(
    "metavar", ["CONFIG", "FILE", "DIR", "NODE", "FORMAT[,FORMAT]", "PATH", "OUTPUT", "NODE|CONFIG"]
)
def test_metavars_that_are_known_are_in_use(metavar: str) -> None:
    used = {used for _, used, _ in actions(parser_of_all()) if isinstance(used, str)}
    used |= {word for _, used, _ in actions(parser_of_all()) if isinstance(used, tuple) for word in used}

    assert metavar in used


def test_commands_that_are_not_imported_are_described() -> None:
    parser = parser_for(["build"])

    attach(parser)

    (commands,) = (action for action in parser._actions if isinstance(action, _SubParsersAction))
    described = {choice.dest: choice.help for choice in commands._choices_actions}
    assert described["graph"] == "show what a config turns into and what of it is cached"
    assert len(described) == len(commands.choices)


def test_completer_that_fails_answers_with_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(prefix: str, given: Namespace) -> Mapping[str, str]:
        raise OSError(prefix)

    called = completing._called(failing)

    assert called(prefix="a", parsed_args=NOTHING, action=None, parser=None) == {}


@pytest.mark.parametrize("config", ["http://127.0.0.1:9/x.yml", "none.yml", "pipe.yml"])
def test_nobody_is_asked_for_the_nodes_of_a_config(config: str, folder: Path) -> None:
    os.mkfifo(folder / "pipe.yml")

    assert nodes("", Namespace(configs=[config])) == {}


def test_choices_are_told_with_what_each_is_and_not_with_the_help_of_the_flag() -> None:
    parser = parser_of_all()
    attach(parser)
    completers = {
        name: given["completer"] for name, _, given in actions_with_choices(parser) if "completer" in given
    }

    assert completers["kitbuild init starter"](prefix="s", parsed_args=NOTHING) == {"ssh": STARTERS["ssh"]}
    assert completers["kitbuild completion shell"](prefix="", parsed_args=NOTHING) == {
        "bash": "",
        "zsh": "",
        "fish": "",
    }


def actions_with_choices(parser: ArgumentParser) -> Iterator[tuple[str, object, dict[str, Any]]]:
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for child in action.choices.values():
                yield from actions_with_choices(child)
        elif action.choices:
            yield f"{parser.prog} {action.dest}", action.metavar, vars(action)
