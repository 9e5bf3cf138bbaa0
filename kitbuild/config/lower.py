"""Lowering: a config and the images it names become the parts of a system, each the output of a few nodes.

Pure: whatever had to be asked of disks and registries is given (images, digests of local files).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Literal, NamedTuple, cast

from kitbuild.config.ids import ids_of, number_of
from kitbuild.config.model import Config, Container, ContainerOptions, File, Place, Volume
from kitbuild.config.nodes import SourceNodes, Sources
from kitbuild.config.resources import as_linuxkit_reads
from kitbuild.config.runtime import container_spec
from kitbuild.config.sections import section_names
from kitbuild.config.volumes import index_name_of
from kitbuild.errors import ConfigError, ConfigErrors, ImageError
from kitbuild.image import Descriptor, ImageConfig
from kitbuild.node import Node
from kitbuild.reference import Reference
from kitbuild.rule import NoOptions
from kitbuild.rules.assemble import conflicts, container, files, init, kernel, packages, sbom, volume
from kitbuild.system import Part, System, Target
from kitbuild.tree import parents_of


class Sbom(NamedTuple):
    """Where in the system the SBOM of its images goes, and the time it claims to be of, as SPDX writes it."""

    path: str
    created: str


def references_of(config: Config) -> dict[Reference, Place]:
    """The images a config wants unpacked, each with the place of its first mention."""
    places: dict[Reference, Place] = {}
    named: list[tuple[Reference | None, Place]] = []
    if config.kernel:
        named.append((config.kernel.reference, config.kernel.place.at("image")))
    named += [(image.reference, image.place) for image in config.init]
    unpacked = (entry for entry in config.volumes if index_name_of(entry) is None)
    named += [(entry.reference, entry.place.at("image")) for entry in unpacked]
    named += [(entry.reference, entry.place.at("image")) for entry in config.containers]
    for reference, place in named:
        if reference is not None:
            places.setdefault(reference, place)
    return places


def lower(
    config: Config,
    sources: Sources,
    *,
    target: Target = Target(),  # noqa: B008 - a value that cannot change
    decompress_kernel: bool = False,
    bill: Sbom | None = None,
    linuxkit_compatible: bool = False,
) -> System:
    """The system a config describes. An image that was not found gets a node that fails when it is run.

    `bill` is given if the system shall hold the SBOMs of its images, joined into one. `linuxkit_compatible` loses
    what LinuxKit loses of containers' options, in metadata files too. Raises ConfigErrors for what only shows once
    the images' labels are known, and for SBOMs too large to be joined.
    """
    return _Lowering(
        config,
        sources,
        target=target,
        decompress_kernel=decompress_kernel,
        bill=bill,
        linuxkit_compatible=linuxkit_compatible,
    ).system()


class _Lowering:
    def __init__(
        self,
        config: Config,
        sources: Sources,
        *,
        target: Target,
        decompress_kernel: bool,
        bill: Sbom | None,
        linuxkit_compatible: bool,
    ) -> None:
        self._config = config
        self._sources = sources
        self._target = target
        self._decompress_kernel = decompress_kernel
        self._bill = bill
        self._linuxkit_compatible = linuxkit_compatible
        self._nodes = SourceNodes(sources)
        self._names = section_names(config)
        self._ids = ids_of(config.containers)
        # The statements to join, with where their images went and what they are called, in LinuxKit's order.
        self._statements: list[tuple[str, str, Node]] = []

    def system(self) -> System:
        settings = self._config.kernel
        boot = list(self._kernel())
        base = [*boot, *self._init()]
        # Containers and volumes have folders nobody else writes to; unless `files` does.
        own = [*self._volumes(), *self._containers()]
        tail = [*self._files(), *self._sbom()]
        paths = [file.path for file in self._config.files] + [self._bill.path if self._bill else ""]
        if any(_first_name(path) == "containers" for path in paths):
            parts = _settled([*base, *own, *tail])
        else:
            settled = _settled([*base, *tail])
            parts = [*settled[: len(base)], *own, *settled[len(base) :]]
        return System(
            parts=tuple(parts),
            kernel=boot[0].tree if boot else None,
            microcode=bool(settings and settings.ucode),
            cmdline=settings.cmdline if settings else "",
            target=self._target,
        )

    # -- sections

    def _unpacked(self, reference: Reference, prefix: str) -> list[Node]:
        """The image as an input of what puts it below `prefix`; its SBOM goes along."""
        image = self._sources.images[reference]
        if self._bill is not None and not isinstance(image, ImageError):
            for statement in image.sboms:
                self._check_size(statement, reference)
                node = self._nodes.blob(statement, reference, image.source)
                self._statements.append((prefix, str(reference), node))
        return [self._nodes.image(reference)]

    def _check_size(self, statement: Descriptor, reference: Reference) -> None:
        size, most = statement.digest.size, sbom.MAX_STATEMENT_BYTES
        if size > most:
            message = f"{reference}: expected an SBOM of at most {most} bytes, got {size}"
            where = references_of(self._config)[reference].where()
            raise ConfigErrors([ConfigError(message, where=where, hint="build with `--no-sbom`")])

    def _config_of(self, reference: Reference) -> ImageConfig:
        image = self._sources.images[reference]
        return ImageConfig() if isinstance(image, ImageError) else image.config

    def _node(
        self, section: str, what: str, rule: Any, options: Any, *, inputs: Mapping[str, Sequence[Node]]
    ) -> Node:
        given = {name: tuple(nodes) for name, nodes in inputs.items() if nodes}
        return Node(f"{section}: {what}" if what else section, rule, options, given, section)

    def _kernel(self) -> Iterator[Part]:
        settings = self._config.kernel
        if settings is None:
            return
        image = {"image": self._unpacked(settings.reference, "")}
        source = str(settings.reference)
        boot = kernel.BootOptions(settings.binary, settings.ucode, self._decompress_kernel)
        yield Part("kernel", self._node("kernel", "boot", kernel.BOOT, boot, inputs=image), source, "kernel")
        cmdline = self._node(
            "kernel", "cmdline", kernel.CMDLINE, kernel.CmdlineOptions(settings.cmdline), inputs={}
        )
        yield Part("kernel cmdline", cmdline, source, "kernel", in_initrd=False)
        if settings.tar:
            options = kernel.ModulesOptions(settings.tar)
            modules = self._node("kernel", "modules", kernel.MODULES, options, inputs=image)
            yield Part("kernel modules", modules, source, "kernel", keeps_boot=True)

    def _init(self) -> Iterator[Part]:
        roots = []
        for number, image in enumerate(self._config.init):
            section = self._names.init[number]
            inputs = {"image": self._unpacked(image.reference, "")}
            roots.append(self._node(section, "root", init.RULE, NoOptions(), inputs=inputs))
            yield Part(section, roots[-1], str(image.reference), f"init[{number}]")
        if len(roots) > 1:
            joined = self._node("init", "packages", packages.RULE, NoOptions(), inputs={"images": roots})
            yield Part("init packages", joined, "LINUXKIT.apkinit", "init")

    def _volumes(self) -> Iterator[Part]:
        for number, entry in enumerate(self._config.volumes):
            section = self._names.volumes[number]
            folder = f"containers/volumes/{entry.name}"
            options = volume.VolumeOptions(folder)
            location = f"volume[{number}]"
            if name := index_name_of(entry):
                content = self._nodes.layout(name, f"{folder}/lower", section=section)
            else:
                images = self._unpacked(entry.reference, f"{folder}/lower") if entry.reference else []
                content = self._node(section, "content", volume.CONTENT, options, inputs={"image": images})
            yield Part(section, content, str(entry.reference or "empty"), location)
            mounts = self._node(section, "mounts", volume.MOUNTS, options, inputs={})
            yield Part(f"{section} mounts", mounts, "linuxkit.volumes", location)

    def _containers(self) -> list[Part]:
        parts: list[Part] = []
        errors: list[ConfigError] = []
        roots: dict[Reference, str] = {}
        volumes = self._config.volumes_by_name()
        for section, entry in zip(self._names.containers, self._config.containers, strict=True):
            try:
                parts.append(self._container(section, entry, volumes, roots=roots))
            except ConfigErrors as found:
                errors += found.errors
        if errors:
            raise ConfigErrors(errors)
        return parts

    def _container(
        self, section: str, entry: Container, volumes: Mapping[str, Volume], *, roots: dict[Reference, str]
    ) -> Part:
        spec = container_spec(
            entry,
            self._config_of(entry.reference),
            ids=self._ids,
            volumes=volumes,
            linuxkit_compatible=self._linuxkit_compatible,
        )
        own_root = f"{entry.bundle}/{'rootfs' if spec.readonly else 'lower'}"
        root = roots.setdefault(entry.reference, own_root)
        options = container.ContainerOptions(
            entry.bundle, spec.readonly, spec.config_json, spec.runtime_json(entry.bundle, root)
        )
        # LinuxKit unpacks an image once; every later container of it mounts the first one's root.
        images = self._unpacked(entry.reference, root) if root == own_root else []
        bundle = self._node(section, "bundle", container.RULE, options, inputs={"image": images})
        return Part(section, bundle, str(entry.reference), f"{entry.section}[{entry.position}]")

    def _files(self) -> Iterator[Part]:
        entries: list[files.FileOptions] = []
        sources: list[Node] = []
        locations: dict[str, str] = {}
        for number, file in enumerate(self._config.files):
            if file.source and file.source not in self._sources.files:
                continue  # optional, and not there
            content = self._metadata(file.metadata) if file.metadata else file.contents or ""
            for entry in _entries(file, self._owner(file), content=content, made=locations.keys()):
                entries.append(entry)
                locations[entry.path] = f"files[{number}]"
                if entry.kind == "source":
                    sources.append(self._nodes.file(file.source))
        if entries:
            options = files.FilesOptions(tuple(entries))
            tree = self._node("files", "", files.RULE, options, inputs={"sources": sources})
            yield Part("files", tree, "linuxkit.files", "files", tuple(sorted(locations.items())))

    def _sbom(self) -> Iterator[Part]:
        if self._bill is None:
            return
        prefixes, images, nodes = zip(*self._statements, strict=True) if self._statements else ((), (), ())
        options = sbom.SbomOptions(*self._bill, prefixes, images)
        # LinuxKit records nothing for this one.
        yield Part("sbom", self._node("sbom", "", sbom.RULE, options, inputs={"statements": nodes}), "", "")

    def _owner(self, file: File) -> tuple[int, int]:
        return number_of(file.uid, self._ids), number_of(file.gid, self._ids)

    def _metadata(self, kind: Literal["yaml", "json"]) -> str:
        # Few configs ask for it, and it is a module of its own.
        from kitbuild.config.dump import metadata

        return metadata(_as_linuxkit_reads(self._config) if self._linuxkit_compatible else self._config, kind)


def _as_linuxkit_reads(config: Config) -> Config:
    def read(containers: Iterable[Container]) -> tuple[Container, ...]:
        return tuple(
            entry._replace(options=cast(ContainerOptions, as_linuxkit_reads(entry.options)))
            for entry in containers
        )

    return config._replace(
        onboot=read(config.onboot), onshutdown=read(config.onshutdown), services=read(config.services)
    )


def _first_name(path: str) -> str:
    return next((part for part in path.split("/") if part not in ("", ".")), "")


def _settled(parts: Sequence[Part]) -> list[Part]:
    """The parts, each without what later ones replace in a way that unpacking them in order would not show."""
    taking = [part for part in parts if part.in_initrd]
    if not taking:
        return list(parts)
    trees = tuple(part.tree for part in taking)
    found = Node("root: conflicts", conflicts.CONFLICTS, NoOptions(), {"parts": trees}, "root")
    settled: list[Part] = []
    numbers = count()
    for part in parts:
        if part.in_initrd:
            options = conflicts.SettledOptions(next(numbers))
            inputs = {"part": (part.tree,), "conflicts": (found,)}
            tree = Node(f"{part.name}: settled", conflicts.SETTLED, options, inputs, part.tree.section)
            part = part._replace(tree=tree)
        settled.append(part)
    return settled


def _entries(
    file: File, owner: tuple[int, int], *, content: str, made: Iterable[str]
) -> Iterator[files.FileOptions]:
    """The directories above a file that this section has not made yet, and the file; `content` is its text."""
    path = "/".join(part for part in file.path.split("/") if part not in ("", "."))
    mode = int(file.mode, 8) if file.mode else 0o700 if file.directory else 0o600
    # A directory can be entered by whoever may do anything with the file.
    parent_mode = mode | (mode & 0o444) >> 2 | (mode & 0o222) >> 1
    done = set(made)
    for parent in parents_of(path):
        if parent not in done:
            yield files.FileOptions(parent, "directory", parent_mode, *owner)
    if file.directory:
        yield files.FileOptions(path, "directory", mode, *owner)
    elif file.symlink:
        yield files.FileOptions(path, "symlink", mode, *owner, file.symlink)
    elif file.source:
        yield files.FileOptions(path, "source", mode, *owner)
    else:
        yield files.FileOptions(path, "file", mode, *owner, content)
