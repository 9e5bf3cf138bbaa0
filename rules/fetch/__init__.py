"""Nodes that bring bytes in; the only rules with a network.

A place images come from is written `<scheme>:<where>`; the module named by the scheme opens it:

    layout:/absolute/path      an OCI image layout, for example LinuxKit's cache
    archive:/absolute/path     a tar written by `docker save`, skopeo or buildx
    registry:host[/path]       a registry, or one repository of it (see route.py for what may follow)
"""

from __future__ import annotations

from importlib import import_module

from kitbuild.errors import UsageError
from kitbuild.image import ImageSource

SCHEMES = ("layout", "archive", "registry")


def open_source(text: str) -> ImageSource:
    """The image source written as `text`; nothing is read before it is asked for an image.

    Raises UsageError if no source is written like that.
    """
    scheme, _, where = text.partition(":")
    if scheme not in SCHEMES or not where:
        raise UsageError(
            f"expected an image source such as layout:/path, archive:/path.tar or registry:host, got `{text}`"
        )
    source: ImageSource = import_module(f"kitbuild.rules.fetch.{scheme}").open_source(where)
    return source
