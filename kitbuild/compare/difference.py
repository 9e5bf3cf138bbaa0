"""What differs between two snapshots: values that say the same the other way round when they are turned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from kitbuild.compare.files import FileChange, State, fields_of, file_changes, state_of
from kitbuild.compare.packages import Packages
from kitbuild.compare.sections import order_of
from kitbuild.compare.snapshot import File, Section, Snapshot, Source
from kitbuild.compare.values import (
    CONFIG_JSON,
    FILES,
    RUNTIME_JSON,
    SETTINGS,
    Change,
    Listed,
    changes,
    mapping_changes,
    word_changes,
)

_DOCUMENTS: Mapping[str, Mapping[str, Listed]] = {"config.json": CONFIG_JSON, "runtime.json": RUNTIME_JSON}
# On a medium: what the system is packed into, and what is named after its content.
_HOLDS_SYSTEM = re.compile(
    r"(?:^|/)(?:\.?initrd[^/]*|initramfs[^/]*|EFI/Linux/[^/]+\.efi|blobs/sha256/[0-9a-f]+|index\.json|grub/[0-9a-f]{32})\Z",
    re.I,
)
# What the boot loader or the kernel is told.
_HOLDS_CMDLINE = re.compile(
    r"(?:^|/)(?:\.?cmdline[^/]*|[^/]+\.(?:cfg|conf|efi)|blobs/sha256/[0-9a-f]+|index\.json|grub/[0-9a-f]{32})\Z",
    re.I,
)
# Where on a CD they find the rest: the boot catalogue, and ISOLINUX with a table for that in its first sector.
_HOLDS_LAYOUT = re.compile(r"(?:boot/)?isolinux/(?:boot\.cat|isolinux\.bin)\Z")
_NONE: Mapping[str, Sizes] = MappingProxyType({})
# What stands beside the system, among the sizes.
MEDIUM = "medium"


class Sizes(NamedTuple):
    """Bytes before and after; None where they are not known."""

    before: int | None
    after: int | None

    @property
    def growth(self) -> int:
        """How much more it is now, 0 while one side is not known."""
        return 0 if self.before is None or self.after is None else self.after - self.before


class PackageChange(NamedTuple):
    """One package, in all the versions each side has of it."""

    name: str
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def state(self) -> State:
        """What became of it."""
        return state_of(self.before or None, self.after or None)


class SectionDifference(NamedTuple):
    """What differs in one section; of one that only one side has, all that is in it."""

    name: str
    state: State
    size: Sizes
    image: tuple[Change, ...] = ()
    settings: tuple[Change, ...] = ()
    runtime: tuple[Change, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    files: tuple[FileChange, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs after all."""
        return self.state == "changed" and not any(self[3:])


class Side(NamedTuple):
    """One of the two: its name as the user gave it, what it is, and its format if it is an output."""

    name: str
    source: Source
    format: str = ""


class Difference(NamedTuple):
    """All that differs between two systems.

    `total` is the content of the root file system. `sections` are those that differ, those that changed most first.
    `sizes` are those of all sections, in the order of the config, and of `medium` behind them. `packages` are those
    of the SBOM that no section has. `medium` are the files beside the system. `missing` says what could not be
    compared, `warnings` what could not be read.
    """

    before: Side
    after: Side
    total: Sizes
    sizes: Mapping[str, Sizes] = _NONE
    sections: tuple[SectionDifference, ...] = ()
    cmdline: tuple[Change, ...] = ()
    flags: tuple[Change, ...] = ()
    packages: tuple[PackageChange, ...] = ()
    medium: tuple[FileChange, ...] = ()
    outputs: Mapping[str, Sizes] = _NONE
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        sizes = self.outputs.values()
        return not any((self.sections, self.cmdline, self.flags, self.packages, self.medium)) and all(
            size.before == size.after for size in sizes
        )


