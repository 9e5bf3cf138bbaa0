"""open_output: what an output is, the system in it, and what is on its medium."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from kitbuild.errors import KitbuildError, UsageError
from kitbuild.reading.entries import Area, Found, Listing, OutputEntry
from kitbuild.reading.recognition import Recognised, recognise
from kitbuild.reading.window import DAMAGE, FileWindow
from kitbuild.suggest import did_you_mean


class Output:
    """An output that is open: a context manager.

    `format` is the name of what it was recognised as, `summary` says of what it is made, from outside to inside:
    ``qcow2 disk, MBR, FAT16, initrd (gzip)``. `names` are the areas it can list.
    """

    def __init__(self, path: Path, recognised: Recognised, close: Callable[[], None]) -> None:
        self.path = path
        self.format = recognised.format
        self._recognised = recognised
        self._close = close
        self._areas: dict[Area, tuple[Listing, dict[str, Found]]] = {}

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; streams of `open` give nothing more."""
        self._close()

    @property
    def summary(self) -> str:
        """What it is made of, in a line; without listing anything that is not listed yet."""
        return ", ".join(self._recognised.layers)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user has to know of the system that was looked for, in sentences; once it is listed."""
        return tuple(self._recognised.notes)

    def system(self) -> Iterator[OutputEntry]:
        """The root file system that boots, sorted by path, without the root itself; nothing for a kernel alone."""
        return (found.entry for found in self.area("system").values())

    def medium(self) -> Iterator[OutputEntry]:
        """What is on the medium itself: kernel, initrd, boot loader; partitions of a disk are folders `p1`, `p2`."""
        return (found.entry for found in self.area("medium").values())

    def cmdline(self) -> str | None:
        """The kernel command line, from the boot loader's config or the file beside a kernel or initrd."""
        try:
            return self._recognised.cmdline()
        except DAMAGE as error:
            raise KitbuildError(f"`{self.path}`: damaged: {error}") from None

    def open(self, entry: OutputEntry) -> BinaryIO:
        """A binary stream of what an entry of this output holds, with seeking. Raises KitbuildError for a folder."""
        found = self.area(entry.area).get(entry.path)
        if found is None or found.entry.kind not in ("file", "hardlink"):
            raise not_a_file(entry.path, self.path, found.entry.kind if found else "")
        return found.window().open()

    def area(self, area: Area) -> Mapping[str, Found]:
        """One of the two listings by path, in order."""
        return self._area(area)[1]

    def find(self, path: str, area: Area = "system", *, follow: bool = True) -> OutputEntry | None:
        """The entry of a path a user wrote, symlinks in it followed inside; None for the root.

        Raises KitbuildError with a hint if it is not there.
        """
        listing, entries = self._area(area)
        asked = "/".join(part for part in path.split("/") if part not in ("", "."))
        if not asked:
            return None
        real = listing.resolved(asked) if follow else listing.real(asked)
        if not real:
            return None
        if real in entries:
            return entries[real].entry
        via = f" (that is `{real}`)" if real != asked else ""
        raise KitbuildError(
            f"`{path}`{via}: not in the {area} of `{self.path}`", hint=_missing(real, entries, self, area)
        )

    def _area(self, area: Area) -> tuple[Listing, dict[str, Found]]:
        if area not in self._areas:
            self._areas[area] = self._listed(area)
        return self._areas[area]

    def _listed(self, area: Area) -> tuple[Listing, dict[str, Found]]:
        try:
            listing = self._recognised.system() if area == "system" else self._recognised.medium()
        except DAMAGE as error:
            raise KitbuildError(f"`{self.path}`: damaged: {error}") from None
        found = listing.sorted()
        if area == "medium":
            found = {
                path: each._replace(entry=each.entry._replace(area=area)) for path, each in found.items()
            }
        return listing, found


def open_output(path: Path) -> Output:
    """Opens an output, or a folder with an OCI image layout, by what it holds, not by its name.

    Raises UsageError if there is no such file, KitbuildError if it cannot be read, or is nothing known.
    """
    try:
        mode = path.stat().st_mode
        if not any(kind(mode) for kind in (stat.S_ISREG, stat.S_ISBLK, stat.S_ISDIR)):
            kinds = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a character device", stat.S_IFSOCK: "a socket"}
            raise UsageError(
                f"`{path}`: expected a regular file, got {kinds.get(stat.S_IFMT(mode), 'something else')}",
                hint="write it to a file first",
            )
        if stat.S_ISDIR(mode):
            from kitbuild.reading.oci import folder_layout

            return Output(path, *folder_layout(path))
        window = FileWindow(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(f"`{path}`: {os.strerror(error.errno or 0)}") from None
    except OSError as error:
        raise KitbuildError(f"`{path}`: {os.strerror(error.errno or 0)}") from None
    try:
        return Output(path, recognise(window, path), window.close)
    except DAMAGE as error:
        window.close()
        raise KitbuildError(f"`{path}`: damaged: {error}") from None
    except BaseException:
        window.close()
        raise


def _missing(path: str, entries: Mapping[str, Found], output: Output, area: Area) -> str:
    """The hint for a path that is not there: one beside it, or one of that name elsewhere."""
    folder, _, name = path.rpartition("/")
    inside = f"{folder}/" if folder else ""
    beside = [other for other in entries if other.startswith(inside) and "/" not in other[len(inside) :]]
    names = {other[len(inside) :]: other for other in beside}
    hint = did_you_mean(name, names)
    if hint:
        return hint.replace(hint.split("`")[1], names[hint.split("`")[1]])
    same = [other for other in entries if other.rpartition("/")[2] == name]
    if same:
        return f"did you mean `{same[0]}`?"
    return (
        did_you_mean(path, entries)
        or f"`kitbuild ls -R{' --medium' * (area == 'medium')} {output.path}` lists all"
    )


def not_a_file(path: str, output: Path, kind: str) -> KitbuildError:
    """The error for what has no content to read; `kind` is that of its entry, or nothing."""
    got = {"character": "a character device", "block": "a block device", "fifo": "a pipe", "": "nothing"}
    return KitbuildError(f"`{path}` in `{output}`: expected a file, got {got.get(kind, f'a {kind}')}")
