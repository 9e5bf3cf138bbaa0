"""Manifests, indexes and configs: what is understood, what is refused, and in which words."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.image import Descriptor, Image, ImageConfig, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.document import MAX_DOCUMENT_BYTES
from kitbuild.rules.fetch.manifest import Wanted, image_of
from tests.support.images import Made, blobs_of, image, index

AMD64 = Platform("linux", "amd64")
ARM = Platform("linux", "arm64")
Change = Callable[[dict[str, Any]], object]


def read_from(made: Made) -> Callable[[Descriptor], bytes]:
    blobs = blobs_of(made)
    return lambda descriptor: blobs[descriptor.digest.hex]


def image_from(made: Made, platform: Platform = AMD64) -> Image:
    wanted = Wanted(Reference.parse("t/a:v1"), platform, "layout:/x")
    return image_of(made.manifest, wanted, read=read_from(made))


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_an_image_has_its_layers_and_settings(docker: bool) -> None:
    made = image(
        {"a": "1"},
        {"b": "2"},
        entrypoint=["/a", "b"],
        cmd=["c"],
        env=["PATH=/bin"],
        labels={"k": "v"},
        working_directory="/w",
        docker=docker,
    )

    found = image_from(made)

    assert found.config == ImageConfig(("/a", "b"), ("c",), ("PATH=/bin",), "/w", {"k": "v"})
    assert [layer.diff_id for layer in found.layers] == list(made.diff_ids)
    assert [layer.blob for layer in found.layers] == [Digest.of(blob) for blob in made.layers]
    assert found.manifest == Digest.of(made.manifest)
    assert found.top_index is None
    assert found.warnings == ()


def test_an_image_without_settings_has_empty_ones() -> None:
    made = image(change_config=lambda config: config.pop("config"))

    found = image_from(made)

    assert found.config == ImageConfig()
    assert found.layers == ()


def test_null_settings_are_empty() -> None:
    nothing = dict.fromkeys(["Entrypoint", "Cmd", "Env", "Labels", "WorkingDir"])
    made = image(change_config=lambda config: config.update(config=nothing))

    assert image_from(made).config == ImageConfig()


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_the_wanted_platform_is_chosen_and_nothing_of_the_others_read(docker: bool) -> None:
    amd64, arm = image({"a": "amd"}), image({"a": "arm"}, architecture="arm64")
    both = index(amd64, arm, docker=docker, attestations=True)
    read: list[str] = []

    def reading(descriptor: Descriptor) -> bytes:
        read.append(descriptor.digest.oci)
        return read_from(both)(descriptor)

    found = image_of(both.manifest, Wanted(Reference.parse("t/a:v1"), ARM, ""), read=reading)

    assert [layer.diff_id for layer in found.layers] == list(arm.diff_ids)
    assert found.top_index == Digest.of(both.manifest)
    assert read == [arm.digest, Digest.of(arm.config).oci, both.parts[3].digest]


def test_the_first_of_two_fitting_entries_is_chosen() -> None:
    seven, eight = (image({"a": variant}, architecture="arm", variant=variant) for variant in ("v7", "v8"))

    found = image_from(index(seven, eight), Platform("linux", "arm"))

    assert found.manifest == Digest.of(seven.manifest)


def test_a_variant_that_was_asked_for_must_fit() -> None:
    seven, eight = (image({"a": variant}, architecture="arm", variant=variant) for variant in ("v7", "v8"))

    found = image_from(index(seven, eight), Platform("linux", "arm", "v8"))

    assert found.manifest == Digest.of(eight.manifest)


def test_entries_without_platform_are_passed_over() -> None:
    made = image({"a": "1"})
    both = index(made, change=lambda document: document["manifests"].insert(0, {"digest": "sha256:0"}))

    assert image_from(both).manifest == Digest.of(made.manifest)


def test_a_missing_platform_names_those_that_are_there() -> None:
    both = index(image(), image(architecture="arm", variant="v7"), attestations=True)

    with pytest.raises(ImageError) as caught:
        image_from(both, Platform("linux", "riscv64"))

    assert (
        caught.value.message
        == "docker.io/t/a:v1: expected an image for linux/riscv64, got linux/amd64, linux/arm/v7"
    )


def test_an_index_of_nothing_says_so() -> None:
    empty = index(change=lambda document: document.update(manifests=None))

    with pytest.raises(ImageError, match="got none at all"):
        image_from(empty)


def test_an_image_of_another_architecture_is_taken_with_a_warning() -> None:
    found = image_from(image(architecture="arm64"))

    assert found.warnings == ("docker.io/t/a:v1 is for linux/arm64, not for linux/amd64",)


def test_a_wrong_label_in_an_index_is_warned_about() -> None:
    made = index(
        image(architecture="arm64"),
        change=lambda document: document["manifests"][0]["platform"].update(architecture="amd64"),
    )

    assert image_from(made).warnings == ("docker.io/t/a:v1 is for linux/arm64, not for linux/amd64",)


def test_a_config_that_says_no_architecture_is_believed() -> None:
    assert image_from(image(change_config=lambda config: config.pop("architecture"))).warnings == ()


FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
NOT_HANDED_OUT = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


def layer_type(media_type: str) -> Change:
    return lambda manifest: manifest["layers"][0].update(mediaType=media_type)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(layer_type(FOREIGN), "is foreign", id="foreign layer"),
        pytest.param(layer_type(NOT_HANDED_OUT), "is foreign", id="nondistributable layer"),
        pytest.param(layer_type("text/x"), "unknown layer media type `text/x`", id="layer type"),
        pytest.param(lambda m: m.update(schemaVersion=1), "schema 2, got schema 1", id="schema 1"),
        pytest.param(lambda m: m.update(fsLayers=[]), "obsolete", id="schema 1 with layers"),
        pytest.param(lambda m: m.update(manifests=[]), "neither or both", id="both kinds"),
        pytest.param(lambda m: (m.pop("layers"), m.pop("config")), "neither or both", id="no kind"),
        pytest.param(lambda m: m.update(mediaType="text/y"), "media type `text/y`", id="media type"),
        pytest.param(
            lambda m: m["config"].update(mediaType="x/helm"), "config of type `x/helm`", id="artifact"
        ),
        pytest.param(lambda m: m["config"].update(size=1), "expected content with digest", id="config size"),
        pytest.param(lambda m: m["config"].update(size=-1), "size of 0 or more", id="negative size"),
        pytest.param(lambda m: m["config"].update(size=True), "size in bytes", id="size no number"),
        pytest.param(lambda m: m["config"].update(size=1 << 23), "at most 4194304", id="large config"),
        pytest.param(lambda m: m["config"].update(digest="md5:1"), "sha256", id="digest"),
        pytest.param(lambda m: m["config"].update(digest=5), "sha256", id="digest no text"),
        pytest.param(lambda m: m.update(config=None), "sha256", id="no config"),
        pytest.param(lambda m: m.update(layers={"a": 1}), "list of layers", id="layers no list"),
        pytest.param(lambda m: m.update(layers=[7]), "sha256", id="layer no object"),
        pytest.param(lambda m: m["layers"].pop(), "expected 0 diff_ids", id="a layer less"),
    ],
)
def test_manifests_that_cannot_be_used_are_refused(change: Change, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        image_from(image({"a": "1"}, change_manifest=change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda c: c.pop("rootfs"), "rootfs.diff_ids, a list", id="no rootfs"),
        pytest.param(lambda c: c["rootfs"].update(diff_ids="x"), "rootfs.diff_ids, a list", id="no list"),
        pytest.param(lambda c: c["rootfs"].update(diff_ids=["x"]), "sha256 digests", id="no digest"),
        pytest.param(lambda c: c["rootfs"].update(diff_ids=[1]), "sha256 digests", id="no text"),
        pytest.param(lambda c: c.update(config=[1]), "an object in `config`", id="config"),
        pytest.param(lambda c: c["config"].update(Cmd="a b"), "list of texts in `Cmd`, got 'a b'", id="cmd"),
        pytest.param(lambda c: c["config"].update(Env=[1]), "list of texts in `Env`", id="env"),
        pytest.param(lambda c: c["config"].update(Labels={"a": 1}), "text in", id="labels"),
        pytest.param(lambda c: c["config"].update(WorkingDir=1), "text in", id="directory"),
    ],
)
def test_configs_that_cannot_be_used_are_refused(change: Change, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        image_from(image({"a": "1"}, change_config=change))


def test_an_index_in_an_index_is_refused() -> None:
    inner = index(image())
    outer = index(
        inner, change=lambda d: d["manifests"][0].update(platform={"os": "linux", "architecture": "amd64"})
    )

    with pytest.raises(ImageError, match="an index in an index") as caught:
        image_from(outer)

    assert caught.value.hint == "name the inner index by its digest"


def test_an_index_that_is_called_a_manifest_is_refused() -> None:
    inner = index(image())
    entry = {
        "platform": {"os": "linux", "architecture": "amd64"},
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
    }
    outer = index(inner, change=lambda d: d["manifests"][0].update(entry))

    with pytest.raises(ImageError, match="an index in an index"):
        image_from(outer)


def test_an_entry_of_an_unknown_type_is_refused_by_name() -> None:
    made = index(image(), change=lambda d: d["manifests"][0].update(mediaType="text/z"))

    with pytest.raises(ImageError, match="unknown manifest media type `text/z`"):
        image_from(made)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "expected JSON", id="nothing"),
        pytest.param(b"[]", "expected a JSON object, got list", id="a list"),
        pytest.param(b"\xff", "expected JSON", id="no text"),
        pytest.param(b"[" * 100_000, "expected JSON", id="deep"),
        pytest.param(b" " * MAX_DOCUMENT_BYTES + b"{}", "at most 4194304 bytes", id="large"),
    ],
)
def test_documents_that_are_none_are_refused(content: bytes, message: str) -> None:
    wanted = Wanted(Reference.parse("t/a:v1"), AMD64, "")

    with pytest.raises(ImageError, match=f"the manifest of docker.io/t/a:v1: .*{message}"):
        image_of(content, wanted, read=lambda _: b"")


def test_an_image_survives_being_noted() -> None:
    made = index(image({"a": "1"}, labels={"ä": "\n"}, env=["A=1"], architecture="arm64"))
    found = image_from(made, ARM)

    assert Image.decode(found.encode()) == found


def test_a_note_of_another_format_is_a_value_error() -> None:
    noted = image_from(image({"a": "1"}), AMD64).encode()

    with pytest.raises(ValueError, match="expected a note of format 2, got 0"):
        Image.decode(noted.replace(b'"format":2', b'"format":0'))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", json.dumps({"reference": 1}).encode()])
def test_a_note_that_is_no_image_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        Image.decode(content)
