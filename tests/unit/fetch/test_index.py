"""All that an image consists of, for several platforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, ImageSource, Index, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch import open_source
from kitbuild.rules.fetch.index import WantedIndex, index_of
from tests.support.images import (
    Made,
    MadeImage,
    blobs_of,
    docker_archive,
    hex_of,
    image,
    index,
    layout,
    oci_archive,
)

A = Reference.parse("t/a:v1")
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
AMD = image({"a": "1"}, {"b": "2"})
ARM = image({"a": "arm"}, architecture="arm64", compression="zstd")
BOTH = index(AMD, ARM, attestations=True)


def index_from(made: Made, *platforms: Platform) -> Index:
    blobs = blobs_of(made)
    wanted = WantedIndex(A, platforms, "layout:/x")
    return index_of(made.manifest, wanted, read=lambda descriptor: blobs[descriptor.digest.hex])


def hexes(found: Index) -> list[str]:
    return [blob.digest.hex for blob in found.blobs]


def all_of(made: MadeImage) -> list[str]:
    return [*map(hex_of, (made.config, *made.layers, made.manifest))]


def test_without_a_choice_everything_comes_along_attestations_too() -> None:
    found = index_from(BOTH)

    assert set(hexes(found)) == set(blobs_of(BOTH))
    assert len(hexes(found)) == len(set(hexes(found)))
    assert found.platforms == (AMD64, ARM64)
    assert found.top == Descriptor(INDEX_TYPE, Digest.of(BOTH.manifest))


def test_chosen_platforms_come_alone_but_the_index_is_whole() -> None:
    found = index_from(BOTH, ARM64)

    assert hexes(found) == [*all_of(ARM), hex_of(BOTH.manifest)]
    assert found.platforms == (ARM64,)


def test_a_layer_of_two_platforms_is_there_once() -> None:
    twin = image({"a": "1"}, {"b": "2"}, architecture="arm64")

    found = index_from(index(AMD, twin))

    assert sorted(hexes(found)) == sorted({*all_of(AMD), *all_of(twin), found.top.digest.hex})


def test_a_variant_matters_only_if_it_is_wanted() -> None:
    made = index(*(image({"a": name}, architecture="arm", variant=name) for name in ("v6", "v7")))

    assert len(index_from(made, Platform("linux", "arm")).platforms) == 2
    assert index_from(made, Platform("linux", "arm", "v7")).platforms == (Platform("linux", "arm", "v7"),)


def test_every_chosen_platform_has_to_be_there() -> None:
    with pytest.raises(
        ImageError, match="expected an image for linux/riscv64, got linux/amd64, linux/arm64"
    ) as caught:
        index_from(BOTH, ARM64, Platform("linux", "riscv64"))

    assert caught.value.hint


def test_docker_lists_are_called_indexes_as_linuxkit_does() -> None:
    made = index(image({"a": "1"}, docker=True), docker=True)

    assert index_from(made).top == Descriptor(INDEX_TYPE, Digest.of(made.manifest))


def test_an_image_without_an_index_is_its_manifest() -> None:
    found = index_from(ARM)

    assert hexes(found) == all_of(ARM)
    assert found.top == Descriptor("application/vnd.oci.image.manifest.v1+json", Digest.of(ARM.manifest))
    assert found.platforms == (ARM64,)
    with pytest.raises(ImageError, match="expected an image for linux/amd64, got linux/arm64"):
        index_from(ARM, AMD64)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("x", id="no object"),
        pytest.param({}, id="nothing"),
        pytest.param({"mediaType": INDEX_TYPE, "digest": "x"}, id="inner index"),
    ],
)
def test_what_is_no_manifest_is_passed_over(entry: Any) -> None:
    made = index(AMD, change=lambda document: document["manifests"].append(entry))

    assert hexes(index_from(made)) == [*all_of(AMD), hex_of(made.manifest)]


def test_an_entry_without_a_platform_is_none_of_the_chosen() -> None:
    made = index(AMD, ARM, change=lambda document: document["manifests"][0].pop("platform"))

    assert hexes(index_from(made, ARM64)) == [*all_of(ARM), hex_of(made.manifest)]


def test_foreign_layers_are_refused() -> None:
    made = image(
        {"a": "1"},
        change_manifest=lambda manifest: manifest["layers"][0].update(
            mediaType="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
        ),
    )

    with pytest.raises(ImageError, match="is foreign"):
        index_from(index(made))


def test_an_index_that_is_called_a_manifest_is_refused() -> None:
    inner = index(AMD)
    made = index(inner, change=lambda document: document["manifests"][0].update(mediaType=AMD.media_type))

    with pytest.raises(ImageError, match="got an index in an index"):
        index_from(made)


def test_layers_that_are_no_list_are_refused() -> None:
    with pytest.raises(ImageError, match="expected a list of layers, got str"):
        index_from(image(change_manifest=lambda manifest: manifest.update(layers="x")))


def test_an_index_survives_in_a_note() -> None:
    found = index_from(BOTH, ARM64)

    assert Index.decode(found.encode()) == found
    for damaged in (
        b"",
        b"[]",
        b"{}",
        b"[1, 2, 3, 4, 5, 6]",
        found.encode()[:-1],
        found.encode().replace(b"[2,", b"[0,", 1),
    ):
        with pytest.raises(ValueError):
            Index.decode(damaged)


@pytest.fixture(params=["layout", "archive"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> ImageSource:
    if request.param == "layout":
        return open_source(f"layout:{layout(tmp_path / 'images', {'t/a:v1': BOTH})}")
    return open_source(f"archive:{oci_archive(tmp_path / 'images.tar', {'t/a:v1': BOTH})}")


def test_a_source_gives_all_that_its_index_names(source: ImageSource) -> None:
    found = source.index(A, ())

    contents = {}
    for media_type, digest in found.blobs:
        with source.blob(digest, media_type) as pieces:
            contents[digest.hex] = b"".join(pieces)
    assert contents == blobs_of(BOTH)
    assert open_source(found.source).index(A, ()) == found


def test_a_source_says_that_it_does_not_know_a_name(source: ImageSource) -> None:
    with pytest.raises(ImageNotFoundError):
        source.index(Reference.parse("t/b:v1"), ())


def test_a_layout_without_one_of_the_manifests_does_not_have_the_image(tmp_path: Path) -> None:
    folder = layout(tmp_path, {"t/a:v1": BOTH})
    (folder / "blobs/sha256" / hex_of(ARM.manifest)).unlink()
    source = open_source(f"layout:{folder}")

    assert source.index(A, (AMD64,)).platforms == (AMD64,)
    with pytest.raises(ImageNotFoundError):
        source.index(A, ())


def test_an_archive_of_dockers_own_kind_has_nothing_as_it_is_stored(tmp_path: Path) -> None:
    source = open_source(f"archive:{docker_archive(tmp_path / 'a.tar', {'t/a:v1': AMD})}")

    with pytest.raises(ImageError, match="got one in an archive of `docker save`") as caught:
        source.index(A, ())

    assert not isinstance(caught.value, ImageNotFoundError)
    with pytest.raises(ImageNotFoundError):
        source.index(Reference.parse("t/b:v1"), ())
