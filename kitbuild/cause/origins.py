"""What the user changed between two builds: sections, what is written in them, images behind tags, flags."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from kitbuild.cause.value import Cause, at
from kitbuild.explain import ABSENT, Difference, differences, in_words
from kitbuild.record import ImageOrigin, Origin, Origins

# As docker shows them.
_DIGEST_DIGITS = 12
_IMAGE, _FILE = "image ", "files: "
_ENTRY = re.compile(r"files\[\d+\]\Z")
_NOWHERE = Origin("", 0, 0)


class OriginChanges:
    """What differs between the origins of two builds, as causes; worked out when it is asked for."""

    def __init__(self, before: Origins, now: Origins) -> None:
        self.before = before
        self.now = now
        self._written: dict[str, tuple[Cause, ...]] = {}

    # -- sections

    @cached_property
    def sections(self) -> Mapping[str, Cause]:
        """What became of sections that are not where they were, by their name now, removed ones by that they had."""
        old, new = _sections(self.before), _sections(self.now)
        gone = [name for name in old if name not in new]
        come = [name for name in new if name not in old]
        found: dict[str, Cause] = {}
        for name, other in [
            *_renamed(gone, come, old=old, new=new),
            *_replaced(gone, come, old=old, new=new),
        ]:
            cause = _other_name(name, other, old=old, new=new)
            found[name] = found[other] = cause
        for name in come:
            if name not in found:
                text = at(new[name].file, new[name].line, f"{name} was added")
                found[name] = Cause("section-added", text, name, *new[name][:2], after=new[name].value)
        for name in gone:
            if name not in found:
                place = f" (was at {old[name].file}:{old[name].line})" if old[name].line else ""
                text = f"{name} was removed{place}"
                found[name] = Cause("section-removed", text, name, old[name].file, before=old[name].value)
        found.update(self._moved(list(old), list(new), found))
        return found

    def _moved(
        self, old: list[str], new: list[str], known: Mapping[str, Cause]
    ) -> Iterator[tuple[str, Cause]]:
        """Sections in another order than before, those that had to be taken out and put elsewhere."""
        for kind in dict.fromkeys(map(kind_of, new)):
            before = [name for name in old if kind_of(name) == kind and name not in known]
            now = [name for name in new if kind_of(name) == kind and name not in known]
            for name in _out_of_order(before, now):
                place = self.now.places[name]
                left, right = before.index(name) + 1, now.index(name) + 1
                text = at(place.file, place.line, f"{name} was moved from place {left} to {right}")
                yield name, Cause("section-moved", text, name, *place[:2], left, right)

    def of_kind(self, kind: str) -> tuple[Cause, ...]:
        """The changed sections of a kind ("services"), once each; of every kind if it is empty."""
        found = (cause for name, cause in self.sections.items() if not kind or kind_of(name) == kind)
        return once(found)

    # -- what is written

    def written(self, section: str) -> tuple[Cause, ...]:
        """What differs in what a section says; nothing if it is new or gone."""
        if section not in self._written:
            self._written[section] = tuple(self._differences(section))
        return self._written[section]

    def _differences(self, section: str) -> Iterator[Cause]:
        old, new = self.before.places.get(section), self.now.places.get(section)
        whole = self.sections.get(section)
        # What was moved among its like may say something else besides.
        if old is None or new is None or (whole is not None and whole.kind != "section-moved"):
            return
        if section == "files" and isinstance(old.value, list) and isinstance(new.value, list):
            yield from self._entries(old.value, new.value)
            return
        for difference in differences("", old.value, new.value):
            yield _config_cause(section, difference, new)

    def _entries(self, old: list[Any], new: list[Any]) -> Iterator[Cause]:
        """What differs between the entries of `files`, which are known by their paths."""
        before, now = _by_path(old), _by_path(new)
        for path, (number, entry) in now.items():
            place = self._entry_place(number)
            if path not in before:
                text = at(place.file, place.line, f"files: {path} was added")
                yield Cause("config", text, f"files: {path}", *place[:2], after=entry)
                continue
            for difference in differences("", before[path][1], entry):
                yield _config_cause(f"files: {path}", difference, place, prefix=f"files: {path}: ")
        file = self.now.places["files"].file
        for path, (_, entry) in before.items():
            if path not in now:
                yield Cause(
                    "config", at(file, 0, f"files: {path} was removed"), f"files: {path}", file, before=entry
                )
        if not before.keys() ^ now.keys():
            for path in _out_of_order(list(before), list(now)):
                place = self._entry_place(now[path][0])
                text = at(place.file, place.line, f"files: {path} was moved")
                yield Cause("config", text, f"files: {path}", *place[:2])

    def _entry_place(self, number: int) -> Origin:
        """Where the entry of `files` with a number is written, with the lines of what is in it."""
        place = self.now.places.get(f"files[{number}]")
        if place is not None:
            return place
        whole = self.now.places["files"]
        name = f"[{number}]"
        lines = {
            way[len(name) + 1 :]: line for way, line in whole.lines.items() if way.startswith(f"{name}.")
        }
        return Origin(whole.file, whole.lines.get(name, 0), 0, None, lines)

    # -- images

    def image(self, reference: str) -> Cause | None:
        """What became of the image behind a reference that both builds have."""
        old, new = self.before.images.get(reference), self.now.images.get(reference)
        if old is None or new is None or old == new:
            return None
        return self._moved_image(reference, old, new)

    def _moved_image(self, reference: str, old: ImageOrigin, new: ImageOrigin) -> Cause | None:
        place = self.now.places.get(f"{_IMAGE}{reference}", _NOWHERE)
        name = place.value if isinstance(place.value, str) else reference
        if old.error or new.error:
            text = f"{name} was not found before" if old.error else f"{name} is not found: {new.error}"
            values = old.error or None, new.error or None
            return Cause("image", at(place.file, place.line, text), name, *place[:2], *values)
        left, right = _digests(old, new)
        if left == right:
            return None  # the same image, found elsewhere
        text = f"{name} moved: sha256:{left[:_DIGEST_DIGITS]} -> sha256:{right[:_DIGEST_DIGITS]}"
        text += f" ({_found(old, new)})"
        values = f"sha256:{left}", f"sha256:{right}"
        return Cause("image", at(place.file, place.line, text), name, *place[:2], *values)

    def moved_images(self) -> tuple[Cause, ...]:
        """What became of all images, of those too that come with other documents alone."""
        found = []
        for reference, new in self.now.images.items():
            old = self.before.images.get(reference)
            cause = self.image(reference)
            if cause is None and old is not None and old.top != new.top:
                old, new = old._replace(manifest=""), new._replace(manifest="")
                cause = self._moved_image(reference, old, new)
            found += [cause] if cause is not None else []
        return once(found)

    def layers(self, reference: str) -> Cause | None:
        """That an image has other layers, if that is all one can say: archives of docker hold no manifests."""
        old, new = self.before.images.get(reference), self.now.images.get(reference)
        if old is None or new is None or any(_digests(old, new)):
            return None
        place = self.now.places.get(f"{_IMAGE}{reference}", _NOWHERE)
        name = place.value if isinstance(place.value, str) else reference
        text = f"{name} has other layers ({_found(old, new)})"
        return Cause("image", at(place.file, place.line, text), name, *place[:2], old.source, new.source)

    def images_of(self, section: str) -> tuple[Cause, ...]:
        """What became of the image that a section names, under whatever name."""
        place = self.now.places.get(section)
        text = place.value.get("image") if place and isinstance(place.value, dict) else place and place.value
        found = (self.image(reference) for reference in self._references.get(str(text), ()))
        return tuple(cause for cause in found if cause is not None)

    @cached_property
    def _references(self) -> Mapping[str, tuple[str, ...]]:
        """By the name of an image as the config has it what that stands for."""
        found: dict[str, tuple[str, ...]] = {}
        for name in self.now.images:
            place = self.now.places.get(f"{_IMAGE}{name}")
            text = str(place.value) if place else name
            found[text] = (*found.get(text, ()), name)
        return found

    # -- flags

    @cached_property
    def flags(self) -> Mapping[str, Cause]:
        """What differs of the flags, by their names."""
        found = {}
        for name, old, new in differences("", dict(self.before.flags), dict(self.now.flags)):
            left = "none" if old is ABSENT else old
            right = "none" if new is ABSENT else new
            # `--boot-loader NAME` stands for one of many.
            text = f"{name}{':' if ' ' in name else ''} {left} -> {right}"
            found[name] = Cause("flag", text, name, before=known_value(old), after=known_value(new))
        return found


def kind_of(section: str) -> str:
    """The kind of a section: "services" of "services web"."""
    return section.partition(" ")[0]


def once(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    """The causes without those said before."""
    return tuple({cause.sentence: cause for cause in causes}.values())


def _sections(origins: Origins) -> dict[str, Origin]:
    return {
        name: place
        for name, place in origins.places.items()
        if not name.startswith((_IMAGE, _FILE)) and not _ENTRY.match(name)
    }


def _renamed(
    gone: Iterable[str], come: Iterable[str], *, old: Mapping[str, Origin], new: Mapping[str, Origin]
) -> Iterator[tuple[str, str]]:
    """Pairs of a section that is gone and one that came and says the same under another name, or elsewhere."""
    left: dict[str, list[str]] = {}
    for name in gone:
        if (same := _said(old[name].value)) is not None:
            left.setdefault(same, []).append(name)
    for name in come:
        others = left.get(_said(new[name].value) or "")
        if others:
            yield others.pop(0), name


def _said(value: Any) -> str | None:
    """What a section says apart from its name; None if that is nothing, or an image of `init`."""
    if not isinstance(value, dict):
        return None
    try:
        return json.dumps({key: inner for key, inner in value.items() if key != "name"}, sort_keys=True)
    except RecursionError:
        return None


def _replaced(
    gone: Iterable[str], come: Iterable[str], *, old: Mapping[str, Origin], new: Mapping[str, Origin]
) -> Iterator[tuple[str, str]]:
    """Pairs of images of `init`, which are called after themselves, at the same place of its list."""
    before = [name for name in old if kind_of(name) == "init"]
    now = [name for name in new if kind_of(name) == "init"]
    come = set(come)
    for name in gone:
        if kind_of(name) == "init" and before.index(name) < len(now) and now[before.index(name)] in come:
            yield name, now[before.index(name)]


def _other_name(name: str, other: str, *, old: Mapping[str, Origin], new: Mapping[str, Origin]) -> Cause:
    place, kind = new[other], kind_of(other)
    if kind == "init":
        position = [one for one in new if kind_of(one) == "init"].index(other)
        difference = (f"init[{position}]", old[name].value, place.value)
        return _config_cause("init", difference, place)
    title = other.partition(" ")[2]
    if kind_of(name) == kind:
        text = f"{name} was renamed to {title}"
    else:
        text = f"{title} was moved from {kind_of(name)} to {kind}"
        if name.partition(" ")[2] != title:
            text = f"{name} was moved to {kind} as {title}"
    return Cause("section-renamed", at(place.file, place.line, text), other, *place[:2], name, other)


def _config_cause(subject: str, difference: Difference, place: Origin, *, prefix: str = "") -> Cause:
    path, old, new = difference
    text = f"{prefix}{path or subject} {in_words(old, new)}"
    line = _line(path, place)
    whole = f"{subject}.{path}" if path and not path.startswith("[") else f"{subject}{path}"
    return Cause(
        "config",
        at(place.file, line, text),
        whole,
        place.file,
        line,
        before=known_value(old),
        after=known_value(new),
    )


def _line(path: str, place: Origin) -> int:
    """The line of a value, or of the nearest around it."""
    while path:
        if path in place.lines:
            return place.lines[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return place.line


def known_value(value: Any) -> Any:
    """A value for a cause: None where there is none."""
    return None if value is ABSENT else value


def _by_path(entries: list[Any]) -> dict[str, tuple[int, Any]]:
    found: dict[str, tuple[int, Any]] = {}
    for number, entry in enumerate(entries):
        path = str(entry.get("path", number)) if isinstance(entry, dict) else str(number)
        found[path if path not in found else f"{path} #{number}"] = number, entry
    return found


def _out_of_order(before: list[str], now: list[str]) -> list[str]:
    """The fewest names that one has to take out and put elsewhere to turn one order into the other."""
    places = {name: number for number, name in enumerate(before)}
    names = [name for name in now if name in places]
    # The longest run of names that are in order stays: patience sorting.
    ends: list[int] = []
    last: list[int] = []
    links: list[int] = []
    for index, name in enumerate(names):
        length = bisect_left(ends, places[name])
        ends[length : length + 1] = [places[name]]
        last[length : length + 1] = [index]
        links.append(last[length - 1] if length else -1)
    stays = set()
    index = last[-1] if last else -1
    while index >= 0:
        stays.add(names[index])
        index = links[index]
    return [name for name in names if name not in stays]


def _digests(old: ImageOrigin, new: ImageOrigin) -> tuple[str, str]:
    """The digests to tell, of what changed: the platform's manifest, or the top where there is no other."""
    if old.manifest or new.manifest:
        return old.manifest or old.top, new.manifest or new.top
    return old.top, new.top


def _found(old: ImageOrigin, new: ImageOrigin) -> str:
    place = shown_source(new.source)
    return place if old.source == new.source else f"{place}, before {shown_source(old.source)}"


def shown_source(source: str) -> str:
    """Where an image was found, without the way there."""
    return source.partition(" ")[0]
