"""The SBOMs an index attaches to an image."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Descriptor, Image, Platform
from kitbuild.reference import Reference
from kitbuild.rules.fetch.manifest import Wanted, image_of
from tests.support.images import Made, blobs_of, descriptor, image, index
from tests.support.sboms import STATEMENT_TYPE, attestation, attested, spdx, statement, with_sbom

AMD64, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
ONE, OTHER = image({"a": "1"}), image({"a": "2"}, architecture="arm64")
FIRST, SECOND = (statement(spdx(name=name)) for name in ("first", "second"))


def reading(made: Made, without: Collection[str] = ()) -> Callable[[Descriptor], bytes]:
    blobs = blobs_of(made)

    def read(wanted: Descriptor) -> bytes:
        if wanted.digest.oci in without:
            raise ImageNotFoundError("it is not there")
        return blobs[wanted.digest.hex]

    return read


def image_from(made: Made, platform: Platform = AMD64, *, without: Collection[str] = ()) -> Image:
    wanted = Wanted(Reference.parse("t/a:v1"), platform, "layout:/x")
    return image_of(made.manifest, wanted, read=reading(made, without))


def test_an_image_has_the_sboms_that_are_about_it() -> None:
    made = attested((ONE, attestation(FIRST)), (OTHER, attestation(SECOND)))

    assert image_from(made).sboms == (Descriptor(STATEMENT_TYPE, Digest.of(FIRST)),)
    assert image_from(made, ARM).sboms == (Descriptor(STATEMENT_TYPE, Digest.of(SECOND)),)


def test_all_statements_of_all_attestations_count_once_each() -> None:
    made = attested((ONE, attestation(FIRST, SECOND)), (ONE, attestation(SECOND)))

    assert [sbom.digest for sbom in image_from(made).sboms] == [Digest.of(FIRST), Digest.of(SECOND)]


def test_statements_about_other_things_are_left_out() -> None:
    made = attested((ONE, attestation(FIRST, predicate_type="https://slsa.dev/provenance/v0.2")))

    assert image_from(made).sboms == ()


def test_an_image_without_an_index_has_none() -> None:
    assert image_from(ONE).sboms == ()


def test_sboms_survive_in_a_note() -> None:
    found = image_from(with_sbom(ONE))

    assert Image.decode(found.encode()) == found
    assert found.sboms


def test_an_attestation_that_was_left_behind_is_a_warning() -> None:
    left = attestation(FIRST)

    found = image_from(attested((ONE, left)), without={left.digest})

    assert found.sboms == ()
    assert found.warnings == ("docker.io/t/a:v1 goes without its SBOM: it is not there",)


def test_the_statements_themselves_are_not_read() -> None:
    made = with_sbom(ONE)

    found = image_from(made, without={f"sha256:{Digest.of(layer).hex}" for layer in made.parts[1].layers})  # type: ignore[union-attr]

    assert len(found.sboms) == 1


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param("x", id="no list"),
        pytest.param([{"mediaType": STATEMENT_TYPE}], id="no descriptors"),
        pytest.param(["x"], id="no objects"),
    ],
)
def test_a_broken_attestation_is_an_error(layers: Any) -> None:
    broken = image(change_manifest=lambda manifest: manifest.update(layers=layers))

    with pytest.raises(ImageError, match=r"the attestation of docker.io/t/a:v1: expected"):
        image_from(attested((ONE, broken)))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param("x", id="no object"),
        pytest.param({"annotations": ["x"]}, id="annotations no object"),
        pytest.param({"annotations": {"vnd.docker.reference.digest": ONE.digest}}, id="no type"),
        pytest.param({"annotations": {"vnd.docker.reference.type": "attestation-manifest"}}, id="no digest"),
    ],
)
def test_entries_that_are_no_attestations_are_passed_over(entry: Any) -> None:
    made = index(ONE, change=lambda document: document["manifests"].append(entry))

    assert image_from(made).sboms == ()


def test_an_attestation_larger_than_documents_may_be_is_refused() -> None:
    huge = descriptor(b"", "x", annotations={}) | {"size": 1 << 30}
    huge["annotations"] = {
        "vnd.docker.reference.digest": ONE.digest,
        "vnd.docker.reference.type": "attestation-manifest",
    }
    made = index(ONE, change=lambda document: document["manifests"].append(huge))

    with pytest.raises(ImageError, match="expected at most 4194304 bytes, got 1073741824"):
        image_from(made)
