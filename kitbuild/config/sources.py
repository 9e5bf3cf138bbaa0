"""The bytes of a config: from a file, from stdin (`-`) or from an http(s) URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from kitbuild.config.yaml import MAX_BYTES
from kitbuild.errors import ConfigError, UnavailableError

_TIMEOUT_SECONDS = 30


def name_of(source: str) -> str:
    """How messages name the source: stdin as such, a URL without the user and password in it."""
    return "<stdin>" if source == "-" else re.sub(r"\A(https?://)[^/?#]*@", r"\1", source)


def folder_of(source: str) -> str | None:
    """The folder a local source is in, that of stdin being the current one; None for a URL."""
    return None if source.startswith(("http://", "https://")) else str(Path(source).parent)


def read(source: str, *, stdin: BinaryIO | None) -> bytes:
    """The content of `source`, cut one byte after the most a config may have; raises ConfigError."""
    if source == "-":
        if stdin is None:
            raise ConfigError("expected a config on stdin, got none", hint="give the path of a file")
        return stdin.read(MAX_BYTES + 1)
    if source.startswith(("http://", "https://")):
        return _fetched(source)
    try:
        with Path(source).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise ConfigError(f"cannot read `{source}`: {reason}", hint="check the path of the config") from error


def _fetched(url: str) -> bytes:
    import requests  # 0.2 s, for this case alone

    name = name_of(url)
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_SECONDS) as answer:
            if answer.status_code != 200:
                raise ConfigError(
                    f"cannot read `{name}`: expected status 200, got {answer.status_code}",
                    hint="check the address of the config",
                )
            content = b""
            for piece in answer.iter_content(1 << 16):
                content += piece
                if len(content) > MAX_BYTES:
                    break
            return content
    except requests.RequestException as error:
        slow = isinstance(error, requests.Timeout)
        reason = "no answer in time" if slow else "the server cannot be reached"
        hint = "check the address and the network"
        raise UnavailableError(f"cannot read `{name}`: {reason}", hint=hint) from error
