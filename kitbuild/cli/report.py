"""Files about a build: its record, and the page that shows it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.errors import KitbuildError

if TYPE_CHECKING:
    from kitbuild.cli.configs import Lowered
    from kitbuild.record import Record
    from kitbuild.store import Store


def write_record(path: Path, record: Record) -> None:
    """Writes the record of a build; raises KitbuildError if that cannot be done."""
    _write(path, record.encode())


def write_report(path: Path, record: Record, found: Lowered, store: Store) -> None:
    """Writes the page about a build; raises KitbuildError if that cannot be done."""
    raise NotImplementedError


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise KitbuildError(f"cannot write `{path}`: {error.strerror}") from error
