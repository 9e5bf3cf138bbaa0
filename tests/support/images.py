"""Makes OCI images for tests: layer tars, images, indexes, layout folders, archives, all in milliseconds.

    hello = image({"bin/hello": file(b"#!", mode=0o755), "etc/": directory()}, entrypoint=["/bin/hello"])
    layout(tmp_path / "images", {"t/hello:v1": hello})
    docker_archive(tmp_path / "hello.tar", {"t/hello:v1": hello})
    push("127.0.0.1:5000", "t/hello:v1", hello)

A layer is a mapping of path to content (`str` and `bytes` are files of mode 0644), or the bytes of a whole tar.
Everything is a function of its arguments: two equal calls give equal bytes.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kitbuild.reference import Reference

OCI = "application/vnd.oci.image."
DOCKER = "application/vnd.docker."
EMPTY_LAYER_TAR = b"\0" * 1024

Compression = Literal["gzip", "zstd", "plain"]


@dataclass(frozen=True)
class Member:
    """One entry of a layer tar; `type` is one of tarfile's."""

    type: bytes
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: float = 0
    target: str = ""
    device: tuple[int, int] = (0, 0)
    pax: Mapping[str, str] = field(default_factory=dict)


def file(content: str | bytes = b"", **fields: Any) -> Member:
    """A regular file; `fields` are those of Member, so are they below."""
    return Member(tarfile.REGTYPE, content.encode() if isinstance(content, str) else content, **fields)


def directory(mode: int = 0o755, **fields: Any) -> Member:
    """A directory."""
    return Member(tarfile.DIRTYPE, mode=mode, **fields)


def symlink(target: str, **fields: Any) -> Member:
    """A symbolic link."""
    return Member(tarfile.SYMTYPE, mode=fields.pop("mode", 0o777), target=target, **fields)


def hardlink(target: str, **fields: Any) -> Member:
    """A hard link to another path of the layer."""
    return Member(tarfile.LNKTYPE, target=target, **fields)


def device(kind: Literal["char", "block", "fifo"], major: int = 0, minor: int = 0, **fields: Any) -> Member:
    """A device node or a fifo."""
    types = {"char": tarfile.CHRTYPE, "block": tarfile.BLKTYPE, "fifo": tarfile.FIFOTYPE}
    return Member(types[kind], device=(major, minor), **fields)


Content = Member | str | bytes
LayerContent = Mapping[str, Content] | Iterable[tuple[str, Content]] | bytes


def layer_tar(content: LayerContent) -> bytes:
    """The uncompressed tar of a layer, entries in the order given; pairs instead of a mapping may repeat a path."""
    if isinstance(content, bytes):
        return content
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, value in content.items() if isinstance(content, Mapping) else content:
            member = value if isinstance(value, Member) else file(value)
            archive.addfile(_header(path, member), io.BytesIO(member.content))
    return buffer.getvalue()


def _header(path: str, member: Member) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)
    header.type, header.size, header.mode = member.type, len(member.content), member.mode
    header.uid, header.gid, header.mtime = member.uid, member.gid, member.mtime
    header.linkname = member.target
    header.devmajor, header.devminor = member.device
    header.pax_headers = dict(member.pax)
    return header


def compressed(content: bytes, compression: Compression) -> bytes:
    """The content compressed, the same bytes every time."""
    if compression == "gzip":
        return gzip.compress(content, compresslevel=1, mtime=0)
    if compression == "zstd":
        import zstandard

        return zstandard.ZstdCompressor(level=1).compress(content)
    return content


def hex_of(content: bytes) -> str:
    """The sha256 of some bytes, 64 hex digits."""
    return hashlib.sha256(content).hexdigest()


