"""An image as it is stored: an OCI image layout in a folder of the system, for a runtime there to unpack.

    lower/oci-layout
    lower/blobs/sha256/<hex>     manifests, configs and layers, nothing unpacked
    lower/index.json             one entry: the image under its name

Source: OCI image-spec 1.1 image-layout.md; the white space is LinuxKit's.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.extents import Slice
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.assemble.root import chain
from kitbuild.tree import Entry, Tree

_OCI_LAYOUT = b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class LayoutOptions(NamedTuple):
    """`folder` is where the layout goes; `reference`, `media_type` and `top` (hex, size in bytes) say what
    index.json points to. The blob `top` itself is one of the inputs.
    """

    folder: str
    reference: str
    media_type: str
    top_hex: str
    top_size: int


def run(work: Work[LayoutOptions]) -> Tree:
    """The layout; nothing in it has a time or an owner."""
    options = work.options
    top = Digest(options.top_hex, options.top_size)
    texts = _index(options, top)
    own = work.put(_OCI_LAYOUT + texts)
    folder = options.folder
    entries = [
        *chain(folder),
        _file(f"{folder}/oci-layout", Slice(own, 0, len(_OCI_LAYOUT))),
        Entry(f"{folder}/blobs", "directory", 0o755),
        Entry(f"{folder}/blobs/sha256", "directory", 0o755),
        _file(f"{folder}/index.json", Slice(own, len(_OCI_LAYOUT), len(texts))),
    ]
    for blob in dict.fromkeys(artifact.digest for artifact in work.artifacts("blobs")):
        entries.append(_file(f"{folder}/blobs/sha256/{blob.hex}", Slice(blob, 0, blob.size)))
    return Tree.of(entries)


def _file(path: str, content: Slice) -> Entry:
    return Entry(path, "file", 0o644, content=content if content.size else None)


def _index(options: LayoutOptions, top: Digest) -> bytes:
    entry = {
        "mediaType": options.media_type,
        "size": top.size,
        "digest": top.oci,
        "annotations": {"org.opencontainers.image.ref.name": options.reference},
    }
    document = {"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": [entry]}
    return json.dumps(document, indent=3, ensure_ascii=False).encode("utf-8", "surrogateescape")


RULE: Rule[Any] = Rule(
    name="assemble/layout",
    version=1,
    summary="lay an image down as it is stored",
    options=LayoutOptions,
    inputs={"blobs": Input("blob", many=True)},
    output="tree",
    run=run,
)