def difference(before: Snapshot, after: Snapshot, *, times: bool = False) -> Difference:
    """All that differs between two snapshots, with `times` also when files were changed last."""
    compared = _Compared(before, after, times=times)
    names = sorted({*before.sections, *after.sections}, key=order_of)
    found = [compared.section(name) for name in names]
    sections = [one for one in found if not one.is_empty]
    cmdline = (
        () if before.cmdline is None or after.cmdline is None else word_changes(before.cmdline, after.cmdline)
    )
    flags = () if before.flags is None or after.flags is None else mapping_changes(before.flags, after.flags)
    medium = _medium(before, after, times=times, told=bool(sections), cmdline_told=bool(cmdline))
    return Difference(
        Side(before.name, before.source, before.format),
        Side(after.name, after.source, after.format),
        Sizes(_total(before), _total(after)),
        {**{one.name: one.size for one in found}, **_medium_sizes(before, after)},
        tuple(sorted(sections, key=_weight)),
        tuple(cmdline),
        tuple(flags),
        tuple(_package_changes(before.packages, after.packages)),
        tuple(medium),
        _outputs(before, after),
        tuple(dict.fromkeys((*before.missing, *after.missing))),
        tuple(dict.fromkeys((*before.warnings, *after.warnings))),
    )


def _medium_sizes(before: Snapshot, after: Snapshot) -> dict[str, Sizes]:
    """The size of what is on the medium, beside the sections; of other formats it says nothing."""
    if before.medium is None or after.medium is None or not (before.medium or after.medium):
        return {}
    if (before.source, before.format) != (after.source, after.format):
        return {}
    return {
        MEDIUM: Sizes(*(sum(file.size for file in side.values()) for side in (before.medium, after.medium)))
    }


def _medium(
    before: Snapshot, after: Snapshot, *, times: bool, told: bool, cmdline_told: bool
) -> Iterator[FileChange]:
    """What differs beside the system, less what only follows from what of the system is told."""
    if before.medium is None or after.medium is None:
        return
    for change in file_changes(before.medium, after.medium, times=times):
        follows = told and (_HOLDS_SYSTEM.search(change.path) or _HOLDS_LAYOUT.search(change.path))
        if not follows and not (cmdline_told and _HOLDS_CMDLINE.search(change.path)):
            yield change


class _Compared:
    """Two snapshots, section by section."""

    def __init__(self, before: Snapshot, after: Snapshot, *, times: bool) -> None:
        self._before = before
        self._after = after
        self._times = times
        self._ranks = [_ranks(one, other) for one, other in ((before, after), (after, before))]
        self._places = [_places(side) for side in (before, after)]
        self._cmdline_known = before.cmdline is not None and after.cmdline is not None

    def section(self, name: str) -> SectionDifference:
        """What differs in the section of this name."""
        before, after = self._before.sections.get(name), self._after.sections.get(name)
        one, other = before or Section(name, {}), after or Section(name, {})
        sizes = Sizes(one.size, other.size)
        if before is None or after is None:
            return SectionDifference(
                name,
                state_of(before, after),
                sizes,
                image=tuple(_image_changes(before, after)),
                packages=tuple(_package_changes(one.packages, other.packages)),
                files=tuple(self._files(one, other, frozenset())),
            )
        runtime = tuple(_runtime_changes(one, other))
        explained: set[str] = set()
        if one.runtime is not None and other.runtime is not None:
            # What is in them has been told field by field, unless that made no difference.
            told = {name for name in _DOCUMENTS if runtime or one.number != other.number}
            folder = f"containers/{name.replace(' ', '/', 1)}"
            explained |= {
                f"{folder}/{document}"
                for document in told
                if document in one.runtime and document in other.runtime
            }
        return SectionDifference(
            name,
            "changed",
            sizes,
            tuple(_image_changes(before, after)),
            (*self._setting_changes(one, other), *self._order(name)),
            runtime,
            tuple(_package_changes(one.packages, other.packages)),
            tuple(self._files(one, other, frozenset(explained))),
        )

    def _files(self, one: Section, other: Section, explained: frozenset[str]) -> Iterator[FileChange]:
        if one.files is None or other.files is None:
            return
        for found in file_changes(one.files, other.files, times=self._times):
            change = self._elsewhere(one.name, found)
            if change is None:
                continue
            if change.path not in explained or change.fields != ("content",):
                yield change

    def _elsewhere(self, section: str, change: FileChange) -> FileChange | None:
        """The change, for a path that went from one section to another as one of the later of the two."""
        if change.state == "changed":
            return change
        place = self._places[1 if change.after is None else 0].get(change.path)
        if place is None or place[0] == section:
            return change
        if order_of(place[0]) > order_of(section):
            return None
        before, after = change.before or place[1], change.after or place[1]
        fields = fields_of(before, after, times=self._times)
        return FileChange(change.path, before, after, fields) if fields else None

    def _setting_changes(self, one: Section, other: Section) -> Iterator[Change]:
        if one.settings is None or other.settings is None:
            return
        before, after = ({} if value is None else value for value in (one.settings, other.settings))
        lists = FILES if one.name == "files" else SETTINGS
        # An image has a line of its own, and so has the command line.
        told = {"image", "name", *(("cmdline",) if one.name == "kernel" and self._cmdline_known else ())}
        found = changes(before, after, lists, lines=(one.lines, other.lines))
        yield from (change for change in found if change.field not in told)

    def _order(self, name: str) -> Iterator[Change]:
        before, after = (ranks.get(name) for ranks in self._ranks)
        if before != after:
            yield Change("order", before, after)


