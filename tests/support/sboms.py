"""Makes indexes whose images have SBOMs, as BuildKit attaches them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.support.images import MadeImage, MadeIndex, image, index

SPDX = "https://spdx.dev/Document"
STATEMENT_TYPE = "application/vnd.in-toto+json"


def statement(document: dict[str, Any], predicate_type: str = SPDX) -> bytes:
    """An in-toto statement about a document."""
    content = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": predicate_type}
    return json.dumps({**content, "predicate": document}).encode()


def spdx(**fields: Any) -> dict[str, Any]:
    """An SPDX document with these fields and those it must have."""
    return {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", **fields}


def attestation(*statements: bytes, predicate_type: str = SPDX) -> MadeImage:
    """The manifest that holds some statements as layers."""

    def change(manifest: dict[str, Any]) -> None:
        for layer in manifest["layers"]:
            layer["mediaType"] = STATEMENT_TYPE
            layer["annotations"] = {"in-toto.io/predicate-type": predicate_type}

    return image(
        *statements, architecture="unknown", os="unknown", compression="plain", change_manifest=change
    )


def attested(*pairs: tuple[MadeImage, MadeImage], others: Sequence[MadeImage] = ()) -> MadeIndex:
    """An index of images, each with an attestation about it, and of others without."""
    images = [*(about for about, _ in pairs), *others]

    def change(document: dict[str, Any]) -> None:
        for entry, (about, _) in zip(document["manifests"][len(images) :], pairs, strict=True):
            entry["annotations"] = {
                "vnd.docker.reference.digest": about.digest,
                "vnd.docker.reference.type": "attestation-manifest",
            }

    return index(*images, *(statements for _, statements in pairs), change=change)


def with_sbom(made: MadeImage, **fields: Any) -> MadeIndex:
    """An index of one image with one SPDX document about it."""
    return attested((made, attestation(statement(spdx(**fields)))))
