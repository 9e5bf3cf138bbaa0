"""The two sides of `kitbuild diff`: what each of them is, and what differs between them."""

from __future__ import annotations

import re
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from kitbuild.errors import KitbuildError, UsageError

if TYPE_CHECKING:
    from kitbuild.cache.directory import DirectoryStore
    from kitbuild.compare.difference import Difference
    from kitbuild.compare.sections import System
    from kitbuild.compare.snapshot import Snapshot
    from kitbuild.record import Record

SideKind = Literal["config", "output", "record"]

# Enough to tell what a file is.
_START_BYTES = 1 << 16
# From here on people wait.
_LARGE_BYTES = 1 << 26
_ZLIB = b"\x78"
# What every config has: one of its sections at the beginning of a line, or in braces.
_SECTION = re.compile(
    r"(?:^|[{,]\s*)[\"']?(?:kernel|init|onboot|onshutdown|services|volumes|files|trust)[\"']?[ \t]*:", re.M
)
_CMDLINE, _KERNEL = "boot/cmdline", "boot/kernel"
# What formats that start a kernel have beside the root file system.
_BESIDE = (_KERNEL, _CMDLINE, "boot/ucode.cpio")
_NO_SYSTEM = {"kernel": "it is a kernel", "cmdline": "it is a kernel command line"}
_URL = re.compile(r"https?://")
_DIFFERENT_BYTES = "the same content in other bytes: times, order or compression differ"


class Found(NamedTuple):
    """One side: its name as the user wrote it, what it is, and the record if it is one."""

    name: str
    kind: SideKind
    record: Record | None = None


@contextmanager
def compared(arguments: Namespace) -> Iterator[Difference]:
    """What differs between the two sides; what is read for it stays open until the block ends."""
    from kitbuild.compare.difference import difference

    with ExitStack() as closing:
        names = (arguments.before, arguments.after)
        if names == ("-", "-"):
            raise UsageError("expected one side on stdin, got both", hint="write one of them to a file")
        before, after = (_found(name, arguments) for name in names)
        both_outputs = before.kind == after.kind == "output"
        identical = both_outputs and _identical(before.name, after.name)
        if identical and not arguments.budget and not (arguments.json or arguments.format == "json"):
            # Nobody asks for more than that nothing differs.
            yield difference(*_laid_out(*(_renamed(_bare(side), side.name) for side in (before, after))))
            return
        if both_outputs:
            _say_what_is_read(Path(before.name), Path(after.name))
        one = _system(before, arguments, closing)
        # Nothing differs between a system and itself, and nothing of it need be read to know that.
        other = _renamed(one, after.name) if identical else _system(after, arguments, closing)
        found = difference(*_laid_out(one, other), times=arguments.times)
        are_files = both_outputs and one.format == other.format and one.outputs and other.outputs
        yield _with_note(found, bool(are_files) and not identical)


def _say_what_is_read(*paths: Path) -> None:
    """Says to whoever waits what for, if that may take long."""
    from kitbuild.report.text import human_size, one_line

    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    if sys.stderr.isatty() and sum(sizes.values()) >= _LARGE_BYTES:
        named = " and ".join(f"{one_line(str(path))} ({human_size(size)})" for path, size in sizes.items())
        sys.stderr.write(f"reading {named}\n")


def _found(name: str, arguments: Namespace) -> Found:
    """What the user means by a name; raises UsageError if that is nothing."""
    if name == "-" or _URL.match(name):
        return Found(name, "config")
    path = Path(name)
    if not _is_there(path):
        from kitbuild.cli.records import remembered

        wants_record = arguments.kind in (None, "record")
        if wants_record and (record := remembered(name, _store(arguments))) is not None:
            return Found(name, "record", record)
        raise UsageError(
            f"expected a config, an output or the record of a build, got `{name}`, which is no file here",
            hint=_nearest(name, arguments) or "`kitbuild history` lists the builds that are remembered",
        )
    kind = arguments.kind or _kind_of(path)
    if kind != "record":
        return Found(name, kind)
    from kitbuild.cli.records import record_in

    return Found(name, kind, record_in(path))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long a name, or a NUL byte in it
        return False


def _kind_of(path: Path) -> SideKind:
    """What a file is, told by what is in it."""
    if path.is_dir() or not path.is_file():
        # What is no file at all is told so by who opens it; a pipe could only be read once.
        return "output"
    try:
        with path.open("rb") as stream:
            start = stream.read(_START_BYTES)
    except OSError as error:
        raise KitbuildError(f"cannot read `{path}`: {error.strerror}") from error
    if start.startswith(_ZLIB) and _is_record(path):
        return "record"
    if b"\0" in start:
        return "output"
    # The last character may be cut.
    text = start.decode("utf-8", "replace")
    return "config" if _SECTION.search(text) or path.suffix in (".yml", ".yaml", ".json") else "output"


