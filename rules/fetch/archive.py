"""A tar written by `docker save`, skopeo, buildx or `linuxkit cache export` as a source of images.

    index.json, blobs/sha256/<hex>     an OCI image layout in a tar
    manifest.json                      Docker's own list: [{"Config": path, "RepoTags": [name], "Layers": [path]}]

One tar may hold both; index.json is asked first, for it knows digests.
Source: OCI image-spec 1.1 image-layout.md; Docker "image specification v1.2", combined image JSON.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image, Index, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.document import MAX_DOCUMENT_BYTES, verified
from kitbuild.rules.fetch.index import WantedIndex, index_of
from kitbuild.rules.fetch.layout import Entries, entries_of, found
from kitbuild.rules.fetch.manifest import Wanted, image_of, image_of_config

_PIECE_BYTES = 1 << 20
# The media type says nothing here: docker writes plain tars, others what the registry had. The bytes decide.
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar"
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"\x28\xb5\x2f\xfd": "unzstd", b"\xfd7zXZ": "unxz", b"BZh": "bunzip2"}
_HEX = re.compile(r"[0-9a-f]{64}")


class Member(NamedTuple):
    """Where a file's content lies in the tar, in bytes."""

    offset: int
    size: int


class _Index(NamedTuple):
    members: dict[str, Member]
    entries: Entries | None
    docker: dict[str, dict[str, Any]]


def open_source(where: str) -> ArchiveSource:
    """The images in the tar at `where`."""
    return ArchiveSource(Path(where))


class ArchiveSource:
    """Images of one tar. Its headers are read once, when something is first asked for; contents are not."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._index: _Index | None = None

    def image(self, reference: Reference, platform: Platform) -> Image:
        """The image of this name; see ImageSource. Archives of Docker's kind have no digests to look for."""
        index = self._indexed()
        wanted = Wanted(reference, platform, f"archive:{self._path}")
        entry = found(index.entries, reference) if index.entries else None
        if entry is not None:
            return image_of(verified(entry, self._read(entry)), wanted, read=self._read)
        return self._docker_image(self._listed(reference), wanted)

    def index(self, reference: Reference, platforms: tuple[Platform, ...]) -> Index:
        """All of the image of this name; see ImageSource. Docker's own kind of archive has no manifests."""
        entries = self._indexed().entries
        entry = found(entries, reference) if entries else None
        if entry is not None:
            wanted = WantedIndex(reference, platforms, f"archive:{self._path}")
            return index_of(verified(entry, self._read(entry)), wanted, read=self._read)
        self._listed(reference)
        raise ImageError(
            f"{reference}: expected an image with a manifest, got one in an archive of `docker save`",
            hint="write the archive with `skopeo copy --all docker://NAME oci-archive:FILE:NAME`",
        )

    def blob(self, blob: Digest, media_type: str) -> AbstractContextManager[Iterator[bytes]]:
        """A document or layer as stored; see ImageSource."""
        return self.layer(Layer("", media_type, blob))

    def has(self, blob: Digest) -> bool:
        """Whether a blob is there with its full size."""
        member = self._indexed().members.get(f"blobs/sha256/{blob.hex}")
        return member is not None and member.size == blob.size

    def _listed(self, reference: Reference) -> dict[str, Any]:
        """What manifest.json says of an image."""
        docker = self._indexed().docker
        listed = docker.get(str(reference))
        if listed is None and not reference.tag and not reference.digest:
            listed = docker.get(f"{reference}:latest")
        if listed is None:
            raise ImageNotFoundError(f"{reference} is not in the archive {self._path}")
        return listed

    @contextmanager
    def layer(self, layer: Layer) -> Iterator[Iterator[bytes]]:
        """The layer's bytes as stored; see ImageSource."""
        name = layer.name or (f"blobs/sha256/{layer.blob.hex}" if layer.blob else "")
        member = self._member(name)
        try:
            stream = self._path.open("rb", buffering=0)
        except OSError as error:
            raise ImageError(f"cannot read the archive {self._path}: {error.strerror}") from error
        with stream:
            stream.seek(member.offset)
            yield _pieces(stream, member.size)

    def _docker_image(self, listed: dict[str, Any], wanted: Wanted) -> Image:
        path, layers = listed.get("Config"), listed.get("Layers") or []
        if not isinstance(path, str) or not all(isinstance(name, str) for name in layers):
            raise ImageError(f"manifest.json in {self._path}: expected `Config` and `Layers` to be paths")
        content = self._content(path)
        # The config's digest is in its name; tools that give it another name are left alone.
        named = _HEX.search(path)
        if named and hashlib.sha256(content).hexdigest() != named[0]:
            raise ImageError(f"`{path}` in the archive {self._path} does not fit the digest in its name")
        for name in layers:
            self._member(name)
        return image_of_config(
            content,
            wanted,
            layers=[Layer("", _LAYER_TYPE, None, name) for name in layers],
            manifest=None,
            index=None,
        )

    def _read(self, descriptor: Descriptor) -> bytes:
        return self._content(f"blobs/sha256/{descriptor.digest.hex}")

    def _content(self, name: str) -> bytes:
        return _content(self._path, self._member(name), name)

    def _member(self, name: str) -> Member:
        member = self._indexed().members.get(posixpath.normpath(name))
        if member is None:
            raise ImageNotFoundError(f"`{name}` is not in the archive {self._path}, which is incomplete")
        return member

    def _indexed(self) -> _Index:
        if self._index is None:
            try:
                self._index = _index_of(self._path)
            except FileNotFoundError as error:
                raise ImageNotFoundError(f"there is no archive {self._path}") from error
            except OSError as error:
                raise ImageError(f"cannot read the archive {self._path}: {error.strerror}") from error
        return self._index


