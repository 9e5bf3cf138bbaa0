"""Lock is what the names in a config led to when they were last looked up: digests for every reference.

    {
      "about": "written by `kitbuild lock`; `kitbuild update` moves what is in it",
      "version": 1,
      "configs": {"https://example.com/base.yml": "sha256:HEX SIZE"},
      "images": {
        "docker.io/library/redis:7": {
          "index": "sha256:HEX SIZE",
          "platforms": {
            "linux/amd64": {
              "manifest": "sha256:HEX SIZE",
              "config": "sha256:HEX SIZE",
              "layers": ["sha256:HEX SIZE", ...],
              "sboms": ["sha256:HEX SIZE", ...]
            }
          }
        }
      },
      "loaders": {"syslinux": {"amd64": ["package:PATH.deb@sha256:HEX", ...]}},
      "volumes": {"docker.io/library/redis:7 linux/amd64": {"index": "sha256:HEX SIZE", "blobs": [...]}}
    }

JSON, names sorted, one line a thing, what is empty left out; equal locks are equal bytes. An image out of an
archive of `docker save` has no manifest and no stored layers: it has `diff_ids` in their place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from kitbuild.digest import Digest
from kitbuild.image import Image, Index, IndexName, Platform
from kitbuild.reference import Reference

VERSION = 1
ABOUT = "written by `kitbuild lock`; `kitbuild update` moves what is in it"
MAX_BYTES = 4 << 20  # some thousand images; more is a mistaken file
_MOST_PROBLEMS = 100

_DIGEST = re.compile(r"sha256:([0-9a-f]{64}) (0|[1-9][0-9]{0,15})\Z")
_PLATFORM = re.compile(r"[a-z0-9]+/[a-z0-9_]+(?:/[a-z0-9.]+)?\Z")
# Compiled by whoever meets them: most locks have none of these, and every build pays for what is compiled here.
_DIFF_ID = r"sha256:([0-9a-f]{64})\Z"
_PACKAGE = r"package:(?!.*\.\.)(?:[\w.+~%-]+/)*[\w.+~%-]+\.deb@sha256:[0-9a-f]{64}\Z"
_WORD = r"[a-z0-9][a-z0-9_-]*\Z"
_URL = r"https?://[^\s@?#]+\Z"
_AGAIN = "mend it, or take the entry out and run `kitbuild lock`, which adds what is missing"

ValueT = TypeVar("ValueT")
# From the top to something inside.
_Way = tuple[str | int, ...]


class LockedImage(NamedTuple):
    """One image for one platform. Without a `manifest` it is known by its config and `diff_ids` (hex) alone."""

    config: Digest
    layers: tuple[Digest, ...] = ()
    manifest: Digest | None = None
    sboms: tuple[Digest, ...] = ()
    diff_ids: tuple[str, ...] = ()


class LockedName(NamedTuple):
    """What one reference led to: its index, if it has one, and the images by platform ("linux/amd64")."""

    top_index: Digest | None
    platforms: Mapping[str, LockedImage]

    @property
    def top(self) -> Digest | None:
        """What the tag named: the index, else the only manifest; None for an image of `docker save`."""
        return self.top_index or next((image.manifest for image in self.platforms.values()), None)


class LockedVolume(NamedTuple):
    """An image that is carried along as it is stored: its index (or only manifest), and all it consists of."""

    top: Digest
    blobs: tuple[Digest, ...]


class Lock(NamedTuple):
    """All of a lock; see the module for the names under which things stand.

    `loaders` are the sources of boot loaders by name and architecture, written as `--boot-loader` takes them.
    """

    configs: Mapping[str, Digest] = {}
    images: Mapping[str, LockedName] = {}
    loaders: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
    volumes: Mapping[str, LockedVolume] = {}

    def image(self, reference: Reference, platform: Platform) -> LockedImage | None:
        """The image of a reference for a platform, if it is locked."""
        name = self.images.get(str(reference))
        return name.platforms.get(str(platform)) if name else None

    def volume(self, name: IndexName) -> LockedVolume | None:
        """The stored image of a volume, if it is locked."""
        return self.volumes.get(volume_name(name))

    def encode(self) -> bytes:
        """The lock as text; see the module."""
        sections: dict[str, dict[str, Any]] = {
            "configs": {name: _digest(digest) for name, digest in self.configs.items()},
            "images": {name: _name(entry) for name, entry in self.images.items()},
            "loaders": {
                name: {where: list(sources) for where, sources in sorted(by_architecture.items())}
                for name, by_architecture in self.loaders.items()
            },
            "volumes": {name: _volume(entry) for name, entry in self.volumes.items()},
        }
        document = {"about": ABOUT, "version": VERSION} | {
            title: dict(sorted(section.items())) for title, section in sections.items() if section
        }
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def volume_name(name: IndexName) -> str:
    """What a stored image is called in a lock: its reference, then the platforms if not all are wanted."""
    return " ".join(map(str, (name.reference, *name.platforms)))


def locked_image(image: Image) -> LockedImage:
    """What a lock holds of an image."""
    assert image.config_digest is not None, "images out of sources know their configs"
    if image.manifest is None:
        return LockedImage(image.config_digest, diff_ids=tuple(layer.diff_id for layer in image.layers))
    return LockedImage(
        image.config_digest,
        tuple(layer.blob for layer in image.layers if layer.blob is not None),
        image.manifest,
        tuple(sbom.digest for sbom in image.sboms),
    )


def locked_volume(index: Index) -> LockedVolume:
    """What a lock holds of an image as it is stored."""
    return LockedVolume(index.top.digest, tuple(blob.digest for blob in index.blobs))


def _digest(digest: Digest) -> str:
    return f"{digest.oci} {digest.size}"


def _name(name: LockedName) -> dict[str, Any]:
    platforms = {platform: _image(image) for platform, image in sorted(name.platforms.items())}
    index = {"index": _digest(name.top_index)} if name.top_index else {}
    return {**index, "platforms": platforms}


def _image(image: LockedImage) -> dict[str, Any]:
    if image.manifest is None:
        return {"config": _digest(image.config), "diff_ids": [f"sha256:{text}" for text in image.diff_ids]}
    document: dict[str, Any] = {"manifest": _digest(image.manifest), "config": _digest(image.config)}
    document["layers"] = [_digest(layer) for layer in image.layers]
    if image.sboms:
        document["sboms"] = [_digest(sbom) for sbom in image.sboms]
    return document


def _volume(volume: LockedVolume) -> dict[str, Any]:
    return {"index": _digest(volume.top), "blobs": [_digest(blob) for blob in volume.blobs]}


class LockProblem(NamedTuple):
    """One thing wrong in a lock, with the way to it from the top; `at_key` if it is the key that is wrong."""

    path: _Way
    message: str
    hint: str = _AGAIN
    at_key: bool = False


class LockProblemsError(ValueError):
    """All that is wrong in a lock, in its order."""

    def __init__(self, problems: Iterable[LockProblem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problem.message for problem in self.problems))


def decode(content: bytes) -> Lock:
    """Reads what `Lock.encode` wrote, however it is laid out.

    Raises LockProblemsError with all that is wrong, json.JSONDecodeError for what is no JSON, UnicodeDecodeError.
    """
    reading = _Reading()
    try:
        document = json.loads(content.decode("utf-8"), object_pairs_hook=reading.mapping)
    except RecursionError:
        raise LockProblemsError([LockProblem((), "expected a lock, got lists in lists in lists")]) from None
    lock = reading.lock(document)
    if reading.problems:
        raise LockProblemsError(reading.problems)
    return lock


class _Reading:
    """Makes values out of JSON and collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[LockProblem] = []
        # A key given twice is what a merge leaves behind that went wrong; JSON would let the last one count.
        self._twice: dict[int, tuple[dict[str, Any], list[str]]] = {}

    def mapping(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """A JSON object; keys given twice are noted."""
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = [name for name in found if names.count(name) > 1]
            self._twice[id(found)] = (found, twice)
        return found

    def lock(self, document: Any) -> Lock:
        """The whole."""
        top = self._mapping(document, (), ("about", "version", *Lock._fields))
        version = top.get("version")
        if isinstance(document, dict) and (type(version) is not int or version != VERSION):
            newer = isinstance(version, int) and version > VERSION
            hint = "use the version of kitbuild that wrote it, or a later one" if newer else _AGAIN
            # Whatever else is in it follows other rules.
            self.problems = [
                LockProblem(
                    ("version",), f"expected a lock of version {VERSION}, got {_shown(version)}", hint
                )
            ]
            return Lock()
        return Lock(
            self._each(top, "configs", self._digest, named=self._url),
            self._each(top, "images", self._name, named=self._reference),
            self._each(top, "loaders", self._loader, named=self._word),
            self._each(top, "volumes", self._volume, named=self._volume_name),
        )

    def _add(self, path: _Way, message: str, *, hint: str = _AGAIN, at_key: bool = False) -> None:
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(LockProblem(path, message, hint, at_key))

    def _check_key(self, path: _Way, wrong: str) -> None:
        if wrong:
            self._add(path, wrong, at_key=True)

    def _mapping(self, value: Any, path: _Way, known: tuple[str, ...] | None = None) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._add(path, f"expected an object, got {_kind(value)}")
            return {}
        for name in self._twice.get(id(value), (value, []))[1]:
            self._add((*path, name), f"expected each name once, got `{name}` again", at_key=True)
        for name in value if known else ():
            if known and name not in known:
                expected = ", ".join(f"`{one}`" for one in known)
                self._add((*path, name), f"expected one of {expected}, got `{name}`", at_key=True)
        return value

    def _each(
        self,
        top: dict[str, Any],
        section: str,
        read: Callable[[Any, _Way], ValueT | None],
        *,
        named: Callable[[str], str],
    ) -> dict[str, ValueT]:
        values: dict[str, ValueT] = {}
        for name, entry in self._mapping(top.get(section, {}), (section,)).items():
            self._check_key((section, name), named(name))
            found = read(entry, (section, name))
            if found is not None:
                values[name] = found
        return values

    def _digest(self, value: Any, path: _Way) -> Digest | None:
        match = _DIGEST.match(value) if isinstance(value, str) else None
        if match is None:
            self._add(path, f"expected sha256:, 64 hex digits and a size in bytes, got {_shown(value)}")
            return None
        return Digest(match[1], int(match[2]))

    def _digests(self, value: Any, path: _Way) -> tuple[Digest, ...]:
        found = [self._digest(item, (*path, number)) for number, item in enumerate(self._list(value, path))]
        return tuple(digest for digest in found if digest is not None)

    def _list(self, value: Any, path: _Way) -> list[Any]:
        if not isinstance(value, list):
            self._add(path, f"expected a list, got {_kind(value)}")
            return []
        return value

    def _needed(self, entry: dict[str, Any], path: _Way, name: str) -> Digest | None:
        if name not in entry:
            self._add(path, f"expected `{name}`, got none")
            return None
        return self._digest(entry[name], (*path, name))

    def _name(self, value: Any, path: _Way) -> LockedName | None:
        entry = self._mapping(value, path, ("index", "platforms"))
        index = self._needed(entry, path, "index") if "index" in entry else None
        platforms: dict[str, LockedImage] = {}
        inner = (*path, "platforms")
        for platform, image in self._mapping(entry.get("platforms", {}), inner).items():
            self._check_key((*inner, platform), self._platform(platform))
            found = self._image(image, (*inner, platform))
            if found is not None:
                platforms[platform] = found
        manifests = {image.manifest for image in platforms.values()}
        if index is None and len(manifests) > 1:
            self._add(path, f"expected an `index`, for there are {len(manifests)} manifests, got none")
        return LockedName(index, platforms)

    def _image(self, value: Any, path: _Way) -> LockedImage | None:
        saved = isinstance(value, dict) and "diff_ids" in value
        known = ("config", "diff_ids") if saved else ("manifest", "config", "layers", "sboms")
        entry = self._mapping(value, path, known)
        if not isinstance(value, dict):
            return None
        config = self._needed(entry, path, "config")
        if saved:
            texts = self._list(entry["diff_ids"], (*path, "diff_ids"))
            for number, text in enumerate(texts):
                if not (isinstance(text, str) and re.match(_DIFF_ID, text)):
                    self._add(
                        (*path, "diff_ids", number),
                        f"expected sha256: and 64 hex digits, got {_shown(text)}",
                    )
            diff_ids = tuple(str(text).removeprefix("sha256:") for text in texts)
            return LockedImage(config, diff_ids=diff_ids) if config else None
        manifest = self._needed(entry, path, "manifest")
        if "layers" not in entry:
            self._add(path, "expected `layers`, got none")
        layers = self._digests(entry.get("layers", []), (*path, "layers"))
        sboms = self._digests(entry.get("sboms", []), (*path, "sboms"))
        return LockedImage(config, layers, manifest, sboms) if config and manifest else None

    def _volume(self, value: Any, path: _Way) -> LockedVolume | None:
        entry = self._mapping(value, path, ("index", "blobs"))
        index = self._needed(entry, path, "index") if isinstance(value, dict) else None
        blobs = self._digests(entry.get("blobs", []), (*path, "blobs"))
        return LockedVolume(index, blobs) if index else None

    def _loader(self, value: Any, path: _Way) -> dict[str, tuple[str, ...]] | None:
        found: dict[str, tuple[str, ...]] = {}
        for architecture, sources in self._mapping(value, path).items():
            inner = (*path, architecture)
            self._check_key(inner, self._word(architecture))
            for number, source in enumerate(self._list(sources, inner)):
                self._source(source, (*inner, number))
            found[architecture] = tuple(map(str, sources if isinstance(sources, list) else ()))
        return found

    def _source(self, source: Any, path: _Way) -> None:
        text = source if isinstance(source, str) else ""
        kind, _, rest = text.partition(":")
        if kind == "image" and not self._reference(rest):
            return
        if not re.match(_PACKAGE, text):
            what = "image:REFERENCE or package:PATH.deb@sha256:HEX"
            self._add(path, f"expected {what}, got {_shown(source)}")

    def _reference(self, text: str) -> str:
        """What is wrong with a name, or nothing."""
        try:
            reference = str(Reference.parse(text))
        except ValueError as error:
            return str(error)
        return "" if reference == text else f"expected the whole name `{reference}`, got {_shown(text)}"

    def _volume_name(self, text: str) -> str:
        name, *platforms = text.split(" ")
        return next(filter(None, map(self._platform, platforms)), "") or self._reference(name)

    def _platform(self, text: str) -> str:
        return "" if _PLATFORM.match(text) else f"expected a platform such as linux/amd64, got {_shown(text)}"

    def _word(self, text: str) -> str:
        return "" if re.match(_WORD, text) else f"expected a name of a-z, 0-9 and `-`, got {_shown(text)}"

    def _url(self, text: str) -> str:
        if re.match(_URL, text):
            return ""
        return f"expected the address of a config without password or query, got {_shown(text)}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f"`{value}`" if len(value) <= 100 else f"`{value[:100]}...`"
    return _kind(value)


def _kind(value: Any) -> str:
    if type(value) is int:
        return str(value) if -1000 < value < 1000 else "a number"
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a truth"}
    return "null" if value is None else kinds.get(type(value), "a number")
