"""Image is an OCI image as its manifest and config describe it, before any layer is read.

Source: OCI image-spec 1.1, manifest.md and config.md; Docker image manifest v2 schema 2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import NamedTuple, Protocol

from kitbuild.digest import Digest
from kitbuild.reference import Reference

# Raised whenever something else is read out of a manifest or config: what was noted before then counts for nothing.
_NOTE_FORMAT = 2


class Platform(NamedTuple):
    """What an image runs on, in Go's names: `linux`, `amd64`, and `v7` or the like for some."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, self))

    def fits(self, wanted: Platform) -> bool:
        """Whether it is the wanted one; its variant does not matter unless one is wanted."""
        return self[:2] == wanted[:2] and (not wanted.variant or self.variant == wanted.variant)


class Descriptor(NamedTuple):
    """A document or blob as another document refers to it."""

    media_type: str
    digest: Digest


class Layer(NamedTuple):
    """One layer: `diff_id` is the sha256 (hex) of the uncompressed tar, `blob` the bytes as the source has them.

    `blob` is None where the source names layers by path (old docker save archives); `name` then is that path.
    """

    diff_id: str
    media_type: str
    blob: Digest | None = None
    name: str = ""


class ImageConfig(NamedTuple):
    """What an image says about running it; lists are as in the image, absent ones empty."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()
    working_directory: str = ""
    labels: Mapping[str, str] = MappingProxyType({})


class Image(NamedTuple):
    """One image for one platform: where it was found, what it consists of.

    `source` is text that `kitbuild.rules.fetch.open_source` opens again ("layout:/path", "registry:host/path").
    `manifest` is the platform's manifest, `top_index` the index it was chosen from; None where the source has none.
    `warnings` are sentences the user should see, though the image can be used. `sboms` are the in-toto statements
    with an SPDX document that the index attaches to this image. `config_digest` is that of the document `config` is
    read from.
    """

    reference: Reference
    source: str
    platform: Platform
    layers: tuple[Layer, ...]
    config: ImageConfig
    manifest: Digest | None = None
    top_index: Digest | None = None
    warnings: tuple[str, ...] = ()
    sboms: tuple[Descriptor, ...] = ()
    config_digest: Digest | None = None

    def encode(self) -> bytes:
        """The image as JSON, for a note."""
        config = self.config
        document = {
            "format": _NOTE_FORMAT,
            "reference": self.reference,
            "source": self.source,
            "platform": self.platform,
            "layers": self.layers,
            "entrypoint": config.entrypoint,
            "command": config.command,
            "environment": config.environment,
            "working_directory": config.working_directory,
            "labels": dict(config.labels),
            "manifest": self.manifest,
            "index": self.top_index,
            "warnings": self.warnings,
            "sboms": self.sboms,
            "config_digest": self.config_digest,
        }
        return json.dumps(document, separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, content: bytes) -> Image:
        """Reads what `encode` wrote; raises ValueError on anything else."""
        try:
            document = json.loads(content)
            _check_format(document["format"])
            return cls(
                Reference(*document["reference"]),
                document["source"],
                Platform(*document["platform"]),
                tuple(
                    Layer(diff_id, media_type, _digest(blob), name)
                    for diff_id, media_type, blob, name in document["layers"]
                ),
                ImageConfig(
                    tuple(document["entrypoint"]),
                    tuple(document["command"]),
                    tuple(document["environment"]),
                    document["working_directory"],
                    document["labels"],
                ),
                _digest(document["manifest"]),
                _digest(document["index"]),
                tuple(document["warnings"]),
                _descriptors(document["sboms"]),
                _digest(document["config_digest"]),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"not an image: {error}") from error


class IndexName(NamedTuple):
    """What to ask for an image as it is stored: its name, and the platforms; all there are if it says none."""

    reference: Reference
    platforms: tuple[Platform, ...] = ()


class Index(NamedTuple):
    """An image for several platforms as it is stored, to be carried along rather than unpacked.

    `top` is its index, or its manifest if it has none. `blobs` are all it consists of, once each: manifests, their
    configs and layers, and `top`. `platforms` are those among them.
    """

    reference: Reference
    source: str
    top: Descriptor
    platforms: tuple[Platform, ...]
    blobs: tuple[Descriptor, ...]

    def encode(self) -> bytes:
        """The index as JSON, for a note."""
        return json.dumps([_NOTE_FORMAT, *self], separators=(",", ":")).encode("ascii")

    @classmethod
    def decode(cls, content: bytes) -> Index:
        """Reads what `encode` wrote; raises ValueError on anything else."""
        try:
            note_format, reference, source, top, platforms, blobs = json.loads(content)
            _check_format(note_format)
            return cls(
                Reference(*reference),
                source,
                _descriptors([top])[0],
                tuple(Platform(*platform) for platform in platforms),
                _descriptors(blobs),
            )
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ValueError(f"not an index: {error}") from error


def _check_format(found: object) -> None:
    if found != _NOTE_FORMAT:
        raise ValueError(f"expected a note of format {_NOTE_FORMAT}, got {found!r}")


def _digest(fields: list[str | int] | None) -> Digest | None:
    return Digest.parse(str(fields[0]), int(fields[1])) if fields else None


def _descriptors(values: list[tuple[str, tuple[str, int]]]) -> tuple[Descriptor, ...]:
    return tuple(Descriptor(media_type, Digest.parse(*digest)) for media_type, digest in values)


class ImageSource(Protocol):
    """A place images come from."""

    def image(self, reference: Reference, platform: Platform) -> Image:
        """The image of this name for this platform.

        Raises ImageNotFoundError if this source does not know the name, ImageError for everything else: no such
        platform, a manifest that does not fit its digest, a broken answer.
        """

    def layer(self, layer: Layer) -> AbstractContextManager[Iterator[bytes]]:
        """The layer's bytes as stored, in pieces; compressed as its media type says, not verified yet."""

    def index(self, reference: Reference, platforms: tuple[Platform, ...]) -> Index:
        """All that the image of this name consists of for these platforms, or for every one if there are none.

        Raises what `image` raises.
        """

    def blob(self, blob: Digest, media_type: str) -> AbstractContextManager[Iterator[bytes]]:
        """A document or layer as stored, in pieces, not verified yet."""
