"""Records as a registry keeps them: small image manifests, each under a tag of its own.

    {"schemaVersion": 2, "artifactType": "application/vnd.kitbuild.record.v1",
     "config": <the empty JSON object>, "layers": [<the content that is present> ...],
     "annotations": {"kitbuild.record": <the ActionResult, see action_result.py, in base64>}}

A registry that collects garbage keeps what a manifest names. A large record is a layer, the first one, of the
artifact's type in place of the annotation: registries take manifests of 4 MiB, which the layers alone need when a
record has all that it may have.

Source: OCI image-spec 1.1, "Guidelines for Artifact Usage".
"""

from __future__ import annotations

import base64
import json
from typing import Any

from kitbuild.cache.remote import MOST_RECORD_BYTES, Record
from kitbuild.digest import Digest
from kitbuild.node import Key

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
RECORD_TYPE = "application/vnd.kitbuild.record.v1"
ANNOTATION = "kitbuild.record"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
CONTENT_TYPE = "application/octet-stream"
# What every registry takes (distribution-spec, "Pushing Manifests").
MOST_MANIFEST_BYTES = 4 << 20
# In base64 it is a third larger, and the layers it belongs to need as much again.
MOST_ANNOTATED_BYTES = 1 << 20


def tag_of(key: Key) -> str:
    """The tag of a record."""
    return f"kitbuild-{key.hex}"


def manifest_of(record: Record, content: bytes) -> bytes:
    """The manifest of a record whose ActionResult is `content`."""
    layers = [_descriptor(digest, CONTENT_TYPE) for digest in dict.fromkeys(record.present)]
    annotations: dict[str, str] = {}
    if len(content) > MOST_ANNOTATED_BYTES:
        layers.insert(0, _descriptor(Digest.of(content), RECORD_TYPE))
    else:
        annotations[ANNOTATION] = base64.b64encode(content).decode("ascii")
    empty = _descriptor(Digest.of(EMPTY), _EMPTY_TYPE)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": RECORD_TYPE,
        "config": empty,
        # One at least: there are registries that expect it.
        "layers": layers or [empty],
        **({"annotations": annotations} if annotations else {}),
    }
    return json.dumps(manifest, separators=(",", ":")).encode("ascii")


def read_manifest(content: bytes) -> bytes | Digest | None:
    """The ActionResult in a manifest, or the digest of a blob that it is; None if this is no record."""
    try:
        manifest = json.loads(content)
        text = (manifest.get("annotations") or {}).get(ANNOTATION)
        if text is not None:
            return base64.b64decode(text, validate=True)
        first = manifest["layers"][0]
        if first["mediaType"] != RECORD_TYPE or not 0 <= first["size"] <= MOST_RECORD_BYTES:
            return None
        return Digest.parse(first["digest"], first["size"])
    except (ValueError, LookupError, AttributeError, TypeError, RecursionError):
        return None


def _descriptor(digest: Digest, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest.oci, "size": digest.size}
