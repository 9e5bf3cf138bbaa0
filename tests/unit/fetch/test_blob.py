"""fetch/blob: what comes out is what the digest says, or nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.extents import Slice
from kitbuild.rule import Artifact
from kitbuild.rules.fetch.blob import RULE, BlobOptions
from tests.support.images import hex_of, image, layout
from tests.support.work import FolderWork, run

MADE = image({"a": "1"})
LAYER = MADE.layers[0]


def work_in(folder: Path, blob: Digest) -> FolderWork[BlobOptions]:
    options = BlobOptions(*blob, "docker.io/t/a:v1", f"layout:{folder / 'images'}", "some/type")
    return FolderWork(options, folder / "work")


def stored(folder: Path, content: bytes) -> None:
    """Puts other bytes where the layer is."""
    images = layout(folder / "images", {"t/a:v1": MADE})
    (images / "blobs/sha256" / hex_of(LAYER)).write_bytes(content)


@pytest.mark.parametrize("content", [LAYER, MADE.config, MADE.manifest], ids=["layer", "config", "manifest"])
def test_the_blob_comes_out_as_it_is_stored(content: bytes, tmp_path: Path) -> None:
    layout(tmp_path / "images", {"t/a:v1": MADE})
    work = work_in(tmp_path, Digest.of(content))

    artifact = run(RULE, work)

    assert artifact == Artifact("blob", Digest.of(content))
    assert work.read(whole(content)) == content


def whole(content: bytes) -> Slice:
    return Slice(Digest.of(content), 0, len(content))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(LAYER + b"x", f"expected {len(LAYER)} bytes, got more", id="longer"),
        pytest.param(LAYER[:-1], f"expected {len(LAYER)} bytes, got only {len(LAYER) - 1}", id="shorter"),
        pytest.param(LAYER[:-1] + b"x", "expected content with this digest, got sha256:", id="other"),
    ],
)
def test_other_bytes_are_refused_and_nothing_is_kept(content: bytes, message: str, tmp_path: Path) -> None:
    stored(tmp_path, content)
    work = work_in(tmp_path, Digest.of(LAYER))

    with pytest.raises(ImageError) as caught:
        run(RULE, work)

    assert str(caught.value).startswith(f"docker.io/t/a:v1: blob sha256:{hex_of(LAYER)}: {message}")
    assert work.kept() == set()


def test_a_blob_that_is_not_there_says_what_to_do(tmp_path: Path) -> None:
    layout(tmp_path / "images", {})

    with pytest.raises(ImageError, match="is not in the layout") as caught:
        run(RULE, work_in(tmp_path, Digest.of(LAYER)))

    assert caught.value.hint == "fill the layout again: it is incomplete"


def test_only_the_content_is_identity() -> None:
    assert set(BlobOptions._fields) - set(RULE.unkeyed) == {"hex", "size"}
