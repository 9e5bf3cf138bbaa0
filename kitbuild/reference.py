"""Reference is the name of an image, expanded the way LinuxKit expands it (no `:latest` is ever added)."""

from __future__ import annotations

import re
from typing import NamedTuple

_SPACE_OR_SCHEME = re.compile(r"[\s\x00-\x1f]|://")
# An IPv6 address stands in brackets, as in a URL.
_HOST = re.compile(r"(?:[^:/\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]+)?\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


class Reference(NamedTuple):
    """An image name in its parts; `str()` gives the canonical text, which names the image everywhere.

    `host` may hold a port; `path` has no leading slash; `tag` and `digest` (sha256:<hex>) are empty if not given.
    """

    host: str
    path: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Expands and splits `text`; raises ValueError with a reason if it names no image."""
        host, _, rest = _expanded(text).partition("/")
        name, at, digest = rest.partition("@")
        path, colon, tag = name.partition(":")
        if _SPACE_OR_SCHEME.search(text) or not _HOST.match(host) or "" in path.split("/"):
            raise ValueError(f"expected an image name such as linuxkit/init:v1, got {_shown(text)}")
        if colon and not _TAG.match(tag):
            raise ValueError(
                f"expected a tag of letters, digits, `.`, `_` and `-` after `:`, got {_shown(tag)}"
            )
        if at and not _DIGEST.match(digest):
            raise ValueError(f"expected a digest such as sha256:<64 hex digits>, got {_shown(digest)}")
        return cls(host, path, tag, digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.host}/{self.path}{tag}{digest}"


def _shown(text: str) -> str:
    return f"`{text}`" if text else "nothing"


def _expanded(text: str) -> str:
    parts = text.split("/")
    if len(parts) == 1:
        return f"docker.io/library/{text}"
    if len(parts) == 2 and not ({".", ":"} & set(parts[0])) and parts[0] != "localhost":
        return f"docker.io/{text}"
    return text
