"""Where a registry is that serves as a remote cache, and with which headers it is asked."""

from __future__ import annotations

import re
from typing import NamedTuple

from kitbuild.cache.remote import Access
from kitbuild.errors import UsageError

# distribution-spec, "Pulling manifests"; a port is all that a URL has besides.
_PLACE = re.compile(r"(?P<host>\[[0-9a-f:.]+\](?::\d+)?|[\w.-]+(?::\d+)?)/(?P<repository>.+)", re.ASCII)
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_INSECURE = {"": None, "insecure": True, "insecure=true": True, "insecure=false": False}


class Place(NamedTuple):
    """A repository, and who asks for it; `insecure` is None if the URL leaves it to the host."""

    host: str
    repository: str
    user: str = ""
    password: str = ""
    insecure: bool | None = None

    def __repr__(self) -> str:
        return f"Place({self.host}/{self.repository})"


def placed(url: str) -> Place:
    """The place an oci:// URL says; raises UsageError, which shows no password."""
    from urllib.parse import unquote

    rest, _, query = url.removeprefix("oci://").partition("?")
    login, at, place = rest.rpartition("@")
    user, colon, password = login.partition(":")
    parts = _PLACE.fullmatch(place.removesuffix("/"))
    if "/" in login:
        # What shows URLs would take the rest of the password for a repository.
        raise _malformed("one with `/` before `@`")
    if at and not (user and colon):
        raise _malformed("one whose user has no password")
    if parts is None or not _REPOSITORY.fullmatch(parts["repository"]):
        raise _malformed("one whose registry or repository has no such name")
    if query not in _INSECURE:
        raise _malformed("one with something else than `insecure` behind its `?`")
    return Place(parts["host"], parts["repository"], unquote(user), unquote(password), _INSECURE[query])


def _malformed(got: str) -> UsageError:
    return UsageError(
        f"expected a remote cache's URL such as `oci://user:password@registry/repository`, got {got}",
        hint="write a repository in small letters, and `%2F` for `/`, `%40` for `@` in a user's name or a password",
    )


def headers_of(access: Access) -> dict[str, str]:
    """The headers for every request, a token among them; raises UsageError for what cannot be one."""
    headers = dict(access.headers)
    if access.token and not any(name.lower() == "authorization" for name in headers):
        headers["Authorization"] = f"Bearer {access.token}"
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise UsageError(f"expected printable ASCII characters in the header `{name}`, got others")
    return headers
