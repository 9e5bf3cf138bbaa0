"""Packages of a system: what its SBOM or the databases of its package managers say is installed.

They are anybody's: what is too large or malformed costs what it would have told.

Sources: SPDX 2.3, "Package information"; deb-control(5) and dpkg's status file; apk-tools, "installed" database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Packages = Mapping[str, tuple[str, ...]]

# The SBOM of a large distribution has some 50 MB; JSON takes ten times that while it is read.
MAX_SBOM_BYTES = 64 << 20
# A desktop's has 10 MB.
MAX_DATABASE_BYTES = 32 << 20
# A container's config.json has some kilobytes.
MAX_DOCUMENT_BYTES = 4 << 20
_MAX_PACKAGES = 200_000
_MAX_LEVELS = 64

DPKG_STATUS = "var/lib/dpkg/status"
# What distroless images have in its place: a file a package.
DPKG_FOLDER = "var/lib/dpkg/status.d/"
APK_DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_INSTALLED = ("install ok installed", "hold ok installed", "")


def json_of(content: bytes, *, most_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """The JSON value in `content`; raises ValueError for anything else, also too much or too deep."""
    if len(content) > most_bytes:
        raise ValueError(f"expected at most {most_bytes} bytes, got {len(content)}")
    if _levels(content) > _MAX_LEVELS:
        raise ValueError(f"expected at most {_MAX_LEVELS} levels, got more")
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def spdx_packages(content: bytes) -> Packages:
    """The packages of an SPDX document in JSON; raises ValueError for what is none."""
    document = json_of(content, most_bytes=MAX_SBOM_BYTES)
    packages = document.get("packages", []) if isinstance(document, dict) else None
    if not isinstance(packages, list):
        raise ValueError("expected an SPDX document, got other JSON")
    return _collected(_spdx(packages))


def dpkg_packages(content: bytes) -> Packages:
    """The installed packages of a dpkg status file, or of a part of one."""
    return _collected(_dpkg(_checked(content)))


def apk_packages(content: bytes) -> Packages:
    """The packages of apk's database, or of several one after another."""
    return _collected(_apk(_checked(content)))


def joined(several: Iterable[Packages]) -> dict[str, tuple[str, ...]]:
    """The packages of all of them."""
    return _collected(
        (name, version) for one in several for name, versions in one.items() for version in versions
    )


def without(packages: Packages, others: Packages) -> dict[str, tuple[str, ...]]:
    """The packages less those of the same name and version that the others have."""
    left = {
        name: tuple(version for version in versions if version not in others.get(name, ()))
        for name, versions in packages.items()
    }
    return {name: versions for name, versions in left.items() if versions}


def _collected(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    found: dict[str, set[str]] = {}
    for count, (name, version) in enumerate(pairs):
        if count >= _MAX_PACKAGES:
            raise ValueError(f"expected at most {_MAX_PACKAGES} packages, got more")
        found.setdefault(name, set()).add(version)
    return {name: tuple(sorted(versions)) for name, versions in sorted(found.items())}


def _spdx(packages: list[Any]) -> Iterator[tuple[str, str]]:
    for package in packages:
        name = package.get("name") if isinstance(package, dict) else None
        version = package.get("versionInfo") if name else None
        # Without a version it is a file, a folder or the image itself that is described.
        if isinstance(name, str) and isinstance(version, str) and version:
            yield name, version


def _dpkg(text: str) -> Iterator[tuple[str, str]]:
    for paragraph in text.split("\n\n"):
        fields = {}
        for line in paragraph.splitlines():
            name, colon, value = line.partition(":")
            if colon and line[:1].strip():
                fields[name] = value.strip()
        if fields.get("Package") and fields.get("Status", "") in _INSTALLED:
            yield fields["Package"], fields.get("Version", "")


def _apk(text: str) -> Iterator[tuple[str, str]]:
    name = version = ""
    for line in (*text.splitlines(), ""):
        if line.startswith("P:"):
            name = line[2:]
        elif line.startswith("V:"):
            version = line[2:]
        elif not line and name:
            yield name, version
            name = version = ""


def _checked(content: bytes) -> str:
    if len(content) > MAX_DATABASE_BYTES:
        raise ValueError(f"expected at most {MAX_DATABASE_BYTES} bytes, got {len(content)}")
    return content.decode("utf-8", "replace")


def _levels(content: bytes) -> int:
    """How deep brackets stand in each other at most; brackets in texts may count too, where they open."""
    if content.count(b"[") + content.count(b"{") <= _MAX_LEVELS:
        return 0
    import re

    # Texts first: what is in them is no structure.
    level = deepest = 0
    for mark in re.finditer(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', content, re.S):
        first = mark[0][0]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest


def _refused(name: str) -> Any:
    raise ValueError(f"expected JSON, got {name}")
