"""Random configs and images, as hypothesis makes them, without what kitbuild does otherwise than LinuxKit."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.support import images
from tests.support.images import Content, Made, directory, file, hardlink, symlink
from tests.support.peer import initrd

_PLACES = ["a", "b", "a/c", "a/d", "b/e/f", "usr/bin/x", "lib", "lib/y", "boot/z", "g"]
_FOLDERS = ["etc", "dev", "proc", "a", "b", "usr", "lib", "boot", "./"]
_FILES = ["etc/hosts", "etc/resolv.conf", "etc/hostname", "etc/x", "dev/console", "Dockerfile", "etc/mtab"]
DATABASE = "lib/apk/db/installed"
_MODES = st.sampled_from([0o644, 0o755, 0o600, 0o4711, 0o000, 0o1777, 0o2750])
_NUMBERS = st.sampled_from([0, 33, 65534, 3_000_000])
_TIMES = st.sampled_from([0, 1_500_000_000, 1_500_000_000.5, -3])
_WORDS = st.sampled_from(["", "one", "two", "three" * 30])


@st.composite
def _members(draw: st.DrawFn, path: str) -> Content:
    fields: dict[str, Any] = {
        "mode": draw(_MODES),
        "uid": draw(_NUMBERS),
        "gid": draw(_NUMBERS),
        "mtime": draw(_TIMES),
    }
    if path in _FOLDERS and (path not in _PLACES or draw(st.booleans())):
        return directory(**fields)
    kinds = ["file"] if path in (*_FILES, DATABASE) else ["file", "file", "symlink", "char", "fifo"]
    kind = draw(st.sampled_from(kinds))
    if kind == "symlink":
        return symlink(draw(st.sampled_from(["a", "../b", "/usr/bin", "nowhere", "ü" * 60])), **fields)
    if kind == "char":
        return images.device("char", 1, draw(st.integers(0, 300)), **fields)
    if kind == "fifo":
        return images.device("fifo", **fields)
    attributes = {"SCHILY.xattr.user.note": "x"} if draw(st.integers(0, 4)) == 4 else {}
    return file(draw(_WORDS), pax=attributes, **fields)


Layer = dict[str, Content]


@st.composite
def _layers(draw: st.DrawFn) -> Layer:
    every = [*_PLACES, *_FOLDERS, *_FILES, DATABASE]
    paths: list[str] = draw(st.lists(st.sampled_from(every), unique=True, max_size=9))
    layer = {path: draw(_members(path)) for path in paths}
    solid = {path for path, member in layer.items() if not _is_directory(member)}
    layer = {
        path: member for path, member in layer.items() if not any(_is_below(path, other) for other in solid)
    }
    targets = [
        path for path, member in layer.items() if path in _PLACES and path != "boot/z" and _is_file(member)
    ]
    is_linked: bool = draw(st.booleans())
    if targets and is_linked:
        layer["lib/linked"] = hardlink(draw(st.sampled_from(targets)))
    for path in draw(st.lists(st.sampled_from([*_PLACES, *_FOLDERS[:-1]]), unique=True, max_size=2)):
        if not any(path == other.rstrip("/") or _is_below(other, path) for other in layer) and not any(
            _is_below(path, other) for other in solid
        ):
            folder, _, name = path.rpartition("/")
            layer[f"{folder}/.wh.{name}".lstrip("/")] = ""
    return layer


def _is_directory(member: Content) -> bool:
    return isinstance(member, images.Member) and member.type == tarfile.DIRTYPE


def _is_file(member: Content) -> bool:
    return isinstance(member, images.Member) and member.type == tarfile.REGTYPE


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip('/')}/")


def _is_alike(stack: Sequence[Layer]) -> bool:
    """Whether an image shows none of the differences in how layers are laid over each other."""
    for number, layer in enumerate(stack):
        above: list[Layer] = list(stack[number + 1 :])
        for path, member in layer.items():
            if isinstance(member, images.Member) and member.type == tarfile.LNKTYPE:
                target = member.target
                if any(_touches(other, target) for other in above) or any(
                    _is_below(path, t) for t in _solid(stack)
                ):
                    return False
            if ".wh." in path and any(path.replace(".wh.", "") in other for other in above):
                return False
            if not _is_directory(member) and any(
                path in other and _is_directory(other[path]) for other in above
            ):
                return False
            if _is_symlink(member) and any(_is_below(other, path) for every in stack for other in every):
                return False
    return True


def _solid(stack: Sequence[Layer]) -> set[str]:
    return {path for layer in stack for path, member in layer.items() if not _is_directory(member)}


def _touches(layer: Layer, path: str) -> bool:
    named = {
        other.replace(".wh.", "") for other in layer if ".wh." in other or not _is_directory(layer[other])
    }
    return any(path == other or _is_below(path, other) for other in named)


def _is_symlink(member: Content) -> bool:
    return isinstance(member, images.Member) and member.type == tarfile.SYMTYPE


_STACKS = st.lists(st.lists(_layers(), min_size=1, max_size=3).filter(_is_alike), min_size=1, max_size=3)


class System(NamedTuple):
    """A config as text, and what its images are made of: their layers by name."""

    text: str
    stacks: Mapping[str, Sequence[Layer]]
    compression: Any

    def images(self) -> dict[str, Made]:
        """The images, made."""
        return {
            name: images.image(*stack, cmd=["/x"], compression=self.compression)
            for name, stack in self.stacks.items()
        }


@st.composite
def systems(draw: st.DrawFn) -> System:
    """Systems with images of one to three layers, every section, shared images, and files over all of it."""
    stacks = {f"t/{number}:v1": stack for number, stack in enumerate(draw(_STACKS))}
    choice = st.sampled_from(sorted(stacks))
    lines = []
    if draw(st.booleans()):
        modules = images.layer_tar(draw(_layers()))
        mode = draw(_MODES)
        stacks["t/kernel:v1"] = [
            {
                "u.cpio": file(initrd([]), mode=mode),
                "kernel": file("k", mode=mode),
                "kernel.tar": modules,
            }
        ]
        lines += [
            "kernel:",
            "  image: t/kernel:v1",
            f"  tar: {draw(st.sampled_from(['none', 'kernel.tar']))}",
        ]
        lines.append(draw(st.sampled_from(["", "  ucode: u.cpio", "  cmdline: quiet"])))
    lines += [f"init: [{', '.join(draw(st.lists(choice, max_size=3)))}]"]
    for section in ("onboot", "onshutdown", "services"):
        entries = draw(st.lists(st.tuples(choice, st.booleans()), max_size=2))
        lines += [f"{section}:"] if entries else []
        for number, (name, readonly) in enumerate(entries):
            lines.append(f"  - {{name: c{number}, image: {name}, readonly: {str(readonly).lower()}}}")
    volumes = draw(st.lists(st.one_of(st.none(), choice), max_size=2))
    lines += ["volumes:"] if volumes else []
    for number, volume in enumerate(volumes):
        lines.append(f"  - {{name: v{number}{f', image: {volume}' if volume else ''}}}")
    written = draw(st.lists(_FILE_ENTRIES, max_size=4))
    lines += ["files:", *written] if written else []
    compression = draw(st.sampled_from(["gzip", "zstd", "plain"]))
    return System("\n".join([*lines, ""]), stacks, compression)


_FILE_ENTRIES = st.builds(
    "  - {{path: {}, {}{}}}".format,
    st.sampled_from(
        ["a/new", "etc/hosts", "b", "/etc/x/y", "usr", "boot/own", "containers/services/c0/lower/z"]
    ),
    st.sampled_from(["contents: text", 'contents: ""', "directory: true", "symlink: ../a"]),
    st.sampled_from(["", ', mode: "0640"', ', mode: "0411", uid: 7', ", gid: 3000000"]),
)
