"""Ids: the user and group numbers that containers get, and what a uid or gid in a config stands for.

The numbers are positional: one more onboot entry moves every number after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from kitbuild.config.schema import shown
from kitbuild.suggest import did_you_mean

if TYPE_CHECKING:
    from kitbuild.config.model import Container

Ids = Mapping[str, int]

_FIRST = 100  # LinuxKit's choice; below are the users an image may bring itself


class UnknownIdError(ValueError):
    """A uid or gid names nobody; `hint` is an order one can follow."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def ids_of(containers: Iterable[Container]) -> Ids:
    """Numbers containers in the given order (onboot, onshutdown, services) from 100; the later of one name counts."""
    return {container.name: number for number, container in enumerate(containers, _FIRST)}


def number_of(value: str | int | None, ids: Ids) -> int:
    """The number behind a uid or gid: absent, empty and `root` are 0, other text is a container's name.

    Integers are cut to 32 bits, as LinuxKit does. Raises UnknownIdError.
    """
    if value is None or value in ("", "root"):
        return 0
    if isinstance(value, int):
        return value & 0xFFFFFFFF
    number = ids.get(value)
    if number is None:
        hint = "write the number without quotes" if value.isdigit() else did_you_mean(value, ids)
        raise UnknownIdError(
            f"expected a number, `root` or the name of a container, got {shown(value)}",
            hint or "name an entry of onboot, onshutdown or services, or give the number",
        )
    return number
