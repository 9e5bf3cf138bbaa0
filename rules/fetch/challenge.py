"""What a registry answers to whom it does not know: the header `WWW-Authenticate`.

    Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a/b:pull,push"

Source: RFC 9110 section 11.6.1; Docker registry "Token Authentication Specification".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

# A quoted value may hold commas and, after a backslash, anything.
_PARAMETER = re.compile(r'\s*([A-Za-z0-9_.-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(?:,|$)')
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9_.-]*)(?:\s+|\s*$|\s*,)(?!\s*=)")


class Challenge(NamedTuple):
    """One way to authenticate: `scheme` in lower case, parameter names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def challenges_of(header: str) -> list[Challenge]:
    """The challenges of a header, in its order; what cannot be understood ends the list."""
    found: list[Challenge] = []
    position = 0
    while position < len(header):
        parameter = _PARAMETER.match(header, position)
        if parameter and found:
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            assert isinstance(found[-1].parameters, dict)
            found[-1].parameters[name.lower()] = value
            position = parameter.end()
            continue
        scheme = _SCHEME.match(header, position)
        if not scheme:
            break
        found.append(Challenge(scheme[1].lower(), {}))
        position = scheme.end()
    return found