def _index_of(path: Path) -> _Index:
    members = _members(path)
    entries: Entries | None = None
    docker: dict[str, dict[str, Any]] = {}
    if "index.json" in members:
        entries = entries_of(_content(path, members["index.json"], "index.json"), f"index.json in {path}")
    if "manifest.json" in members:
        docker = _docker_list(_content(path, members["manifest.json"], "manifest.json"), path)
    if not {"index.json", "manifest.json"} & members.keys():
        raise ImageError(
            f"expected an image archive with index.json or manifest.json, got {path}",
            hint="write it with `docker save` or `skopeo copy docker://NAME oci-archive:FILE:NAME`",
        )
    return _Index(members, entries, docker)


def _docker_list(content: bytes, path: Path) -> dict[str, dict[str, Any]]:
    try:
        listed = json.loads(content)
        return {str(Reference.parse(name)): image for image in listed for name in image["RepoTags"] or ()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ImageError(f"manifest.json in {path}: expected a list of images: {error}") from error


def _members(path: Path) -> dict[str, Member]:
    import tarfile

    with path.open("rb") as stream:
        magic = stream.read(6)
        for prefix, tool in _COMPRESSED.items():
            if magic.startswith(prefix):
                raise ImageError(
                    f"expected a plain tar, got a compressed one: {path}",
                    hint=f"unpack it first with `{tool} {path}`: layers are then read without a second copy",
                )
        stream.seek(0)
        members: dict[str, Member] = {}
        links: dict[str, str] = {}
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                for entry in archive:
                    name = posixpath.normpath(entry.name)
                    if entry.isreg() and not entry.issparse():
                        members[name] = Member(entry.offset_data, entry.size)
                    elif entry.issym():
                        links[name] = posixpath.normpath(
                            posixpath.join(posixpath.dirname(name), entry.linkname)
                        )
                    elif entry.islnk():
                        links[name] = posixpath.normpath(entry.linkname)
        except tarfile.TarError as error:
            raise ImageError(f"expected a tar, got {path}: {error}") from error
    # `docker save` before 25 links layers that occur twice. One step: it never links to a link.
    return members | {name: members[target] for name, target in links.items() if target in members}


def _content(path: Path, member: Member, name: str) -> bytes:
    if member.size > MAX_DOCUMENT_BYTES:
        raise ImageError(
            f"`{name}` in {path}: expected at most {MAX_DOCUMENT_BYTES} bytes, got {member.size}"
        )
    with path.open("rb", buffering=0) as stream:
        stream.seek(member.offset)
        return b"".join(_pieces(stream, member.size))


def _pieces(stream: Any, size: int) -> Iterator[bytes]:
    while size:
        piece: bytes = stream.read(min(size, _PIECE_BYTES))
        if not piece:
            raise ImageError(f"the archive {stream.name} ends {size} bytes too early")
        size -= len(piece)
        yield piece
