"""LinuxKit's build as a model of its own: from a config and images to the entries of its tar and its initrd.

    entries = Peer(config, {"docker.io/t/app:v1": made}).entries()
    unpacked(entries).paths["containers/services/app/lower/bin/app"]
    Kernel().unpack(initrd(entries))

Written after a description of LinuxKit at commit 3bf33c3a, literally, with what is wrong in it, and without
kitbuild's rules, so that the two can be held against each other. Only what has tests elsewhere is shared: reading
YAML (the Config given), config.json and runtime.json, and the text of `metadata` files. No SBOM: it is random.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kitbuild.config.model import Config, Container, File, Volume
from kitbuild.config.runtime import container_spec
from kitbuild.image import ImageConfig
from tests.support.images import Made, MadeImage, MadeIndex
from tests.support.unpacking import MTIME, TarEntry, entries_of

_NANO = 1_000_000_000
_HOSTS = b"""\
127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
_RESOLV_CONF = b"\n# no resolv.conf configured\n"
_RESOLV_LINK = "/run/resolvconf/resolv.conf"
_APK = "lib/apk/db/installed"
_DROPPED = (".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname")


class PeerError(Exception):
    """LinuxKit ends with an error here."""


# -- the build


def flattened(tars: Sequence[bytes]) -> Iterator[TarEntry]:
    """The entries of an image, the top layer's first; `tars` are its layers, lowest first."""
    seen: dict[str, bool] = {}
    for archive in reversed(tars):
        for entry in entries_of(archive):
            name = _clean(entry.name)
            folder, base = posixpath.split(name)
            is_tombstone = base.startswith(".wh.")
            base = base.removeprefix(".wh.")
            key = name if entry.kind == "directory" else _clean(posixpath.join(folder, base))
            if key in seen or any(seen.get(above) for above in _above(key)):
                continue
            seen[key] = is_tombstone or entry.kind != "directory"
            if not is_tombstone:
                yield entry._replace(name=name)


def _clean(name: str) -> str:
    clean = posixpath.normpath(name)
    return clean[1:] if clean.startswith("//") else clean


def _above(path: str) -> Iterator[str]:
    while (parent := posixpath.dirname(path)) not in ("", path):
        path = parent
        yield path


