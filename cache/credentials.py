"""Where a URL of a Remote Execution API server leads, and what every call there carries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from kitbuild import __version__
from kitbuild.cache.reapi_messages import RequestMetadata, ToolDetails
from kitbuild.cache.remote import Access
from kitbuild.errors import UsageError

_PORTS = {"grpc": 80, "grpcs": 443}
# Parts of the names of resources: with one of them in an instance's name those would have two meanings.
_RESERVED = frozenset(
    {"blobs", "uploads", "actions", "actionResults", "operations", "capabilities", "compressed-blobs"}
)
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_METADATA = "build.bazel.remote.execution.v2.requestmetadata-bin"
# A shorter one would be found in half of all texts.
_LEAST_SECRET_CHARACTERS = 4

Metadata = tuple[tuple[str, str | bytes], ...]


class Place(NamedTuple):
    """A server as gRPC names it, and the instance there that a URL means."""

    target: str
    host: str
    instance: str
    is_secure: bool
    user: str = ""
    password: str = ""


class Trust(NamedTuple):
    """PEM content: the authorities to believe, None for those gRPC brings; our own key and certificate, if any."""

    authorities: bytes | None
    key: bytes | None
    certificate: bytes | None


def placed(url: str) -> Place:
    """Reads `grpc[s]://[user:password@]host[:port][/instance]`.

    Raises UsageError for anything else; it shows nothing of the URL, for that may hold a password.
    """
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _malformed("one whose host or port cannot be read") from None
    if parts.scheme not in _PORTS or not host:
        raise _malformed("one without a host")
    # A password with one of these in it ends up there.
    if parts.query or parts.fragment or "@" in parts.path:
        raise _malformed("one with `?`, `#` or `@` behind the host")
    instance = unquote(parts.path).strip("/")
    for part in instance.split("/"):
        if part in _RESERVED:
            raise _malformed(f"one with `{part}` in the instance's name")
    return Place(
        f"{f'[{host}]' if ':' in host else host}:{_PORTS[parts.scheme] if port is None else port}",
        host,
        instance,
        parts.scheme == "grpcs",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def metadata_of(place: Place, access: Access) -> Metadata:
    """What goes with every call; raises UsageError for a header that cannot be sent.

    A header named `authorization` comes before a token, that before the URL's user, and that before ~/.netrc.
    """
    metadata: dict[str, str | bytes] = {}
    for name, value in access.headers:
        key = name.lower()
        if not _HEADER_NAME.fullmatch(key) or key.endswith("-bin") or key.startswith("grpc-"):
            raise UsageError(f"header `{name}` cannot be sent over gRPC")
        if not (value.isascii() and value.isprintable()):
            raise UsageError(f"expected printable ASCII in header `{name}`, got something else")
        metadata[key] = value
    authorization = _authorization(place, access)
    if authorization:
        metadata.setdefault("authorization", authorization)
    details = ToolDetails(tool_name="kitbuild", tool_version=__version__)
    metadata[_METADATA] = RequestMetadata(tool_details=details).encode()
    return tuple(metadata.items())


def secrets_of(place: Place, access: Access) -> tuple[str, ...]:
    """What must not be shown, even if a server says it."""
    values = (value for key, value in metadata_of(place, access) if isinstance(value, str))
    secrets = (place.password, access.token, *values)
    return tuple(secret for secret in secrets if len(secret) >= _LEAST_SECRET_CHARACTERS)


def trust_of(access: Access) -> Trust:
    """What a secure connection is made with; raises UsageError for a file that cannot be read."""
    certificate = _read(access.client_certificate) if access.client_certificate else None
    key = _read(access.client_key) if access.client_key else certificate
    return Trust(_authorities(access), key, certificate)


def _authorities(access: Access) -> bytes | None:
    import ssl

    system = ssl.get_default_verify_paths().cafile
    files = (*([Path(system)] if system else []), *access.authorities)
    return b"\n".join(map(_read, files)) if files else None


def _authorization(place: Place, access: Access) -> str:
    if access.token:
        return f"Bearer {access.token}"
    import os
    from base64 import b64encode

    from kitbuild.cache.http_address import netrc_login

    login = (place.user, place.password) if place.user else netrc_login(place.host, os.environ)
    return f"Basic {b64encode(':'.join(login).encode()).decode()}" if login else ""


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error


def _malformed(got: str) -> UsageError:
    return UsageError(
        f"expected a URL such as `grpcs://user:password@host:port/instance`, got {got}",
        hint="write `%40` for `@`, `%2F` for `/`, `%3A` for `:` in a user's name or a password",
    )
