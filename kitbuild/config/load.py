"""load: configs from files, stdin or URLs as one Config, or every mistake in them at once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, cast

from kitbuild.config.files import file_problems
from kitbuild.config.ids import UnknownIdError, ids_of, number_of
from kitbuild.config.merge import Part, merged, reference_of
from kitbuild.config.model import (
    Config,
    Container,
    ContainerOptions,
    File,
    InitImage,
    Place,
    SectionName,
    Volume,
)
from kitbuild.config.runtime import option_problems
from kitbuild.config.schema import CONFIG, MAX_MISTAKES, Problem, shown, validate
from kitbuild.config.sources import folder_of, name_of
from kitbuild.config.sources import read as read_source
from kitbuild.config.template import replace_templates
from kitbuild.config.volumes import platform_problems
from kitbuild.config.yaml import Document, parse
from kitbuild.errors import ConfigError, ConfigErrors, Where
from kitbuild.reference import Reference
from kitbuild.tree import is_inside

_SECTIONS: tuple[SectionName, ...] = ("onboot", "onshutdown", "services")
_VOLUME_NAME = re.compile(r"[a-z0-9_-]*\Z")
_LONGEST_REFERENCE = 1000  # registries stop at 255; a longer name is a mistaken text
_UNKNOWN = Reference("", "")  # stands for an image whose name is wrong, until the mistake is raised


def load(
    sources: Sequence[str], *, stdin: BinaryIO | None = None, read: Callable[..., bytes] = read_source
) -> Config:
    """Reads and joins the configs in the order given; a source is a path, `-` or an http(s) URL.

    Raises ConfigErrors with every mistake in every source (of MAX_MISTAKES those found first), in the order of their
    places. `@pkg:` templates become
    names of images; on stdin only behind a file, as LinuxKit has it, and never in a URL. There they stay as they are,
    also where an image is named (see model.TEMPLATE). `read` is used like sources.read.
    """
    mistakes = _Mistakes()
    parts = []
    templates = False
    for source in sources:
        folder = folder_of(source)
        templates = templates or (folder is not None and source != "-")
        try:
            document = parse(read(source, stdin=stdin), name_of(source))
        except ConfigError as error:
            mistakes.add_unreadable(error)
        else:
            problems = replace_templates(document, folder) if templates and folder is not None else []
            mistakes.add_document(document)
            for problem in problems:
                mistakes.add(Place(document), problem)
            parts.append(_Reader(document, mistakes).part())
    config = merged(parts)
    _check_whole(config, mistakes)
    mistakes.raise_any()
    return config


class _Mistakes:
    """What is found wrong, in whatever order, at most one mistake a place.

    A value that fails the schema is left out of all further checks: one slip, one message.
    """

    def __init__(self) -> None:
        self._documents: list[Document | None] = []
        self._errors: dict[tuple[int, int, int, str], ConfigError] = {}
        self._broken: set[tuple[int, tuple[str | int, ...]]] = set()

    def add_unreadable(self, error: ConfigError) -> None:
        """Notes that a whole source cannot be read."""
        self._documents.append(None)
        self._errors[len(self._documents), 0, 0, ""] = error

    def add_document(self, document: Document) -> None:
        """Notes what its syntax and the schema have against a document."""
        self._documents.append(document)
        for error in document.problems:
            self._add(document, error)
        for problem in validate(document.value, CONFIG):
            self._broken.update((id(document), problem.path[:end]) for end in range(1, len(problem.path) + 1))
            where = document.where(problem.path, key=problem.at_key)
            self._add(document, ConfigError(problem.message, where=where, hint=problem.hint))

    def add(self, place: Place, problem: Problem) -> None:
        """Notes a problem; its path is inside `place`."""
        if not self.is_broken(place, *problem.path):
            where = place.where(*problem.path)
            self._add(place.document, ConfigError(problem.message, where=where, hint=problem.hint))

    def is_broken(self, place: Place, *path: str | int) -> bool:
        """Whether the value at `path` has failed the schema, or something inside it has."""
        return bool(self._broken) and (id(place.document), place.path + path) in self._broken

    def _add(self, document: Document, error: ConfigError) -> None:
        where = error.where or Where("", 0, 0)
        order = next(at for at, known in enumerate(self._documents, 1) if known is document)
        self._errors.setdefault((order, where.line, where.column, error.message), error)
        if len(self._errors) >= MAX_MISTAKES:
            # Nobody reads more. Nor has the schema been checked any further: the rest cannot be relied on.
            self.raise_any()

    def raise_any(self) -> None:
        """Raises all mistakes, if there are any."""
        if self._errors:
            raise ConfigErrors([self._errors[place] for place in sorted(self._errors)])


class _Reader:
    """Makes the values of the model out of one document, leaving out what is broken."""

    def __init__(self, document: Document, mistakes: _Mistakes) -> None:
        self._top = Place(document)
        self._mistakes = mistakes
        self._value: Mapping[str, Any] = document.value if isinstance(document.value, dict) else {}

    def part(self) -> Part:
        kernel = self._value.get("kernel")
        place = self._top.at("kernel")
        settings = self._sound(kernel, place) if isinstance(kernel, dict) else {}
        if settings.get("image") and self._reference(settings["image"], place.at("image")) is _UNKNOWN:
            del settings["image"]
        return Part(
            kernel=settings,
            kernel_place=place,
            init=tuple(self._init()),
            containers={section: tuple(self._containers(section)) for section in _SECTIONS},
            volumes=tuple(self._volumes()),
            files=tuple(self._files()),
        )

    def _entries(self, section: str) -> Iterator[tuple[int, Place, dict[str, Any]]]:
        """The entries of a list of mappings without their broken keys; what is no mapping counts as empty."""
        entries = self._value.get(section, ())
        for position, entry in enumerate(entries if isinstance(entries, list) else ()):
            place = self._top.at(section, position)
            yield position, place, self._sound(entry if isinstance(entry, dict) else {}, place)

    def _sound(self, entry: dict[str, Any], place: Place) -> dict[str, Any]:
        if not self._mistakes.is_broken(place):
            return entry
        return {key: value for key, value in entry.items() if not self._mistakes.is_broken(place, key)}

    def _reference(self, text: str | None, place: Place) -> Reference:
        if text is None:
            return _UNKNOWN
        if len(text) > _LONGEST_REFERENCE:
            message = f"expected an image name of at most {_LONGEST_REFERENCE} characters, got {len(text)}"
            self._mistakes.add(place, Problem((), message, "give the name of an image"))
            return _UNKNOWN
        try:
            return reference_of(text)
        except ValueError as error:
            scheme, separator, _ = text.partition("://")
            hint = "write the name of an image as host/path:tag or path:tag"
            hint = f"leave `{scheme}://` out" if separator else hint
            self._mistakes.add(place, Problem((), str(error), hint))
            return _UNKNOWN

    def _init(self) -> Iterator[InitImage]:
        entries = self._value.get("init", ())
        for position, text in enumerate(entries if isinstance(entries, list) else ()):
            place = self._top.at("init", position)
            if not self._mistakes.is_broken(place):
                yield InitImage(self._reference(text, place), text, place)

    def _containers(self, section: SectionName) -> Iterator[Container]:
        for position, place, entry in self._entries(section):
            text = entry.get("image")
            options = {key: value for key, value in entry.items() if key not in ("name", "image")}
            yield Container(
                section=section,
                position=position,
                name=entry.get("name", ""),
                image_text=text or "",
                reference=self._reference(text, place.at("image")),
                options=cast(ContainerOptions, options),
                place=place,
            )

    def _volumes(self) -> Iterator[Volume]:
        seen: dict[str, Place] = {}
        for _, place, entry in self._entries("volumes"):
            name = entry.get("name", "")
            if not _VOLUME_NAME.match(name):
                message = f"expected a volume name of a-z, 0-9, `_` and `-`, got {shown(name)}"
                self._mistakes.add(place, Problem(("name",), message, "rename the volume"))
            elif name in seen and (name or not self._mistakes.is_broken(place)):
                self._mistakes.add(place, _twice("volume", name, seen[name]))
            elif not is_inside(f"containers/volumes/{name}") and not self._mistakes.is_broken(place):
                self._mistakes.add(
                    place, Problem(("name",), "expected the name of the volume", "add `name:`")
                )
            seen.setdefault(name, place)
            text = entry.get("image", "")
            yield Volume(
                name=name,
                reference=self._reference(text, place.at("image")) if text else None,
                image_text=text,
                readonly=entry.get("readonly", False),
                format=entry.get("format", ""),
                platforms=tuple(entry.get("platforms", ())),
                place=place,
            )

    def _files(self) -> Iterator[File]:
        for _, place, entry in self._entries("files"):
            file = File(
                path=entry.get("path", ""),
                directory=entry.get("directory", False),
                symlink=entry.get("symlink", ""),
                contents=entry.get("contents"),
                source=entry.get("source", ""),
                metadata=entry.get("metadata", ""),
                optional=entry.get("optional", False),
                mode=entry.get("mode", ""),
                uid=entry.get("uid"),
                gid=entry.get("gid"),
                place=place,
            )
            # A misspelt `contents` would be missed too: one slip, one message.
            if not self._mistakes.is_broken(place):
                for problem in file_problems(file):
                    self._mistakes.add(place, problem)
            yield file


def _check_whole(config: Config, mistakes: _Mistakes) -> None:
    """What shows only when all configs are together: names used twice, names that stand for nothing."""
    ids = ids_of(config.containers)
    volumes = config.volumes_by_name()
    _check_names(config, mistakes)
    for volume in config.volumes:
        for problem in platform_problems(volume):
            mistakes.add(volume.place, problem)
    for container in config.containers:
        for problem in option_problems(container.options, ids=ids, volumes=volumes):
            mistakes.add(container.place, problem)
    for file in config.files:
        for key, value in (("uid", file.uid), ("gid", file.gid)):
            try:
                number_of(value, ids)
            except UnknownIdError as error:
                mistakes.add(file.place, Problem((key,), str(error), error.hint))


def _check_names(config: Config, mistakes: _Mistakes) -> None:
    """Services have names of their own, and all containers names that can be folders."""
    seen: dict[str, Place] = {}
    for container in config.containers:
        name, place = container.name, container.place
        if not name and mistakes.is_broken(place):
            continue  # a name that is missing is a mistake already
        if not is_inside(container.bundle):
            mistakes.add(place, _no_folder(name))
        elif container.section == "services":
            if name in seen:
                mistakes.add(place, _twice("service", name, seen[name]))
            seen.setdefault(name, place)


def _no_folder(name: str) -> Problem:
    message = f"expected a name for a folder, got {shown(name)}"
    return Problem(("name",), message, "give it a name without `..` or empty parts")


def _twice(what: str, name: str, first: Place) -> Problem:
    hint = f"rename one; the first is at {first.where('name')}"
    return Problem(("name",), f"expected each {what} name once, got {shown(name)} again", hint)
