"""The root file system as an OCI image: an image layout in a tar, a layer for every part of the config.

    oci-layout  index.json  blobs/sha256/<hex>: the manifest, the config, the layers

The image is called `latest` in the layout, and NAME:latest after the outputs where `docker load` looks for a name.
Source: OCI image-spec 1.1: image-layout.md, image-index.md, manifest.md, config.md, annotations.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kitbuild.digest import Digest
from kitbuild.extents import Extents, Literal
from kitbuild.node import Node
from kitbuild.rule import Input, Rule, Work
from kitbuild.rules.format.archive import archive
from kitbuild.rules.format.layer import Description, described, layer
from kitbuild.system import MTIME, Compression, Format, System

_MEDIA_TYPE = "application/vnd.oci.image"
_SUFFIXES: Mapping[Compression, str] = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}
# What a name may be made of wherever images have one.
_UNFIT = re.compile(r"[^a-z0-9]+")
# What Docker's format starts.
_ENTRYPOINT = ["/bin/rc.init"]
# More than Docker and the kernel's overlay stack on each other.
_MOST_LAYERS = 125


class OciOptions(NamedTuple):
    """`name` is that of the image, `parts` those of the layers in their order; `architecture` is Go's name."""

    name: str
    architecture: str
    compression: Compression
    parts: tuple[str, ...]


class _Layer(NamedTuple):
    part: str
    file: Extents
    description: Description


def run(work: Work[OciOptions]) -> Extents:
    """The tar; a layer that two parts have in common is in it once, and one without entries not at all."""
    layers = [found for found in _layers(work) if found.description.tar.size]
    if len(layers) > _MOST_LAYERS:
        work.warn(f"an image of {len(layers)} layers; most container engines run no more than {_MOST_LAYERS}")
    config = _json(_config(work.options, layers))
    manifest = _json(_manifest(work.options, config, layers))
    index = _json(_index(work.options, manifest))
    files = {
        "oci-layout": Extents.of([Literal(_json({"imageLayoutVersion": "1.0.0"}))]),
        "index.json": Extents.of([Literal(index)]),
    }
    for document in (manifest, config):
        files[_path(Digest.of(document))] = Extents.of([Literal(document)])
    return archive({**files, **{_path(found.description.blob): found.file for found in layers}})


def _layers(work: Work[OciOptions]) -> list[_Layer]:
    given = zip(work.options.parts, work.artifacts("layers"), work.artifacts("descriptions"), strict=True)
    return [
        _Layer(part, work.extents(file), described(work.extents(description), work))
        for part, file, description in given
    ]


def _config(options: OciOptions, layers: Sequence[_Layer]) -> Any:
    created = _created()
    return {
        "created": created,
        "architecture": options.architecture,
        "os": "linux",
        "config": {"Entrypoint": _ENTRYPOINT},
        "rootfs": {"type": "layers", "diff_ids": [found.description.tar.oci for found in layers]},
        "history": [{"created": created, "created_by": found.part} for found in layers],
    }


def _manifest(options: OciOptions, config: bytes, layers: Sequence[_Layer]) -> Any:
    layer_type = f"layer.v1.tar{_SUFFIXES[options.compression]}"
    return {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA_TYPE}.manifest.v1+json",
        "config": _descriptor("config.v1+json", Digest.of(config)),
        "layers": [_descriptor(layer_type, found.description.blob) for found in layers],
    }


def _index(options: OciOptions, manifest: bytes) -> Any:
    descriptor = _descriptor("manifest.v1+json", Digest.of(manifest))
    descriptor["platform"] = {"architecture": options.architecture, "os": "linux"}
    descriptor["annotations"] = {
        "io.containerd.image.name": f"docker.io/library/{options.name}:latest",
        "org.opencontainers.image.ref.name": "latest",
    }
    return {"schemaVersion": 2, "mediaType": f"{_MEDIA_TYPE}.index.v1+json", "manifests": [descriptor]}


def _descriptor(media_type: str, digest: Digest) -> dict[str, Any]:
    return {"mediaType": f"{_MEDIA_TYPE}.{media_type}", "digest": digest.oci, "size": digest.size}


def _path(digest: Digest) -> str:
    return f"blobs/sha256/{digest.hex}"


def _created() -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(MTIME // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: Any) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":")).encode("ascii")


RULE: Rule[Any] = Rule(
    name="format/oci",
    version=1,
    summary="put layers into an OCI image layout",
    options=OciOptions,
    inputs={"layers": Input("extents", many=True), "descriptions": Input("extents", many=True)},
    output="extents",
    run=run,
)


def _repository(name: str) -> str:
    """The name of the outputs as an image may be called."""
    return _UNFIT.sub("-", name.lower()).strip("-") or "linuxkit"


def _outputs(system: System) -> Mapping[str, Node]:
    parts = [part for part in system.parts if part.in_initrd]
    layers = [layer(system, part) for part in parts]
    target = system.target
    names = tuple(part.name for part in parts)
    options = OciOptions(_repository(target.name), target.architecture, target.compression, names)
    inputs = {
        "layers": tuple(found.file for found in layers),
        "descriptions": tuple(found.description for found in layers),
    }
    return {"-oci.tar": system.once("oci", lambda: Node("oci", RULE, options, inputs))}


FORMAT = Format("oci", "the root file system as an OCI image in a tar", _outputs)
