"""What the sections of a config are called in its graph: names that stay when entries are put before others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kitbuild.config.model import Config


class SectionNames(NamedTuple):
    """The names of all entries that are sections of their own, in the config's order."""

    init: tuple[str, ...]
    volumes: tuple[str, ...]
    containers: tuple[str, ...]


def section_names(config: Config) -> SectionNames:
    """`init IMAGE`, `volumes NAME`, `services NAME` and so on; with a number from the second of a name on."""
    return SectionNames(
        _numbered(f"init {image.image_text}" for image in config.init),
        _numbered(f"volumes {volume.name}" for volume in config.volumes),
        _numbered(f"{entry.section} {entry.name}" for entry in config.containers),
    )


def _numbered(names: Iterable[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    numbered = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        numbered.append(name if seen[name] == 1 else f"{name} #{seen[name]}")
    return tuple(numbered)