def _is_record(path: Path) -> bool:
    from kitbuild.cli.records import record_in

    try:
        record_in(path)
    except KitbuildError:
        return False
    return True


def _nearest(name: str, arguments: Namespace) -> str | None:
    from kitbuild.history import listed
    from kitbuild.suggest import did_you_mean

    ids = [one for one, _ in listed(_store(arguments))]
    beside = [path.name for path in Path().iterdir()] if "/" not in name else []
    return did_you_mean(name, [*beside, *ids])


def _store(arguments: Namespace) -> DirectoryStore:
    from kitbuild.cache.directory import open_directory
    from kitbuild.settings import cache_dir, settings_of

    return open_directory(cache_dir(settings_of(arguments).cache_dir), warn=lambda message: None)


def _system(found: Found, arguments: Namespace, closing: ExitStack) -> System:
    if found.record is not None:
        from kitbuild.cli.diff_records import record_system

        return record_system(found.name, found.record, _store(arguments), closing=closing)
    if found.kind == "output":
        from kitbuild.cli.diff_outputs import output_system

        return output_system(found.name, Path(found.name), closing)
    from kitbuild.cli.configs import DEFAULT_FORMAT
    from kitbuild.cli.diff_configs import config_system

    names = [name for text in arguments.image_format for name in text.split(",") if name]
    return config_system(found.name, arguments, formats=names or [DEFAULT_FORMAT], closing=closing)


def _identical(before: str, after: str) -> bool:
    from kitbuild.cli.diff_outputs import are_identical

    return are_identical(Path(before), Path(after))


def _bare(found: Found) -> System:
    from kitbuild.compare.sections import System

    return System(found.name, "output")


def _renamed(system: System, name: str) -> System:
    """The system of an output that is the same byte for byte; the command line may stand in a file beside it."""
    from kitbuild.cli.diff_outputs import cmdline_beside

    return system._replace(name=name, cmdline=cmdline_beside(Path(name)))


def _with_note(found: Difference, is_other: bool) -> Difference:
    """Says so if files differ in nothing that is compared, and yet are not the same."""
    return (
        found._replace(missing=(*found.missing, _DIFFERENT_BYTES)) if is_other and found.is_empty else found
    )


def _laid_out(one: System, other: System) -> tuple[Snapshot, Snapshot]:
    """Both by the same kind of sections, and only with what both may have."""
    from kitbuild.compare.sections import laid_out

    _refuse_without_system(one, other)
    by_part = one.has_parts and other.has_parts
    one, other = _split(one), _split(other)
    if (one.source, one.format) != (other.source, other.format):
        one, other = _comparable(one, other), _comparable(other, one)
    elif one.source == "output" and one.outputs.keys() != other.outputs.keys():
        one, other = _named_alike(one, other), _named_alike(other, one)
    if one.cmdline is not None and other.cmdline is not None:
        # Told word by word, and in some formats it is no file of the system.
        one, other = _without(one, _CMDLINE), _without(other, _CMDLINE)
    return laid_out(one, by_part=by_part), laid_out(other, by_part=by_part)


def _named_alike(system: System, other: System) -> System:
    """With the one output under the name of its format; a folder has no size of its own."""
    sizes = system.outputs.values() if other.outputs else ()
    return system._replace(outputs=dict.fromkeys([system.format], sum(sizes)) if sizes else {})


def _refuse_without_system(one: System, other: System) -> None:
    """Raises UsageError if only one of the two has a system: everything would be gone, or new."""
    if (one.source, one.format) == (other.source, other.format):
        return
    for system in (one, other):
        if system.source == "output" and not system.files:
            what = _NO_SYSTEM.get(system.format, f"there is none in this {system.format}")
            raise UsageError(
                f"`{system.name}` has no system: {what}",
                hint="compare it with another of its kind, or name an output that has the system in it",
            )


def _split(system: System) -> System:
    """With the kernel and what goes with it on the medium, where it stands in the root file system.

    In other formats it stands beside that, and sizes are to mean the same for all.
    """
    if system.files is None:
        return system
    beside = {path: system.files[path] for path in _BESIDE if path in system.files}
    medium = None if "kernel" in system.unknown else {**(system.medium or {}), **beside}
    files = {path: file for path, file in system.files.items() if path not in beside}
    return system._replace(files=files, medium=medium)


def _without(system: System, path: str) -> System:
    if not system.medium:
        return system
    return system._replace(medium={name: file for name, file in system.medium.items() if name != path})


def _comparable(system: System, other: System) -> System:
    """Without what says more of the format than of the system.

    The kernel stands in the root file system of some formats, and beside it in others. What is on a medium depends on
    the format altogether.
    """
    medium = None
    if _KERNEL in (system.medium or {}) and _KERNEL in (other.medium or {}):
        medium = {path: file for path, file in (system.medium or {}).items() if path in _BESIDE}
    outputs = {} if system.source == other.source == "output" else system.outputs
    return system._replace(medium=medium, outputs=outputs)
