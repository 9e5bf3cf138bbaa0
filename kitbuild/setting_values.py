"""Setting values: what a flag, a variable or a key of kitbuild.toml says, as values.

Every reader takes the text (or a TOML value) and the folder that paths start from, and raises ValueError with the
hint that puts it right.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

from kitbuild.reference import Reference
from kitbuild.suggest import one_of
from kitbuild.system import Compression

# The registry a mirror given without one is for.
ALL_OTHERS = "*"
# Docker Hub by each of its names; LinuxKit knows it by all three.
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_ADDRESS = re.compile(r"https?://[^/?#\s]+(?:/[^?#\s]*)?")
# What joins the sources of a boot loader is common in names of packages too, so it counts only behind a whole one.
_JOINT = re.compile(r"(?<=\.deb)\+|(?<=@sha256:[0-9a-f]{64})\+")
_PLACE = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+")
_NAMESPACE = re.compile(r"(?=.{1,64}\Z)[a-z0-9]+(?:[-_.][a-z0-9]+)*")
# RFC 9110, section 5.6.2: what names of headers are made of.
_TOKEN = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
_PUBLIC_KEY = re.compile(r"kitbuild-ed25519:[A-Za-z0-9+/=]+")
# Instead of a URL: what a variable or a file names is not to be used.
NOWHERE = "none"
# What the text of a secret key begins with, which no path does.
SECRET_KEY = "kitbuild-secret-ed25519:"
_PACKAGE = re.compile(r"(?:[\w.+~%-]+/)*[\w.+~%-]+\.deb@sha256:[0-9a-f]{64}")


def paths(value: Any, base: Path) -> tuple[Path, ...]:
    """Several paths, with `:` between in a text."""
    texts = value.split(os.pathsep) if isinstance(value, str) else value
    return tuple(path(text, base) for text in texts if text)


def path(value: Any, base: Path) -> Path:
    """A path, `~` and what is relative resolved."""
    if not isinstance(value, str):
        raise ValueError("give a path in quotes")
    try:
        return base / Path(value).expanduser()
    except RuntimeError as error:
        raise ValueError("there is no such user: write the path out") from error


def number(value: Any, base: Path) -> int:
    """A whole number, 0 or more."""
    # TOML has numbers of its own, and true is one to Python.
    if type(value) is int and value >= 0:
        return value
    if not (isinstance(value, str) and value.isdecimal()):
        raise ValueError("give a whole number, 0 or more")
    return int(value)


def compression(value: Any, base: Path) -> str:
    """A kind of compression."""
    if not isinstance(value, str) or value not in get_args(Compression):
        raise ValueError(one_of(str(value), get_args(Compression)))
    return str(value)


def switch(value: Any, base: Path) -> bool:
    """A flag without a value, a truth of TOML, or text as LinuxKit's flags read it."""
    if value is True or value in ("1", "true"):
        return True
    if value is False or value in ("0", "false"):
        return False
    raise ValueError("write true or false")


def mirrors(value: Any, base: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of a registry and the address of its mirror, the later one counting."""
    texts = re.split(r"[,\s]+", value) if isinstance(value, str) else value
    return tuple(pair for text in texts if text for pair in _mirror(text))


def _mirror(text: str) -> list[tuple[str, str]]:
    name, equals, address = text.partition("=")
    if not equals or "://" in name:
        name, address = ALL_OTHERS, text
    if "@" in address:
        raise ValueError("leave the password out: `docker login` keeps it by the mirror's host")
    if not name or not _ADDRESS.fullmatch(address):
        raise ValueError(f"`{address}`: write an address that begins with http:// or https://")
    return [(host, address.rstrip("/")) for host in (_HUB if name in _HUB[:2] else (name,))]


def boot_loaders(value: Any, base: Path) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Pairs of a boot loader and its sources, the later one counting.

    A source is `image:REFERENCE`, `package:PATH.deb@sha256:HEX` or an absolute path.
    """
    # A path may hold what else stands between two of them.
    texts = re.split(r"[,\s]+(?=[\w-]+=)", value) if isinstance(value, str) else value
    return tuple(_boot_loader(text.strip(), base) for text in texts if text.strip(", \t\n"))


def _boot_loader(text: str, base: Path) -> tuple[str, tuple[str, ...]]:
    name, equals, sources = text.partition("=")
    if not name or not equals or not sources:
        raise ValueError("write NAME=FOLDER, NAME=image:REFERENCE or NAME=package:PATH.deb@sha256:HEX")
    if sources.startswith("image:"):
        return name, (f"image:{Reference.parse(sources.removeprefix('image:'))}",)
    return name, tuple(_loader_source(part, base) for part in _JOINT.split(sources))


def _loader_source(text: str, base: Path) -> str:
    package = text.removeprefix("package:")
    if _PACKAGE.fullmatch(package) and ".." not in package.split("/"):
        return f"package:{package}"
    if package != text:
        raise ValueError("write package:PATH.deb@sha256:HEX, PATH as the mirrors have it: pool/...")
    if not text or "://" in text:
        raise ValueError(f"`{text}`: give a folder, a .deb, image:REFERENCE or package:PATH.deb@sha256:HEX")
    return str(path(text, base).absolute())


def place(value: Any, base: Path) -> str:
    """The URL of a cache or an executor, or NOWHERE."""
    if not isinstance(value, str):
        raise ValueError("give a URL in quotes")
    if value in ("", NOWHERE):
        return value
    if not _PLACE.fullmatch(value):
        hint = (
            f"write file://{value}" if value.startswith("/") else "write SCHEME://HOST[:PORT][/PATH], or none"
        )
        raise ValueError(hint)
    return value


def namespace(value: Any, base: Path) -> str:
    """A name that can be a part of paths, of names of REAPI instances and of OCI repositories."""
    if not isinstance(value, str) or not (value == "" or _NAMESPACE.fullmatch(value)):
        raise ValueError("use small letters, digits and single `-`, `_` or `.` between them, 64 at most")
    return value


def headers(value: Any, base: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of a header's name and its value; one that begins with `$` is a variable's."""
    texts = value.splitlines() if isinstance(value, str) else value
    return tuple(_header(text) for text in texts if text.strip())


def _header(text: str) -> tuple[str, str]:
    name, colon, content = text.partition(":")
    if not colon or not _TOKEN.fullmatch(name.strip()) or not content.strip().isprintable():
        raise ValueError("write NAME: VALUE, or NAME: $VARIABLE")
    return name.strip(), content.strip()


def pairs(value: Any, base: Path) -> tuple[tuple[str, str], ...]:
    """Pairs of a name and a value."""
    texts = re.split(r"[,\s]+", value) if isinstance(value, str) else value
    pairs = [text.partition("=") for text in texts if text]
    if not all(name and equals for name, equals, _ in pairs):
        raise ValueError("write NAME=VALUE")
    return tuple((name, content) for name, _, content in pairs)


def signing_key(value: Any, base: Path) -> str:
    """A secret key, or the path of its file as text."""
    if not isinstance(value, str):
        raise ValueError("give a path in quotes")
    return value if value == "" or value.startswith(SECRET_KEY) else str(path(value, base))


def trusted_keys(value: Any, base: Path) -> tuple[str, ...]:
    """Public keys."""
    texts = re.split(r"[,\s]+", value) if isinstance(value, str) else value
    if not all(_PUBLIC_KEY.fullmatch(text) for text in texts if text):
        raise ValueError("give what `kitbuild cache keygen` prints: kitbuild-ed25519:...")
    return tuple(text for text in texts if text)
