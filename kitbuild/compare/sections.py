"""Which section of its config a path of a system belongs to, and snapshots laid out by that.

Outputs that record it (LinuxKit's tars do) say it exactly. In others the path tells: containers and volumes have
folders of their own, `boot` and the modules are the kernel's, and everything else is `root`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from kitbuild.compare import packages as package_lists
from kitbuild.compare.packages import Packages
from kitbuild.compare.snapshot import File, ImageName, Section, Snapshot, Source

ROOT = "root"
_KINDS = ("kernel", "init", "volumes", "onboot", "onshutdown", "services", "files", "sbom", ROOT)
_OWN_FOLDER = re.compile(
    r"containers/(?P<kind>onboot|onshutdown|services|volumes)/(?P<folder>[^/]+)(?P<rest>/.*)?\Z", re.S
)
_NUMBER = re.compile(r"(?P<number>[0-9]{3,})-(?P<name>.+)\Z", re.S)
_NUMBERED_BUNDLE = re.compile(rb"/containers/(onboot|onshutdown)/[0-9]{3,}-")
# What only says where sections have their folders: it comes and goes with them.
_SHELVES = frozenset(
    ("containers", *(f"containers/{kind}" for kind in ("onboot", "onshutdown", "services", "volumes")))
)
_KERNEL = ("boot", "lib/modules", "usr/lib/modules")
_LOCATION = re.compile(r"(?P<kind>[a-z]+)(?:\[(?P<number>[0-9]+)\])?\Z")
_DOCUMENT = re.compile(
    r"containers/(?:onboot|onshutdown|services)/[^/]+/(?P<name>config\.json|runtime\.json)\Z", re.S
)
_SBOM = re.compile(r"[^/]+\.spdx\.json\Z")

_NONE: Mapping[str, Any] = MappingProxyType({})


class Setting(NamedTuple):
    """What a config says of a section, as JSON values, and where: `file:line` by the way to it."""

    value: Any
    lines: Mapping[str, str] = _NONE


class System(NamedTuple):
    """A system as it was read, before it is laid out by sections.

    `files` are by path, None if they are not known; `unknown` are sections of which they are not, though those of
    others are. `documents` is the content of the files among them that `is_document` wants, None for what is too
    large. If `has_parts`, every file names its part. `settings`, `images` and `runtimes` are by section, as the
    config names it; the last are only needed where no documents are. `numbers` are those of onboot and onshutdown
    containers.
    """

    name: str
    source: Source
    files: Mapping[str, File] | None = None
    documents: Mapping[str, bytes | None] = _NONE
    has_parts: bool = False
    unknown: tuple[str, ...] = ()
    format: str = ""
    cmdline: str | None = None
    settings: Mapping[str, Setting] | None = None
    images: Mapping[str, ImageName] = _NONE
    runtimes: Mapping[str, Mapping[str, bytes]] = _NONE
    numbers: Mapping[str, str] = _NONE
    flags: Mapping[str, str] | None = None
    medium: Mapping[str, File] | None = None
    outputs: Mapping[str, int] = _NONE
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def is_document(path: str) -> bool:
    """Whether the content of this file is compared as well: how a container runs, what packages are installed."""
    return bool(_DOCUMENT.match(path) or _SBOM.match(path)) or _database(path) is not None


def part_named(location: str, source: str) -> str:
    """The section that LinuxKit's two notes of an entry mean, empty where the path tells as much."""
    found = _LOCATION.match(location)
    if found is None or found["kind"] not in ("kernel", "init", "files"):
        return ""
    if found["kind"] == "init" and found["number"] is not None:
        return f"init {without_tag(source)}"
    return found["kind"]


def without_tag(reference: str) -> str:
    """An image's name without tag, digest, and the registry one need not write."""
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return familiar(f"{folder}{slash}{last.partition(':')[0]}")


def familiar(reference: str) -> str:
    """An image's name without the registry one need not write."""
    return reference.removeprefix("docker.io/").removeprefix("library/")


