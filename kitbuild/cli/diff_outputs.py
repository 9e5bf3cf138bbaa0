"""An output as a system to compare: its files, read where they lie."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kitbuild.cli.diff_trees import most_bytes
from kitbuild.compare.sections import System, container_of, familiar, is_document, part_named
from kitbuild.compare.snapshot import Content, File, ImageName

if TYPE_CHECKING:
    from kitbuild.reading import Output, OutputEntry

_PIECE_BYTES = 1 << 20
_CMDLINE = "boot/cmdline"
_MOST_CMDLINE_BYTES = 1 << 16
# `site-initrd.img`, `site-bios.qcow2`, `site.iso`: what stands behind the name of an output.
_NO_IMAGE = re.compile(r"(?:|empty|linuxkit\..*|LINUXKIT\..*)\Z")
# In formats of which no firmware starts anything these are files as any others.
_WITHOUT_LOADER = ("tar", "initrd", "oci", "docker-archive", "squashfs", "erofs")
_LOADER = re.compile(r"(?:boot/(?:grub|isolinux|syslinux|extlinux)|isolinux|syslinux|EFI)(?:/|\Z)")
_SUFFIX = re.compile(r"(?:-[a-z]+)?(?:\.[a-z0-9]+)*\Z")


def output_system(name: str, path: Path, closing: ExitStack) -> System:
    """The system in an output; raises KitbuildError if it cannot be read."""
    from kitbuild.reading import open_output

    if (cmdline := _cmdline_in(path)) is not None:
        size = path.stat().st_size
        return System(name, "output", {}, format="cmdline", cmdline=cmdline, outputs={suffix_of(path): size})
    output = closing.enter_context(open_output(path))
    noted = _noted(path) if output.format == "tar" else _Noted({}, {})
    files = _files(output, output.system(), noted.parts)
    medium = _files(output, output.medium(), {})
    if medium.keys() == files.keys() and files:
        # What boots is the medium itself; its boot loader is none of the system.
        medium = (
            {}
            if output.format in _WITHOUT_LOADER
            else {path: file for path, file in files.items() if _LOADER.match(path)}
        )
        files = {path: file for path, file in files.items() if path not in medium}
    documents = {
        file: _document(output, file, one.size) for file, one in files.items() if _is_read(file, one)
    }
    return System(
        name,
        "output",
        files,
        documents,
        has_parts=bool(noted.parts),
        format=output.format,
        cmdline=_cmdline(output, files),
        images=noted.images,
        medium=medium
        if files or medium
        else {"": File("file", 0, size=path.stat().st_size, content=Content(lambda: _hash(path)))},
        outputs={} if path.is_dir() else {suffix_of(path): path.stat().st_size},
        missing=tuple(f"{name}: {note}" for note in output.notes),
    )


def cmdline_beside(path: Path) -> str | None:
    """The kernel command line of an output, which for some stands in a file beside it."""
    from kitbuild.reading import open_output

    if (cmdline := _cmdline_in(path)) is not None:
        return cmdline
    with open_output(path) as output:
        found = output.cmdline()
        return (
            found
            if found is not None
            else _cmdline(
                output,
                {entry.path: _file(output, entry, "") for entry in output.system() if entry.path == _CMDLINE},
            )
        )


def suffix_of(path: Path) -> str:
    """What an output's name says of its kind: `-initrd.img`, `.iso`."""
    found = _SUFFIX.search(path.name)
    return found[0] if found and found[0] != path.name else ""


def are_identical(one: Path, other: Path) -> bool:
    """Whether two outputs are the same byte for byte."""
    import filecmp

    try:
        return one.samefile(other) or (
            one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)
        )
    except OSError:
        return False


def _files(output: Output, entries: Iterable[OutputEntry], parts: Mapping[str, str]) -> dict[str, File]:
    return {entry.path: _file(output, entry, parts.get(entry.path, "")) for entry in entries}


def _file(output: Output, entry: OutputEntry, part: str) -> File:
    is_file = entry.kind == "file"
    return File(
        "char" if entry.kind == "character" else entry.kind,
        entry.mode & 0o7777,
        entry.uid,
        entry.gid,
        entry.size if is_file else 0,
        entry.mtime,
        Content(lambda: _digest(output, entry)) if is_file and entry.size else None,
        entry.target,
        entry.device or (0, 0),
        entry.xattrs,
        part,
    )


def _digest(output: Output, entry: OutputEntry) -> str:
    import hashlib

    with closing(output.open(entry)) as stream:
        hashing = hashlib.sha256()
        while piece := stream.read(_PIECE_BYTES):
            hashing.update(piece)
        return hashing.hexdigest()


def _is_read(path: str, file: File) -> bool:
    return file.kind == "file" and is_document(path)


def _document(output: Output, path: str, size: int) -> bytes | None:
    """The content of a file that is compared inside too; None if it is too large."""
    return _content(output, path, most_bytes(path)) if size <= most_bytes(path) else None


def _content(output: Output, path: str, most: int) -> bytes:
    entry = output.find(path, follow=False)
    assert entry is not None, path
    with closing(output.open(entry)) as stream:
        return stream.read(most)


def _cmdline(output: Output, files: Mapping[str, File]) -> str | None:
    found = output.cmdline()
    if found is None and _CMDLINE in files and files[_CMDLINE].size <= _MOST_CMDLINE_BYTES:
        found = _content(output, _CMDLINE, _MOST_CMDLINE_BYTES).decode("utf-8", "surrogateescape")
    return found


def _cmdline_in(path: Path) -> str | None:
    """The command line in a file that is one: a line of text; None if it is something else."""
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= _MOST_CMDLINE_BYTES:
            text = path.read_bytes().decode("utf-8", "replace").strip()
            return text if text and text.isprintable() and "\ufffd" not in text else None
    return None


def _hash(path: Path) -> str:
    import hashlib

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class _Noted(NamedTuple):
    """What a tar of LinuxKit's kind notes of its entries: sections by path, and images by section."""

    parts: dict[str, str]
    images: dict[str, ImageName]


def _noted(path: Path) -> _Noted:
    """The notes of a tar; nothing if it has none."""
    import tarfile

    noted, notes = _Noted({}, {}), 0
    with suppress(tarfile.TarError, OSError, ValueError), tarfile.open(path, "r:") as archive:
        for member in archive:
            location = member.pax_headers.get("LINUXKIT.location", "")
            source = member.pax_headers.get("LINUXKIT.source", "")
            name = "/".join(part for part in member.name.split("/") if part not in ("", "."))
            notes += bool(location)
            noted.parts[name] = part_named(location, source)
            section = noted.parts[name] or container_of(name)
            if section and not _NO_IMAGE.match(source):
                noted.images.setdefault(section, ImageName(familiar(source)))
    return noted if notes else _Noted({}, {})
