"""Configs as text in tests: loaded, or their mistakes as lines."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from textwrap import dedent

from kitbuild.config.load import load
from kitbuild.config.model import Config, Container
from kitbuild.errors import ConfigErrors


def config(text: str) -> Config:
    """The config the text describes."""
    return load(["-"], stdin=BytesIO(dedent(text).encode()))


def container(options: str = "") -> Container:
    """The service `web` with these options, each line a key."""
    lines = "".join(f"    {line}\n" for line in dedent(options).strip().splitlines())
    return config(f"services:\n  - name: web\n    image: acme/web:1\n{lines}").services[0]


def written(folder: Path, text: str, *, name: str = "linuxkit.yml") -> str:
    """The path of a file in `folder` with the text."""
    path = folder / name
    path.write_text(dedent(text), encoding="utf-8")
    return str(path)


def mistakes(text: str | bytes) -> list[str]:
    """Every mistake in the text as `line:column message (hint)`, in the order reported."""
    content = text if isinstance(text, bytes) else dedent(text).encode()
    try:
        load(["-"], stdin=BytesIO(content))
    except ConfigErrors as errors:
        return [shown(error) for error in errors.errors]
    return []


def shown(error: object) -> str:
    """One ConfigError as `line:column message (hint)`."""
    where, message, hint = (getattr(error, name) for name in ("where", "message", "hint"))
    place = f"{where.line}:{where.column} " if where else ""
    return f"{place}{message} ({hint})"
