"""The folder that `kitbuild vendor` fills: an OCI image layout, and beside it all else that a build reads.

    oci-layout, index.json      the layout; every image under its whole name
    blobs/sha256/HEX            indexes, manifests, configs, layers, SBOMs
    archives/HEX-NAME.tar       archives of `docker save` some images are in
    packages/NAME.deb           packages of boot loaders; loaders/NAME/... boot loaders given as folders
    files/HEX-NAME, PATH        files a config names
    NAME.yml, NAME.yml.lock     the configs and their lock
    kitbuild.toml               settings with which a build here finds all that

A file has its name only once it is whole and what its digest says; what is there already is not written again.
Several processes may fill one folder.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.digest import Digest, Hasher
from kitbuild.errors import ImageError, KitbuildError, UsageError
from kitbuild.rules.fetch.document import parsed
from kitbuild.rules.fetch.layout import REF_NAME

SETTINGS = "kitbuild.toml"
MARK = "# Written by `kitbuild vendor`"
BLOBS = "blobs/sha256"
# Only what lies in these is ever removed.
_OWN = (BLOBS, "archives", "packages", "loaders", "files")
RESERVED = ("blobs", "archives", "packages", "loaders", "files", "oci-layout", "index.json", SETTINGS)
_PARTIAL = ".partial"
_LAYOUT = b'{"imageLayoutVersion": "1.0.0"}\n'
_MAX_INDEX_BYTES = 64 << 20


class Entry(NamedTuple):
    """An image of the layout: its name, and the index or manifest it leads to."""

    name: str
    media_type: str
    top: Digest


class Counts(NamedTuple):
    """What was done: files written and their bytes, files that were there, files removed."""

    written: int
    bytes: int
    kept: int
    removed: int


class VendorFolder:
    """The folder at `path`, made if it is not there; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._needed: set[str] = set()
        self._written = 0
        self._bytes = 0
        self._kept = 0
        self._guard = threading.Lock()
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._check()
            (path / BLOBS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failed(path, error) from error

    def _check(self) -> None:
        settings = self.path / SETTINGS
        ours = settings.is_file() and settings.read_bytes().startswith(MARK.encode())
        # One that was interrupted has no settings yet, but blobs.
        begun = {"blobs", "archives", "packages", "loaders", "files", "oci-layout"}
        others = {path.name for path in self.path.iterdir()} - begun
        if not ours and (settings.exists() or (others and not (self.path / BLOBS).is_dir())):
            raise UsageError(
                f"expected an empty folder, or one of `kitbuild vendor`, got `{self.path}`",
                hint="name a new folder first, then the configs: kitbuild vendor FOLDER linuxkit.yml",
            )

    def is_free(self, name: str) -> bool:
        """Whether a path in the folder is nothing that the folder has a use for."""
        return name.split("/")[0] not in RESERVED

    def has_blob(self, digest: Digest) -> bool:
        """Whether a blob is there; it was whole when it got its name."""
        name = f"{BLOBS}/{digest.hex}"
        return self._has(name, digest) and self._keep(name)

    def read_blob(self, digest: Digest) -> bytes:
        """A document of an image that is there."""
        try:
            return (self.path / BLOBS / digest.hex).read_bytes()
        except OSError as error:
            raise _failed(self.path / BLOBS / digest.hex, error) from error

    def write_blob(self, digest: Digest, pieces: Iterable[bytes]) -> None:
        """Adds a blob; raises ImageError unless the pieces are what the digest says."""
        self.write_file(f"{BLOBS}/{digest.hex}", digest, pieces)

    def has_file(self, name: str, digest: Digest) -> bool:
        """Whether there is a file of this content at a path in the folder; it is read for that."""
        if not self._has(name, digest):
            return False
        hasher = Hasher()
        try:
            with (self.path / name).open("rb", buffering=0) as stream:
                while piece := stream.read(1 << 20):
                    hasher.update(piece)
        except OSError:
            return False
        return hasher.digest() == digest and self._keep(name)

    def write_file(self, name: str, digest: Digest, pieces: Iterable[bytes]) -> None:
        """Writes a file piece by piece; raises ImageError unless it becomes what the digest says."""
        hasher = Hasher()
        with self._partial(name) as (partial, stream):
            for piece in pieces:
                hasher.update(piece)
                if hasher.size > digest.size:
                    raise ImageError(f"expected {digest.size} bytes, got more")
                stream.write(piece)
            if hasher.digest() != digest:
                raise ImageError(
                    f"expected {digest.oci} ({digest.size} bytes), got {hasher.digest().oci} ({hasher.size})"
                )
            stream.flush()
            os.fsync(stream.fileno())
            partial.replace(self.path / name)
        self._count(name, digest.size)

    def write_text(self, name: str, content: bytes) -> None:
        """Writes a small file, unless it is there as it is."""
        digest = Digest.of(content)
        if not self.has_file(name, digest):
            self.write_file(name, digest, [content])

    def write_index(self, entries: Iterable[Entry], *, prune: bool) -> None:
        """Names the images: these, and with `prune` no others. To be called when all blobs are there."""
        index = self.path / "index.json"
        kept: dict[str, dict[str, Any]] = {} if prune or not index.is_file() else _entries_by_name(index)
        kept |= {entry.name: _entry(entry) for entry in entries}
        document = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [kept[name] for name in sorted(kept)],
        }
        self.write_text("oci-layout", _LAYOUT)
        self.write_text("index.json", (json.dumps(document, indent=2) + "\n").encode())

    def prune(self) -> int:
        """Removes what is of no use to what was written or found needed; gives the number of files."""
        removed = 0
        for folder in _OWN:
            # Behind a link is somebody else's.
            if (self.path / folder).resolve() != self.path.resolve() / folder:
                continue
            for path in sorted((self.path / folder).rglob("*"), reverse=True):
                with suppress(OSError):
                    if path.is_dir() and not path.is_symlink():
                        path.rmdir()  # does nothing to one that has anything in it
                    elif path.relative_to(self.path).as_posix() not in self._needed:
                        path.unlink()
                        removed += 1
        return removed

    def counts(self, removed: int) -> Counts:
        """What was done so far."""
        return Counts(self._written, self._bytes, self._kept, removed)

    def _has(self, name: str, digest: Digest) -> bool:
        try:
            return (self.path / name).stat().st_size == digest.size
        except OSError:
            return False

    def _keep(self, name: str) -> bool:
        with self._guard:
            self._kept += name not in self._needed
            self._needed.add(name)
        return True

    def _count(self, name: str, size: int) -> None:
        with self._guard:
            self._needed.add(name)
            self._written += 1
            self._bytes += size

    @contextmanager
    def _partial(self, name: str) -> Iterator[tuple[Path, Any]]:
        path = self.path / name
        partial = path.with_name(f".{path.name[:100]}.{os.getpid()}.{threading.get_ident()}{_PARTIAL}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with partial.open("wb") as stream:
                yield partial, stream
        except OSError as error:
            raise _failed(path, error) from error
        finally:
            with suppress(OSError):
                partial.unlink()


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "mediaType": entry.media_type,
        "digest": entry.top.oci,
        "size": entry.top.size,
        "annotations": {REF_NAME: entry.name},
    }


def _entries_by_name(index: Path) -> dict[str, dict[str, Any]]:
    document = parsed(index.read_bytes(), str(index), max_bytes=_MAX_INDEX_BYTES)
    found: dict[str, dict[str, Any]] = {}
    for entry in document.get("manifests") or ():
        annotations = entry.get("annotations") if isinstance(entry, dict) else None
        name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
        if isinstance(name, str):
            found[name] = entry
    return found


def _failed(path: Path, error: OSError) -> KitbuildError:
    return KitbuildError(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}")
