"""OCI image layouts: LinuxKit's cache and those of other tools."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Image, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.layout import open_source
from tests.support.images import (
    Annotations,
    annotations_as_containerd,
    annotations_as_linuxkit,
    annotations_as_skopeo,
    descriptor,
    hex_of,
    image,
    index,
    layout,
)

AMD64 = Platform("linux", "amd64")
HELLO = image({"a": "1"})
OTHER = image({"a": "2"})


def image_in(folder: Path, name: str) -> Image:
    return open_source(str(folder)).image(Reference.parse(name), AMD64)


def write_index(folder: Path, *entries: dict[str, Any]) -> None:
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": list(entries)}))


@pytest.mark.parametrize("annotations", [annotations_as_linuxkit, annotations_as_containerd])
def test_an_image_is_found_by_its_whole_name(tmp_path: Path, annotations: Annotations) -> None:
    layout(tmp_path, {"redis:alpine": HELLO, "t/other:v1": OTHER}, annotations)

    found = image_in(tmp_path, "redis:alpine")

    assert found.manifest == Digest.of(HELLO.manifest)
    assert found.source == f"layout:{tmp_path}"


def test_a_short_name_in_the_annotation_of_containerd_is_expanded(tmp_path: Path) -> None:
    layout(tmp_path, {"t/hello:v1": HELLO}, lambda name: {"io.containerd.image.name": name})

    assert image_in(tmp_path, "t/hello:v1").manifest == Digest.of(HELLO.manifest)


def test_a_tag_alone_is_no_name(tmp_path: Path) -> None:
    layout(tmp_path, {"t/hello:v1": HELLO}, annotations_as_skopeo)

    with pytest.raises(ImageNotFoundError, match=r"docker\.io/t/hello:v1 is not in the layout"):
        image_in(tmp_path, "t/hello:v1")


def test_a_digest_finds_an_image_under_any_name(tmp_path: Path) -> None:
    layout(tmp_path, {"t/hello:v1": HELLO}, annotations_as_skopeo)

    found = image_in(tmp_path, f"somewhere.example/else@{HELLO.digest}")

    assert found.manifest == Digest.of(HELLO.manifest)


def test_a_name_with_a_digest_that_is_not_behind_it_is_refused(tmp_path: Path) -> None:
    name = f"t/hello:v1@{OTHER.digest}"
    layout(tmp_path, {name: HELLO})

    with pytest.raises(ImageError, match=f"expected that digest, got {HELLO.digest}"):
        image_in(tmp_path, name)


def test_a_name_without_tag_finds_itself_before_latest(tmp_path: Path) -> None:
    layout(tmp_path, {"t/hello:latest": OTHER, "t/hello": HELLO})

    assert image_in(tmp_path, "t/hello").manifest == Digest.of(HELLO.manifest)


def test_a_name_without_tag_finds_latest(tmp_path: Path) -> None:
    layout(tmp_path, {"t/hello:latest": HELLO})

    assert image_in(tmp_path, "t/hello").manifest == Digest.of(HELLO.manifest)


def test_an_image_is_preferred_to_an_index_of_the_same_name(tmp_path: Path) -> None:
    both = index(OTHER)
    layout(tmp_path, {"t/a:v1": both, "t/b:v1": HELLO})
    named = annotations_as_linuxkit("t/c:v1")
    write_index(
        tmp_path,
        descriptor(both.manifest, both.media_type, annotations=named),
        descriptor(HELLO.manifest, HELLO.media_type, annotations=named),
        descriptor(OTHER.manifest, OTHER.media_type, annotations=named),
    )

    assert image_in(tmp_path, "t/c:v1").manifest == Digest.of(HELLO.manifest)


def test_an_image_that_is_called_an_index_is_taken_for_what_it_is(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    index_type = "application/vnd.oci.image.index.v1+json"
    write_index(
        tmp_path, descriptor(HELLO.manifest, index_type, annotations=annotations_as_linuxkit("t/a:v1"))
    )

    assert image_in(tmp_path, "t/a:v1").manifest == Digest.of(HELLO.manifest)


def test_an_entry_of_another_type_is_refused_by_name(tmp_path: Path) -> None:
    layout(tmp_path, {})
    write_index(tmp_path, descriptor(b"x", "text/x", annotations=annotations_as_linuxkit("t/a:v1")))

    with pytest.raises(ImageError, match="expected a manifest or an index, got `text/x`"):
        image_in(tmp_path, "t/a:v1")


@pytest.mark.parametrize("manifests", [None, []])
def test_an_empty_layout_has_nothing(tmp_path: Path, manifests: object) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"manifests": manifests}))

    with pytest.raises(ImageNotFoundError):
        image_in(tmp_path, "t/a:v1")


def test_a_folder_that_is_no_layout_has_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError, match=r"has no index\.json"):
        image_in(tmp_path, "t/a:v1")


def test_a_file_instead_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ImageError, match="cannot read"):
        image_in(tmp_path / "file", "t/a:v1")


def test_a_manifest_that_is_gone_is_not_found(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    (tmp_path / "blobs/sha256" / hex_of(HELLO.manifest)).unlink()

    with pytest.raises(ImageNotFoundError, match="which is incomplete"):
        image_in(tmp_path, "t/a:v1")


@pytest.mark.parametrize("content", [b"{}", HELLO.manifest + b" ", b"x" * (5 << 20)])
def test_a_manifest_with_another_content_is_refused(tmp_path: Path, content: bytes) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    (tmp_path / "blobs/sha256" / hex_of(HELLO.manifest)).write_bytes(content)

    with pytest.raises(ImageError, match=f"expected content with digest {HELLO.digest}"):
        image_in(tmp_path, "t/a:v1")


@pytest.mark.parametrize("content", ["", "{", '{"manifests": [7]}'])
def test_a_broken_index_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    (tmp_path / "index.json").write_text(content)

    with pytest.raises(ImageError, match=r"index\.json"):
        image_in(tmp_path, "t/a:v1")


def test_an_index_caught_while_it_was_written_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    whole = (tmp_path / "index.json").read_bytes()
    (tmp_path / "index.json").write_bytes(whole[:50])
    monkeypatch.setattr("time.sleep", lambda _: (tmp_path / "index.json").write_bytes(whole))

    assert image_in(tmp_path, "t/a:v1").manifest == Digest.of(HELLO.manifest)


def test_the_layer_is_given_as_stored(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    source = open_source(str(tmp_path))

    with source.layer(source.image(Reference.parse("t/a:v1"), AMD64).layers[0]) as pieces:
        content = b"".join(pieces)

    assert HELLO.layers[0] == content


def test_a_layer_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    missing = Digest.of(b"missing")

    with (
        pytest.raises(ImageError, match=f"layer {missing.oci} is not in the layout {tmp_path}"),
        open_source(str(tmp_path)).layer(Layer("0" * 64, "x", missing)),
    ):
        pass


def test_a_layout_that_cannot_be_written_to_is_enough(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)

    image_in(tmp_path, "t/a:v1")

    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_name_nobody_can_expand_is_passed_over(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": HELLO}, lambda _: {"io.containerd.image.name": "no name"})

    with pytest.raises(ImageNotFoundError):
        image_in(tmp_path, "t/a:v1")


def test_a_document_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    layout(tmp_path, {"t/a:v1": HELLO})
    path = tmp_path / "blobs/sha256" / hex_of(HELLO.manifest)
    path.unlink()
    path.mkdir()

    with pytest.raises(ImageError, match="cannot read"):
        image_in(tmp_path, "t/a:v1")
