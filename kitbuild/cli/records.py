"""Records of builds as users name them: by an id, by how it begins, or by a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.errors import UsageError

if TYPE_CHECKING:
    from kitbuild.record import Record
    from kitbuild.store import Notes


def remembered(text: str, notes: Notes) -> Record | None:
    """The build of this id, or of the one id that begins so; raises UsageError if several do."""
    from kitbuild.history import listed, load

    ids = [name for name, _ in listed(notes) if name.startswith(text)] if text else []
    if text not in ids and len(ids) > 1:
        raise UsageError(
            f"expected the id of one build, got `{text}`, which {len(ids)} begin with",
            hint=f"write more of it: {', '.join(ids[:4])}",
        )
    return load(notes, text if text in ids else ids[0]) if ids else None


def record_in(path: Path) -> Record:
    """The record in a file that `kitbuild build --record` wrote; raises UsageError."""
    from kitbuild.record import MAX_BYTES, Record

    try:
        with path.open("rb") as file:
            return Record.decode(file.read(MAX_BYTES))
    except OSError as error:
        raise UsageError(f"cannot read `{path}`: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(
            f"expected the record of a build in `{path}`, got something else",
            hint="`kitbuild build --record FILE` writes one",
        ) from error
