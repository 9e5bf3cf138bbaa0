"""Who we are at a registry: what `docker login` keeps in Docker's config file.

    {"auths": {"registry.example.com": {"auth": "<base64 of user:password>"}}}

in `$DOCKER_CONFIG/config.json` or `~/.docker/config.json`. Source: docker/cli, config file reference.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from kitbuild.errors import ImageError

# The one registry with three names: people write the first, it answers under the second, and Docker's client keeps
# its credentials under the third (as an address, https://index.docker.io/v1/).
HUB, HUB_REGISTRY, HUB_LOGIN = "docker.io", "registry-1.docker.io", "index.docker.io"

_MAX_FILE_BYTES = 4 << 20


class Credentials(NamedTuple):
    """A user and a password; never part of options, keys or messages."""

    user: str
    password: str

    @property
    def basic(self) -> str:
        """The `Authorization` header of HTTP basic authentication (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")

    def __repr__(self) -> str:
        return f"Credentials({self.user!r}, ...)"


def config_file() -> Path:
    """Where Docker's config file is, if there is one."""
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


def credentials_for(host: str, path: str, file: Path) -> Credentials | None:
    """The credentials `file` has for repository `path` at `host`, or None.

    The entry with the longest fitting name wins: `host/some/path` before `host`. Raises ImageError for a file
    that is there and broken: to go on as nobody would only hide it.
    """
    try:
        with file.open("rb") as stream:
            document = json.loads(stream.read(_MAX_FILE_BYTES))
        entries = {_plain(name): entry for name, entry in (document.get("auths") or {}).items()}
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise ImageError(f"cannot read the credentials in {file}: {error}") from error
    for name in _names(host, path):
        if name in entries:
            return _credentials(entries[name], name, file)
    return None


def helper_for(host: str, file: Path) -> str:
    """The credential helper the file names for `host`, or nothing; kitbuild does not run it, but says so."""
    try:
        document = json.loads(file.read_bytes())
        return str((document.get("credHelpers") or {}).get(host) or document.get("credsStore") or "")
    except (OSError, ValueError, AttributeError):
        return ""


def _names(host: str, path: str) -> list[str]:
    parts = path.split("/")
    names = ["/".join([host, *parts[:count]]) for count in range(len(parts), -1, -1)]
    return [*names, HUB_LOGIN] if host == HUB else names


def _plain(name: str) -> str:
    # Docker writes plain hosts today and wrote addresses before: https://host/v1/ is `host`.
    plain = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    return plain.removesuffix("/v1").removesuffix("/v2")


def _credentials(entry: Any, name: str, file: Path) -> Credentials | None:
    try:
        if entry.get("auth"):
            user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
            if not colon:
                raise ValueError("expected user:password in `auth`")
            return Credentials(user, password.rstrip("\0"))
        if entry.get("username"):
            return Credentials(str(entry["username"]), str(entry.get("password", "")))
    except (ValueError, AttributeError, TypeError) as error:
        # Not the error's own text: it may hold a part of the password.
        raise ImageError(
            f"cannot read the credentials for `{name}` in {file}: {type(error).__name__}",
            hint=f"log in again: `docker login {name}`",
        ) from None
    return None
