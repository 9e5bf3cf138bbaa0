"""What is said of flags that cannot be read."""

from __future__ import annotations

import pytest

from kitbuild.cli.main import parser_for
from kitbuild.errors import UsageError


def refusal(line: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        parser_for(line.split()).parse_args(line.split())
    return raised.value


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("build -j 3 a.yml", "`kitbuild build --help` lists the flags"),
        ("help --x", "`kitbuild help --help` lists the flags"),
        ("build --dri out a.yml", "did you mean `--dir`?"),
        ("build --siez 3 a.yml", "did you mean `--size`?"),
    ],
)
def test_flag_that_is_like_no_other_brings_no_suggestion(line: str, hint: str) -> None:
    assert refusal(line).hint == hint


def test_value_that_does_not_fit_is_told_like_any_other_mistake() -> None:
    assert refusal("cache gc --max-size foo").message == (
        "`--max-size`: expected a size such as 500M, 10G or 10GiB, got `foo`"
    )
