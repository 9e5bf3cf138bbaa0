"""Volumes of format `oci`: images that are kept as they are stored, for the platforms a config names."""

from __future__ import annotations

import re

from kitbuild.config.model import Config, Place, Volume
from kitbuild.config.schema import Problem, shown
from kitbuild.image import IndexName, Platform

_PLATFORM = re.compile(r"([a-z0-9]+)/([a-z0-9_]+)(?:/([a-z0-9.]+))?\Z")


def index_name_of(volume: Volume) -> IndexName | None:
    """What such a volume holds; None for a volume that is unpacked or starts empty."""
    if volume.format != "oci" or volume.reference is None:
        return None
    found = (_PLATFORM.match(text) for text in volume.platforms)
    return IndexName(volume.reference, tuple(Platform(*match.groups("")) for match in found if match))


def index_names_of(config: Config) -> dict[IndexName, Place]:
    """What all of them hold, each with the place of its first mention."""
    places: dict[IndexName, Place] = {}
    for volume in config.volumes:
        if (name := index_name_of(volume)) is not None:
            places.setdefault(name, volume.place.at("image"))
    return places


def platform_problems(volume: Volume) -> list[Problem]:
    """A mistake for every platform of the volume that is none."""
    hint = "write os/architecture or os/architecture/variant, for example linux/arm64"
    return [
        Problem(("platforms", position), f"expected a platform, got {shown(text)}", hint)
        for position, text in enumerate(volume.platforms)
        if not _PLATFORM.match(text)
    ]
