"""fetch/file: a file of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import RuleError
from kitbuild.rule import Rule, Work

_PIECE_BYTES = 1 << 20


class FileOptions(NamedTuple):
    """`hex` and `size` (bytes) name the content, so they are identity; `path` says where it was seen."""

    hex: str
    size: int
    path: str


def run(work: Work[FileOptions]) -> Digest:
    """Copies the file; raises RuleError if it cannot be read or is no longer what it was when the build began."""
    options = work.options
    try:
        # As the config has it, so `~` is still there.
        with Path(options.path).expanduser().open("rb", buffering=0) as stream, work.writer() as writer:
            # One byte more than expected tells a file that grew, without copying all of one that never ends.
            while writer.size <= options.size and (piece := stream.read(_PIECE_BYTES)):
                writer.write(piece)
            if writer.digest() != Digest(options.hex, options.size):
                raise RuleError(
                    f"`{options.path}` changed while it was used",
                    hint="build again once nothing writes to it",
                )
            return writer.commit()
    except OSError as error:
        raise RuleError(f"cannot read `{options.path}`: {error.strerror}") from error


RULE = Rule(
    name="fetch/file",
    version=1,
    summary="a file of the user's",
    options=FileOptions,
    unkeyed=("path",),
    output="blob",
    run=run,
)
