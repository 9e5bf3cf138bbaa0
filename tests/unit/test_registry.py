"""The registry of formats: a module is enough."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

import kitbuild.rules.format
from kitbuild.errors import UsageError
from kitbuild.registry import formats, formats_named, module_of
from kitbuild.system import Format


def test_formats_are_those_of_every_module_by_name() -> None:
    folder = Path(kitbuild.rules.format.__path__[0])
    modules = [import_module(f"kitbuild.rules.format.{path.stem}") for path in folder.glob("[!_]*.py")]
    expected = {found.name for module in modules if (found := getattr(module, "FORMAT", None))}

    assert set(formats()) == expected
    assert list(formats()) == sorted(expected)


def test_every_format_can_be_listed_and_written() -> None:
    for name, found in formats().items():
        assert isinstance(found, Format)
        assert found.name == name
        assert found.summary
        assert not found.summary.endswith(".")
        assert callable(found.outputs)
        assert vars(import_module(module_of(name)))["FORMAT"] is found, "the module is named after the format"


def test_formats_are_given_once_in_the_order_asked_for() -> None:
    found = formats_named(["tar-kernel-initrd", "kernel+initrd", "tar-kernel-initrd"])

    assert [entry.name for entry in found] == ["tar-kernel-initrd", "kernel+initrd"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("tra", "did you mean `tar`?"),
        ("floppy", "choose from aws, docker, "),
        ("", "choose from "),
        ("segment", "choose from "),
    ],
)
def test_unknown_format_is_refused_with_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"expected a format, got `{name}`") as raised:
        formats_named(["tar", name])

    assert (raised.value.hint or "").startswith(hint)
