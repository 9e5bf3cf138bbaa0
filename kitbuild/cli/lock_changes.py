"""What is different between two locks, for people and for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from kitbuild.lock import Lock, LockedImage, LockedName
from kitbuild.report.text import human_size, plural, printable

# As much of a digest as tells it apart, and fits a line twice.
_SHOWN = len("sha256:") + 12


class Change(NamedTuple):
    """One name whose meaning is another; `old` or `new` is empty for what was not there, or is no longer.

    `kind` is "image", "volume", "loader" or "config"; `platforms` tells of images what became of their layers.
    """

    kind: str
    name: str
    old: str
    new: str
    platforms: tuple[LayersChange, ...] = ()


class LayersChange(NamedTuple):
    """What became of an image for one platform: layers that were not there before, all layers, bytes more."""

    platform: str
    changed: int
    layers: int
    bytes: int


def changes(old: Lock, new: Lock) -> list[Change]:
    """All that is different, sections and names in their order."""
    found: list[Change] = []
    for kind, texts in (
        ("config", [{name: digest.oci for name, digest in lock.configs.items()} for lock in (old, new)]),
        ("image", [{name: _text(entry) for name, entry in lock.images.items()} for lock in (old, new)]),
        ("loader", [dict(_loader_texts(lock)) for lock in (old, new)]),
        ("volume", [{name: entry.top.oci for name, entry in lock.volumes.items()} for lock in (old, new)]),
    ):
        before, after = texts
        for name in sorted({*before, *after}):
            if before.get(name) != after.get(name):
                layers = _layers(old, new, name) if kind == "image" else ()
                found.append(Change(kind, name, before.get(name, ""), after.get(name, ""), tuple(layers)))
    return found


def added_platforms(old: Lock, new: Lock) -> list[str]:
    """Images that were locked already, and are for more platforms now: "redis:7 for linux/arm64"."""
    return [
        f"{name} for {platform}"
        for name, entry in sorted(new.images.items())
        if name in old.images and _text(entry) == _text(old.images[name])
        for platform in sorted(entry.platforms)
        if platform not in old.images[name].platforms
    ]


def _text(name: LockedName) -> str:
    """The one digest that says which content it is."""
    if name.top:
        return name.top.oci
    return next((f"{image.config.oci} (config)" for image in name.platforms.values()), "")


def _loader_texts(lock: Lock) -> Iterator[tuple[str, str]]:
    for name, by_architecture in lock.loaders.items():
        for architecture, sources in by_architecture.items():
            yield f"{name} ({architecture})", " + ".join(sources)


def _layers(old: Lock, new: Lock, name: str) -> Iterable[LayersChange]:
    before = old.images.get(name, LockedName(None, {})).platforms
    for platform, image in sorted(new.images.get(name, LockedName(None, {})).platforms.items()):
        if platform in before:
            yield _one_image(platform, before[platform], image)


def _one_image(platform: str, old: LockedImage, new: LockedImage) -> LayersChange:
    if new.manifest is None or old.manifest is None:
        # What `docker save` writes says nothing of sizes.
        changed = sum(layer not in old.diff_ids for layer in new.diff_ids)
        return LayersChange(platform, changed, len(new.diff_ids or new.layers), 0)
    changed = sum(layer not in old.layers for layer in new.layers)
    more = sum(layer.size for layer in new.layers) - sum(layer.size for layer in old.layers)
    return LayersChange(platform, changed, len(new.layers), more)


def lines_of(found: Iterable[Change]) -> Iterator[str]:
    """A line for every change: `redis:7  sha256:aaaa -> sha256:bbbb (3 layers of 5 changed, +1.2 MiB)`."""
    for change in found:
        new, old = _shown(change.new), _shown(change.old)
        what = f"{old} -> {new}" if old and new else f"added: {new}" if new else f"removed (was {old})"
        details = list(map(_layers_text, change.platforms))
        if len(details) > 1:
            titles = (layers.platform for layers in change.platforms)
            details = [f"{title}: {text}" for title, text in zip(titles, details, strict=True)]
        more = f" ({'; '.join(details)})" if details else ""
        title = "" if change.kind == "image" else f"{change.kind} "
        yield printable(f"{title}{change.name}  {what}{more}")


def _shown(text: str) -> str:
    if text.startswith("sha256:"):
        return text[:_SHOWN]
    # Of packages the file's name, which holds the version.
    return " + ".join(part.partition("@sha256:")[0].rpartition("/")[2] for part in text.split(" + "))


def _layers_text(layers: LayersChange) -> str:
    size = human_size(abs(layers.bytes))
    sign = "-" if layers.bytes < 0 else "+"
    return f"{plural(layers.changed, 'layer')} of {layers.layers} changed, {sign}{size}"


def as_json(found: Iterable[Change]) -> list[dict[str, Any]]:
    """The changes for scripts; `old` and `new` are null for what was not there, or is no longer."""
    return [
        {
            "kind": change.kind,
            "name": change.name,
            "old": change.old or None,
            "new": change.new or None,
            "platforms": [layers._asdict() for layers in change.platforms],
        }
        for change in found
    ]
