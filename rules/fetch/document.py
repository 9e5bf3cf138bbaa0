"""Documents of images (indexes, manifests, configs): read with care, whatever they describe.

Source: OCI image-spec 1.1 image-index.md, manifest.md, descriptor.md; Docker "Image Manifest Version 2, Schema 2".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.image import Descriptor, Platform
from kitbuild.reference import Reference

# The limit containerd and go-containerregistry put on a manifest; registries refuse larger ones as well.
MAX_DOCUMENT_BYTES = 4 << 20

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
INDEX_TYPES = frozenset({f"{OCI}index.v1+json", f"{DOCKER}distribution.manifest.list.v2+json"})
MANIFEST_TYPES = frozenset({f"{OCI}manifest.v1+json", f"{DOCKER}distribution.manifest.v2+json"})
_FOREIGN = ("nondistributable", "foreign")

# Gives the bytes of a small document; they are checked here.
Read = Callable[[Descriptor], bytes]


def parsed(content: bytes, what: str, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> dict[str, Any]:
    """A JSON object; `what` names it in errors."""
    if len(content) > max_bytes:
        raise ImageError(f"{what}: expected at most {max_bytes} bytes, got {len(content)}")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{what}: expected JSON: {error}") from error
    if not isinstance(document, dict):
        raise ImageError(f"{what}: expected a JSON object, got {type(document).__name__}")
    return document


def verified(descriptor: Descriptor, content: bytes) -> bytes:
    """The same bytes, if they are what the descriptor says."""
    got = Digest.of(content)
    if got != descriptor.digest:
        raise ImageError(f"expected content with digest {descriptor.digest.oci}, got {got.oci}")
    return content


def descriptor_of(value: Any, what: str) -> Descriptor:
    """A descriptor out of a document."""
    try:
        size = value["size"]
        if not isinstance(size, int) or isinstance(size, bool):
            raise ValueError(f"expected a size in bytes, got {size!r}")
        digest = Digest.parse(value["digest"], size)
        media_type = value["mediaType"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ImageError(f"{what}: expected a mediaType, a sha256 digest and a size: {error}") from error
    return Descriptor(str(media_type), digest)


def document_descriptor(value: Any, what: str) -> Descriptor:
    """A descriptor of a document, so no larger than documents may be."""
    descriptor = descriptor_of(value, what)
    if descriptor.digest.size > MAX_DOCUMENT_BYTES:
        raise ImageError(f"{what}: expected at most {MAX_DOCUMENT_BYTES} bytes, got {descriptor.digest.size}")
    return descriptor


def is_index(document: dict[str, Any], reference: Reference) -> bool:
    """Whether a document is an index; raises ImageError unless it is that or a manifest."""
    version = document.get("schemaVersion", 2)
    if version != 2 or "fsLayers" in document:
        raise ImageError(
            f"{reference}: expected a manifest of schema 2, got schema {version}, which is obsolete",
            hint="build and push the image again with a current tool",
        )
    media_type = document.get("mediaType", "")
    listed = "manifests" in document
    # A document that reads both ways is how one digest could name two images (CVE-2021-41190).
    if listed == ("layers" in document or "config" in document):
        raise ImageError(f"{reference}: expected a manifest or an index, got neither or both in one")
    if media_type and media_type not in (INDEX_TYPES if listed else MANIFEST_TYPES):
        kind = "an index" if listed else "a manifest"
        raise ImageError(f"{reference}: {kind} cannot be of media type `{media_type}`")
    return listed


def refuse_foreign(descriptor: Descriptor, reference: Reference) -> None:
    """Raises ImageError for a layer that only its vendor gives out."""
    if any(word in descriptor.media_type for word in _FOREIGN):
        raise ImageError(
            f"{reference}: layer {descriptor.digest.oci} is foreign (`{descriptor.media_type}`): "
            "registries do not hold it",
            hint="use an image whose layers are all in the registry",
        )


def platform_of(entry: Any) -> Platform | None:
    """The platform of an index entry; None for entries that are not images, such as attestations."""
    platform = entry.get("platform") if isinstance(entry, dict) else None
    if not isinstance(platform, dict):
        return None
    found = Platform(
        str(platform.get("os", "")), str(platform.get("architecture", "")), str(platform.get("variant", ""))
    )
    return None if "unknown" in (found.os, found.architecture) else found
