"""--color stands anywhere, and is told to everybody through the environment."""

from __future__ import annotations

import pytest

from kitbuild.cli.color import take_color
from kitbuild.cli.main import main
from kitbuild.errors import UsageError


@pytest.mark.parametrize(
    ("line", "left", "environment"),
    [
        ("build a.yml", "build a.yml", {"NO_COLOR": "", "FORCE_COLOR": "3"}),
        ("--color always build a.yml", "build a.yml", {"FORCE_COLOR": "1"}),
        ("build --color=never a.yml", "build a.yml", {"NO_COLOR": "1"}),
        ("build a.yml --color never", "build a.yml", {"NO_COLOR": "1"}),
        ("build --color auto a.yml", "build a.yml", {"NO_COLOR": "", "FORCE_COLOR": "3"}),
        ("--color never build --color always", "build", {"FORCE_COLOR": "1"}),
        ("build -- --color", "build -- --color", {"NO_COLOR": "", "FORCE_COLOR": "3"}),
    ],
)
def test_flag_is_taken_from_wherever_it_stands(line: str, left: str, environment: dict[str, str]) -> None:
    found = {"NO_COLOR": "", "FORCE_COLOR": "3"}

    assert take_color(line.split(), found) == left.split()
    assert found == environment


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("build --color", "`--color`: expected a value, got none", "write `--color never`, for one"),
        ("build --color nevr", "`--color`: expected when to colour, got `nevr`", "did you mean `never`?"),
        (
            "build --color=",
            "`--color`: expected when to colour, got ``",
            "use one of `auto`, `always`, `never`",
        ),
    ],
)
def test_value_that_is_none_is_refused(line: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        take_color(line.split(), {})

    assert (raised.value.message, raised.value.hint) == (message, hint)


def test_flag_is_told_of_by_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["formats", "--help"])

    assert "--color WHEN" in capsys.readouterr().out
