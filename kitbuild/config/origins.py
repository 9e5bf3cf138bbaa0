"""Where what a graph is made of was written, and what it says there: for records, which explain later builds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kitbuild.config.lower import references_of
from kitbuild.config.model import Config, Place
from kitbuild.config.nodes import Images
from kitbuild.config.sections import section_names
from kitbuild.config.volumes import index_names_of
from kitbuild.errors import ImageError
from kitbuild.image import Image, Index, IndexName
from kitbuild.record import ImageOrigin, Origin, Origins, without_passwords

# A longer text is told apart by its hash; what is in it shows in the node that it goes into.
_LONGEST_TEXT = 1 << 12


def origins_of(
    config: Config,
    images: Images,
    indexes: Mapping[IndexName, Index | ImageError],
    *,
    configs: tuple[str, ...],
    flags: Mapping[str, str],
) -> Origins:
    """What the user gave for a graph: places by section and node, images by reference, flags as they count."""
    answers = {**images, **{name.reference: index for name, index in indexes.items()}}
    return Origins(
        configs,
        dict(_places(config)),
        {str(reference): _image_origin(answer) for reference, answer in answers.items()},
        {name: without_passwords(value) for name, value in flags.items()},
    )


def _places(config: Config) -> Iterator[tuple[str, Origin]]:
    if config.kernel:
        yield "kernel", _origin(config.kernel.place)
    names = section_names(config)
    for section, init in zip(names.init, config.init, strict=True):
        yield section, _origin(init.place)
    for section, volume in zip(names.volumes, config.volumes, strict=True):
        yield section, _origin(volume.place)
    for section, container in zip(names.containers, config.containers, strict=True):
        yield section, _origin(container.place)
    yield from _file_places(config)
    for reference, place in references_of(config).items():
        yield f"image {reference}", _origin(place)
    for name, place in index_names_of(config).items():
        yield f"image {name.reference}", _origin(place)


def _file_places(config: Config) -> Iterator[tuple[str, Origin]]:
    if config.files:
        yield "files", _files(config)
    for number, file in enumerate(config.files):
        # The lines of all others are with `files` itself.
        if file.place.document is not config.files[0].place.document:
            yield f"files[{number}]", _origin(file.place)._replace(value=None)
    for file in reversed(config.files):
        if file.source:
            yield f"files: {file.source}", _origin(file.place)


def _files(config: Config) -> Origin:
    """All entries as one: they are one node. Lines are those of the first config that has any."""
    first = _origin(config.files[0].place)
    lines: dict[str, int] = {}
    for number, file in enumerate(config.files):
        if file.place.document is config.files[0].place.document:
            entry = file.place.document.lines(file.place.path)
            lines[f"[{number}]"] = file.place.where().line
            lines.update((f"[{number}].{name}", line) for name, line in entry.items())
    return Origin(first.file, first.line, first.column, [_value(file.place) for file in config.files], lines)


def _origin(place: Place) -> Origin:
    where = place.where()
    return Origin(where.file, where.line, where.column, _value(place), place.document.lines(place.path))


def _value(place: Place) -> Any:
    value = place.document.value
    for step in place.path:
        value = value[step]
    return _short(value)


def _short(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        import hashlib

        return f"sha256:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()}"
    return value


def _image_origin(answer: Image | Index | ImageError) -> ImageOrigin:
    if isinstance(answer, ImageError):
        return ImageOrigin("", "", "", without_passwords(answer.message))
    source = without_passwords(answer.source)
    if isinstance(answer, Index):
        return ImageOrigin("", answer.top.digest.hex, source)
    manifest, index = answer.manifest, answer.top_index
    return ImageOrigin(manifest.hex if manifest else "", index.hex if index else "", source)
