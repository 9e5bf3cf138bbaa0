"""Registry: what is there by name. A module in kitbuild.rules.format is enough for its formats to be known."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from kitbuild.errors import UsageError
from kitbuild.suggest import did_you_mean
from kitbuild.system import Format


def formats() -> dict[str, Format]:
    """Every output format by name."""
    import kitbuild.rules.format as package

    modules = sorted(path.stem for folder in package.__path__ for path in Path(folder).glob("[!_]*.py"))
    found = [
        output_format
        for module in modules
        for output_format in getattr(import_module(f"{package.__name__}.{module}"), "FORMATS", ())
    ]
    return {output_format.name: output_format for output_format in sorted(found)}


def formats_named(names: Sequence[str]) -> list[Format]:
    """The formats of these names, once each; raises UsageError for a name that is none."""
    known = formats()
    for name in names:
        if name not in known:
            raise UsageError(
                f"expected a format, got `{name}`",
                hint=did_you_mean(name, known) or f"choose from {', '.join(known)}",
            )
    return [known[name] for name in dict.fromkeys(names)]
