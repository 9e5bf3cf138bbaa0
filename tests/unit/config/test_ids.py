from __future__ import annotations

import pytest

from kitbuild.config.ids import UnknownIdError, ids_of, number_of
from tests.unit.config.configs import config

_IDS = {"prep": 100, "web": 101}


def test_containers_are_numbered_from_100_in_boot_order() -> None:
    system = config(
        """
        services: [{name: web, image: a}]
        onshutdown: [{name: bye, image: a}]
        onboot: [{name: prep, image: a}, {name: net, image: a}]
        """,
    )

    ids = ids_of(system.containers)

    assert ids == {"prep": 100, "net": 101, "bye": 102, "web": 103}


def test_a_repeated_name_keeps_the_later_number_and_the_count_goes_on() -> None:
    system = config(
        """
        onboot: [{name: run, image: a}, {name: run, image: a}]
        services: [{name: web, image: a}]
        """,
    )

    ids = ids_of(system.containers)

    assert ids == {"run": 101, "web": 102}


@pytest.mark.parametrize(
    ("value", "number"),
    [
        pytest.param(None, 0, id="absent"),
        pytest.param("", 0, id="empty"),
        pytest.param("root", 0, id="root"),
        pytest.param(33, 33, id="number"),
        pytest.param(-1, 0xFFFFFFFF, id="negative numbers wrap to 32 bits"),
        pytest.param((1 << 32) + 5, 5, id="large numbers are cut to 32 bits"),
        pytest.param("web", 101, id="name of a container"),
    ],
)
def test_uid_and_gid_become_numbers(value: str | int | None, number: int) -> None:
    assert number == number_of(value, _IDS)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("wep", "did you mean `web`?"),
        ("1000", "write the number without quotes"),
        ("postgres", "name an entry of onboot, onshutdown or services, or give the number"),
    ],
)
def test_a_name_of_nobody_is_refused(value: str, hint: str) -> None:
    with pytest.raises(UnknownIdError) as raised:
        number_of(value, _IDS)

    assert str(raised.value) == f"expected a number, `root` or the name of a container, got `{value}`"
    assert raised.value.hint == hint
