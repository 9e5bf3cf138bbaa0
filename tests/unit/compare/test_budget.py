from __future__ import annotations

import pytest

from kitbuild.compare.budget import Budget, budget, named_sizes, outcomes, output_names
from kitbuild.compare.difference import Difference, Side, Sizes
from kitbuild.errors import KitbuildError, UsageError
from kitbuild.report.diff_text import broken_budget, kept_budget

SIDE = Side("x", "output")
GROWN = Difference(
    SIDE,
    SIDE,
    Sizes(1000, 1100),
    {
        "kernel": Sizes(500, 500),
        "services web": Sizes(100, 150),
        "services db": Sizes(400, 450),
        "onboot new": Sizes(0, 7),
        "files": Sizes(None, 3),
    },
    outputs={"-initrd.img": Sizes(2_000_000, 4_000_001), "-kernel": Sizes(1, 1)},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("total=+5%", Budget("total", "percent", 5, "+5%")),
        ("initrd=+2MB", Budget("initrd", "growth", 2_000_000, "+2MB")),
        ("services redis=+100KiB", Budget("services redis", "growth", 102_400, "+100KiB")),
        ("kernel=20MiB", Budget("kernel", "size", 20 << 20, "20MiB")),
        ("kernel=1.5 gb", Budget("kernel", "size", 1_500_000_000, "1.5 gb")),
        ("init a=b=12", Budget("init a=b", "size", 12, "12")),
        ("total=+0", Budget("total", "growth", 0, "+0")),
    ],
)
def test_a_budget_is_read(text: str, expected: Budget) -> None:
    assert expected == budget(text)


@pytest.mark.parametrize(
    "text", ["total", "=5", "total=", "total=5%", "total=-5MB", "total=+5XB", "total=MB", "a=1e9"]
)
def test_what_is_no_budget_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        budget(text)


@pytest.mark.parametrize(
    ("text", "is_kept"),
    [
        ("total=+100", True),
        ("total=+99", False),
        ("total=+10%", True),
        ("total=+9.9%", False),
        ("total=1100", True),
        ("total=1.09KB", False),
        ("services web=+50", True),
        ("services=+99", False),
        ("initrd=+2MB", False),
        ("initrd.img=+2MB", False),
        ("-initrd.img=+2.1MB", True),
        ("kernel=500", True),
        ("onboot new=+5%", False),
        ("files=3", True),
    ],
)
def test_a_budget_is_held_against_what_it_names(text: str, is_kept: bool) -> None:
    (outcome,) = outcomes([budget(text)], GROWN)

    assert is_kept == outcome.is_kept


def test_an_unknown_name_is_a_usage_error_that_knows_better() -> None:
    with pytest.raises(UsageError) as caught:
        outcomes([budget("services wep=1")], GROWN)

    assert "did you mean `services web`?" == caught.value.hint


def test_sizes_nobody_knows_are_an_error() -> None:
    with pytest.raises(KitbuildError, match="files are not known"):
        outcomes([budget("files=+1")], GROWN)


def test_a_section_wins_over_an_output_of_its_name() -> None:
    assert Sizes(500, 500) == named_sizes(GROWN)["kernel"]
    assert Sizes(1, 1) == named_sizes(GROWN)["output kernel"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("initrd=+1MB", "`initrd`: expected at most +1MB, got +2MB (2MB -> 4MB)"),
        ("total=+5%", "`total`: expected at most +5%, got +10% (1000 B -> 1.1 KiB)"),
        ("total=1KB", "`total`: expected at most 1KB, got 1.1KB"),
    ],
)
def test_a_broken_budget_says_what_was_allowed_and_what_was_got(text: str, message: str) -> None:
    (outcome,) = outcomes([budget(text)], GROWN)

    assert message == broken_budget(outcome)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("initrd=+2.1MB", "initrd +2MB of +2.1MB"),
        ("initrd=+2000001", "initrd +2000001 B of +2000001"),
        ("initrd=4MiB", "initrd 3.8MiB of 4MiB"),
        ("services db=+20%", "services db +12.5% of +20%"),
    ],
)
def test_a_kept_budget_says_what_of_it_is_used(text: str, message: str) -> None:
    (outcome,) = outcomes([budget(text)], GROWN)

    assert message == kept_budget(outcome)


def test_what_is_just_over_its_budget_does_not_look_as_if_it_were_in_it() -> None:
    (outcome,) = outcomes([budget("initrd=+2MB")], GROWN)

    assert "got +2.000001MB (" in broken_budget(outcome)


def test_what_was_nothing_grows_out_of_any_percentage() -> None:
    (outcome,) = outcomes([budget("onboot new=+5%")], GROWN)

    assert "got growth from nothing (0 B -> 7 B)" in broken_budget(outcome)


def test_outputs_are_called_what_a_budget_calls_them_and_never_as_if_they_were_removed() -> None:
    names = output_names(GROWN)

    assert {"-initrd.img": "initrd.img", "-kernel": "output kernel"} == names
    assert all(named_sizes(GROWN)[name] == GROWN.outputs[suffix] for suffix, name in names.items())