def container_of(path: str) -> str:
    """The container or volume that a path belongs to, as a config names it, empty if it is none's."""
    found = _OWN_FOLDER.match(path)
    if found is None:
        return ""
    numbered = _NUMBER.match(found["folder"]) if found["kind"].startswith("on") else None
    return f"{found['kind']} {numbered['name'] if numbered else found['folder']}"


def section_key(name: str) -> str:
    """The name of a section that stays when the tag of its image moves."""
    return f"init {without_tag(name[len('init ') :])}" if name.startswith("init ") else name


def order_of(name: str) -> tuple[int, str]:
    """What sorts sections as a config has them."""
    kind = name.partition(" ")[0]
    return (_KINDS.index(kind) if kind in _KINDS else len(_KINDS), name)


def laid_out(system: System, *, by_part: bool) -> Snapshot:
    """The system by its sections: those it names if `by_part`, else those its paths tell."""
    places = _Places(system.files or {}, by_part=by_part)
    warnings = list(system.warnings)

    def kept(name: str) -> str:
        """What a section of the config is called here, empty if it is none."""
        key = section_key(name)
        if by_part or key.partition(" ")[0] in ("kernel", "volumes", "onboot", "onshutdown", "services"):
            return key
        return ""

    files = places.files()
    runtimes = _runtimes(system, places, warnings.append)
    installed, of_all = _packages(system, places, warnings.append)
    told = package_lists.joined(one for one in installed.values() if one is not None)
    settings = {key: one for name, one in (system.settings or {}).items() if (key := kept(name))}
    images = {key: image for name, image in system.images.items() if (key := kept(name))}
    # What no path tells apart is not known as a whole if a part of it is not.
    unknown = {kept(name) or ROOT for name in system.unknown}
    names = {*files, *runtimes, *unknown, *(settings if by_part else ()), *(images if by_part else ())}
    if system.files is None:
        names |= {*settings, *images}
    sections = {}
    for name in sorted(names, key=order_of):
        setting = settings.get(name, Setting(None))
        known = system.files is not None and name not in unknown
        sections[name] = Section(
            name,
            files.get(name, {}) if known else None,
            installed.get(name, {}),
            images.get(name),
            setting.value,
            runtimes.get(name),
            places.numbers.get(name, system.numbers.get(name, "")),
            setting.lines,
        )
    return Snapshot(
        system.name,
        system.source,
        sections,
        system.format,
        system.cmdline,
        system.flags,
        None if of_all is None else package_lists.without(of_all, told),
        system.medium,
        system.outputs,
        system.missing,
        tuple(warnings),
    )


class _Places:
    """Where every path of a system belongs."""

    def __init__(self, files: Mapping[str, File], *, by_part: bool) -> None:
        self._files = files
        self._by_part = by_part
        self.numbers: dict[str, str] = {}
        self._bundles = self._named()

    def _named(self) -> dict[tuple[str, str], str]:
        """What the folders of containers and volumes are called: without number, unless two then had one name."""
        folders = sorted(
            {found.group("kind", "folder") for path in self._files if (found := _OWN_FOLDER.match(path))}
        )
        names: dict[tuple[str, str], str] = {}
        taken: set[tuple[str, str]] = set()
        for kind, folder in folders:
            numbered = _NUMBER.match(folder) if kind.startswith("on") else None
            plain = name = numbered["name"] if numbered else folder
            count = 1
            while (kind, name) in taken:
                count += 1
                name = f"{plain} #{count}"
            taken.add((kind, name))
            names[kind, folder] = name
            if numbered:
                self.numbers[f"{kind} {name}"] = numbered["number"]
        return names

    def place(self, path: str) -> tuple[str, str]:
        """The section of a path, and the path without the number of a container."""
        found = _OWN_FOLDER.match(path)
        if found is not None:
            kind, folder = found.group("kind", "folder")
            name = self._bundles[kind, folder]
            own = self._files[path].part if self._by_part else ""
            return own or f"{kind} {name}", f"containers/{kind}/{name}{found['rest'] or ''}"
        if self._by_part:
            return self._files[path].part or ("sbom" if _SBOM.match(path) else ROOT), path
        is_kernel = any(path == folder or path.startswith(f"{folder}/") for folder in _KERNEL)
        return "kernel" if is_kernel else ROOT, path

    def files(self) -> dict[str, dict[str, File]]:
        """The files by section."""
        sections: dict[str, dict[str, File]] = {}
        for path, file in self._files.items():
            if file.kind == "directory" and path in _SHELVES:
                continue
            section, short = self.place(path)
            if file.kind == "hardlink":
                file = file._replace(
                    target=self.place(file.target)[1] if file.target in self._files else file.target
                )
            sections.setdefault(section, {})[short] = file
        return sections


