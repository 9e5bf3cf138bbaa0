"""The lock of a build: where it is, what is wrong in it, and what a config needs that it does not have."""

from __future__ import annotations

import json
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import ENAMETOOLONG
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, NoReturn

from kitbuild.errors import ConfigError, ConfigErrors, UsageError, Where
from kitbuild.report.text import printable

if TYPE_CHECKING:
    from kitbuild.config.model import Config, Place
    from kitbuild.digest import Digest
    from kitbuild.image import IndexName, Platform
    from kitbuild.lock import Lock, LockProblem
    from kitbuild.reference import Reference
    from kitbuild.resolve import Pins
    from kitbuild.store import Notes

# The space of notes that hold what is behind the URL of a config, by the digests of it and of the URL.
_SPACE = "config"
_CONFLICT = re.compile(r"^(?:<{7}|>{7}|={7}|\|{7})(?: .*)?$", re.MULTILINE)
_MOST_NAMED = 3


class InForce(NamedTuple):
    """A lock that counts for a build; with `only` nothing else may be looked up. `command` would mend it."""

    path: Path
    lock: Lock
    only: bool
    command: str

    @property
    def name(self) -> str:
        """How messages name it."""
        return str(self.path)


def add_lock_flags(parser: ArgumentParser) -> None:
    """Adds what a command takes that builds, or shows what would be built."""
    parser.add_argument(
        "--locked", action="store_true", help="fail unless everything a config names is in its lock"
    )
    parser.add_argument(
        "--lock",
        metavar="FILE",
        help="the lock (default: CONFIG.lock beside the last config, if it is there)",
    )
    parser.add_argument("--no-lock", action="store_true", help="look everything up, whatever the lock says")


def lock_path(configs: Sequence[str]) -> Path | None:
    """Where the lock of these configs is, beside the last; here for one from a URL, nowhere for stdin."""
    from kitbuild.config.sources import folder_of

    last = configs[-1]
    if last == "-":
        return None
    if folder_of(last) is None:
        name = re.split(r"[?#]", last)[0].rstrip("/").rpartition("/")[2]
        return Path(f"{name}.lock") if name else None
    return Path(f"{last}.lock")


def lock_in_force(arguments: Namespace) -> InForce | None:
    """The lock that counts, if any; raises ConfigErrors for what is wrong in it, UsageError if it has to be there."""
    given: str | None = getattr(arguments, "lock", None)
    only: bool = getattr(arguments, "locked", False)
    if getattr(arguments, "no_lock", False):
        if given or only:
            flag = "--lock" if given else "--locked"
            raise UsageError(f"expected either `{flag}` or `--no-lock`, got both")
        return None
    path = Path(given) if given else lock_path(arguments.configs)
    command = lock_command(arguments, path if given else None)
    lock = read_lock(path) if path else None
    if path is None or lock is None:
        if given or only:
            raise UsageError(f"expected a lock at `{path or '-'}`, got none", hint=f"run `{command}`")
        return None
    return InForce(path, lock, only, command)


def read_lock(path: Path) -> Lock | None:
    """The lock in a file, None if there is no file; raises ConfigErrors and UsageError."""
    content = _content(path)
    return None if content is None else decoded(content, str(path))


def lock_command(arguments: Namespace, path: Path | None) -> str:
    """The command line that writes what is missing into the lock."""
    from kitbuild.config.sources import name_of

    flags = ["--arch", arguments.arch] if isinstance(arguments.arch, str) else []
    flags += ["-o", str(path)] if path else []
    return " ".join(map(quote, ["kitbuild", "lock", *flags, *map(name_of, arguments.configs)]))


def _content(path: Path) -> bytes | None:
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - on the way of every build
            # Most builds have no lock, and do without what reads one.
            from kitbuild.lock import MAX_BYTES

            return stream.read(MAX_BYTES + 1) or b""
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        if error.errno == ENAMETOOLONG:
            return None  # the config's name leaves no room for more
        hint = "name another with `--lock`, or build with `--no-lock`"
        raise UsageError(f"cannot read `{path}`: {(error.strerror or '').lower()}", hint=hint) from error


def decoded(content: bytes, name: str) -> Lock:
    """The lock in a file; raises ConfigErrors with every mistake at its place."""
    from kitbuild.lock import MAX_BYTES, LockProblemsError, decode

    if len(content) > MAX_BYTES:
        _refuse(name, f"expected at most {MAX_BYTES >> 20} MiB, got more", "give the lock of a config")
    try:
        return decode(content)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        message = f"expected UTF-8 text, got the byte 0x{content[error.start]:02x}"
        _refuse(name, message, "take the file from before", Where(name, line, column))
    except json.JSONDecodeError as error:
        _refuse_syntax(name, error)
    except LockProblemsError as error:
        raise ConfigErrors(_located(error.problems, content, name)) from error


def _refuse(name: str, message: str, hint: str, where: Where | None = None) -> NoReturn:
    raise ConfigErrors([ConfigError(message, where=where or Where(name, 1, 1), hint=hint)])


def _refuse_syntax(name: str, error: json.JSONDecodeError) -> NoReturn:
    marker = _CONFLICT.search(error.doc)
    if marker:
        line = error.doc.count("\n", 0, marker.start()) + 1
        message = f"expected a lock, got the marker of a merge conflict: `{marker[0][:40]}`"
        hint = "take one side whole (git checkout --ours FILE), then run `kitbuild lock` again"
        _refuse(name, message, hint, Where(name, line, 1, marker[0]))
    text = error.doc.splitlines()[error.lineno - 1] if error.lineno <= len(error.doc.splitlines()) else ""
    reason = error.msg[:1].lower() + error.msg[1:]
    _refuse(
        name,
        f"expected JSON, got something else: {reason}",
        "take the file from before, or remove it and run `kitbuild lock`",
        Where(name, error.lineno, error.colno, text),
    )


