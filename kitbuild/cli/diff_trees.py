"""What configs and records have in common for `kitbuild diff`: origins, and trees in the local cache."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from kitbuild.compare.packages import MAX_DATABASE_BYTES, MAX_DOCUMENT_BYTES, MAX_SBOM_BYTES
from kitbuild.compare.sections import Setting, familiar, is_document
from kitbuild.compare.snapshot import File, ImageName
from kitbuild.compare.trees import files_of
from kitbuild.errors import StoreError
from kitbuild.extents import Slice

if TYPE_CHECKING:
    from kitbuild.record import Origin, Origins
    from kitbuild.rule import Artifact
    from kitbuild.store import Store
    from kitbuild.work import OpenBlobs

_PIECE_BYTES = 1 << 20


class Trees:
    """Files of parts as a cache has them; `blobs` is what their contents are read through."""

    def __init__(self, store: Store, blobs: OpenBlobs) -> None:
        self._store = store
        self._blobs = blobs
        self.files: dict[str, File] = {}

    def add(self, artifact: Artifact, part: str) -> bool:
        """Lays the tree of a part over those before; False if it is not whole in the cache."""
        from kitbuild.tree import Tree
        from kitbuild.work import decoding, opened

        with suppress(StoreError):
            with opened(artifact.digest, self._store) as lines, decoding(artifact):
                tree = Tree.decode(lines)
            if not self._store.missing(tree.blobs()):
                self.files.update(files_of(tree, part, self._digest))
                return True
        return False

    def documents(self) -> dict[str, bytes | None]:
        """The contents of the files that are compared inside too."""
        return {
            path: self._content(path, file)
            for path, file in self.files.items()
            if file.kind == "file" and is_document(path)
        }

    def _content(self, path: str, file: File) -> bytes | None:
        if file.size > most_bytes(path):
            return None
        part = file.content.identity if file.content else None
        return b"".join(self._pieces(part)) if isinstance(part, Slice) else b""

    def _digest(self, part: Slice) -> str:
        import hashlib

        hashing = hashlib.sha256()
        for piece in self._pieces(part):
            hashing.update(piece)
        return hashing.hexdigest()

    def _pieces(self, part: Slice) -> Iterator[bytes]:
        descriptor = self._blobs.descriptor(part.blob)
        end = part.offset + part.size
        for offset in range(part.offset, end, _PIECE_BYTES):
            yield os.pread(descriptor, min(_PIECE_BYTES, end - offset), offset)


def most_bytes(path: str) -> int:
    """The largest content of a document that is looked into."""
    if path.endswith(".spdx.json"):
        return MAX_SBOM_BYTES
    return (
        MAX_DOCUMENT_BYTES
        if path.endswith("/config.json") or path.endswith("/runtime.json")
        else MAX_DATABASE_BYTES
    )


def settings_of(origins: Origins) -> dict[str, Setting]:
    """What a config says of every section."""
    return {
        name: _setting(place)
        for name, place in origins.places.items()
        if not name.startswith(("image ", "files: ")) and isinstance(place.value, dict | list)
    }


def _setting(place: Origin) -> Setting:
    lines = {way: f"{place.file}:{line}" for way, line in place.lines.items()}
    return Setting(place.value, lines)


def images_of(origins: Origins) -> dict[str, ImageName]:
    """The image of every section that has one, and the manifest its name led to."""
    from kitbuild.reference import Reference

    images = {}
    for name, place in origins.places.items():
        if name.startswith(("image ", "files: ")):
            continue
        text = place.value.get("image") if isinstance(place.value, dict) else place.value
        if not isinstance(text, str) or not text:
            continue
        led_to = None
        with suppress(ValueError):
            led_to = origins.images.get(str(Reference.parse(text)))
        images[name] = ImageName(familiar(text), (led_to.manifest or led_to.top) if led_to else "")
    return images


def flags_of(origins: Origins) -> dict[str, str]:
    """The flags that shape the outputs; what these are called makes no other system."""
    return {name: value for name, value in origins.flags.items() if name != "--name"}


def cmdline_of(origins: Origins) -> str | None:
    """The kernel command line of a config; None without a kernel."""
    place = origins.places.get("kernel")
    if place is None or not isinstance(place.value, dict):
        return None
    return str(place.value.get("cmdline") or "")


class Bundles(NamedTuple):
    """How containers run, and their numbers, by section."""

    runtimes: dict[str, dict[str, bytes]]
    numbers: dict[str, str]


def bundles_of(options: Iterable[tuple[str, Mapping[str, Any]]]) -> Bundles:
    """What the options of the nodes that make containers' bundles say, each with its section."""
    found = Bundles({}, {})
    for section, given in options:
        texts = {"config.json": given.get("config_json"), "runtime.json": given.get("runtime_json")}
        found.runtimes[section] = {
            name: text.encode("utf-8", "surrogatepass")
            for name, text in texts.items()
            if isinstance(text, str)
        }
        number = str(given.get("bundle", "")).rpartition("/")[2].partition("-")[0]
        if number.isdecimal() and not section.startswith("services "):
            found.numbers[section] = number
    return found


def file_size(artifact: Artifact, store: Store) -> int | None:
    """The bytes of the file that an artifact describes, None if the cache no longer knows."""
    from kitbuild.export import extents_of

    if artifact.kind == "tree":
        return None
    with suppress(StoreError):
        return extents_of(artifact, store).size
    return None