class Peer:
    """One build. `images` are named in full; an index stands for its first linux/amd64 image.

    `folder` is where `files[].source` is looked for.
    """

    def __init__(
        self,
        config: Config,
        images: Mapping[str, Made],
        *,
        folder: Path = Path(),
        metadata: Callable[[str], str] = str,
    ) -> None:
        self._config = config
        self._images = images
        self._folder = folder
        self._metadata = metadata
        self._roots: dict[str, str] = {}
        self._ids: dict[str, int] = {}
        for number, container in enumerate(config.containers, 100):
            self._ids[container.name] = number

    def entries(self) -> list[TarEntry]:
        """The entries of LinuxKit's tar in its order, without the SBOM; raises PeerError where it fails."""
        found = [*self._kernel(), *self._init()]
        for number, volume in enumerate(self._config.volumes):
            found += self._volume(volume, f"volume[{number}]")
        for container in self._config.containers:
            found += self._container(container)
        return found + list(self._files())

    def _image(self, name: str) -> MadeImage:
        made = self._images[name]
        if isinstance(made, MadeImage):
            return made
        wanted = {"os": "linux", "architecture": "amd64"}
        return next(
            part
            for part in made.parts
            if isinstance(part, MadeImage) and wanted.items() <= part.platform.items()
        )

    def _unpacked(
        self, name: str, location: str, *, prefix: str = "", resolv: str = ""
    ) -> Iterator[TarEntry]:
        """An image below a prefix (empty, or ending with a slash) with what LinuxKit leaves out, changes and adds."""
        yield from _folders(prefix.rstrip("/"), name or "empty", location)
        if not name:
            return
        has_mtab = False
        for entry in flattened(self._image(name).tars):
            if entry.name in _DROPPED:
                continue
            has_mtab = has_mtab or entry.name == "etc/mtab"
            target = prefix + entry.target if entry.kind == "hardlink" else entry.target
            changed = _changed(entry, resolv)._replace(source=name, location=location)
            if changed.kind == "hardlink":
                changed = changed._replace(target=target)
            yield changed._replace(name=prefix + entry.name)
        for entry in _standard(resolv):
            if entry.name != "etc/mtab" or not has_mtab:
                yield entry._replace(name=prefix + entry.name, source=name, location=location)

    def _kernel(self) -> Iterator[TarEntry]:
        settings = self._config.kernel
        if settings is None:
            return
        has_kernel = has_microcode = has_tar = False
        boot = TarEntry("boot", "directory", 0o755)
        modules: list[TarEntry] = []
        for entry in self._unpacked(str(settings.reference), "kernel"):
            records: dict[str, Any] = {"source": entry.source, "location": entry.location}
            made = TarEntry("", "file", entry.mode, content=entry.content, xattrs=entry.xattrs, **records)
            if entry.name == settings.binary:
                if has_kernel:
                    raise PeerError("found more than one possible kernel image")
                if not has_microcode:
                    yield boot._replace(**records)
                cmdline = settings.cmdline.encode()
                yield TarEntry("boot/cmdline", "file", 0o644, content=cmdline, **records)
                yield made._replace(name="boot/kernel")
                has_kernel = True
            elif settings.tar and entry.name == settings.tar:
                # Everything of it comes after the image: LinuxKit keeps it until the end.
                modules = [inner._replace(**records) for inner in entries_of(entry.content)]
                has_tar = True
            elif settings.ucode and entry.name == settings.ucode:
                if not has_kernel:
                    yield boot._replace(**records)
                yield made._replace(name="boot/ucode.cpio")
                has_microcode = True
        if not has_kernel or (settings.tar and not has_tar):
            raise PeerError("did not find kernel in kernel image")
        yield from modules

    def _init(self) -> Iterator[TarEntry]:
        databases: list[bytes] = []
        for number, image in enumerate(self._config.init):
            for entry in self._unpacked(str(image.reference), f"init[{number}]", resolv=_RESOLV_LINK):
                if entry.name == _APK:
                    databases.append(entry.content)
                yield entry
        if len(databases) > 1:
            content = b"".join(database + b"\n\n" for database in databases)
            yield TarEntry(
                _APK,
                "file",
                0o644,
                mtime=0,
                content=content,
                source="LINUXKIT.apkinit",
                location="init",
            )

    def _volume(self, volume: Volume, location: str) -> Iterator[TarEntry]:
        folder = f"containers/volumes/{volume.name}"
        name = str(volume.reference) if volume.reference else ""
        if volume.format == "oci" and name:
            yield from self._layout(name, f"{folder}/lower", location=location, platforms=volume.platforms)
        else:
            yield from self._unpacked(name, location, prefix=f"{folder}/lower/", resolv=_RESOLV_LINK)
        for mount in ("tmp", "merged"):
            yield TarEntry(
                f"{folder}/{mount}/", "directory", 0o755, source="linuxkit.volumes", location=location
            )

    def _layout(
        self, name: str, folder: str, *, location: str, platforms: Sequence[str]
    ) -> Iterator[TarEntry]:
        yield from _folders(folder, name, location)
        made = self._images[name]
        if not isinstance(made, MadeIndex):
            raise PeerError("not an index")
        wanted = [_platform(text) for text in platforms]
        blobs: dict[str, bytes] = {}
        for part in made.parts:
            assert isinstance(part, MadeImage)
            if not wanted or any(one.items() <= part.platform.items() for one in wanted):
                for blob in (part.config, *part.layers, part.manifest):
                    blobs[hashlib.sha256(blob).hexdigest()] = blob
        blobs[made.digest.removeprefix("sha256:")] = made.manifest
        top = {
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "size": len(made.manifest),
            "digest": made.digest,
            "annotations": {"org.opencontainers.image.ref.name": name},
        }
        index = {"schemaVersion": 2, "mediaType": top["mediaType"], "manifests": [top]}
        texts = {"oci-layout": b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'}
        stored = {f"blobs/sha256/{digest}": blob for digest, blob in blobs.items()}
        last = {"index.json": json.dumps(index, indent=3).encode()}
        records: dict[str, Any] = {"mtime": 0, "source": name, "location": location}
        for path, content in {**texts, "blobs/": b"", "blobs/sha256/": b"", **stored, **last}.items():
            if path.endswith("/"):
                yield TarEntry(f"{folder}/{path}", "directory", 0o755, **records)
            else:
                yield TarEntry(f"{folder}/{path}", "file", 0o644, content=content, **records)

    def _container(self, container: Container) -> Iterator[TarEntry]:
        number = "" if container.section == "services" else f"{container.position:03d}-"
        bundle = f"containers/{container.section}/{number}{container.name}"
        name = str(container.reference)
        location = f"{container.section}[{container.position}]"
        spec = container_spec(
            container,
            _image_config(self._image(name)),
            ids=self._ids,
            volumes={volume.name: volume for volume in self._config.volumes},
        )
        is_new = name not in self._roots
        if is_new:
            self._roots[name] = f"{bundle}/{'rootfs' if spec.readonly else 'lower'}"
            yield from self._unpacked(name, location, prefix=f"{self._roots[name]}/")
        else:
            yield from _folders(bundle, name, location)
        records: dict[str, Any] = {"source": name, "location": location}
        config_json = spec.config_json.encode()
        yield TarEntry(f"{bundle}/config.json", "file", 0o644, content=config_json, **records)
        if not spec.readonly:
            yield TarEntry(f"{bundle}/tmp", "directory", 0o755, **records)
        if not spec.readonly or not is_new:
            yield TarEntry(f"{bundle}/rootfs", "directory", 0o755, **records)
        runtime_json = spec.runtime_json(bundle, self._roots[name]).encode()
        yield TarEntry(f"{bundle}/runtime.json", "file", 0o644, content=runtime_json, **records)

    def _files(self) -> Iterator[TarEntry]:
        written: set[str] = set()
        for number, file in enumerate(self._config.files):
            path = self._folder / file.source
            if file.source and file.optional and not path.exists():
                continue
            records: dict[str, Any] = {"source": "linuxkit.files", "location": f"files[{number}]"}
            records["uid"], records["gid"] = self._number(file.uid), self._number(file.gid)
            yield from self._file(file, records, written)

    def _file(self, file: File, records: dict[str, Any], written: set[str]) -> Iterator[TarEntry]:
        name = file.path.removeprefix("/")
        mode = int(file.mode, 8) if file.mode else 0o700 if file.directory else 0o600
        folder_mode = mode
        for bits, enter in ((0o700, 0o100), (0o070, 0o010), (0o007, 0o001)):
            folder_mode |= enter if mode & bits else 0
        parts = [part for part in _clean(posixpath.dirname(name)).split("/") if part not in ("", ".")]
        for count in range(1, len(parts) + 1):
            folder = "/".join(parts[:count])
            if folder not in written:
                written.add(folder)
                yield TarEntry(folder, "directory", folder_mode, **records)
        written.add(name)
        if file.directory:
            yield TarEntry(name, "directory", mode, **records)
        elif file.symlink:
            yield TarEntry(name, "symlink", mode, target=file.symlink, **records)
        else:
            yield TarEntry(name, "file", mode, content=self._content(file), **records)

    def _content(self, file: File) -> bytes:
        if file.source:
            return (self._folder / file.source).read_bytes()
        text = self._metadata(file.metadata) if file.metadata else file.contents or ""
        return text.encode("utf-8", "surrogateescape")

    def _number(self, value: str | int | None) -> int:
        if value is None or value in ("", "root"):
            return 0
        return value & 0xFFFFFFFF if isinstance(value, int) else self._ids[value]


def _folders(path: str, source: str, location: str) -> Iterator[TarEntry]:
    parts = path.split("/") if path else []
    for count in range(1, len(parts) + 1):
        name = "/".join(parts[:count])
        yield TarEntry(name, "directory", 0o755, source=source, location=location)


def _changed(entry: TarEntry, resolv: str) -> TarEntry:
    """An image's entry as it goes into the tar."""
    if entry.name == "etc/resolv.conf" and resolv:
        return entry._replace(kind="symlink", target=resolv, content=b"", mtime=MTIME)
    if entry.name in ("etc/hosts", "etc/resolv.conf"):
        if entry.kind != "file":
            raise PeerError("archive/tar: write too long")
        content = _HOSTS if entry.name == "etc/hosts" else _RESOLV_CONF
        return entry._replace(content=content, mtime=MTIME)
    return entry._replace(mtime=MTIME) if entry.name == "etc/mtab" else entry


def _standard(resolv: str) -> Iterator[TarEntry]:
    for name in ("dev", "dev/pts", "dev/shm", "etc"):
        yield TarEntry(name, "directory", 0o755)
    yield TarEntry("etc/hosts", "file", 0o644, content=_HOSTS)
    yield TarEntry("etc/mtab", "symlink", 0o755, target="/proc/mounts")
    if resolv:
        yield TarEntry("etc/resolv.conf", "symlink", 0o644, target=resolv)
    else:
        yield TarEntry("etc/resolv.conf", "file", 0o644, content=_RESOLV_CONF)
    for name in ("proc", "sys"):
        yield TarEntry(name, "directory", 0o755)


def _platform(text: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False))


