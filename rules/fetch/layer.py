"""fetch/layer: one layer of an image as an uncompressed tar."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kitbuild.digest import Digest, Hasher
from kitbuild.errors import ImageError
from kitbuild.image import Layer
from kitbuild.rule import BlobWriter, Rule, Work
from kitbuild.rules.fetch import open_source
from kitbuild.rules.fetch.compression import decompressed

# gzip can make a thousandth, zstd far less; real layers stay above a twentieth. Past both limits it is a bomb.
_MAX_RATIO = 100
_MAX_BYTES = 8 << 30


class LayerOptions(NamedTuple):
    """`diff_id` (64 hex digits) names the content, so it alone is identity; the rest says where to find it.

    `image` is the reference, for messages; `source`, `media_type`, `blob` and `name` are those of Image and Layer.
    """

    diff_id: str
    image: str
    source: str
    media_type: str
    blob: Digest | None = None
    name: str = ""


def run(work: Work[LayerOptions]) -> Digest:
    """Reads, checks and unpacks the layer; raises ImageError if it is not what the image says, keeping nothing."""
    options = work.options
    try:
        source = open_source(options.source)
        layer = Layer(options.diff_id, options.media_type, options.blob, options.name)
        with source.layer(layer) as pieces, work.writer() as writer:
            size = options.blob.size if options.blob else 0
            _unpack(work.passing(pieces, size), options, writer)
            return writer.commit()
    except ImageError as error:
        place = f"layer {options.blob.oci}" if options.blob else f"layer `{options.name}`"
        raise type(error)(f"{options.image}: {place}: {error.message}", hint=error.hint) from error


def _unpack(pieces: Iterator[bytes], options: LayerOptions, writer: BlobWriter) -> None:
    stored = _Stored(pieces, options.blob)
    for piece in decompressed(stored, options.media_type):
        writer.write(piece)
        if writer.size > max(_MAX_BYTES, _MAX_RATIO * stored.size):
            raise ImageError(
                f"a decompression bomb: expected at most {_MAX_RATIO} times its {stored.size} bytes, got more"
            )
    stored.check()
    got = writer.digest().hex
    if got != options.diff_id:
        raise ImageError(
            f"expected content with diff ID sha256:{options.diff_id}, got sha256:{got}",
            hint="the image is broken: build and push it again",
        )


class _Stored:
    """The pieces as they come, counted and hashed on their way; `check` says whether they were the right ones."""

    def __init__(self, pieces: Iterator[bytes], expected: Digest | None) -> None:
        self._pieces = pieces
        self._expected = expected
        self._hasher = Hasher()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            if self._expected:
                if self.size > self._expected.size:
                    raise ImageError(f"expected {self._expected.size} bytes, got more")
                self._hasher.update(piece)
            yield piece

    def check(self) -> None:
        """Raises ImageError unless all pieces together are the expected content."""
        if self._expected and self._hasher.digest() != self._expected:
            got = self._hasher.digest()
            if got.size < self._expected.size:
                raise ImageError(f"expected {self._expected.size} bytes, got only {got.size}")
            raise ImageError(f"expected stored content with this digest, got {got.oci}")


RULE = Rule(
    name="fetch/layer",
    version=1,
    summary="one layer of an image, uncompressed",
    options=LayerOptions,
    unkeyed=("image", "source", "media_type", "blob", "name"),
    output="blob",
    run=run,
)
