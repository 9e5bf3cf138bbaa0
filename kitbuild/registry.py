"""Registry: what is there by name: formats, and kinds of remote cache.

A module in kitbuild.rules.format with a FORMAT is enough for the format to be known. It is named after it
(`kernel+initrd` in kernel_initrd.py), so that a build loads those modules alone that it needs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kitbuild.errors import UsageError
from kitbuild.suggest import did_you_mean
from kitbuild.system import Format

if TYPE_CHECKING:
    from kitbuild.cache.remote import Access, Remote

_PACKAGE = "kitbuild.rules.format"
# As formats are written; nothing else may become the name of a module.
_NAME = re.compile(r"[a-z0-9]+(?:[+-][a-z0-9]+)*")
# The module of kitbuild.cache for the scheme of a remote cache's URL.
REMOTES = {
    "file": "folder",
    "grpc": "reapi",
    "grpcs": "reapi",
    "http": "http",
    "https": "http",
    "oci": "registry",
    "s3": "s3",
}


def formats() -> dict[str, Format]:
    """Every output format by name."""
    package = import_module(_PACKAGE)
    modules = [path.stem for folder in package.__path__ for path in Path(folder).glob("[!_]*.py")]
    found = [output_format for module in modules if (output_format := _format_in(f"{_PACKAGE}.{module}"))]
    return {output_format.name: output_format for output_format in sorted(found)}


def formats_named(names: Sequence[str]) -> list[Format]:
    """The formats of these names, once each; raises UsageError for a name that is none."""
    return [_named(name) for name in dict.fromkeys(names)]


def module_of(name: str) -> str:
    """The name of the module that has the format of this name."""
    return f"{_PACKAGE}.{name.replace('+', '_').replace('-', '_')}"


def _named(name: str) -> Format:
    if _NAME.fullmatch(name) and find_spec(module_of(name)):
        found = _format_in(module_of(name))
        if found is not None and found.name == name:
            return found
    known = formats()
    raise UsageError(
        f"expected a format, got `{name}`",
        hint=did_you_mean(name, known) or f"choose from {', '.join(known)}",
    )


def _format_in(module: str) -> Format | None:
    found: Format | None = getattr(import_module(module), "FORMAT", None)
    return found


def remote_at(url: str, access: Access) -> Remote:
    """The remote cache at a URL, not asked yet; raises UsageError for a kind nobody knows, or a malformed URL."""
    scheme = url.partition("://")[0]
    if scheme not in REMOTES:
        raise UsageError(
            f"expected a remote cache, got a URL of `{scheme}://`",
            hint=f"choose from {', '.join(f'{name}://' for name in REMOTES)}",
        )
    module = import_module(f"kitbuild.cache.{REMOTES[scheme]}")
    remote: Remote = module.open_remote(url, access)
    return remote
