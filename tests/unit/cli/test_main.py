"""The frame of the command line: commands, messages, exit statuses."""

from __future__ import annotations

import errno
import io
import json
import sys
from argparse import ArgumentParser, Namespace
from typing import Any

import pytest

from kitbuild import __version__
from kitbuild.cli import formats as formats_command
from kitbuild.cli.main import main
from kitbuild.errors import BuildError, ConfigError, ConfigErrors, KitbuildError, RuleError, UsageError, Where
from kitbuild.registry import formats


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `kitbuild formats` raise."""

    def fail_with(error: BaseException) -> None:
        def run(arguments: Namespace) -> int:
            raise error

        def add(subparsers: Any) -> None:
            parser: ArgumentParser = subparsers.add_parser("formats")
            parser.set_defaults(run=run)

        monkeypatch.setattr(formats_command, "add", add)

    return fail_with


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0

    python = ".".join(map(str, sys.version_info[:3]))
    assert capsys.readouterr().out == f"kitbuild {__version__} (Python {python})\n"


def test_formats_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(formats())
    for line, found in zip(lines, formats().values(), strict=True):
        assert line.split(maxsplit=1)[1].startswith(found.summary)
        for architecture, loaders in found.loaders.items():
            assert f"{architecture}: {' and '.join(loaders)}" in line


def test_formats_are_listed_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["formats", "--json"]) == 0

    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(listed) == list(formats())
    assert listed["tar"] == {
        "name": "tar",
        "summary": formats()["tar"].summary,
        "outputs": [".tar"],
        "stream": True,
        "boots": False,
        "architectures": None,
        "loaders": {},
    }


@pytest.mark.parametrize(
    ("arguments", "status"), [(["--help"], 0), (["--version"], 0), ([], 2), (["nope"], 2)]
)
def test_argument_parser_gives_its_status(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status

    assert "kitbuild" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        pytest.param(UsageError("wrong", hint="do it"), 2, "error: wrong\nhint: do it\n", id="usage"),
        pytest.param(KitbuildError("bad"), 1, "error: bad\n", id="any"),
        pytest.param(RuleError("too large"), 1, "error: too large\n", id="rule"),
        pytest.param(
            ConfigErrors([ConfigError("odd", where=Where("a.yml", 1, 2))]),
            2,
            "error: a.yml:1:2: odd\n1 mistake\n",
            id="config",
        ),
        pytest.param(BuildError([("node", RuleError("told by the report"))]), 1, "", id="build"),
        pytest.param(KeyboardInterrupt(), 130, "interrupted\n", id="interrupt"),
        pytest.param(BrokenPipeError(), 0, "", id="reader gone"),
    ],
)
def test_error_gives_a_message_and_a_status(
    failing: Any, capsys: pytest.CaptureFixture[str], error: BaseException, status: int, text: str
) -> None:
    failing(error)

    assert main(["formats"]) == status
    assert capsys.readouterr() == ("", text)


@pytest.mark.parametrize("error", [KeyError("x"), OSError(errno.EIO, "broken"), AssertionError()])
def test_bug_keeps_its_traceback(failing: Any, error: Exception) -> None:
    failing(error)

    with pytest.raises(type(error)):
        main(["formats"])


def test_stdout_that_takes_nothing_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sys.stdout", Full())

    assert main(["version"]) == 1
    assert capsys.readouterr().err == "error: cannot write to stdout: No space left on device\n"


def test_only_the_command_asked_for_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[str] = []

    def recorded(name: str) -> Any:
        imported.append(name)
        return __import__(name, fromlist=["add"])

    monkeypatch.setattr("kitbuild.cli.main.import_module", recorded)

    main(["version"])

    assert imported == ["kitbuild.cli.version"]
