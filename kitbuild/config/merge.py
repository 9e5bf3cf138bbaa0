"""Several configs as one: sections are joined in the order given, kernel settings of later configs win."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from kitbuild.config.model import (
    TEMPLATE,
    Config,
    Container,
    File,
    InitImage,
    Kernel,
    Place,
    SectionName,
    Volume,
)
from kitbuild.reference import Reference

T = TypeVar("T")


class Part(NamedTuple):
    """What one config file says; positions count inside the file. `kernel` holds the keys as written."""

    kernel: Mapping[str, str]
    kernel_place: Place
    init: tuple[InitImage, ...]
    containers: Mapping[SectionName, tuple[Container, ...]]
    volumes: tuple[Volume, ...]
    files: tuple[File, ...]


def merged(parts: Sequence[Part]) -> Config:
    """The config all parts make together.

    The volumes of every part can be named by every container; LinuxKit forgets those of all parts but the last.
    """
    settings = _kernel_settings(parts)
    return Config(
        kernel=_kernel(settings, parts),
        init=_joined(part.init for part in parts),
        onboot=_numbered(parts, "onboot"),
        onshutdown=_numbered(parts, "onshutdown"),
        services=_numbered(parts, "services"),
        volumes=_joined(part.volumes for part in parts),
        files=_joined(part.files for part in parts),
        kernel_settings=settings,
    )


def reference_of(text: str) -> Reference:
    """The reference in a config's text; `@pkg:folder` is kept for later as a reference with the host TEMPLATE.

    Raises ValueError.
    """
    if text.startswith(TEMPLATE):
        return Reference(TEMPLATE, text.removeprefix(TEMPLATE))
    return Reference.parse(text)


def _kernel_settings(parts: Sequence[Part]) -> dict[str, str]:
    # An empty tar or ucode switches something off; an empty image, cmdline or binary says nothing.
    return {
        key: text for part in parts for key, text in part.kernel.items() if text or key in ("tar", "ucode")
    }


def _kernel(settings: Mapping[str, str], parts: Sequence[Part]) -> Kernel | None:
    if "image" not in settings:
        return None
    tar = settings.get("tar", "kernel.tar")
    return Kernel(
        reference=reference_of(settings["image"]),
        image_text=settings["image"],
        cmdline=settings.get("cmdline", ""),
        binary=settings.get("binary", "kernel"),
        tar="" if tar == "none" else tar,
        ucode=settings.get("ucode", ""),
        place=next(part.kernel_place for part in reversed(parts) if part.kernel.get("image")),
    )


def _numbered(parts: Sequence[Part], section: SectionName) -> tuple[Container, ...]:
    if len(parts) == 1:
        return parts[0].containers[section]
    joined = _joined(part.containers[section] for part in parts)
    return tuple(container._replace(position=position) for position, container in enumerate(joined))


def _joined(lists: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(item for items in lists for item in items)