def _places(snapshot: Snapshot) -> dict[str, tuple[str, File]]:
    """Every path of a system, with its section."""
    return {
        path: (name, file)
        for name, section in snapshot.sections.items()
        for path, file in (section.files or {}).items()
    }


def _ranks(snapshot: Snapshot, other: Snapshot) -> dict[str, int]:
    """At which place containers that both have run, counted among those."""
    ranks: dict[str, int] = {}
    for kind in ("onboot ", "onshutdown "):
        common = [
            (section.number, name)
            for name, section in snapshot.sections.items()
            if name.startswith(kind)
            and section.number
            and name in other.sections
            and other.sections[name].number
        ]
        ranks.update(
            (name, rank)
            for rank, (_, name) in enumerate(sorted(common, key=lambda one: (len(one[0]), one)), 1)
        )
    return ranks


def _image_changes(before: Section | None, after: Section | None) -> Iterator[Change]:
    one, other = before.image if before else None, after.image if after else None
    if before is None or after is None:
        if one or other:
            yield Change("image", one.reference if one else None, other.reference if other else None)
    elif one and other:
        if one.reference != other.reference:
            yield Change("image", one.reference, other.reference)
        elif one.digest and other.digest and one.digest != other.digest:
            yield Change(f"image {one.reference} moved", f"sha256:{one.digest}", f"sha256:{other.digest}")


def _runtime_changes(one: Section, other: Section) -> Iterator[Change]:
    if one.runtime is None or other.runtime is None:
        return
    for document, lists in _DOCUMENTS.items():
        if document in one.runtime and document in other.runtime:
            for change in changes(one.runtime[document], other.runtime[document], lists):
                is_plain = document == "runtime.json" and not change.field.startswith("runtime ")
                yield change._replace(field=f"runtime.{change.field}") if is_plain else change


def _package_changes(before: Packages | None, after: Packages | None) -> Iterator[PackageChange]:
    if before is None or after is None:
        return
    for name in sorted({*before, *after}):
        if before.get(name, ()) != after.get(name, ()):
            yield PackageChange(name, before.get(name, ()), after.get(name, ()))


def _outputs(before: Snapshot, after: Snapshot) -> dict[str, Sizes]:
    """The sizes of the outputs that both have."""
    common = [name for name in before.outputs if name in after.outputs]
    return {name: Sizes(before.outputs[name], after.outputs[name]) for name in sorted(common)}


def _total(snapshot: Snapshot) -> int | None:
    return _sum(section.size for section in snapshot.sections.values())


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _weight(section: SectionDifference) -> tuple[int, int, str]:
    """What sorts sections: those that grew or shrank most first, then as the config has them."""
    return (-abs(section.size.growth), *order_of(section.name))
