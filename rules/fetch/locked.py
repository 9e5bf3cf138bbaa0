"""Images by the digests of a lock, out of any source that has their content, under whatever name.

Everything read is checked against its digest; what a lock says twice (the manifest, and what is in it) has to agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image, ImageSource, Index, IndexName, Platform
from kitbuild.lock import LockedImage, LockedName, LockedVolume
from kitbuild.reference import Reference

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@runtime_checkable
class _Near(Protocol):
    """A source that knows what it has without being asked over a network."""

    def has(self, blob: Digest) -> bool:
        """Whether a blob is there."""


def holds(source: ImageSource, blobs: Iterable[Digest]) -> bool:
    """Whether a source near by has all of these."""
    try:
        return isinstance(source, _Near) and all(source.has(blob) for blob in blobs)
    except ImageError:
        return False


def content_of(source: ImageSource, descriptor: Descriptor) -> bytes:
    """A document of an image, checked against its digest; raises ImageNotFoundError if the source lacks it."""
    from kitbuild.rules.fetch.document import MAX_DOCUMENT_BYTES, verified

    if descriptor.digest.size > MAX_DOCUMENT_BYTES:
        raise ImageError(f"expected at most {MAX_DOCUMENT_BYTES} bytes, got {descriptor.digest.size}")
    parts: list[bytes] = []
    size = 0
    with source.blob(descriptor.digest, descriptor.media_type) as pieces:
        for piece in pieces:
            parts.append(piece)
            size += len(piece)
            if size > descriptor.digest.size:
                break
    return verified(descriptor, b"".join(parts))


def image_at(
    source: ImageSource, wanted: tuple[Reference, Platform, str], name: LockedName, locked: LockedImage
) -> Image:
    """The locked image out of this source; `wanted` ends with how the source is written.

    Raises ImageNotFoundError if the source lacks one of its documents, ImageError for content that is not what its
    digest says.
    """
    # What was noted needs none of this.
    from kitbuild.rules.fetch.manifest import Wanted, image_of

    reference, platform, text = wanted
    if locked.manifest is None:
        return agreeing(_saved(source, reference, platform, locked), locked)
    asked = Wanted(reference, platform, text)

    def read(descriptor: Descriptor) -> bytes:
        return content_of(source, descriptor)

    if name.top_index is not None:
        try:
            top = content_of(source, Descriptor(_INDEX, name.top_index))
        except ImageNotFoundError:
            # The image alone will do, unless there is something that only the index leads to.
            if locked.sboms:
                raise
        else:
            return agreeing(image_of(top, asked, read=read), locked)
    content = content_of(source, Descriptor(_MANIFEST, locked.manifest))
    return agreeing(image_of(content, asked, read=read)._replace(top_index=name.top_index), locked)


def _saved(source: ImageSource, reference: Reference, platform: Platform, locked: LockedImage) -> Image:
    """An image of `docker save`, which goes by its name; one of another content counts as not there."""
    image = source.image(reference, platform)
    diff_ids = tuple(layer.diff_id for layer in image.layers)
    if (image.config_digest, diff_ids) != (locked.config, locked.diff_ids):
        raise ImageNotFoundError(f"{reference} is not the locked one in {image.source}")
    # What it is wrapped in may have changed: an archive, a layout made of it.
    return image


def agreeing(image: Image, locked: LockedImage) -> Image:
    """The same image, with the locked SBOMs and no others, if its parts are those of the lock too.

    Raises ImageError, and ImageNotFoundError if the source it came out of does not have all of the SBOMs.
    """
    found = (image.manifest, image.config_digest, tuple(layer.blob for layer in image.layers))
    if locked.manifest is None:
        return image
    if found == (locked.manifest, locked.config, locked.layers):
        sboms = {one.digest: one for one in image.sboms}
        if not sboms.keys() >= set(locked.sboms):
            raise ImageNotFoundError(f"{image.reference} goes without its SBOM in {image.source}")
        return image._replace(sboms=tuple(sboms[one] for one in locked.sboms))
    if image.manifest != locked.manifest:
        there = image.manifest.oci if image.manifest else "none"
        message = f"expected the manifest {locked.manifest.oci} for {image.platform}, got {there}"
    else:
        message = "expected the config and layers that its manifest has, got others"
    raise ImageError(
        f"{image.reference}: the lock contradicts itself: {message}",
        hint="take the entry out of the lock and run `kitbuild lock`",
    )


def index_at(source: ImageSource, name: IndexName, text: str, locked: LockedVolume) -> Index:
    """The locked image as it is stored, out of this source; raises what `image_at` raises."""
    from kitbuild.rules.fetch.index import WantedIndex, index_of

    wanted = WantedIndex(name.reference, name.platforms, text)
    top = content_of(source, Descriptor(_INDEX, locked.top))
    return index_of(top, wanted, read=lambda descriptor: content_of(source, descriptor))