Warn = Callable[[str], None]


def _runtimes(system: System, places: _Places, warn: Warn) -> dict[str, dict[str, Any]]:
    """How containers run, by section: the documents in their bundles, or those their config says would be there."""
    given: dict[str, dict[str, bytes | None]] = {}
    for path, content in system.documents.items():
        if found := _DOCUMENT.match(path):
            given.setdefault(places.place(path)[0], {})[found["name"]] = content
    for name, documents in system.runtimes.items():
        given.setdefault(name, {**documents})
    parsed: dict[str, dict[str, Any]] = {}
    for section, contents in given.items():
        for name, content in contents.items():
            try:
                if content is None:
                    raise ValueError("too large")
                parsed.setdefault(section, {})[name] = package_lists.json_of(
                    _NUMBERED_BUNDLE.sub(rb"/containers/\1/", content)
                )
            except ValueError as error:
                warn(f"{system.name}: cannot compare {name} of {section}: {error}")
    return parsed


def _packages(
    system: System, places: _Places, warn: Warn
) -> tuple[dict[str, Packages | None], Packages | None]:
    """What is installed by section, and what an SBOM says of the whole system; None for what cannot be read.

    Half of a list would look as if the other half were gone.
    """
    installed: dict[str, list[Packages | None]] = {}
    of_all: list[Packages | None] = []
    for path, content in system.documents.items():
        read = package_lists.spdx_packages if _SBOM.match(path) else _database(path)
        if read is None:
            continue
        found = None
        try:
            if content is None:
                raise ValueError("too large")
            found = read(content)
        except ValueError as error:
            warn(f"{system.name}: cannot compare the packages in {path}: {error}")
        into = of_all if _SBOM.match(path) else installed.setdefault(places.place(path)[0], [])
        into.append(found)
    return {section: _joined(lists) for section, lists in installed.items()}, _joined(of_all)


def _joined(lists: Iterable[Packages | None]) -> Packages | None:
    known = []
    for one in lists:
        if one is None:
            return None
        known.append(one)
    return package_lists.joined(known)


def _database(path: str) -> Callable[[bytes], Packages] | None:
    """What reads the package database at this path, None if there is none."""
    inside = f"/{path}"
    if inside.endswith(f"/{package_lists.DPKG_STATUS}"):
        return package_lists.dpkg_packages
    if f"/{package_lists.DPKG_FOLDER}" in inside and not inside.endswith(".md5sums"):
        return package_lists.dpkg_packages
    if any(inside.endswith(f"/{database}") for database in package_lists.APK_DATABASES):
        return package_lists.apk_packages
    return None


def first_names(files: Iterable[tuple[str, File]]) -> dict[str, File]:
    """Files by path, the first of several names of one file being the file and the others its hard links.

    Which of them an archive has as the file is a matter of its order.
    """
    found = dict(files)
    groups: dict[str, list[str]] = {}
    for path, file in found.items():
        if file.kind == "hardlink":
            groups.setdefault(_end(path, found), []).append(path)
    for target, links in groups.items():
        if target not in found or found[target].kind == "hardlink":
            continue
        first, *others = sorted((target, *links))
        whole = found[target]
        for name in others:
            found[name] = whole._replace(
                kind="hardlink", size=0, content=None, target=first, part=found[name].part
            )
        found[first] = whole._replace(part=found[first].part)
    return found


def _end(path: str, files: Mapping[str, File]) -> str:
    """The file at the end of a chain of hard links."""
    seen: Sequence[str] | set[str] = set()
    while path not in seen and path in files and files[path].kind == "hardlink":
        seen = {*seen, path}
        path = files[path].target
    return path
