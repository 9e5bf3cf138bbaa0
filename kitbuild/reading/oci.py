"""OCI image layouts and what `docker save` writes: the layers laid over each other.

Source: OCI image-spec 1.1, image-layout.md, image-index.md, manifest.md and layer.md ("Whiteouts").
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from kitbuild.errors import KitbuildError
from kitbuild.reading.decompression import Decompressed, compression_of
from kitbuild.reading.entries import Listing, OutputEntry
from kitbuild.reading.recognition import Recognised
from kitbuild.reading.tar import add_member, members
from kitbuild.reading.window import FileWindow, Window

_MOST_DOCUMENT_BYTES = 1 << 22
_MOST_LAYERS = 1000
_MOST_INDEXES = 4
_DIGEST = re.compile(r"(sha256|sha384|sha512):([0-9a-f]{64,128})")
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_MOST_FILES = 100_000
_LONGEST_NAME = 200


def archive_layout(files: Callable[[], Listing]) -> Recognised:
    """The image in a tar with these files."""
    is_docker = cache(lambda: "oci-layout" not in files() and "manifest.json" in files())

    notes: list[str] = []

    def system() -> Listing:
        return _docker(files(), notes) if is_docker() else _oci(files(), notes)

    if is_docker():
        return Recognised(
            "docker-archive", ["image of `docker save`"], cache(system), files, lambda: None, notes
        )
    return Recognised("oci", ["OCI image layout in a tar"], cache(system), files, lambda: None, notes)


def folder_layout(folder: Path) -> tuple[Recognised, Callable[[], None]]:
    """The image in a folder, and what closes its files. Raises KitbuildError for a folder without one."""
    if not (folder / "oci-layout").is_file() and not (folder / "index.json").is_file():
        raise KitbuildError(
            f"`{folder}`: expected a folder with an OCI image layout, got no `index.json` in it"
        )
    opened: list[FileWindow] = []

    @cache
    def files() -> Listing:
        listing = Listing(_Nothing(str(folder), 0))
        for number, path in enumerate(sorted(folder.rglob("*"))):
            if number > _MOST_FILES:
                raise KitbuildError(
                    f"`{folder}`: expected at most {_MOST_FILES} files in an OCI image layout"
                )
            name = path.relative_to(folder).as_posix()
            if path.is_dir() and not path.is_symlink():
                listing.put(OutputEntry(name, "directory", 0o755))
            elif path.is_file():
                listing.put(OutputEntry(name, size=path.stat().st_size), _opener(path, opened))
        return listing

    def close() -> None:
        for window in opened:
            window.close()

    notes: list[str] = []
    system = cache(lambda: _oci(files(), notes))
    return Recognised("oci", ["OCI image layout"], system, files, lambda: None, notes), close


class _Nothing(Window):
    def _read(self, offset: int, size: int) -> bytes:
        return b""


def _opener(path: Path, opened: list[FileWindow]) -> Callable[[], Window]:
    def opener() -> Window:
        try:
            window = FileWindow(path)
        except OSError as error:
            raise KitbuildError(f"`{path}`: {error.strerror}") from None
        opened.append(window)
        return window

    return cache(opener)


def _oci(files: Listing, notes: list[str]) -> Listing:
    manifest = _manifest(files, _document(files, "index.json"), _MOST_INDEXES, notes)
    return _laid([_blob(files, layer) for layer in _list(files, manifest.get("layers"))], files)


def _docker(files: Listing, notes: list[str]) -> Listing:
    images = _list(files, _document(files, "manifest.json"))
    if not images or not isinstance(images[0], dict):
        raise files.window.broken(0, "expected an image in `manifest.json`")
    tags = images[0].get("RepoTags")
    _note_first(str(tags[0]) if isinstance(tags, list) and tags else "", len(images), notes)
    names = _list(files, images[0].get("Layers"))
    return _laid([_file(files, str(name)) for name in names], files)


def _manifest(files: Listing, document: Any, depth: int, notes: list[str]) -> Mapping[str, Any]:
    """The manifest of the first image an index names that is for a machine, through indexes of indexes."""
    if isinstance(document, dict) and "layers" in document:
        return document
    entries = _list(files, document.get("manifests") if isinstance(document, dict) else None)
    images = [entry for entry in entries if _platform(entry).get("os") != "unknown"]
    if not depth or not images:
        raise files.window.broken(0, "expected an image in the index of the layout")
    _note_first(_name(images[0]), len(images), notes)
    return _manifest(files, _parsed(_blob(files, images[0])), depth - 1, notes)


def _platform(entry: Any) -> Mapping[str, Any]:
    platform = entry.get("platform") if isinstance(entry, dict) else None
    return platform if isinstance(platform, dict) else {}


def _name(entry: Any) -> str:
    """What tells an image of an index from the others, as far as it says so."""
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    name = annotations.get("org.opencontainers.image.ref.name") if isinstance(annotations, dict) else None
    return str(name or _platform(entry).get("architecture") or "")


def _note_first(name: str, count: int, notes: list[str]) -> None:
    """Says which image was taken, if there are several."""
    if count > 1:
        which = f", {name[:_LONGEST_NAME]}" if name else ""
        notes.append(
            f"this is the first of {count} images{which}; for another one, copy it to a layout of its own"
        )


def _laid(layers: list[Window], files: Listing) -> Listing:
    if len(layers) > _MOST_LAYERS:
        raise files.window.broken(0, f"expected at most {_MOST_LAYERS} layers, got {len(layers)}")
    listing = Listing(files.window)
    for layer in layers:
        compression = compression_of(layer.read(0, 16))
        _lay(Decompressed(layer, 0, compression, joins=True) if compression else layer, listing)
    return listing


def _lay(tar: Window, listing: Listing) -> None:
    """Lays one layer over what is there: what it takes away goes first, wherever in the tar that stands."""
    gone: list[str] = []
    emptied: list[str] = []
    own: list[Any] = []
    for member in members(tar):
        folder, _, name = member.name.strip("/").removeprefix("./").rpartition("/")
        if name == _OPAQUE:
            emptied.append(folder)
        elif name.startswith(_WHITEOUT):
            gone.append(f"{folder}/{name[len(_WHITEOUT) :]}".lstrip("/"))
        else:
            own.append(member)
            if len(own) > 1_000_000:
                raise tar.broken(member.offset, "expected at most 1000000 names, got more")
    if "" in emptied:
        listing.found.clear()
    elif gone or emptied:
        listing.remove(gone, emptied)
    for member in own:
        add_member(tar, member, listing)


def _blob(files: Listing, descriptor: Any) -> Window:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    match = _DIGEST.fullmatch(digest) if isinstance(digest, str) else None
    if match is None:
        raise files.window.broken(0, f"expected a digest in the image, got `{str(digest)[:80]}`")
    return _file(files, f"blobs/{match[1]}/{match[2]}")


def _file(files: Listing, path: str) -> Window:
    found = files.found.get(files.resolved(path))
    if found is None or found.entry.kind not in ("file", "hardlink"):
        raise files.window.broken(0, f"expected `{path[:120]}` in the image")
    return found.window()


def _document(files: Listing, path: str) -> Any:
    return _parsed(_file(files, path))


def _parsed(window: Window) -> Any:
    if window.size > _MOST_DOCUMENT_BYTES:
        raise window.broken(0, f"expected a document of at most {_MOST_DOCUMENT_BYTES} bytes")
    try:
        return json.loads(window.exactly(0, window.size, "a document"))
    except (ValueError, RecursionError) as error:
        raise window.broken(0, f"expected JSON: {error}") from None


def _list(files: Listing, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise files.window.broken(0, "expected a list in the image's description")
    return value
