"""Why a node is made of something else than before: its ingredients in two builds, and what the user changed.

A node's causes are those of its own (`own`) and those of its inputs that changed (`changed`). Those of its own are
found in the origins of both builds; what nothing there explains is told in the words of its ingredients.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from kitbuild.cause.inputs import Inputs, compared, is_known, names_of
from kitbuild.cause.origins import OriginChanges, kind_of, known_value, once
from kitbuild.cause.value import Cause
from kitbuild.explain import differences, in_words
from kitbuild.node import Ingredients
from kitbuild.record import CACHE_OFF, CONTENT_GONE, ELSEWHERE, NodeRecord, Record

# Flags by the fields of options that they shape.
_FLAGS = {
    "compression": "--compression",
    "disk_bytes": "--size",
    "decompress": "--decompress-kernel",
    "name": "--name",
    "names": "--name",
    "architecture": "--arch",
}
# Keys of `kernel` by the fields of options that hold them.
_KERNEL = {"binary": "binary", "microcode": "ucode", "tar": "tar", "cmdline": "cmdline", "text": "cmdline"}
# Fields that say where among others something stands.
_POSITIONS = frozenset(("number", "parts", "keeps_boot", "prefixes", "names", "location", "locations"))
_SBOM_FLAG = "--sbom-output"
_LINUXKIT_FLAG = "--linuxkit-compatible"
_LOADERS = "boot loader "
_IMAGE = "image "
# The folder of a container that has a number among its like.
_NUMBERED = re.compile(r"(containers/(?P<kind>onboot|onshutdown)/)[0-9]{3,}-")
# Documents that an image comes with.
_BLOB = "blob "


class Comparison:
    """Two builds. Nodes of the later one may lack ingredients or their inputs, if these are not known, or artifacts.

    With `differences_only` it does not matter what ran: then builds need not follow each other.
    """

    def __init__(self, before: Record, now: Record, *, differences_only: bool = False) -> None:
        self._differences_only = differences_only
        self.before = before
        self.now = now
        self.changes = OriginChanges(before.origins, now.origins)
        self._own: dict[str, tuple[Cause, ...]] = {}
        self._inputs: dict[str, Inputs] = {}

    def is_new(self, name: str) -> bool:
        """True for a node that the build before did not have, or knew nothing of."""
        return not is_known(self.before.nodes.get(name))

    def own(self, name: str) -> tuple[Cause, ...]:
        """The causes that are a node's own, none if only its inputs are others than before."""
        if name not in self._own:
            self._own[name] = once(self._causes(name))
        return self._own[name]

    def changed(self, name: str) -> tuple[str, ...]:
        """The inputs of a node that give something else than before, or are new."""
        inputs = self.inputs(name)
        return (*inputs.other, *inputs.come)

    # -- causes of its own

    def _causes(self, name: str) -> Iterator[Cause]:
        now, before = self.now.nodes[name], self.before.nodes.get(name)
        if now.why == (CACHE_OFF,) and not self._differences_only:
            yield Cause("no-cache", "the cache was switched off (--no-cache)", "--no-cache")
            return
        if before is None or not is_known(before):
            yield from self._appearance(name, set())
            return
        if before.ingredients is None:
            text = f"kitbuild {self.before.version} -> {self.now.version}: results of the earlier one do not count"
            yield Cause("kitbuild", text, "kitbuild", before=self.before.version, after=self.now.version)
            return
        found = list(self._differences(name, before, now))
        yield from found
        if (
            self._differences_only
            or found
            or self.changed(name)
            or self.inputs(name).gone
            or self.inputs(name).moved
        ):
            return
        if now.fate in ("ran", "sent", "failed") or CONTENT_GONE in now.why:
            yield self._unchanged(before, now)

    def _unchanged(self, before: NodeRecord, now: NodeRecord) -> Cause:
        """Why a node that is made of what it was made of ran all the same."""
        if CONTENT_GONE in now.why:
            return Cause("dropped", "its content was dropped from the cache")
        if before.fate == "failed":
            reason = f": {before.log[-1]}" if before.log else ""
            return Cause("failed-before", f"it failed in the build before{reason}")
        if self.before.id.startswith(ELSEWHERE):
            return Cause("dropped", "its result is in no cache, though it was built elsewhere")
        return Cause("dropped", "its content was dropped from the cache")

    def _differences(self, name: str, before: NodeRecord, now: NodeRecord) -> Iterator[Cause]:
        old, new = before.ingredients, now.ingredients
        if old is not None and new is not None:
            if old.rule != new.rule:
                found = self._structure(name, before, now)
                yield from found or [self._rule(f"{old.rule} -> {new.rule}", old.rule, new.rule)]
                return
            if old.version != new.version:
                text = f"{new.rule}: version {old.version} -> {new.version}"
                yield self._rule(text, old.version, new.version, subject=new.rule)
            yield from self._tools(old, new)
            yield from self._options(name, old, new)
        yield from self._structure(name, before, now)

    def _rule(self, text: str, before: Any, after: Any, subject: str = "") -> Cause:
        left, right = self.before.version, self.now.version
        by = f"kitbuild {left} -> {right} " if left != right else ""
        return Cause(
            "rule", f"{by}changed the rule {text}", subject or str(after), before=before, after=after
        )

    def _tools(self, old: Ingredients, new: Ingredients) -> Iterator[Cause]:
        # What a flag chose is not news.
        flag = self.changes.flags.get("--compression")
        for tool, left, right in differences("", dict(old.tools), dict(new.tools)):
            if flag is not None and not (isinstance(left, str) and isinstance(right, str)):
                yield flag
            else:
                texts = isinstance(left, str) and isinstance(right, str)
                words = f"changed: {left} -> {right}" if texts else in_words(left, right)
                yield Cause(
                    "tool", f"{tool} {words}", tool, before=known_value(left), after=known_value(right)
                )

    def _options(self, name: str, old: Ingredients, new: Ingredients) -> Iterator[Cause]:
        found = differences("", old.options, new.options)
        if new.rule == "fetch/file" and found:
            yield self._file(name, old, new)
            return
        for path, left, right in found:
            causes = self._option(name, path, new.rule)
            if causes:
                yield from causes
            else:
                text = f"{f'option `{path}`' if path else 'the options'} {in_words(left, right)}"
                yield Cause("other", text, path, before=known_value(left), after=known_value(right))

    def _file(self, name: str, old: Ingredients, new: Ingredients) -> Cause:
        path = name.removeprefix("files: ")
        left, right = _file_text(old.options), _file_text(new.options)
        place = self.now.origins.places.get(name)
        text = f"{path} changed: {left} -> {right}"
        if not name.startswith("files: "):
            flag = self._loader_flag(name)
            if flag is not None:
                return flag
            return Cause("boot-loader", text, path, before=left, after=right)
        where = (place.file, place.line) if place else ("", 0)
        return Cause("file", text, path, *where, before=left, after=right)

    def _option(self, name: str, path: str, rule: str) -> tuple[Cause, ...]:
        """What changed an option of a node; nothing if nobody can tell."""
        field = path.partition(".")[0].partition("[")[0]
        section = self.now.nodes[name].section
        changes = self.changes
        if rule == "assemble/sbom" and field == "created":
            text = "the SBOM says when it was made (--sbom-current-time)"
            return (Cause("flag", text, "--sbom-current-time"),)
        flag = changes.flags.get(
            _SBOM_FLAG if rule == "assemble/sbom" and field == "path" else _FLAGS.get(field, "")
        )
        if flag is not None:
            return (flag,)
        if field in _KERNEL and (kernel := self._kernel(_KERNEL[field])):
            return kernel
        if field in _POSITIONS or field == "bundle":
            return self._positions(name, kind_of(section) if field in ("bundle", "location") else "")
        found: tuple[Cause, ...] = (*changes.written(section), *changes.images_of(section))
        if field in ("config_json", "runtime_json") and not found:
            found = self._renumbered(name, field) or self._around(section)
        return found or self._tails(field)

    def _kernel(self, key: str) -> tuple[Cause, ...]:
        found = (*self.changes.written("kernel"), *self.changes.of_kind("kernel"))
        return tuple(cause for cause in found if cause.subject in (f"kernel.{key}", "kernel"))

    def _positions(self, name: str, kind: str) -> tuple[Cause, ...]:
        """What moved a node among its like: sections that came, went or moved, else what its inputs tell."""
        inputs = self.now.nodes[name].inputs
        conflicts = inputs.get("conflicts", ())
        if conflicts:
            known = [one for one in conflicts if not self.is_new(one)]
            told = [*known, *(other for one in known for other in self.inputs(one).come)]
            return once(cause for one in told for cause in self.own(one))
        return self.changes.of_kind(kind) or tuple(filter(None, (self.changes.flags.get(_SBOM_FLAG),)))

    def _renumbered(self, name: str, field: str) -> tuple[Cause, ...]:
        """The changed sections of those kinds whose numbers are all that differs in a document of a container."""
        left, right = (_text_option(record, name, field) for record in (self.before, self.now))
        if _NUMBERED.sub(r"\1", left) != _NUMBERED.sub(r"\1", right):
            return ()
        pairs = zip(_NUMBERED.finditer(left), _NUMBERED.finditer(right), strict=True)
        kinds = {one["kind"] for one, other in pairs if one[0] != other[0]}
        return once(cause for kind in sorted(kinds) for cause in self.changes.of_kind(kind))

    def _around(self, section: str) -> tuple[Cause, ...]:
        """What changed what a container says though nothing in its own section did."""
        changes = self.changes
        volumes = [name for name in self.now.origins.places if kind_of(name) == "volumes"]
        found = tuple(cause for name in volumes for cause in changes.written(name))
        flag = changes.flags.get(_LINUXKIT_FLAG)
        # Containers are numbered in their order, and share the root of an image with the first that has it.
        return found or self._sharing(section) or changes.of_kind("") or ((flag,) if flag else ())

    def _sharing(self, section: str) -> tuple[Cause, ...]:
        """What happened to other sections with the image of this one."""
        image = _image_text(self.now, section)
        if not image:
            return ()
        names = {*self.before.origins.places, *self.now.origins.places} - {section}
        found: list[Cause] = []
        for name in names:
            if kind_of(name) in (_IMAGE.strip(), "files:"):
                continue
            if image in (_image_text(self.before, name), _image_text(self.now, name)):
                cause = self.changes.sections.get(name)
                found += [cause] if cause else self.changes.written(name)
        return once(sorted(found, key=lambda cause: cause.sentence))

    def _tails(self, field: str) -> tuple[Cause, ...]:
        """What changes options of formats: metadata, the command line of the kernel, flags."""
        if field == "entries":
            everywhere = (cause for name in self.now.origins.places for cause in self.changes.written(name))
            return (*self.changes.of_kind(""), *everywhere)
        if field == "tail":
            return self._kernel("cmdline") or tuple(self.changes.flags.values())
        return self.changes.written("kernel")

    # -- inputs

    def inputs(self, name: str) -> Inputs:
        """What a node takes, compared."""
        if name not in self._inputs:
            self._inputs[name] = compared(self.before, self.now, name)
        return self._inputs[name]

    def _structure(self, name: str, before: NodeRecord, now: NodeRecord) -> tuple[Cause, ...]:
        """Why a node takes other nodes than before."""
        inputs = self.inputs(name)
        found: list[Cause] = []
        for other in inputs.gone:
            found += self._about(name, other, self.before)
        for other in inputs.come:
            if not self.is_new(other):
                found += self._about(name, other, self.now)
        if inputs.moved and not found:
            moved = (
                self.changes.sections.get(self.now.nodes[one].section)
                for one in inputs.moved
                if one in self.now.nodes
            )
            found += [cause for cause in moved if cause is not None and cause.kind == "section-moved"]
            found += () if found else self.changes.written(now.section)
        if not found and not inputs.come:
            found += [Cause("other", f"`{other}` is no longer part of it", other) for other in inputs.gone]
        return once(found)

    def _about(self, user: str, other: str, record: Record) -> tuple[Cause, ...]:
        """Why `other`, a node of `record`, became an input of a node, or is none any longer."""
        changes = self.changes
        section = record.nodes[other].section if other in record.nodes else ""
        if section in changes.sections:
            return (changes.sections[section],)
        if user.startswith(_IMAGE):
            reference = user.removeprefix(_IMAGE)
            cause = changes.image(reference) or changes.layers(reference)
            if cause is not None:
                return (cause,)
        if section == "sbom" and _SBOM_FLAG in changes.flags:
            return (changes.flags[_SBOM_FLAG],)
        if other.startswith(_BLOB) and (moved := changes.moved_images()):
            return moved
        own = self.now.nodes[user].section
        if user.startswith(_LOADERS):
            return self._loader(user, other, record)
        found = changes.written(section) or changes.written(own)
        if found:
            return _naming(other, found)
        return self._sharing(own) or (changes.of_kind(section) if section else ())

    def _loader(self, user: str, other: str, record: Record) -> tuple[Cause, ...]:
        title = user.partition(": ")[0]
        flag = self._loader_flag(user)
        if flag is not None:
            return (flag,)
        old = [_bare(one) for one in names_of(self.before.nodes[user])] if user in self.before.nodes else []
        new = [_bare(one) for one in names_of(self.now.nodes[user])]
        left, right = ", ".join(old) or "none", ", ".join(new) or "none"
        return (Cause("boot-loader", f"{title} changed: {left} -> {right}", title, before=left, after=right),)

    def _loader_flag(self, name: str) -> Cause | None:
        """What changed the source of the boot loader that a node belongs to, if that was a flag."""
        return self.changes.flags.get(f"--{name.partition(': ')[0].replace(' ', '-', 1)}")

    # -- new nodes

    def _appearance(self, name: str, seen: set[str]) -> tuple[Cause, ...]:
        """Why there is a node that the build before did not have: by its section, else by what uses it."""
        seen.add(name)
        changes, node = self.changes, self.now.nodes[name]
        if node.section in changes.sections:
            return (changes.sections[node.section],)
        if node.section == "sbom" and _SBOM_FLAG in changes.flags:
            return (changes.flags[_SBOM_FLAG],)
        found: list[Cause] = []
        for user in self._users.get(name, ()):
            if user in seen:
                continue
            if self.is_new(user):
                found += self._appearance(user, seen)
            else:
                found += self._about(user, name, self.now)
        if found:
            return once(found)
        for flag in ("--format", "--compression", "--arch", "--size"):
            if flag in changes.flags:
                return (changes.flags[flag],)
        return self._fallback(name, node)

    def _fallback(self, name: str, node: NodeRecord) -> tuple[Cause, ...]:
        loader = self._loader_flag(name)
        if loader is not None:
            return (loader,)
        sections = self.changes.of_kind(kind_of(node.section)) if node.section else ()
        if sections or any(self._is_other(needed) for needed in names_of(node)):
            return sections  # else it has the causes of what it is made of
        return (Cause("new", "never built before", name),)

    def _is_other(self, name: str) -> bool:
        now, before = self.now.nodes.get(name), self.before.nodes.get(name)
        if now is None or before is None or not is_known(before):
            return True
        return before.artifact != now.artifact if now.artifact else before.ingredients != now.ingredients

    @cached_property
    def _users(self) -> Mapping[str, Sequence[str]]:
        users: dict[str, list[str]] = {}
        for name, node in self.now.nodes.items():
            for needed in names_of(node):
                users.setdefault(needed, []).append(name)
        return users


def _naming(node: str, causes: Sequence[Cause]) -> tuple[Cause, ...]:
    """Those of the causes that speak of what a node brings, if any do; else all."""
    path = node.partition(": ")[2]
    found = tuple(cause for cause in causes if path and path in json.dumps([cause.before, cause.after]))
    return found or tuple(causes)


def _text_option(record: Record, name: str, field: str) -> str:
    node = record.nodes.get(name)
    options = node.ingredients.options if node and node.ingredients else None
    found = options.get(field) if isinstance(options, dict) else None
    return found if isinstance(found, str) else ""


def _image_text(record: Record, section: str) -> str:
    place = record.origins.places.get(section)
    found = place.value.get("image") if place and isinstance(place.value, dict) else None
    return found if isinstance(found, str) else ""


def _file_text(options: Any) -> str:
    hexdigits, size = (options.get("hex"), options.get("size")) if isinstance(options, dict) else ("", 0)
    return f"sha256:{str(hexdigits)[:12]} {size} bytes"


def _bare(name: str) -> str:
    """The file of a boot loader in the name of its node."""
    return name.partition(": ")[2].removesuffix(": files") or name
