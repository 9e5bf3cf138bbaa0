"""An OCI image layout as a source of images; LinuxKit's own cache is one. Never writes there.

    oci-layout              says that it is one
    index.json              entries, named by annotations
    blobs/sha256/<hex>      manifests, configs, layers

Source: OCI image-spec 1.1 image-layout.md. An entry's name is the whole canonical reference in
`org.opencontainers.image.ref.name` (LinuxKit) or in `io.containerd.image.name` (containerd, Docker, buildx).
A writer may be at work: LinuxKit rewrites index.json in place, so a torn one is read again a moment later.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image, Index, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.document import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_DOCUMENT_BYTES,
    document_descriptor,
    parsed,
    verified,
)
from kitbuild.rules.fetch.index import WantedIndex, index_of
from kitbuild.rules.fetch.manifest import Wanted, image_of

REF_NAME = "org.opencontainers.image.ref.name"
CONTAINERD_NAME = "io.containerd.image.name"

# A cache of ten thousand images has an index of some 5 MB; this is no limit anybody meets, only an end.
_MAX_INDEX_BYTES = 64 << 20
_PIECE_BYTES = 1 << 20
_TORN_READ_SECONDS = 0.05


class Entries(NamedTuple):
    """The entries of an index.json by name and by digest (hex), each in the order of the file."""

    by_name: dict[str, list[dict[str, Any]]]
    by_digest: dict[str, dict[str, Any]]


def open_source(where: str) -> LayoutSource:
    """The layout in the folder `where`."""
    return LayoutSource(Path(where))


class LayoutSource:
    """Images of one OCI image layout. index.json is read at most once, when the first image is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blobs = f"{folder}/blobs/sha256/"
        self._entries: Entries | None = None

    def image(self, reference: Reference, platform: Platform) -> Image:
        """The image of this name; see ImageSource. A layout that lacks one of its documents does not have it."""
        wanted = Wanted(reference, platform, f"layout:{self._folder}")
        return image_of(self._top(reference), wanted, read=self._read)

    def index(self, reference: Reference, platforms: tuple[Platform, ...]) -> Index:
        """All of the image of this name; see ImageSource."""
        wanted = WantedIndex(reference, platforms, f"layout:{self._folder}")
        return index_of(self._top(reference), wanted, read=self._read)

    def blob(self, blob: Digest, media_type: str) -> AbstractContextManager[Iterator[bytes]]:
        """A document or layer as stored; see ImageSource."""
        return self.layer(Layer("", media_type, blob))

    @contextmanager
    def layer(self, layer: Layer) -> Iterator[Iterator[bytes]]:
        """The layer's bytes as stored; see ImageSource."""
        assert layer.blob is not None, "layers of a layout have digests"
        path = Path(self._blobs + layer.blob.hex)
        try:
            stream = path.open("rb", buffering=0)
        except FileNotFoundError as error:
            raise ImageNotFoundError(
                f"layer {layer.blob.oci} is not in the layout {self._folder}",
                hint="fill the layout again: it is incomplete",
            ) from error
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror}") from error
        with stream:
            yield iter(lambda: stream.read(_PIECE_BYTES), b"")

    def has(self, blob: Digest) -> bool:
        """Whether a blob is there with its full size."""
        try:
            return os.stat(self._blobs + blob.hex).st_size == blob.size  # noqa: PTH116 - as in _read
        except OSError:
            return False

    def _top(self, reference: Reference) -> bytes:
        """The manifest or index of this name."""
        if self._entries is None:
            self._entries = self._read_index()
        entry = found(self._entries, reference)
        if entry is None:
            raise ImageNotFoundError(f"{reference} is not in the layout {self._folder}")
        return verified(entry, self._read(entry))

    def _read_index(self) -> Entries:
        path = self._folder / "index.json"
        try:
            return read_entries(lambda: path.read_bytes(), str(path))
        except FileNotFoundError as error:
            raise ImageNotFoundError(
                f"{self._folder} is not an image layout: it has no index.json"
            ) from error
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror}") from error

    def _read(self, descriptor: Descriptor) -> bytes:
        path = self._blobs + descriptor.digest.hex
        try:
            # One byte more than it may have: the digest then differs, and memory stays bounded.
            with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 - three times as fast as Path.open
                return stream.read(min(descriptor.digest.size, MAX_DOCUMENT_BYTES) + 1) or b""
        except FileNotFoundError as error:
            raise ImageNotFoundError(
                f"{descriptor.digest.oci} is not in the layout {self._folder}, which is incomplete"
            ) from error
        except OSError as error:
            raise ImageError(f"cannot read {path}: {error.strerror}") from error


def read_entries(read: Callable[[], bytes], what: str) -> Entries:
    """The entries of an index.json; `read` gives its bytes, a second time if they were being rewritten."""
    try:
        return entries_of(read(), what)
    except ImageError:
        time.sleep(_TORN_READ_SECONDS)
        return entries_of(read(), what)


def entries_of(content: bytes, what: str) -> Entries:
    """The entries of an index.json in memory."""
    index = parsed(content, what, max_bytes=_MAX_INDEX_BYTES)
    entries = Entries({}, {})
    for entry in index.get("manifests") or ():  # LinuxKit writes null for none
        if not isinstance(entry, dict):
            raise ImageError(f"{what}: expected objects in `manifests`, got {type(entry).__name__}")
        digest = str(entry.get("digest", "")).removeprefix("sha256:")
        entries.by_digest.setdefault(digest, entry)
        for name in _names(entry.get("annotations") or {}):
            entries.by_name.setdefault(name, []).append(entry)
    return entries


def found(entries: Entries, reference: Reference) -> Descriptor | None:
    """The entry for a reference: of several with its name the first manifest, else the first index.

    A reference with a digest also finds an entry of that digest under any name; one without a tag finds `latest`.
    """
    name = str(reference)
    named = entries.by_name.get(name, ())
    if not named and reference.digest:
        entry = entries.by_digest.get(reference.digest.removeprefix("sha256:"))
        named = [entry] if entry else []
    elif not named and not reference.tag:
        named = entries.by_name.get(f"{name}:latest", ())
    for media_types in (MANIFEST_TYPES, INDEX_TYPES):
        for entry in named:
            if entry.get("mediaType") in media_types:
                return _checked(document_descriptor(entry, name), reference)
    if named:
        raise ImageError(f"{name}: expected a manifest or an index, got `{named[0].get('mediaType')}`")
    return None


def _checked(descriptor: Descriptor, reference: Reference) -> Descriptor:
    if reference.digest and reference.digest != descriptor.digest.oci:
        raise ImageError(f"{reference}: expected that digest, got {descriptor.digest.oci} under this name")
    return descriptor


def _names(annotations: dict[str, Any]) -> Iterator[str]:
    name = annotations.get(REF_NAME)
    if isinstance(name, str):
        yield name
    other = annotations.get(CONTAINERD_NAME)
    if isinstance(other, str) and other != name:
        try:
            yield str(Reference.parse(other))
        except ValueError:
            return
