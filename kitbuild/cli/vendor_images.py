"""All content of locked images, from wherever it is, into a VendorFolder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.cli.vendor_folder import Entry, VendorFolder
from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image, ImageSource, Index
from kitbuild.reference import Reference
from kitbuild.report.text import human_size, plural
from kitbuild.rules.fetch import open_source
from kitbuild.rules.fetch.attestation import is_about
from kitbuild.rules.fetch.document import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    OCI,
    document_descriptor,
    is_index,
    parsed,
)
from kitbuild.rules.fetch.locked import content_of, holds

# Registries and disks alike are busy with a few at once.
_THREADS = 4
_INDEX = f"{OCI}index.v1+json"
_MANIFEST = f"{OCI}manifest.v1+json"


class _Blob(NamedTuple):
    digest: Digest
    media_type: str
    reference: Reference
    # The source it is said to be in.
    source: str


class ImageCopy:
    """Copies images into a folder; `sources` are texts of sources near by, `route` gives the way to a registry.

    `tell` hears, before much is copied, how much that is.
    """

    def __init__(
        self,
        folder: VendorFolder,
        sources: Sequence[str],
        *,
        route: Callable[[str], str],
        tell: Callable[[str], None],
    ) -> None:
        self._tell = tell
        self._folder = folder
        self._sources = [(text, open_source(text)) for text in sources]
        self._route = route

    def copy(self, images: Iterable[Image], indexes: Iterable[Index]) -> list[Entry]:
        """Brings all content of images and indexes; gives the entries that name them. Raises ImageError."""
        blobs: dict[str, _Blob] = {}
        entries: dict[str, Entry] = {}
        for image in images:
            for blob in self._of_image(image):
                blobs.setdefault(blob.digest.hex, blob)
            top = image.top_index or image.manifest
            assert top is not None, "images of archives go another way"
            entries[str(image.reference)] = self._entry(image.reference, top)
        for index in indexes:
            for descriptor in index.blobs:
                blob = _Blob(descriptor.digest, descriptor.media_type, index.reference, index.source)
                blobs.setdefault(blob.digest.hex, blob)
            # Documents alone, so that they can be looked at.
            self._bring(_Blob(index.top.digest, index.top.media_type, index.reference, index.source))
            entries[str(index.reference)] = self._entry(index.reference, index.top.digest)
        left = [blob.digest.size for blob in blobs.values() if not self._folder.has_blob(blob.digest)]
        if left:
            self._tell(f"copying {plural(len(left), 'blob')} ({human_size(sum(left))})")
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                for _ in pool.map(self._bring, blobs.values()):
                    pass
            except BaseException:
                # What has not begun need not.
                pool.shutdown(cancel_futures=True)
                raise
        return list(entries.values())

    def _of_image(self, image: Image) -> Iterator[_Blob]:
        """Manifest, config, layers, SBOMs; the index, and what leads from it to the SBOMs."""

        def blob(digest: Digest, media_type: str) -> _Blob:
            return _Blob(digest, media_type, image.reference, image.source)

        assert image.manifest is not None
        self._bring(blob(image.manifest, _MANIFEST))
        yield blob(image.manifest, _MANIFEST)
        document = self._document(image.manifest, image.reference)
        config = document_descriptor(document.get("config"), f"the manifest of {image.reference}")
        yield blob(config.digest, config.media_type)
        for layer in image.layers:
            assert layer.blob is not None
            yield blob(layer.blob, layer.media_type)
        for sbom in image.sboms:
            yield blob(sbom.digest, sbom.media_type)
        if image.top_index is None:
            return
        self._bring(blob(image.top_index, _INDEX))
        yield blob(image.top_index, _INDEX)
        what = f"the index of {image.reference}"
        for entry in self._document(image.top_index, image.reference).get("manifests") or ():
            if is_about(entry, image.manifest.oci):
                attestation = document_descriptor(entry, what)
                # It may say something else than what is in the image; then nobody misses it.
                with nullcontext() if image.sboms else suppress(ImageError):
                    self._bring(blob(attestation.digest, attestation.media_type))

    def _document(self, digest: Digest, reference: Reference) -> dict[str, Any]:
        return parsed(self._folder.read_blob(digest), f"the manifest of {reference}")

    def _entry(self, reference: Reference, top: Digest) -> Entry:
        document = self._document(top, reference)
        stored = document.get("mediaType")
        otherwise = _INDEX if is_index(document, reference) else _MANIFEST
        return Entry(str(reference), stored if stored in INDEX_TYPES | MANIFEST_TYPES else otherwise, top)

    def _bring(self, blob: _Blob) -> None:
        if self._folder.has_blob(blob.digest):
            return
        failure: ImageError = ImageNotFoundError(f"no source has {blob.digest.oci}")
        for source in self._candidates(blob):
            try:
                self._copy(source(), blob)
                return
            except ImageError as error:
                # The first tells most: it was said to have it.
                failure = failure if not isinstance(failure, ImageNotFoundError) else error
        raise ImageError(f"{blob.reference}: {blob.digest.oci}: {failure.message}", hint=failure.hint)

    def _copy(self, source: ImageSource, blob: _Blob) -> None:
        if blob.media_type in INDEX_TYPES | MANIFEST_TYPES:
            content = content_of(source, Descriptor(blob.media_type, blob.digest))
            self._folder.write_blob(blob.digest, [content])
            return
        with source.blob(blob.digest, blob.media_type) as pieces:
            self._folder.write_blob(blob.digest, pieces)

    def _candidates(self, blob: _Blob) -> Iterator[Callable[[], ImageSource]]:
        """The source it is said to be in, those near by that have it, the registry its name begins with."""
        registry = self._route(f"registry:{blob.reference.host}/{blob.reference.path}")
        for text, source in self._sources:
            if text == blob.source or holds(source, [blob.digest]):
                yield lambda source=source: source  # type: ignore[misc]
        yield lambda: open_source(registry)


def archives_of(images: Iterable[Image]) -> dict[Path, None]:
    """The archives of `docker save` that some of the images are in: those have no manifests to put in a layout."""
    return {Path(image.source.removeprefix("archive:")): None for image in images if image.manifest is None}
