"""Archives of images: docker save, old and new, and OCI layouts in a tar."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Image, ImageSource, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.archive import open_source
from tests.support.images import (
    LayerContent,
    annotations_as_linuxkit,
    docker_archive,
    hardlink,
    hex_of,
    image,
    index,
    layer_tar,
    layout_files,
    oci_archive,
    symlink,
)

AMD64 = Platform("linux", "amd64")
HELLO = image({"a": "1"}, {"b": "2"}, cmd=["/a"])
OTHER = image({"a": "3"})


def image_in(path: Path, name: str) -> Image:
    return open_source(str(path)).image(Reference.parse(name), AMD64)


def layers_of(source: ImageSource, found: Image) -> list[bytes]:
    contents = []
    for layer in found.layers:
        with source.layer(layer) as pieces:
            contents.append(b"".join(pieces))
    return contents


def archive(path: Path, files: LayerContent) -> Path:
    path.write_bytes(layer_tar(files))
    return path


def listing(**fields: Any) -> bytes:
    ordinary = {
        "Config": f"{hex_of(HELLO.config)}.json",
        "RepoTags": ["t/a:v1"],
        "Layers": ["1.tar", "2.tar"],
    }
    return json.dumps([ordinary | fields]).encode()


CONFIG = f"{hex_of(HELLO.config)}.json"
FILES: dict[str, Any] = {CONFIG: HELLO.config, "1.tar": HELLO.tars[0], "2.tar": HELLO.tars[1]}


@pytest.mark.parametrize("style", ["old", "new"])
@pytest.mark.parametrize("name", ["redis:alpine", "t/hello:v1", "docker.io/t/hello:v1"])
def test_an_image_of_docker_save_is_read(tmp_path: Path, style: Literal["old", "new"], name: str) -> None:
    path = docker_archive(tmp_path / "a.tar", {"t/other:v1": OTHER, name: HELLO}, style)
    source = open_source(str(path))

    found = source.image(Reference.parse(name), AMD64)

    assert found.config.command == ("/a",)
    assert found.manifest is None
    assert found.source == f"archive:{path}"
    assert [layer.diff_id for layer in found.layers] == list(HELLO.diff_ids)
    assert list(HELLO.tars) == layers_of(source, found)


def test_an_image_of_an_oci_archive_is_read(tmp_path: Path) -> None:
    both = index(HELLO, image(architecture="arm64"), attestations=True)
    source = open_source(str(oci_archive(tmp_path / "a.tar", {"t/hello:v1": both})))

    found = source.image(Reference.parse("t/hello:v1"), AMD64)

    assert found.manifest == Digest.of(HELLO.manifest)
    assert list(HELLO.layers) == layers_of(source, found)


def test_of_both_kinds_in_one_archive_the_one_with_digests_is_read(tmp_path: Path) -> None:
    files = {
        **FILES,
        **layout_files({"t/a:v1": OTHER}, annotations_as_linuxkit),
        "manifest.json": listing(RepoTags=["t/a:v1", "t/b:v1"]),
    }
    path = archive(tmp_path / "a.tar", files)

    assert image_in(path, "t/a:v1").manifest == Digest.of(OTHER.manifest)
    assert image_in(path, "t/b:v1").manifest is None


def test_names_may_begin_with_a_dot_and_a_slash(tmp_path: Path) -> None:
    files = {f"./{name}": content for name, content in {**FILES, "manifest.json": listing()}.items()}

    assert len(image_in(archive(tmp_path / "a.tar", files), "t/a:v1").layers) == 2


@pytest.mark.parametrize("link", [symlink("../x/1.tar"), hardlink("x/1.tar")], ids=["symlink", "hardlink"])
def test_a_layer_that_occurs_twice_may_be_a_link(tmp_path: Path, link: Any) -> None:
    twice = image({"a": "1"}, {"a": "1"})
    config = f"{hex_of(twice.config)}.json"
    path = archive(
        tmp_path / "a.tar",
        {
            config: twice.config,
            "x/1.tar": twice.tars[0],
            "y/2.tar": link,
            "manifest.json": listing(Config=config, Layers=["x/1.tar", "y/2.tar"]),
        },
    )
    source = open_source(str(path))

    assert list(twice.tars) == layers_of(source, source.image(Reference.parse("t/a:v1"), AMD64))


def test_the_config_of_linuxkit_export_has_a_colon_in_its_name(tmp_path: Path) -> None:
    config = f"sha256:{hex_of(HELLO.config)}"
    files = {**FILES, config: HELLO.config, "manifest.json": listing(Config=config)}

    assert image_in(archive(tmp_path / "a.tar", files), "t/a:v1").config.command == ("/a",)


def test_a_name_without_tag_finds_latest(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", {"t/hello:latest": HELLO})

    assert image_in(path, "t/hello").config.command == ("/a",)


@pytest.mark.parametrize("name", ["t/hello:v2", f"t/hello@{HELLO.digest}"])
def test_a_name_that_is_not_in_the_archive_is_not_found(tmp_path: Path, name: str) -> None:
    path = docker_archive(tmp_path / "a.tar", {"t/hello:v1": HELLO})

    with pytest.raises(ImageNotFoundError, match="is not in the archive"):
        image_in(path, name)


def test_an_archive_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError, match="there is no archive"):
        image_in(tmp_path / "a.tar", "t/a:v1")


def test_a_folder_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot read the archive"):
        image_in(tmp_path, "t/a:v1")


def test_a_compressed_archive_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", {"t/a:v1": HELLO})
    path.write_bytes(gzip.compress(path.read_bytes()))

    with pytest.raises(ImageError, match="expected a plain tar, got a compressed one") as caught:
        image_in(path, "t/a:v1")

    assert f"`gunzip {path}`" in str(caught.value.hint)


@pytest.mark.parametrize("content", [b"", b"no tar at all" * 100])
def test_something_else_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)

    with pytest.raises(ImageError, match=r"expected (a tar|an image archive)"):
        image_in(tmp_path / "a.tar", "t/a:v1")


def test_a_tar_without_images_says_how_to_make_one(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"etc/hosts": "x"})

    with pytest.raises(ImageError, match=r"index\.json or manifest\.json") as caught:
        image_in(path, "t/a:v1")

    assert "docker save" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"manifest.json": b"{"}, "expected a list of images", id="no JSON"),
        pytest.param({"manifest.json": b"[7]"}, "expected a list of images", id="no objects"),
        pytest.param({"manifest.json": listing(Layers=[7, 8])}, "to be paths", id="no paths"),
        pytest.param({"manifest.json": listing(Config=None)}, "to be paths", id="no config"),
        pytest.param({"manifest.json": listing(Layers=["1.tar"])}, "expected 1 diff_ids", id="a layer less"),
        pytest.param({"manifest.json": listing(Layers=["1.tar", "3.tar"])}, "incomplete", id="layer gone"),
        pytest.param({CONFIG: b"{}"}, "does not fit the digest in its name", id="config changed"),
        pytest.param({"manifest.json": b" " * (5 << 20)}, "at most 4194304 bytes", id="large"),
    ],
)
def test_a_broken_archive_is_an_error(tmp_path: Path, change: dict[str, bytes], message: str) -> None:
    path = archive(tmp_path / "a.tar", {**FILES, "manifest.json": listing(), **change})

    with pytest.raises(ImageError, match=message):
        image_in(path, "t/a:v1")


def test_an_archive_cut_off_in_a_layer_is_an_error(tmp_path: Path) -> None:
    big = image({"a": "x" * 5000})
    path = docker_archive(tmp_path / "a.tar", {"t/a:v1": big})
    source = open_source(str(path))
    found = source.image(Reference.parse("t/a:v1"), AMD64)
    path.write_bytes(path.read_bytes()[:2000])

    with pytest.raises(ImageError, match="bytes too early"):
        layers_of(source, found)


def test_an_archive_that_vanished_is_an_error(tmp_path: Path) -> None:
    path = docker_archive(tmp_path / "a.tar", {"t/a:v1": HELLO})
    source = open_source(str(path))
    found = source.image(Reference.parse("t/a:v1"), AMD64)
    path.unlink()

    with pytest.raises(ImageError, match="cannot read the archive"):
        layers_of(source, found)
