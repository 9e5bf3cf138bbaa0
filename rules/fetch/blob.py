"""fetch/blob: a document or layer of an image exactly as it is stored, compressed or not."""

from __future__ import annotations

from typing import NamedTuple

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.rule import Rule, Work
from kitbuild.rules.fetch import open_source


class BlobOptions(NamedTuple):
    """`hex` and `size` (bytes) name the content, so they are identity; the rest says where to find it.

    `image` is the reference, for messages; `source` and `media_type` are those of Image and Descriptor.
    """

    hex: str
    size: int
    image: str
    source: str
    media_type: str


def run(work: Work[BlobOptions]) -> Digest:
    """Copies the content; raises ImageError if it is not what its digest and size say, keeping nothing."""
    options = work.options
    wanted = Digest(options.hex, options.size)
    try:
        with (
            open_source(options.source).blob(wanted, options.media_type) as pieces,
            work.writer() as writer,
        ):
            for piece in work.passing(pieces, wanted.size):
                if writer.size + len(piece) > wanted.size:
                    raise ImageError(f"expected {wanted.size} bytes, got more")
                writer.write(piece)
            if writer.size < wanted.size:
                raise ImageError(f"expected {wanted.size} bytes, got only {writer.size}")
            if writer.digest() != wanted:
                raise ImageError(f"expected content with this digest, got {writer.digest().oci}")
            return writer.commit()
    except ImageError as error:
        message = f"{options.image}: blob {wanted.oci}: {error.message}"
        raise type(error)(message, hint=error.hint) from error


RULE = Rule(
    name="fetch/blob",
    version=1,
    summary="a blob of an image as it is stored",
    options=BlobOptions,
    unkeyed=("image", "source", "media_type"),
    output="blob",
    run=run,
)
