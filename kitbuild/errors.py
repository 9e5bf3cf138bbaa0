"""What can go wrong, as one tree.

KitbuildError               anything a user can act on; exit status 1
 ├─ UsageError              the command line is wrong; exit status 2
 ├─ ConfigError             one mistake in a config, with its place; exit status 2
 │   └─ UnavailableError    what a config names cannot be had now; the config may be right; exit status 1
 ├─ ConfigErrors            all mistakes of the configs at once; exit status 2, 1 if all are UnavailableErrors
 ├─ ImageError              an image cannot be found, read or trusted
 │   └─ ImageNotFoundError  no source has it (the next source may be asked)
 ├─ StoreError              the cache cannot be read or written
 │   ├─ MissingBlobError    content is not in the store: a miss, never a failed build
 │   └─ RemoteError         the remote cache did not do what it was asked: a miss, never a failed build
 ├─ RuleError               a rule refuses its inputs (a file too large for the format, no kernel in the image)
 └─ BuildError              one or more nodes failed

Our own bugs are not here: they are plain exceptions and keep their traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Where(NamedTuple):
    """A place in a file the user wrote; line and column count from 1.

    `text` is that line as written, without its newline, or empty if the place has no line to show.
    """

    file: str
    line: int
    column: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class KitbuildError(Exception):
    """Something the user can act on: one sentence, perhaps a place and a hint.

    `message` is lower case without a full stop, expected before got; `hint` is an order one can follow.
    """

    exit_status = 1

    def __init__(self, message: str, *, where: Where | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(KitbuildError):
    """The command line asks for something that does not exist or cannot go together."""

    exit_status = 2


class ConfigError(KitbuildError):
    """One mistake in a config."""

    exit_status = 2


class UnavailableError(ConfigError):
    """What a config names cannot be had now: a registry is down, a source is broken."""

    exit_status = 1


class ConfigErrors(KitbuildError):
    """Every mistake of the given configs, in the order of their places; `noun` is what one is called."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        self.exit_status = max(error.exit_status for error in errors)
        self.noun = "mistake" if self.exit_status == ConfigError.exit_status else "problem"
        super().__init__(f"{len(errors)} {self.noun}{'s' if len(errors) > 1 else ''} in the config")


class ImageError(KitbuildError):
    """An image cannot be found, read or trusted."""


class ImageNotFoundError(ImageError):
    """This source does not have the image; another one may."""


class StoreError(KitbuildError):
    """The cache cannot be read or written."""


class MissingBlobError(StoreError):
    """Content a result refers to is not in the store."""


class RemoteError(StoreError):
    """The remote cache did not do what it was asked; `message` says why, for one warning, and holds no secret.

    `lasting` is true if asking again is of no use (refused, unknown host); `writing` if only writing is refused.
    """

    def __init__(
        self, message: str, *, lasting: bool = False, writing: bool = False, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.lasting = lasting
        self.writing = writing


class RuleError(KitbuildError):
    """A rule refuses its inputs."""


class BuildError(KitbuildError):
    """One or more nodes failed; `failures` are (node name, error) in the order they happened."""

    def __init__(self, failures: Sequence[tuple[str, KitbuildError]]) -> None:
        super().__init__(f"{len(failures)} node{'s' if len(failures) > 1 else ''} failed")
        self.failures = tuple(failures)
