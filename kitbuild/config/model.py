"""What a config says, as frozen values; every value knows its place in the file it came from.

Source: LinuxKit's YAML as its JSON schema describes it. Where the schema spells a key of an OCI object in
camelCase (`hostID`, `kernelTCP`, `leafWeight`, ...), LinuxKit accepts the key and then loses its value. kitbuild
honours it, with the spelling of the OCI runtime specification in config.json.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from kitbuild.reference import Reference

if TYPE_CHECKING:
    from kitbuild.config.yaml import Document
    from kitbuild.errors import Where

SectionName = Literal["onboot", "onshutdown", "services"]

# How a reference is kept whose text is a package template: `@pkg:` as host, the folder as path.
TEMPLATE = "@pkg:"


class Place(NamedTuple):
    """Where a value stands: a document and the path of keys and positions that leads to the value."""

    document: Document
    path: tuple[str | int, ...] = ()

    def at(self, *path: str | int) -> Place:
        """The place of something inside this value."""
        return Place(self.document, self.path + path)

    def where(self, *path: str | int) -> Where:
        """File, line and column of this value, or of the value at `path` inside it.

        If there is nothing at the end of `path`, the last value on the way is meant.
        """
        return self.document.where(self.path + path)

    def key(self, *path: str | int) -> Where:
        """File, line and column of the key that holds this value, or the value at `path` inside it."""
        return self.document.where(self.path + path, key=True)


# Keys with a dot in them are why this is not a class. Lists and maps are as the YAML has them, checked against
# the schema; a key that is absent was not written, which is not the same as an empty list.
ContainerOptions = TypedDict(
    "ContainerOptions",
    {
        "capabilities": list[str],
        "capabilities.add": list[str],
        "ambient": list[str],
        "mounts": list[dict[str, Any]],
        "binds": list[str],
        "binds.add": list[str],
        "tmpfs": list[str],
        "command": list[str],
        "env": list[str],
        "devices": list[dict[str, Any]],
        "cwd": str,
        "net": str,
        "pid": str,
        "ipc": str,
        "uts": str,
        "userns": str,
        "hostname": str,
        "readonly": bool,
        "noNewPrivileges": bool,
        "maskedPaths": list[str],
        "readonlyPaths": list[str],
        "rlimits": list[str],
        "uid": str | int,
        "gid": str | int,
        "additionalGids": list[str | int],
        "oomScoreAdj": int,
        "rootfsPropagation": str,
        "cgroupsPath": str,
        "resources": dict[str, Any],
        "sysctl": dict[str, str],
        "annotations": dict[str, str],
        "uidMappings": list[dict[str, int]],
        "gidMappings": list[dict[str, int]],
        "runtime": dict[str, Any],
    },
    total=False,
)


class Kernel(NamedTuple):
    """The kernel image and how it boots; `tar` and `ucode` are empty if nothing is wanted of that kind."""

    reference: Reference
    image_text: str
    cmdline: str
    binary: str
    tar: str
    ucode: str
    place: Place


class InitImage(NamedTuple):
    """One image of `init`, unpacked into the root file system itself."""

    reference: Reference
    image_text: str
    place: Place


class Container(NamedTuple):
    """One entry of `onboot`, `onshutdown` or `services`; `position` counts from 0 over all configs.

    `options` holds every key but `name` and `image` that was written.
    """

    section: SectionName
    position: int
    name: str
    image_text: str
    reference: Reference
    options: ContainerOptions
    place: Place

    @property
    def bundle(self) -> str:
        """The folder of the container in the root file system: `containers/onboot/000-sysctl`."""
        number = "" if self.section == "services" else f"{self.position:03d}-"
        return f"containers/{self.section}/{number}{self.name}"


class Volume(NamedTuple):
    """A named volume; without an image (`reference` None) it starts empty. `format` is empty if not given."""

    name: str
    reference: Reference | None
    image_text: str
    readonly: bool
    format: Literal["", "oci", "filesystem"]
    platforms: tuple[str, ...]
    place: Place

    @property
    def merged(self) -> str:
        """Where the volume is mounted in the running system."""
        return f"/containers/volumes/{self.name}/merged"


class File(NamedTuple):
    """One entry of `files`, exactly one kind of content; text that was not written is empty, `contents` None.

    `mode` is octal text. `uid` and `gid` are still names or numbers: kitbuild.config.ids makes them numbers.
    """

    path: str
    directory: bool
    symlink: str
    contents: str | None
    source: str
    metadata: Literal["", "yaml", "json"]
    optional: bool
    mode: str
    uid: str | int | None
    gid: str | int | None
    place: Place


class Config(NamedTuple):
    """A whole system: all given configs together, in the order in which LinuxKit works through them.

    `kernel_settings` are the keys of `kernel` as they were written, also where no image makes them count.
    """

    kernel: Kernel | None = None
    init: tuple[InitImage, ...] = ()
    onboot: tuple[Container, ...] = ()
    onshutdown: tuple[Container, ...] = ()
    services: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    files: tuple[File, ...] = ()
    kernel_settings: Mapping[str, str] = {}

    @property
    def containers(self) -> tuple[Container, ...]:
        """The containers in the order in which they are numbered: onboot, onshutdown, services."""
        return self.onboot + self.onshutdown + self.services

    def volumes_by_name(self) -> Mapping[str, Volume]:
        """The volumes that binds and mounts may name; of two with one name the later."""
        return {volume.name: volume for volume in self.volumes}
