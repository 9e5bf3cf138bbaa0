"""What a boot loader starts from a medium: which files are the initrd, and what the kernel is told.

Source: doc/syslinux.txt of SYSLINUX; GRUB manual, "Writing full configuration files directly"; UAPI Group
Specifications, "Boot Loader Specification"; U-Boot doc/usage/cmd/source.rst.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from kitbuild.reading.cpio import read_initrd
from kitbuild.reading.entries import Found, Listing, OutputEntry
from kitbuild.reading.pe import sections
from kitbuild.reading.uimage import payload
from kitbuild.reading.window import Piece, Pieces, Window

_CONFIG_BYTES = 1 << 16
_SYSLINUX = ("syslinux.cfg", "isolinux.cfg", "extlinux.conf")
_INITRDS = ("initrd.img", "initrd.uimg", "initrd", "boot/initrd.img")
_CMDLINES = ("cmdline", "boot/cmdline", "cmdline.txt")
# What a root file system has, and a medium with a boot loader has not.
ROOT_NAMES = ("bin", "sbin", "usr", "etc", "lib", "init", "proc", "sys")
_ENOUGH_NAMES = 3
# GRUB's words: between single quotes nothing means anything, between double quotes and behind a backslash little.
_GRUB_WORD = re.compile(r"""(?:[^\s'"\\]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+""")
_GRUB_QUOTED = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)""")


class _Start(NamedTuple):
    """What a config says: the command line, and the files to load as an initrd."""

    cmdline: str | None
    initrds: tuple[str, ...] = ()


class Boot(NamedTuple):
    """What starts from `medium`: `windows` are what the kernel gets as its initrd, none if the root is a disk's."""

    medium: Listing
    prefix: str
    cmdline: str | None
    windows: tuple[Window, ...]
    layers: tuple[str, ...] = ()

    def system(self) -> tuple[Listing, list[str]]:
        """The root file system, and what it was taken from."""
        if not self.windows:
            return _root(self.medium, self.prefix), list(self.layers)
        listing, segments = read_initrd(_joined(self.windows))
        kinds = sorted({segment.compression or "not compressed" for segment in segments})
        count = len(segments)
        return listing, [*self.layers, f"initrd of {count} segment{'s' * (count != 1)} ({', '.join(kinds)})"]


def boot_of(medium: Listing) -> Boot:
    """What starts from a medium; the first loader found says so, of a disk the first partition that has one."""
    for prefix in _prefixes(medium):
        files = {
            path[len(prefix) :].casefold(): found
            for path, found in medium.found.items()
            if path.startswith(prefix) and found.entry.kind in ("file", "hardlink")
        }
        if program := _unified(files):
            return _boot_of_unified(medium, prefix, sections(program), ("UKI",))
        start = _start(files)
        if _is_root(medium, prefix) and not any(name in files for name in _INITRDS):
            return Boot(medium, prefix, start.cmdline if start else _cmdline(files), ())
        found = _initrds(files, start)
        if start or found:
            return Boot(medium, prefix, start.cmdline if start else _cmdline(files), found)
    return Boot(medium, _prefixes(medium)[0], None, ())


def boot_of_unified(medium: Listing) -> Boot:
    """What starts from a UKI whose sections `medium` lists."""
    return _boot_of_unified(medium, "", {path: found.window() for path, found in medium.found.items()}, ())


def unified(window: Window) -> Listing:
    """The sections of a UKI as files."""
    listing = Listing(window)
    for name, content in sections(window).items():
        listing.put(OutputEntry(name, size=content.size), content)
    return listing


def _boot_of_unified(
    medium: Listing, prefix: str, parts: Mapping[str, Window], layers: tuple[str, ...]
) -> Boot:
    windows = tuple(parts[name] for name in (".ucode", ".initrd") if name in parts)
    return Boot(medium, prefix, _text(parts.get(".cmdline")), windows, layers)


def _prefixes(medium: Listing) -> list[str]:
    """The folders of the partitions, if the medium has any; else the top."""
    found = [f"{path}/" for path in medium.found if re.fullmatch(r"p\d+", path)]
    tops = {path.split("/")[0] for path in medium.found}
    return found if found and len(found) == len(tops) else [""]


def _unified(files: dict[str, Found]) -> Window | None:
    programs = sorted(path for path in files if re.fullmatch(r"efi/linux/[^/]*\.efi", path))
    programs += [path for path in files if re.fullmatch(r"efi/boot/boot[^/]*\.efi", path)]
    for path in programs:
        window = files[path].window()
        if ".linux" in sections(window):
            return window
    return None


def _start(files: dict[str, Found]) -> _Start | None:
    for path in sorted(files, key=lambda path: (path.count("/"), path)):
        name = path.rpartition("/")[2]
        found = None
        if name in _SYSLINUX:
            found = _syslinux(_config(files[path]))
        elif name == "grub.cfg":
            found = _grub(_config(files[path]))
        elif re.fullmatch(r"loader/entries/[^/]*\.conf", path):
            found = _entry(_config(files[path]))
        elif name in ("boot.script", "boot.scr"):
            found = _script(files[path])
        if found:
            return found
    return None


def _config(found: Found) -> str:
    return found.window().read(0, _CONFIG_BYTES).decode("utf-8", "surrogateescape")


def _syslinux(text: str) -> _Start | None:
    found: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        found.setdefault(word.upper(), rest.strip())
    if "KERNEL" not in found and "LINUX" not in found:
        return None
    return _Start(found.get("APPEND"), tuple(part for part in found.get("INITRD", "").split(",") if part))


def _grub(text: str) -> _Start | None:
    cmdline: str | None = None
    initrds: tuple[str, ...] = ()
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word in ("linux", "linuxefi", "linux16") and cmdline is None:
            cmdline = " ".join(_grub_words(rest)[1:])
        elif word in ("initrd", "initrdefi", "initrd16") and not initrds:
            initrds = tuple(_grub_words(rest))
    return None if cmdline is None else _Start(cmdline, initrds)


def _grub_words(text: str) -> list[str]:
    return [
        _GRUB_QUOTED.sub(lambda part: part[1] or part[2] or part[3] or "", word)
        if word.startswith("'")
        else word
        for word in _GRUB_WORD.findall(text)
    ]


def _entry(text: str) -> _Start | None:
    options: list[str] = []
    initrds: list[str] = []
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "options":
            options.append(rest.strip())
        elif word == "initrd":
            initrds.append(rest.strip())
    return _Start(" ".join(options), tuple(initrds)) if options or initrds else None


def _script(found: Found) -> _Start | None:
    window = found.window()
    loaded = payload(window)
    content = window.read(0, _CONFIG_BYTES) if loaded is None else loaded.content.read(8, _CONFIG_BYTES)
    text = content.decode("utf-8", "surrogateescape")
    match = re.search(r"^\s*setenv bootargs (.*)$", text, re.MULTILINE)
    if match is None:
        return None
    words = match[1].strip()
    if words[:1] == words[-1:] and words[:1] in ("'", '"'):
        words = words[1:-1].replace("'\\''", "'").replace("\\\\", "\\")
    return _Start(words)


def _initrds(files: dict[str, Found], start: _Start | None) -> tuple[Window, ...]:
    named = [path.strip("/").casefold() for path in start.initrds] if start else []
    found = [files[path] for path in named if path in files]
    if not found:
        found = [files[path] for path in _INITRDS if path in files][:1]
    return tuple(_loaded(each.window()) for each in found)


def _loaded(window: Window) -> Window:
    image = payload(window)
    return image.content if image is not None and image.kind == "ramdisk" else window


def _is_root(medium: Listing, prefix: str) -> bool:
    return sum(f"{prefix}{name}" in medium for name in ROOT_NAMES) >= _ENOUGH_NAMES


def _root(medium: Listing, prefix: str) -> Listing:
    if not prefix:
        return medium
    listing = Listing(medium.window)
    for path, found in medium.found.items():
        if path.startswith(prefix):
            listing.put(found.entry._replace(path=path[len(prefix) :]), found.content, mark=found.mark)
    return listing


def _cmdline(files: dict[str, Found]) -> str | None:
    return next((_text(files[name].window()) for name in _CMDLINES if name in files), None)


def _text(window: Window | None) -> str | None:
    if window is None:
        return None
    return window.read(0, _CONFIG_BYTES).rstrip(b"\0\n").decode("utf-8", "surrogateescape")


def _joined(windows: Iterable[Window]) -> Window:
    """Several files as the kernel gets them: behind each other, each on four bytes."""
    given = list(windows)
    if len(given) == 1:
        return given[0]
    pieces, position = [], 0
    for window in given:
        pieces.append(Piece(position, window.size, window, 0))
        position += window.size + 3 & ~3
    return Pieces(given[0].name, pieces, position)
