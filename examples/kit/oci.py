"""Writes an OCI image layout: a folder of blobs and an index of named images, the same bytes for the same input.

Source: OCI image-spec 1.1: image-layout.md, manifest.md, config.md, layer.md.

    oci-layout      {"imageLayoutVersion": "1.0.0"}
    index.json      one manifest an image, its name in org.opencontainers.image.ref.name
    blobs/sha256/   manifests, configs and gzip layers by digest
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
_LEVEL = 6  # 9 takes three times as long and saves one part in a thousand
_GZIP = 31  # zlib window bits that ask for a gzip frame, whose header then holds no time and no name


class Member(NamedTuple):
    """One entry of a layer; the path has no leading slash. Kind is by field: target, else directory, else file."""

    path: str
    data: bytes = b""
    mode: int = 0o644
    target: str = ""
    directory: bool = False


class Descriptor(NamedTuple):
    """A blob as its referrer names it; `diff_id` is the digest of a layer's uncompressed tar, else empty."""

    media_type: str
    digest: str
    size: int
    diff_id: str = ""

    def document(self) -> dict[str, Any]:
        """The descriptor as image-spec writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


def archive(members: Iterable[Member], *, root: bool = False) -> bytes:
    """A tar of `members`, sorted, every missing parent added; times, owners and names of owners are fixed.

    `root` writes names as `tar cf x.tar .` does: `./` first, every name below `./`.
    """
    entries = {member.path: member for member in members}
    for path in list(entries):
        for parent in map(str, Path(path).parents):
            if parent != "." and parent not in entries:
                entries[parent] = Member(parent, mode=0o755, directory=True)
    prefix = "./" if root else ""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        if root:
            tar.addfile(_header("./", Member("", mode=0o755, directory=True)))
        for path, member in sorted(entries.items()):
            tar.addfile(_header(prefix + path, member), io.BytesIO(member.data))
    return buffer.getvalue()


def _header(name: str, member: Member) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode = member.mode
    if member.target:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, member.target, 0o777
    elif member.directory:
        header.type = tarfile.DIRTYPE
    else:
        header.size = len(member.data)
    return header


class Layout:
    """An image layout folder being written. Nothing is under the folder's name before `close`."""

    def __init__(self, folder: Path, architecture: str) -> None:
        self.folder = folder
        self.architecture = architecture
        self._writing = folder.with_name(f".{folder.name}.{os.getpid()}")
        self._manifests: list[dict[str, Any]] = []
        (self._writing / "blobs" / "sha256").mkdir(parents=True)

    def layer(self, members: Iterable[Member]) -> Descriptor:
        """Adds a layer; give the result to as many images as share it."""
        tar = archive(members)
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        blob = self._blob(_LAYER, packer.compress(tar) + packer.flush())
        return blob._replace(diff_id=f"sha256:{hashlib.sha256(tar).hexdigest()}")

    def image(self, name: str, layers: Iterable[Descriptor], config: Mapping[str, Any]) -> None:
        """Adds an image under its full name; `config` is the part of the image config that says how it is run."""
        layers = list(layers)
        document = {
            "architecture": self.architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(_CONFIG, _json(document)).document(),
            "layers": [layer.document() for layer in layers],
        }
        entry = self._blob(_MANIFEST, _json(manifest)).document()
        entry["platform"] = {"architecture": self.architecture, "os": "linux"}
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
        self._manifests.append(entry)

    def close(self) -> None:
        """Finishes the folder and puts it in the place of an older one."""
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self._manifests,
        }
        (self._writing / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
        (self._writing / "index.json").write_bytes(_json(index))
        shutil.rmtree(self.folder, ignore_errors=True)
        self._writing.rename(self.folder)

    def discard(self) -> None:
        """Removes what was written; the older folder stays."""
        shutil.rmtree(self._writing, ignore_errors=True)

    def _blob(self, media_type: str, data: bytes) -> Descriptor:
        name = hashlib.sha256(data).hexdigest()
        (self._writing / "blobs" / "sha256" / name).write_bytes(data)
        return Descriptor(media_type, f"sha256:{name}", len(data))


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=2, sort_keys=True).encode()
