"""From references to images: which source has them, and what was answered before.

Nothing here opens a socket unless a registry has to be asked; a build whose images are all known stays offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar, cast

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError
from kitbuild.image import Image, ImageSource, Index, IndexName, Platform
from kitbuild.reference import Reference
from kitbuild.store import Notes

if TYPE_CHECKING:
    from kitbuild.lock import Lock, LockedImage, LockedName, LockedVolume

# Registries answer in some 100 ms and limit the rate; this resolves a config of ten images in one or two rounds.
_THREADS = 8


NameT = TypeVar("NameT")
AnswerT = TypeVar("AnswerT", Image, Index)


class Pins(NamedTuple):
    """What is not to be looked up by name any more, and how it is read out of a source by its digests.

    `name` is that of the lock's file, for messages. `image` and `stored` take the source, what is asked for, how the
    source is written, and what the lock says; `agreeing` checks an image against it; `holds` says whether a source
    near by has all of some blobs.
    """

    lock: Lock
    name: str
    image: Callable[[ImageSource, tuple[Reference, Platform, str], LockedName, LockedImage], Image]
    stored: Callable[[ImageSource, IndexName, str, LockedVolume], Index]
    agreeing: Callable[[Image, LockedImage], Image]
    holds: Callable[[ImageSource, Iterable[Digest]], bool]


class _Question(NamedTuple, Generic[AnswerT]):
    """What to ask a source (and its text) for, the space and name an answer is noted under, how to read the note.

    `pinned` says for what a lock names which content it is, `blobs` what a source must have to bring it.
    """

    reference: Reference
    note: tuple[str, str]
    ask: Callable[[ImageSource, str], AnswerT]
    decode: Callable[[bytes], AnswerT]
    pinned: str = ""
    blobs: Callable[[AnswerT], Iterable[Digest]] = lambda _: ()
    by_name: Callable[[ImageSource], Image | Index] | None = None


class Resolver:
    """Finds images in the given sources, then among earlier answers of registries, then in registries.

    `sources` are texts `open_source` opens, asked in their order. With `pull` registries are asked even if their
    answer is known; `offline` never asks one. One answer a reference and platform is kept for the whole run.
    `route` gives the text of a source with the way to it, over a mirror perhaps; that is nothing to note, for the
    next build may go another way. What is in `pins` is found by its digests, and nothing else will do.
    """

    def __init__(  # noqa: PLR0913 - all that a search depends on, and none of it belongs together
        self,
        sources: Sequence[str],
        notes: Notes,
        *,
        open_source: Callable[[str], ImageSource],
        pull: bool = False,
        offline: bool = False,
        route: Callable[[str], str] = str,
        pins: Pins | None = None,
    ) -> None:
        self._open_source = open_source
        self._sources = [(open_source(text), text) for text in sources]
        self._notes = notes
        self._pull = pull
        self._offline = offline
        self._route = route
        self._pins = pins
        self._known: dict[tuple[str, str], Image | Index | ImageError] = {}

    def image(self, reference: Reference, platform: Platform) -> Image:
        """The image of this name; raises ImageError if no source has it or its source cannot be used."""
        answer = self.images([reference], platform)[reference]
        if isinstance(answer, ImageError):
            raise answer
        return answer

    def images(
        self, references: Iterable[Reference], platform: Platform
    ) -> dict[Reference, Image | ImageError]:
        """For every reference, in order, its image or why there is none. Registries are asked in parallel."""
        return self._answers(
            {reference: self._image_question(reference, platform) for reference in references}
        )

    def indexes(self, names: Iterable[IndexName], platform: Platform) -> dict[IndexName, Index | ImageError]:
        """For every name all of the image as it is stored; one for all platforms has to have `platform` too."""
        answers = self._answers({name: self._index_question(name) for name in names})
        return {name: _with_platform(answer, platform, name) for name, answer in answers.items()}

    def _image_question(self, reference: Reference, platform: Platform) -> _Question[Image]:
        locked = self._pins.lock.image(reference, platform) if self._pins else None
        if self._pins is None or locked is None:
            return _image_question(reference, platform)
        return _locked_image_question(reference, platform, pins=self._pins, locked=locked)

    def _index_question(self, name: IndexName) -> _Question[Index]:
        locked = self._pins.lock.volume(name) if self._pins else None
        if self._pins is None or locked is None:
            return _index_question(name)
        return _locked_index_question(name, pins=self._pins, locked=locked)

    def _answers(self, questions: Mapping[NameT, _Question[AnswerT]]) -> dict[NameT, AnswerT | ImageError]:
        far: list[_Question[AnswerT]] = []
        for question in questions.values():
            if question.note in self._known:
                continue
            near = self._near_pinned(question) if question.pinned else self._near(question)
            if near is None:
                far.append(question)
            else:
                self._known[question.note] = near
        for question, answer in zip(far, self._asked(far), strict=True):
            self._known[question.note] = answer
        # Only an answer to the same question is kept under its note.
        return {
            name: self._routed(cast("AnswerT | ImageError", self._known[question.note]))
            for name, question in questions.items()
        }

    def _routed(self, answer: AnswerT | ImageError) -> AnswerT | ImageError:
        if isinstance(answer, ImageError):
            return answer
        return answer._replace(source=self._route(answer.source))

    def _near(self, question: _Question[AnswerT]) -> AnswerT | ImageError | None:
        """The answer that needs no registry."""
        for source, text in self._sources:
            try:
                return question.ask(source, text)
            except ImageNotFoundError:
                continue
            except ImageError as error:
                return error
        reference = question.reference
        # What a digest names never changes: there is nothing to pull again.
        if not self._pull or self._offline or reference.digest:
            noted = self._noted(question)
            if noted is not None:
                return noted
        if self._offline:
            return ImageNotFoundError(
                f"{reference} is in none of the given sources, and registries are not asked offline",
                hint="give an image layout or archive that has it with `--images`, or build without `--offline`",
            )
        return None

    def _near_pinned(self, question: _Question[AnswerT]) -> AnswerT | ImageError | None:
        """The same for what is locked: what was read once under these digests need not be read again."""
        try:
            noted = self._noted(question)
            if noted is not None:
                return self._placed(noted, question)
            for source, text in self._sources:
                try:
                    answer = question.ask(source, text)
                except ImageNotFoundError:
                    continue
                if any(True for _ in question.blobs(answer)):
                    self._notes.keep(*question.note, answer.encode())
                return self._placed(answer, question)
        except ImageError as error:
            return error
        return self._otherwise(question) if self._offline else None

    def _placed(self, answer: AnswerT, question: _Question[AnswerT]) -> AnswerT:
        """The answer with the first source that has all of it, which need not be the one it was read from."""
        blobs = tuple(question.blobs(answer))
        if self._pins is None or not blobs:
            return answer
        for source, text in self._sources:
            if self._pins.holds(source, blobs):
                return answer._replace(source=text)
        return answer._replace(source=_repository(question.reference))

    def _noted(self, question: _Question[AnswerT]) -> AnswerT | None:
        noted = self._notes.note(*question.note)
        try:
            return question.decode(noted) if noted else None
        except ValueError:
            return None  # a note of another version, or a damaged one, is as good as none

    def _asked(self, questions: Sequence[_Question[AnswerT]]) -> list[AnswerT | ImageError]:
        if len(questions) < 2:
            return [self._ask(question) for question in questions]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_THREADS, len(questions))) as pool:
            return list(pool.map(self._ask, questions))

    def _ask(self, question: _Question[AnswerT]) -> AnswerT | ImageError:
        reference = question.reference
        text = _repository(reference) if question.pinned else f"registry:{reference.host}"
        try:
            answer = question.ask(self._open_source(self._route(text)), text)
        except ImageNotFoundError as error:
            return self._otherwise(question) if question.pinned else error
        except ImageError as error:
            return self._otherwise(question, error) if question.pinned else error
        self._notes.keep(*question.note, answer.encode())
        return answer

    def _otherwise(self, question: _Question[AnswerT], failure: ImageError | None = None) -> ImageError:
        """Why what is locked cannot be had: another content is there under its name, or none."""
        assert self._pins is not None, "only a lock pins"
        expected = f"{question.reference}: expected {question.pinned} as in {self._pins.name}"
        hint = f"take what is there now with `kitbuild update {question.reference}`, or bring the locked one back"
        for source, text in self._sources:
            try:
                there = question.by_name(source) if question.by_name else None
            except ImageError:
                continue
            # The same content, if only something that belongs to it is not there.
            if there is not None and _top_of(there) != question.pinned:
                return ImageError(f"{expected}, got {_top_of(there)} in {text.partition(':')[2]}", hint=hint)
        if failure is not None:
            return failure
        if self._offline:
            return ImageNotFoundError(
                f"{expected}, which none of the given sources has, and registries are not asked offline",
                hint="give an image layout or archive that has it with `--images`, or build without `--offline`",
            )
        return ImageNotFoundError(
            f"{expected}, which the registry {question.reference.host} does not have (any more)", hint=hint
        )


def _repository(reference: Reference) -> str:
    return f"registry:{reference.host}/{reference.path}"


def _top_of(answer: Image | Index) -> str:
    if isinstance(answer, Index):
        return answer.top.digest.oci
    top = answer.top_index or answer.manifest
    if top or answer.config_digest is None:
        return top.oci if top else "an image without a manifest"
    return f"one with {answer.config_digest.oci}"


def _image_question(reference: Reference, platform: Platform) -> _Question[Image]:
    return _Question(
        reference,
        ("image", f"{reference} {platform}"),
        lambda source, _: source.image(reference, platform),
        Image.decode,
    )


def _locked_image_question(
    reference: Reference, platform: Platform, *, pins: Pins, locked: LockedImage
) -> _Question[Image]:
    name = pins.lock.images[str(reference)]
    top = name.top_index or locked.manifest
    which = (name.top_index or locked.config).hex

    def ask(source: ImageSource, text: str) -> Image:
        return pins.image(source, (reference, platform, text), name, locked)

    def decode(content: bytes) -> Image:
        image = Image.decode(content)
        # Out of an archive of `docker save` it is found by a name, wherever that is today: it is looked for again.
        if not locked.manifest or image.manifest is None:
            raise ValueError("expected an image with a manifest")
        try:
            return pins.agreeing(image, locked)
        except ImageNotFoundError as error:
            raise ValueError("expected an image with its SBOMs") from error

    return _Question(
        reference,
        ("locked", f"{(locked.manifest or locked.config).hex} {which} {reference} {platform}"),
        ask,
        decode,
        top.oci if top else f"an image with the config {locked.config.oci}",
        lambda image: _blobs_of(image) if locked.manifest else (),
        lambda source: source.image(reference, platform),
    )


def _blobs_of(image: Image) -> Iterable[Digest]:
    # One without layers still has a config.
    config = (image.config_digest,) if image.config_digest else ()
    return (
        *config,
        *(layer.blob for layer in image.layers if layer.blob),
        *(one.digest for one in image.sboms),
    )


def _index_question(name: IndexName) -> _Question[Index]:
    reference, platforms = name
    return _Question(
        reference,
        ("index", " ".join(map(str, (reference, *platforms)))),
        lambda source, _: source.index(reference, platforms),
        Index.decode,
    )


def _locked_index_question(name: IndexName, *, pins: Pins, locked: LockedVolume) -> _Question[Index]:
    from kitbuild.lock import volume_name

    return _Question(
        name.reference,
        ("locked", f"{locked.top.hex} {volume_name(name)}"),
        lambda source, text: pins.stored(source, name, text, locked),
        Index.decode,
        locked.top.oci,
        lambda index: (blob.digest for blob in index.blobs),
        lambda source: source.index(*name),
    )


def _with_platform(answer: Index | ImageError, platform: Platform, name: IndexName) -> Index | ImageError:
    # LinuxKit asks for this: a volume nobody in the system can run is most likely a mistake.
    if (
        isinstance(answer, ImageError)
        or name.platforms
        or any(one.fits(platform) for one in answer.platforms)
    ):
        return answer
    there = ", ".join(map(str, answer.platforms)) or "none at all"
    return ImageError(
        f"{name.reference}: expected an image for {platform}, got {there}",
        hint="say with `platforms` which ones are wanted, or choose another architecture or image",
    )