def _located(problems: Iterable[LockProblem], content: bytes, name: str) -> list[ConfigError]:
    """The problems with their places. JSON is YAML, and places in that are known how to be found."""
    from kitbuild.config.yaml import parse

    try:
        document = parse(content, name)
    except ConfigError:
        return [
            ConfigError(problem.message, where=Where(name, 1, 1), hint=problem.hint) for problem in problems
        ]
    errors = [
        ConfigError(
            problem.message, where=document.where(problem.path, key=problem.at_key), hint=problem.hint
        )
        for problem in problems
        if not (problem.at_key and problem.message.endswith(" again"))
    ]
    # A name that is there twice has two places; the second is the one to look at.
    errors += document.problems
    return sorted(errors, key=lambda error: error.where[1:3] if error.where else (0, 0))


def pins_of(lock: Lock, name: str) -> Pins:
    """What a Resolver takes of a lock."""
    from kitbuild.resolve import Pins
    from kitbuild.rules.fetch import locked

    return Pins(lock, name, locked.image_at, locked.index_at, locked.agreeing, locked.holds)


# -- what a config needs


def pins_in_force(lock: InForce, config: Config, platform: Platform, *, warnings: list[str]) -> Pins:
    """What a Resolver takes of a lock; adds to `warnings` what is not in it.

    Raises ConfigErrors for that if nothing else may be looked up.
    """
    from kitbuild.config.lower import references_of
    from kitbuild.config.volumes import index_names_of

    missing = unlocked(lock.lock, platform, references_of(config), index_names_of(config))
    if missing and lock.only:
        raise ConfigErrors(refusals(missing, lock, platform))
    if missing:
        warnings.append(warning_of([name for name, _ in missing], lock))
    return pins_of(lock.lock, lock.name)


def unlocked(
    lock: Lock, platform: Platform, images: Mapping[Reference, Place], volumes: Mapping[IndexName, Place]
) -> list[tuple[str, Place]]:
    """What of the images and volumes of a config is not in the lock, with where the config names it."""
    from kitbuild.lock import volume_name

    return [
        *((str(one), place) for one, place in images.items() if lock.image(one, platform) is None),
        *((volume_name(one), place) for one, place in volumes.items() if lock.volume(one) is None),
    ]


def refusals(missing: Iterable[tuple[str, Place]], lock: InForce, platform: Platform) -> list[ConfigError]:
    """A mistake for each."""
    return [
        ConfigError(
            f"expected {name} for {platform} in {lock.name}, got nothing",
            where=place.where(),
            hint=f"run `{lock.command}`",
        )
        for name, place in missing
    ]


def warning_of(names: Sequence[str], lock: InForce) -> str:
    """One sentence about all that is not in a lock."""
    shown = ", ".join(names[:_MOST_NAMED])
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    verb = "is" if len(names) == 1 else "are"
    return printable(f"{shown}{more} {verb} not in {lock.name}: run `{lock.command}`")


# -- configs behind addresses


def address_of(source: str) -> str:
    """How a lock names a config from a URL: without password and query, which may hold secrets."""
    from kitbuild.config.sources import name_of

    return re.split(r"[?#]", name_of(source))[0]


def reader_of(lock: InForce | None, notes: Callable[[], Notes], warnings: list[str]) -> Callable[..., bytes]:
    """What reads configs so that those from URLs are the locked ones; adds to `warnings` which are not."""
    from kitbuild.config.sources import folder_of, name_of
    from kitbuild.config.sources import read as read_plainly

    if lock is None:
        return read_plainly

    def read(source: str, *, stdin: BinaryIO | None) -> bytes:
        if folder_of(source) is not None:
            return read_plainly(source, stdin=stdin)
        expected = lock.lock.configs.get(address_of(source))
        if expected is None:
            if lock.only:
                message = f"expected {name_of(source)} in {lock.name}, got nothing"
                raise ConfigError(message, hint=f"run `{lock.command}`")
            warnings.append(warning_of([name_of(source)], lock))
            return read_plainly(source, stdin=stdin)
        return pinned_config(source, expected, notes(), where=lock.name)

    return read


def pinned_config(source: str, expected: Digest, notes: Notes, *, where: str) -> bytes:
    """The config of this digest behind an address; raises ConfigError if something else is there now."""
    from kitbuild.config.sources import name_of
    from kitbuild.config.sources import read as read_plainly
    from kitbuild.digest import Digest

    kept = notes.note(_SPACE, _note_name(source, expected))
    if kept is not None and Digest.of(kept) == expected:
        return kept
    content = read_plainly(source, stdin=None)
    got = Digest.of(content)
    if got != expected:
        raise ConfigError(
            f"`{name_of(source)}`: expected {expected.oci} as in {where}, got {got.oci}",
            hint="take what is there now with `kitbuild update`, which shows what else would change",
        )
    keep_config(source, content, notes)
    return content


def keep_config(source: str, content: bytes, notes: Notes) -> Digest:
    """Keeps what was behind a URL, so that nobody has to be asked for it again; gives its digest."""
    from kitbuild.digest import Digest

    digest = Digest.of(content)
    notes.keep(_SPACE, _note_name(source, digest), content)
    return digest


def _note_name(source: str, digest: Digest) -> str:
    # By the whole URL: addresses that differ in their query alone have one name in a lock.
    from kitbuild.config.sources import name_of
    from kitbuild.digest import Digest

    return f"{digest.hex} {Digest.of(name_of(source).encode('utf-8', 'surrogateescape')).hex}"
