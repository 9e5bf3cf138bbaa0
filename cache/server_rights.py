"""Rights: who may read and write a cache server, by the tokens in a file.

    # token            right  namespaces
    Zm9vYmFy           read
    c2VjcmV0           write
    cHVsbHJlcXVlc3Q    write  pr-*
    *                  read

`write` includes reading everything. With a pattern it allows writing to the namespaces that match it and nowhere
else. A `*` stands for whoever brings no token, and may only read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from kitbuild.errors import ConfigError, ConfigErrors, StoreError, Where

_EVERYBODY = "*"
# What can be guessed is no secret; sixteen random characters of base64 cannot.
_LEAST_TOKEN_CHARACTERS = 8


class Grant(NamedTuple):
    """What one client may do; `pattern` limits to where it may write, None: everywhere."""

    writes: bool = False
    pattern: str | None = None

    def may_write(self, namespace: str) -> bool:
        """True if it may write to this namespace; "" is what has none."""
        if self.pattern is None:
            return self.writes
        return self.writes and bool(namespace) and fnmatchcase(namespace, self.pattern)


class Rights:
    """Grants by token; made by `read_rights`.

    Only the hashes of tokens are kept, so that none can appear in a dump or a traceback.
    """

    def __init__(
        self, grants: tuple[tuple[bytes, Grant], ...] = (), *, everybody: Grant | None = None
    ) -> None:
        self._grants = grants
        self._everybody = everybody

    def grant(self, authorization: str) -> Grant | None:
        """What the sender of this `Authorization` header may do; None if nothing.

        A token comes as `Bearer TOKEN`, or in `Basic` as the password of any user, or as a user without password.
        """
        if not authorization:
            return self._everybody
        hashed = _hashed(token_of(authorization))
        found: Grant | None = None
        # Every one is compared, so that the time taken says nothing of which matched.
        for known, grant in self._grants:
            if hmac.compare_digest(known, hashed):
                found = grant
        return found


class OpenRights(Rights):
    """Rights of a server without tokens: whatever a client sends along, it may do everything."""

    def grant(self, authorization: str) -> Grant | None:
        return Grant(writes=True)


def token_of(authorization: str) -> str:
    """The token in an `Authorization` header, "" if there is none."""
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password or user


def read_rights(file: Path) -> Rights:
    """The rights in a token file; raises StoreError for one others may read, ConfigErrors for wrong lines."""
    try:
        with file.open("rb") as stream:
            mode = stat.S_IMODE(file.stat().st_mode)
            content = stream.read()
    except OSError as error:
        raise StoreError(
            f"the token file {file} cannot be read: {error.strerror}",
            hint="give a file of lines `TOKEN read` or `TOKEN write` as --token-file",
        ) from error
    # The group may read: services get their secrets as root:service 0640.
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise StoreError(
            f"expected a token file that only its owner can change and nobody else can read, got {file} with mode "
            f"{mode:04o}",
            hint=f"run `chmod 600 {file}`",
        )
    return parse_rights(content.decode("utf-8", "replace"), str(file))


def parse_rights(text: str, file: str) -> Rights:
    """The rights in the text of a token file; raises ConfigErrors, whose messages hold no token."""
    grants: dict[bytes, Grant] = {}
    everybody: Grant | None = None
    errors: list[ConfigError] = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        mistake = _mistake(fields) or ("the same token twice" if _hashed(fields[0]) in grants else "")
        if mistake:
            errors.append(ConfigError(mistake, where=Where(file, number, 1)))
            continue
        token, right, *pattern = fields
        if token == _EVERYBODY:
            everybody = Grant()
        else:
            grants[_hashed(token)] = Grant(right == "write", pattern[0] if pattern else None)
    if errors:
        raise ConfigErrors(errors)
    return Rights(tuple(grants.items()), everybody=everybody)


def _mistake(fields: list[str]) -> str:
    """What is wrong with a line, or nothing; never with the token, which may be in the wrong place."""
    if not 2 <= len(fields) <= 3 or fields[1] not in ("read", "write"):
        return "expected a token, `read` or `write`, and perhaps a pattern of namespaces"
    if fields[1] == "read" and len(fields) == 3:
        return "expected no pattern after `read`, which allows reading everything"
    if fields[0] == _EVERYBODY:
        return "" if fields[1] == "read" else "expected `read` after `*`: whoever has no token cannot write"
    if len(fields[0]) < _LEAST_TOKEN_CHARACTERS:
        return f"expected a token of at least {_LEAST_TOKEN_CHARACTERS} characters, got {len(fields[0])}"
    return ""


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