def descriptor(content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """An OCI descriptor of some bytes."""
    return {"mediaType": media_type, "digest": f"sha256:{hex_of(content)}", "size": len(content), **more}


@dataclass(frozen=True)
class MadeImage:
    """An image ready to be written somewhere: its manifest, config, tars and the layers as stored."""

    manifest: bytes
    media_type: str
    config: bytes
    tars: tuple[bytes, ...]
    layers: tuple[bytes, ...]
    platform: Mapping[str, str]

    @property
    def digest(self) -> str:
        """The manifest's digest, `sha256:<hex>`."""
        return f"sha256:{hex_of(self.manifest)}"

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The sha256 (hex) of the uncompressed layers."""
        return tuple(hex_of(tar) for tar in self.tars)

    @property
    def blobs(self) -> dict[str, bytes]:
        """Config and layers by hex digest."""
        return {hex_of(blob): blob for blob in (self.config, *self.layers)}

    @property
    def parts(self) -> tuple[MadeImage | MadeIndex, ...]:
        """An image has no parts."""
        return ()


@dataclass(frozen=True)
class MadeIndex:
    """An index (or Docker list) of images."""

    manifest: bytes
    media_type: str
    parts: tuple[MadeImage | MadeIndex, ...]

    @property
    def digest(self) -> str:
        """The index's digest, `sha256:<hex>`."""
        return f"sha256:{hex_of(self.manifest)}"

    @property
    def blobs(self) -> dict[str, bytes]:
        """An index has no blobs of its own."""
        return {}


Made = MadeImage | MadeIndex


def image(
    *layers: LayerContent,
    entrypoint: list[str] | None = None,
    cmd: list[str] | None = None,
    env: list[str] | None = None,
    labels: Mapping[str, str] | None = None,
    working_directory: str = "",
    architecture: str = "amd64",
    os: str = "linux",
    variant: str = "",
    compression: Compression = "gzip",
    docker: bool = False,
    compress: Callable[[bytes], bytes] | None = None,
    change_manifest: Callable[[dict[str, Any]], object] | None = None,
    change_config: Callable[[dict[str, Any]], object] | None = None,
) -> MadeImage:
    """An image of these layers, lowest first.

    `docker` chooses the media types of Docker's schema 2. `compress` replaces the compressor. `change_manifest`
    and `change_config` may edit the documents before they are written, to make broken ones.
    """
    tars = tuple(layer_tar(layer) for layer in layers)
    stored = tuple(compress(tar) if compress else compressed(tar, compression) for tar in tars)
    platform = {"architecture": architecture, "os": os, **({"variant": variant} if variant else {})}
    settings = {
        "Entrypoint": entrypoint,
        "Cmd": cmd,
        "Env": env,
        "Labels": dict(labels) if labels else None,
        "WorkingDir": working_directory,
    }
    config: dict[str, Any] = {
        **platform,
        "config": {name: value for name, value in settings.items() if value},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hex_of(tar)}" for tar in tars]},
    }
    if change_config:
        change_config(config)
    config_bytes = _json(config)
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER + "distribution.manifest.v2+json" if docker else OCI + "manifest.v1+json",
        "config": descriptor(
            config_bytes, DOCKER + "container.image.v1+json" if docker else OCI + "config.v1+json"
        ),
        "layers": [descriptor(blob, _layer_type(compression, docker)) for blob in stored],
    }
    if change_manifest:
        change_manifest(manifest)
    return MadeImage(_json(manifest), manifest["mediaType"], config_bytes, tars, stored, platform)


def _layer_type(compression: Compression, docker: bool) -> str:
    if docker:
        return DOCKER + "image.rootfs.diff.tar" + ("" if compression == "plain" else f".{compression}")
    return OCI + "layer.v1.tar" + ("" if compression == "plain" else f"+{compression}")


def index(
    *parts: Made,
    docker: bool = False,
    attestations: bool = False,
    change: Callable[[dict[str, Any]], object] | None = None,
) -> MadeIndex:
    """An index of images; `attestations` adds an entry of platform unknown/unknown for each, as BuildKit does."""
    entries = [
        descriptor(part.manifest, part.media_type)
        | ({"platform": dict(part.platform)} if isinstance(part, MadeImage) else {})
        for part in parts
    ]
    if attestations:
        extra = [_attestation(part) for part in parts]
        entries += [
            descriptor(
                statement.manifest,
                statement.media_type,
                platform={"architecture": "unknown", "os": "unknown"},
                annotations={
                    "vnd.docker.reference.digest": part.digest,
                    "vnd.docker.reference.type": "attestation-manifest",
                },
            )
            for part, statement in zip(parts, extra, strict=True)
        ]
        parts = (*parts, *extra)
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": DOCKER + "distribution.manifest.list.v2+json" if docker else OCI + "index.v1+json",
        "manifests": entries,
    }
    if change:
        change(document)
    return MadeIndex(_json(document), document["mediaType"], parts)


def _attestation(part: Made) -> MadeImage:
    statement = _json({"subject": [{"digest": part.digest}], "predicate": {}})
    return image(
        statement,
        architecture="unknown",
        os="unknown",
        compression="plain",
        change_manifest=lambda manifest: manifest["layers"][0].update(
            mediaType="application/vnd.in-toto+json"
        ),
    )


def blobs_of(made: Made) -> dict[str, bytes]:
    """Every document and blob the image or index consists of, itself included, by hex digest."""
    found = {hex_of(made.manifest): made.manifest, **made.blobs}
    for part in made.parts:
        found |= blobs_of(part)
    return found


