"""From a manifest or an index to an Image; every source of images uses it and brings only the bytes.

Source: OCI image-spec 1.1 image-index.md, manifest.md, config.md, descriptor.md, layer.md; Docker "Image
Manifest Version 2, Schema 2".
"""

from __future__ import annotations

from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.image import Descriptor, Image, ImageConfig, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.attestation import with_sboms
from kitbuild.rules.fetch.document import (
    DOCKER,
    INDEX_TYPES,
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

_CONFIG_TYPES = frozenset({f"{OCI}config.v1+json", f"{DOCKER}container.image.v1+json"})
_TARS = (f"{OCI}layer.v1.tar", f"{DOCKER}image.rootfs.diff.tar")
_LAYER_TYPES = frozenset(
    [*_TARS, *(f"{tar}{suffix}" for tar in _TARS for suffix in ("+gzip", ".gzip", "+zstd", ".zstd"))]
)


class Wanted(NamedTuple):
    """Which image is asked for, and how the source is written that shall be named in it."""

    reference: Reference
    platform: Platform
    source: str


def image_of(content: bytes, wanted: Wanted, *, read: Read) -> Image:
    """The image described by the manifest or index `content`, whose digest the caller has checked.

    From an index only the entry for the wanted platform is read. Raises ImageError for what cannot be used.
    """
    document = parsed(content, f"the manifest of {wanted.reference}")
    top = Digest.of(content)
    if not is_index(document, wanted.reference):
        return _image(document, wanted, read=read, manifest=top, index=None)
    chosen = _choice(document, wanted)
    manifest = parsed(verified(chosen, read(chosen)), f"the manifest of {wanted.reference}")
    if is_index(manifest, wanted.reference):
        raise ImageError(
            f"{wanted.reference}: expected an image for {wanted.platform}, got an index in an index"
        )
    image = _image(manifest, wanted, read=read, manifest=chosen.digest, index=top)
    return with_sboms(image, document, read)


def image_of_config(
    content: bytes, wanted: Wanted, *, layers: list[Layer], manifest: Digest | None, index: Digest | None
) -> Image:
    """The image of a config document and layers whose diff IDs are filled in from it, in order."""
    what = f"the config of {wanted.reference}"
    document = parsed(content, what)
    diff_ids = _diff_ids(document, what)
    if len(diff_ids) != len(layers):
        raise ImageError(f"{what}: expected {len(layers)} diff_ids, one a layer, got {len(diff_ids)}")
    return Image(
        wanted.reference,
        wanted.source,
        wanted.platform,
        tuple(
            Layer(diff_id, layer.media_type, layer.blob, layer.name)
            for diff_id, layer in zip(diff_ids, layers, strict=True)
        ),
        _settings(document.get("config") or {}, what),
        manifest,
        index,
        _warnings(document, wanted),
        config_digest=Digest.of(content),
    )


def _choice(index: dict[str, Any], wanted: Wanted) -> Descriptor:
    there: list[str] = []
    for entry in index["manifests"] or ():
        platform = platform_of(entry)
        if platform is None:
            continue
        if platform.fits(wanted.platform):
            chosen = document_descriptor(entry, f"the index of {wanted.reference}")
            if chosen.media_type in INDEX_TYPES:
                raise ImageError(
                    f"{wanted.reference}: expected an image for {wanted.platform}, got an index in an index",
                    hint="name the inner index by its digest",
                )
            if chosen.media_type in MANIFEST_TYPES:
                return chosen
            raise ImageError(f"{wanted.reference}: unknown manifest media type `{chosen.media_type}`")
        there.append(str(platform))
    raise ImageError(
        f"{wanted.reference}: expected an image for {wanted.platform}, got {', '.join(there) or 'none at all'}",
        hint="choose another architecture or an image that was built for this one",
    )


def _image(
    document: dict[str, Any], wanted: Wanted, *, read: Read, manifest: Digest, index: Digest | None
) -> Image:
    what = f"the manifest of {wanted.reference}"
    config = document_descriptor(document.get("config"), what)
    if config.media_type not in _CONFIG_TYPES:
        raise ImageError(f"{wanted.reference}: expected an image, got a config of type `{config.media_type}`")
    entries = document.get("layers") or []
    if not isinstance(entries, list):
        raise ImageError(f"{what}: expected a list of layers, got {type(entries).__name__}")
    layers = [_layer(entry, wanted.reference) for entry in entries]
    content = verified(config, read(config))
    return image_of_config(content, wanted, layers=layers, manifest=manifest, index=index)


def _layer(entry: Any, reference: Reference) -> Layer:
    descriptor = descriptor_of(entry, f"the manifest of {reference}")
    refuse_foreign(descriptor, reference)
    media_type, blob = descriptor
    if media_type not in _LAYER_TYPES:
        raise ImageError(f"{reference}: unknown layer media type `{media_type}` (layer {blob.oci})")
    return Layer("", media_type, blob)


def _diff_ids(document: dict[str, Any], what: str) -> list[str]:
    rootfs = document.get("rootfs")
    diff_ids = (rootfs.get("diff_ids") or []) if isinstance(rootfs, dict) else None
    if not isinstance(diff_ids, list):
        raise ImageError(f"{what}: expected rootfs.diff_ids, a list of digests")
    try:
        return [Digest.parse(text, 0).hex for text in diff_ids]
    except (ValueError, AttributeError) as error:
        raise ImageError(f"{what}: expected sha256 digests in rootfs.diff_ids: {error}") from error


def _settings(settings: Any, what: str) -> ImageConfig:
    if not isinstance(settings, dict):
        raise ImageError(f"{what}: expected an object in `config`, got {type(settings).__name__}")
    labels = settings.get("Labels") or {}
    directory = settings.get("WorkingDir") or ""
    if not isinstance(directory, str) or not _is_text_map(labels):
        raise ImageError(f"{what}: expected text in `WorkingDir` and `Labels`")
    return ImageConfig(
        _texts(settings, "Entrypoint", what=what),
        _texts(settings, "Cmd", what=what),
        _texts(settings, "Env", what=what),
        directory,
        labels,
    )


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _texts(settings: dict[str, Any], name: str, *, what: str) -> tuple[str, ...]:
    values = settings.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ImageError(f"{what}: expected a list of texts in `{name}`, got {values!r}")
    return tuple(values)


def _warnings(document: dict[str, Any], wanted: Wanted) -> tuple[str, ...]:
    # A right tag with the wrong architecture behind it exists in the wild. LinuxKit takes it, so only say it.
    platform = wanted.platform
    got = Platform(document.get("os") or platform.os, document.get("architecture") or platform.architecture)
    if got[:2] == platform[:2]:
        return ()
    return (f"{wanted.reference} is for {got}, not for {platform}",)