def _image_config(made: MadeImage) -> ImageConfig:
    settings = json.loads(made.config)["config"]
    return ImageConfig(
        tuple(settings.get("Entrypoint", ())),
        tuple(settings.get("Cmd", ())),
        tuple(settings.get("Env", ())),
        settings.get("WorkingDir", ""),
        settings.get("Labels", {}),
    )


# -- the initrd

_CPIO_TYPES = {
    "file": 0o010,
    "hardlink": 0o012,
    "symlink": 0o012,
    "block": 0o006,
    "directory": 0o004,
    "char": 0o002,
    "fifo": 0o001,
}


def in_initrd(entries: Iterable[TarEntry]) -> list[TarEntry]:
    """The entries that go into the initrd: all but those whose name begins with `boot/`."""
    return [entry for entry in entries if not entry.name.startswith("boot/")]


def initrd(entries: Iterable[TarEntry]) -> bytes:
    """The uncompressed cpio archive LinuxKit makes of a tar."""
    archive = bytearray()
    number = 721
    for entry in in_initrd(entries):
        body = entry.content
        if entry.kind == "symlink":
            body = entry.target.encode("utf-8", "surrogateescape")
        elif entry.kind == "hardlink":
            folder = posixpath.dirname(entry.name)
            body = posixpath.relpath(f"/{entry.target}", f"/{folder}").encode("utf-8", "surrogateescape")
        _add(
            archive, entry, number=number, body=body, mode=entry.mode & 0o7777 | _CPIO_TYPES[entry.kind] << 12
        )
        number += 1
    _add(archive, TarEntry("TRAILER!!!", "file", 0, mtime=0), number=number, body=b"", mode=0)
    return bytes(archive + bytes(-len(archive) % 512))


def _add(archive: bytearray, entry: TarEntry, *, number: int, body: bytes, mode: int) -> None:
    name = entry.name.encode("utf-8", "surrogateescape") + b"\0"
    fields = [number, mode, entry.uid, entry.gid, 2 if entry.kind == "directory" else 1]
    fields += [entry.mtime // _NANO, len(body), 3, 1, *entry.device, len(name), 0]
    archive += b"070701" + b"".join(b"%08x" % value for value in fields) + name
    archive += bytes(-len(archive) % 4)
    archive += body
    archive += bytes(-len(archive) % 4)
