"""From an index to all that an image consists of for several platforms; nothing in it is opened but manifests.

Source: OCI image-spec 1.1 image-index.md, manifest.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.image import Descriptor, Index, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.document import (
    MANIFEST_TYPES,
    OCI,
    Read,
    descriptor_of,
    document_descriptor,
    is_index,
    parsed,
    platform_of,
    refuse_foreign,
    verified,
)


class WantedIndex(NamedTuple):
    """Which image is asked for, for which platforms (all if none), and how the source is written."""

    reference: Reference
    platforms: tuple[Platform, ...]
    source: str


def index_of(content: bytes, wanted: WantedIndex, *, read: Read) -> Index:
    """The index (or the only manifest) `content`, whose digest the caller has checked, and all below it.

    Without a choice of platforms attestations come along; indexes in an index never do. Raises ImageError if
    there is nothing for one of the platforms, and for what cannot be used.
    """
    document = parsed(content, f"the manifest of {wanted.reference}")
    top = Digest.of(content)
    if not is_index(document, wanted.reference):
        return _index_of_one(document, top, wanted, read=read)
    chosen = list(_chosen(document, wanted.platforms))
    platforms = [platform for _, platform in chosen if platform]
    _check(platforms, wanted, there=[platform for _, platform in _chosen(document, ()) if platform])
    blobs = [blob for entry, _ in chosen for blob in _with_manifest(entry, wanted, read)]
    # What LinuxKit calls every index, Docker's lists too.
    index = Descriptor(f"{OCI}index.v1+json", top)
    return _index(wanted, top=index, platforms=platforms, blobs=[*blobs, index])


def _index_of_one(document: dict[str, Any], top: Digest, wanted: WantedIndex, *, read: Read) -> Index:
    blobs = list(_below(document, wanted.reference))
    platform = _platform_of_config(verified(blobs[0], read(blobs[0])), wanted.reference)
    _check([platform], wanted, there=[platform])
    manifest = Descriptor(str(document.get("mediaType") or f"{OCI}manifest.v1+json"), top)
    return _index(wanted, top=manifest, platforms=[platform], blobs=[*blobs, manifest])


def _with_manifest(entry: Any, wanted: WantedIndex, read: Read) -> Iterator[Descriptor]:
    """Config, layers and manifest of an entry, as LinuxKit orders them."""
    what = f"the manifest of {wanted.reference}"
    manifest = document_descriptor(entry, what)
    document = parsed(verified(manifest, read(manifest)), what)
    if is_index(document, wanted.reference):
        raise ImageError(f"{wanted.reference}: expected an image, got an index in an index")
    yield from _below(document, wanted.reference)
    yield manifest


def _index(
    wanted: WantedIndex, *, top: Descriptor, platforms: list[Platform], blobs: list[Descriptor]
) -> Index:
    once = {blob.digest.hex: blob for blob in blobs}
    return Index(wanted.reference, wanted.source, top, tuple(dict.fromkeys(platforms)), tuple(once.values()))


def _chosen(index: dict[str, Any], platforms: tuple[Platform, ...]) -> Iterator[tuple[Any, Platform | None]]:
    """The entries that are manifests for these platforms, or all manifests; with the platform, if it has one."""
    for entry in index["manifests"] or ():
        if not isinstance(entry, dict) or entry.get("mediaType") not in MANIFEST_TYPES:
            continue
        platform = platform_of(entry)
        if not platforms or (platform and any(platform.fits(wanted) for wanted in platforms)):
            yield entry, platform


def _below(manifest: dict[str, Any], reference: Reference) -> Iterator[Descriptor]:
    """Config and layers."""
    what = f"the manifest of {reference}"
    yield document_descriptor(manifest.get("config"), what)
    layers = manifest.get("layers") or []
    if not isinstance(layers, list):
        raise ImageError(f"{what}: expected a list of layers, got {type(layers).__name__}")
    for layer in layers:
        descriptor = descriptor_of(layer, what)
        refuse_foreign(descriptor, reference)
        yield descriptor


def _platform_of_config(content: bytes, reference: Reference) -> Platform:
    config = parsed(content, f"the config of {reference}")
    names = (config.get(name) or "" for name in ("os", "architecture", "variant"))
    return Platform(*map(str, names))


def _check(platforms: Sequence[Platform], wanted: WantedIndex, *, there: Sequence[Platform]) -> None:
    lacking = [str(one) for one in wanted.platforms if not any(found.fits(one) for found in platforms)]
    if lacking:
        got = ", ".join(map(str, dict.fromkeys(there))) or "none at all"
        raise ImageError(
            f"{wanted.reference}: expected an image for {', '.join(lacking)}, got {got}",
            hint="choose other platforms or an image that was built for these",
        )
