"""Route: how a registry is reached, where that is not the plain way. It stands behind the source it belongs to:

    registry:docker.io/library/redis mirror=https://mirror.example/hub cert-file=/etc/own%20ca.pem
    registry:docker.io/library/redis offline

so that whoever fetches knows it, while the image's name, and what is noted of it, stay the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

_REGISTRY = "registry:"
_MIRROR, _CERT_FILE, _OFFLINE = "mirror=", "cert-file=", "offline"


class Route(NamedTuple):
    """The address of a registry's mirror, or nothing, and files with certificate authorities to trust.

    With `offline` there is no way at all.
    """

    mirror: str = ""
    cert_files: tuple[str, ...] = ()
    offline: bool = False


class Routes(NamedTuple):
    """The mirrors by registry, `*` standing for all others, certificate authorities, and whether none is asked."""

    mirrors: Mapping[str, str]
    cert_files: tuple[str, ...] = ()
    offline: bool = False

    def routed(self, source: str) -> str:
        """The text of a source with the route to it; only registries have one."""
        if not source.startswith(_REGISTRY):
            return source
        if self.offline:
            return f"{source} {_OFFLINE}"
        host = source.removeprefix(_REGISTRY).partition("/")[0]
        mirror = self.mirrors.get(host) or self.mirrors.get("*")
        words = [f"{_MIRROR}{mirror}"] if mirror else []
        words += [f"{_CERT_FILE}{_quoted(file)}" for file in self.cert_files]
        return " ".join([source, *words])


def split(text: str) -> tuple[str, Route]:
    """What stands before a route, and the route."""
    where, *words = text.split(" ")
    mirrors = [word.removeprefix(_MIRROR) for word in words if word.startswith(_MIRROR)]
    files = [_unquoted(word.removeprefix(_CERT_FILE)) for word in words if word.startswith(_CERT_FILE)]
    return where, Route("".join(mirrors), tuple(files), _OFFLINE in words)


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace(" ", "%20")


def _unquoted(path: str) -> str:
    return path.replace("%20", " ").replace("%25", "%")
