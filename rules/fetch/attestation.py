"""What an index says about one of its images beside the image itself: its software bills of materials.

Source: BuildKit, docs/attestations/attestation-storage.md; in-toto attestation framework, "Statement".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image
from kitbuild.rules.fetch.document import Read, descriptor_of, document_descriptor, parsed, verified

_STATEMENT_TYPE = "application/vnd.in-toto+json"
_PREDICATE_TYPE = "https://spdx.dev/Document"


def with_sboms(image: Image, index: dict[str, Any], read: Read) -> Image:
    """The image with the SBOMs the index it comes from attaches to it.

    An attestation that the source does not have gives a warning: programs that copy images for one platform leave
    them behind. Raises ImageError for one that is broken.
    """
    what = f"the attestation of {image.reference}"
    found: list[Descriptor] = []
    warnings = list(image.warnings)
    for entry in index["manifests"] or ():
        if image.manifest is None or not is_about(entry, image.manifest.oci):
            continue
        manifest = document_descriptor(entry, what)
        try:
            found += _sboms(parsed(verified(manifest, read(manifest)), what), what)
        except ImageNotFoundError as error:
            warnings.append(f"{image.reference} goes without its SBOM: {error.message}")
    return image._replace(sboms=tuple(dict.fromkeys(found)), warnings=tuple(warnings))


def is_about(entry: Any, digest: str) -> bool:
    """Whether an entry of an index is what is attested about the manifest of this digest."""
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    return (
        isinstance(annotations, dict)
        and annotations.get("vnd.docker.reference.type") == "attestation-manifest"
        and annotations.get("vnd.docker.reference.digest") == digest
    )


def _sboms(manifest: dict[str, Any], what: str) -> Iterator[Descriptor]:
    layers = manifest.get("layers") or []
    if not isinstance(layers, list):
        raise ImageError(f"{what}: expected a list of layers, got {type(layers).__name__}")
    for layer in layers:
        descriptor = descriptor_of(layer, what)
        annotations = layer.get("annotations") or {}
        if (
            descriptor.media_type == _STATEMENT_TYPE
            and isinstance(annotations, dict)
            and annotations.get("in-toto.io/predicate-type") == _PREDICATE_TYPE
        ):
            yield descriptor
