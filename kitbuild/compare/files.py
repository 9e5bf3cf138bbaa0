"""Two sets of files compared path by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from kitbuild.compare.snapshot import File

State = Literal["added", "removed", "changed"]


class FileChange(NamedTuple):
    """One path; `fields` says what of it differs if both sides have it: content, mode, owner, target, ..."""

    path: str
    before: File | None
    after: File | None
    fields: tuple[str, ...] = ()

    @property
    def growth(self) -> int:
        """How many bytes more it has now."""
        return (self.after.size if self.after else 0) - (self.before.size if self.before else 0)

    @property
    def state(self) -> State:
        """What became of it."""
        return state_of(self.before, self.after)


def state_of(before: object | None, after: object | None) -> State:
    """Added without a before, removed without an after, else changed."""
    return "added" if before is None else "removed" if after is None else "changed"


def file_changes(
    before: Mapping[str, File], after: Mapping[str, File], *, times: bool = False
) -> list[FileChange]:
    """What differs between two sets of files, those that changed most first.

    Contents are read in the order of `before`, which for an archive is the cheapest.
    """
    found = []
    for path, file in before.items():
        other = after.get(path)
        if other is None:
            found.append(FileChange(path, file, None))
        elif fields := fields_of(file, other, times=times):
            found.append(FileChange(path, file, other, fields))
    found += [FileChange(path, None, file) for path, file in after.items() if path not in before]
    return sorted(found, key=lambda change: (-abs(change.growth), change.path))


def fields_of(file: File, other: File, *, times: bool) -> tuple[str, ...]:
    """What of two files differs; of two kinds of files nothing else is compared."""
    if file.kind != other.kind:
        return ("kind",)
    differs = {
        "content": _has_other_content(file, other),
        "target": file.target != other.target,
        "device": file.device != other.device,
        # The mode of a symlink means nothing, and some formats have none.
        "mode": file.mode != other.mode and file.kind != "symlink",
        "owner": (file.uid, file.gid) != (other.uid, other.gid),
        "attributes": file.xattrs != other.xattrs,
        "time": times and file.mtime != other.mtime,
    }
    return tuple(name for name, is_other in differs.items() if is_other)


def _has_other_content(file: File, other: File) -> bool:
    if file.size != other.size or file.kind != "file":
        return file.size != other.size
    if not file.size or file.content is None or other.content is None:
        return False
    return not file.content.same(other.content)
