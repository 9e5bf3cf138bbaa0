from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.cause.origins import OriginChanges
from kitbuild.record import ImageOrigin, Origin, Origins


def places(*names: str, **values: Any) -> dict[str, Origin]:
    """Sections one under another, each with a value of its own."""
    return {
        name: Origin(
            "x.yml", line, 3, values.get(name.partition(" ")[2] or name, {"name": name, "own": name})
        )
        for line, name in enumerate(names, 1)
    }


def sections(before: dict[str, Origin], now: dict[str, Origin]) -> list[str]:
    changes = OriginChanges(Origins(places=before), Origins(places=now))
    return [cause.sentence for cause in changes.of_kind("")]


def test_sections_that_stay_are_no_change() -> None:
    assert sections(places("services a"), places("kernel", "services a")) == ["x.yml:1: kernel was added"]


def test_renamed_section_is_known_by_what_it_says() -> None:
    same = {"name": "x", "image": "t/x"}

    before, now = places("services a", a=same), places("services b", b={**same, "name": "b"})

    assert sections(before, now) == ["x.yml:1: services a was renamed to b"]


def test_two_sections_that_say_the_same_are_paired_in_their_order() -> None:
    same = {"image": "t/x"}
    before = places("services a", "services b", a=same, b=same)
    now = places("services c", "services d", c=same, d=same)

    assert sections(before, now) == [
        "x.yml:1: services a was renamed to c",
        "x.yml:2: services b was renamed to d",
    ]


def test_section_that_was_moved_may_say_something_else_besides() -> None:
    before = places("services a", "services b", b={"name": "b", "env": "one"})
    now = places("services b", "services a", b={"name": "b", "env": "two"})
    changes = OriginChanges(Origins(places=before), Origins(places=now))

    assert [cause.subject for cause in changes.of_kind("services")] == ["services b"]
    assert [cause.subject for cause in changes.written("services b")] == ["services b.env"]


def test_renamed_section_in_another_list_is_said_in_one_sentence() -> None:
    same = {"image": "t/x"}

    found = sections(places("onboot a", a=same), places("services b", b=same))

    assert found == ["x.yml:1: onboot a was moved to services as b"]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ("abc", "abc", []),
        ("abc", "cab", ["x.yml:1: services c was moved from place 3 to 1"]),
        ("abc", "bca", ["x.yml:3: services a was moved from place 1 to 3"]),
        ("ab", "xab", ["x.yml:1: services x was added"]),
    ],
)
def test_the_fewest_sections_were_moved(before: str, now: str, expected: list[str]) -> None:
    assert expected == sections(*(places(*(f"services {name}" for name in order)) for order in (before, now)))


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_every_other_order_has_a_section_that_was_moved(before: Sequence[int], now: Sequence[int]) -> None:
    found = sections(*(places(*(f"services {name}" for name in order)) for order in (before, now)))

    assert (list(before) == list(now)) == (not found)
    assert len(found) < 6


def test_line_is_that_of_the_value_or_of_the_nearest_around_it() -> None:
    lines = {"resources": 4, "resources.memory": 5}
    before = {"services a": Origin("x.yml", 3, 3, {"resources": {"memory": {"limit": 1}}}, lines)}
    now = {"services a": Origin("x.yml", 3, 3, {"resources": {"memory": {"limit": 2}}}, lines)}

    (cause,) = OriginChanges(Origins(places=before), Origins(places=now)).written("services a")

    assert cause.sentence == "x.yml:5: resources.memory.limit changed from 1 to 2"
    assert (cause.subject, cause.line, cause.before, cause.after) == (
        "services a.resources.memory.limit",
        5,
        1,
        2,
    )


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (ImageOrigin("a" * 64, "", "s"), ImageOrigin("a" * 64, "", "other"), None),
        (
            ImageOrigin("a" * 64, "c" * 64, "s"),
            ImageOrigin("b" * 64, "c" * 64, "s"),
            "t/x moved: sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb (s)",
        ),
        (
            ImageOrigin("", "a" * 64, "s"),
            ImageOrigin("", "b" * 64, "registry:host mirror=https://x"),
            "t/x moved: sha256:aaaaaaaaaaaa -> sha256:bbbbbbbbbbbb (registry:host, before s)",
        ),
        (ImageOrigin("", "", "", "gone"), ImageOrigin("a" * 64, "", "s"), "t/x was not found before"),
        (ImageOrigin("a" * 64, "", "s"), ImageOrigin("", "", "", "gone"), "t/x is not found: gone"),
        (ImageOrigin("a" * 64, "b" * 64, "s"), ImageOrigin("a" * 64, "c" * 64, "s"), None),
    ],
)
def test_images_are_told_by_what_their_names_led_to(
    before: ImageOrigin, now: ImageOrigin, expected: str | None
) -> None:
    changes = OriginChanges(Origins(images={"t/x": before}), Origins(images={"t/x": now}))

    cause = changes.image("t/x")

    assert expected == (cause.sentence if cause else None)


def test_flags_are_told_by_both_values() -> None:
    changes = OriginChanges(
        Origins(flags={"--size": "1G", "--boot-loader grub": "a"}), Origins(flags={"--boot-loader grub": "b"})
    )

    assert [cause.sentence for cause in changes.flags.values()] == [
        "--boot-loader grub: a -> b",
        "--size 1G -> none",
    ]