def canonical(name: str) -> str:
    """The name as kitbuild and LinuxKit write it: `redis:alpine` is `docker.io/library/redis:alpine`."""
    return str(Reference.parse(name))


def annotations_as_linuxkit(name: str) -> dict[str, str]:
    """The annotation LinuxKit puts on an entry of its image cache."""
    return {"org.opencontainers.image.ref.name": canonical(name)}


def annotations_as_containerd(name: str) -> dict[str, str]:
    """The annotations containerd and Docker put on an entry: the tag alone, and the whole name in their own."""
    return {
        "org.opencontainers.image.ref.name": Reference.parse(name).tag,
        "io.containerd.image.name": canonical(name),
    }


def annotations_as_skopeo(name: str) -> dict[str, str]:
    """The annotation skopeo puts on an entry: the tag alone."""
    return {"org.opencontainers.image.ref.name": Reference.parse(name).tag}


Annotations = Callable[[str], dict[str, str]]


def layout_files(
    images: Mapping[str, Made], annotations: Annotations = annotations_as_linuxkit
) -> dict[str, bytes]:
    """The files of an OCI image layout by relative path, blobs first."""
    files: dict[str, bytes] = {}
    for made in images.values():
        files |= {f"blobs/sha256/{name}": blob for name, blob in blobs_of(made).items()}
    entries = [
        descriptor(made.manifest, made.media_type, annotations=annotations(name))
        for name, made in images.items()
    ]
    files["index.json"] = _json({"schemaVersion": 2, "manifests": entries or None})
    files["oci-layout"] = _json({"imageLayoutVersion": "1.0.0"})
    return files


def layout(
    folder: Path, images: Mapping[str, Made], annotations: Annotations = annotations_as_linuxkit
) -> Path:
    """Writes an OCI image layout; gives the folder. A name may be short (`t/hello:v1`)."""
    for name, content in layout_files(images, annotations).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def oci_archive(
    path: Path, images: Mapping[str, Made], annotations: Annotations = annotations_as_containerd
) -> Path:
    """Writes an OCI image layout as a tar; gives its path."""
    path.write_bytes(layer_tar(layout_files(images, annotations)))
    return path


def docker_archive(path: Path, images: Mapping[str, MadeImage], style: Literal["old", "new"] = "old") -> Path:
    """Writes what `docker save` writes; gives its path.

    "old" is Docker before 25: `<config>.json`, `<hex>/layer.tar`; "new" has blobs/sha256 with uncompressed
    layers, and no index.json.
    """
    files: dict[str, bytes] = {}
    manifest: list[dict[str, Any]] = []
    for name, made in images.items():
        config = f"{hex_of(made.config)}.json" if style == "old" else f"blobs/sha256/{hex_of(made.config)}"
        layers = [
            f"{hex_of(b'chain' + tar)}/layer.tar" if style == "old" else f"blobs/sha256/{hex_of(tar)}"
            for tar in made.tars
        ]
        files |= {config: made.config, **dict(zip(layers, made.tars, strict=True))}
        manifest.append({"Config": config, "RepoTags": [name], "Layers": layers})
    files["manifest.json"] = _json(manifest)
    path.write_bytes(layer_tar(files))
    return path


def push(
    host: str, name: str, made: Made, *, headers: Mapping[str, str] | None = None, scheme: str = "http"
) -> str:
    """Pushes to a registry; `name` is `path:tag` or `path`. Gives the reference with its host."""
    path, _, tag = name.partition(":")
    address = f"{scheme}://{host}/v2/{path}"
    for blob in made.blobs.values():
        _push_blob(address, blob, headers or {})
    for part in made.parts:
        push(host, f"{path}:{part.digest}", part, headers=headers, scheme=scheme)
    content_type = {"Content-Type": made.media_type, **(headers or {})}
    _send(f"{address}/manifests/{tag or 'latest'}", "PUT", made.manifest, content_type)
    return f"{host}/{name}"


def _push_blob(address: str, blob: bytes, headers: Mapping[str, str]) -> None:
    upload = _send(f"{address}/blobs/uploads/", "POST", b"", headers)
    separator = "&" if "?" in upload else "?"
    octets = {"Content-Type": "application/octet-stream", **headers}
    _send(f"{upload}{separator}digest=sha256:{hex_of(blob)}", "PUT", blob, octets)


def _send(address: str, method: str, content: bytes, headers: Mapping[str, str]) -> str:
    request = urllib.request.Request(address, data=content, method=method, headers=dict(headers))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=20) as response:
        return str(response.headers.get("Location", ""))


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
