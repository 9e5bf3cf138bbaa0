"""From references to images: which source has them, and what was answered before.

Nothing here opens a socket unless a registry has to be asked; a build whose images are all known stays offline.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, cast

from kitbuild.digest import Digest, Hasher
from kitbuild.errors import ImageError, ImageNotFoundError, RuleError
from kitbuild.image import Image, ImageSource, Index, IndexName, Platform
from kitbuild.reference import Reference
from kitbuild.store import Notes

# Registries answer in some 100 ms and limit the rate; this resolves a config of ten images in one or two rounds.
_THREADS = 8
_PIECE_BYTES = 1 << 20
# FAT keeps times in steps of two seconds, the coarsest in use.
_RACY_NANOSECONDS = 2_000_000_000


NameT = TypeVar("NameT")
AnswerT = TypeVar("AnswerT", Image, Index)


class _Question(NamedTuple, Generic[AnswerT]):
    """What to ask a source for, the space and name an answer is noted under, and how to read the note."""

    reference: Reference
    note: tuple[str, str]
    ask: Callable[[ImageSource], AnswerT]
    decode: Callable[[bytes], AnswerT]


class Resolver:
    """Finds images in the given sources, then among earlier answers of registries, then in registries.

    `sources` are texts `open_source` opens, asked in their order. With `pull` registries are asked even if their
    answer is known; `offline` never asks one. One answer a reference and platform is kept for the whole run.
    `route` gives the text of a source with the way to it, over a mirror perhaps; that is nothing to note, for the
    next build may go another way.
    """

    def __init__(
        self,
        sources: Sequence[str],
        notes: Notes,
        *,
        open_source: Callable[[str], ImageSource],
        pull: bool = False,
        offline: bool = False,
        route: Callable[[str], str] = str,
    ) -> None:
        self._open_source = open_source
        self._sources = [open_source(text) for text in sources]
        self._notes = notes
        self._pull = pull
        self._offline = offline
        self._route = route
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
        return self._answers({reference: _image_question(reference, platform) for reference in references})

    def indexes(self, names: Iterable[IndexName], platform: Platform) -> dict[IndexName, Index | ImageError]:
        """For every name all of the image as it is stored; one for all platforms has to have `platform` too."""
        answers = self._answers({name: _index_question(name) for name in names})
        return {name: _with_platform(answer, platform, name) for name, answer in answers.items()}

    def _answers(self, questions: Mapping[NameT, _Question[AnswerT]]) -> dict[NameT, AnswerT | ImageError]:
        far: list[_Question[AnswerT]] = []
        for question in questions.values():
            if question.note in self._known:
                continue
            near = self._near(question)
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
        for source in self._sources:
            try:
                return question.ask(source)
            except ImageNotFoundError:
                continue
            except ImageError as error:
                return error
        reference = question.reference
        # What a digest names never changes: there is nothing to pull again.
        if not self._pull or self._offline or reference.digest:
            noted = self._notes.note(*question.note)
            if noted:
                try:
                    return question.decode(noted)
                except ValueError:
                    pass  # a note of another version, or a damaged one, is as good as none
        if self._offline:
            return ImageNotFoundError(
                f"{reference} is in none of the given sources, and registries are not asked offline",
                hint="give an image layout or archive that has it with `--images`, or build without `--offline`",
            )
        return None

    def _asked(self, questions: Sequence[_Question[AnswerT]]) -> list[AnswerT | ImageError]:
        if len(questions) < 2:
            return [self._ask(question) for question in questions]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_THREADS, len(questions))) as pool:
            return list(pool.map(self._ask, questions))

    def _ask(self, question: _Question[AnswerT]) -> AnswerT | ImageError:
        try:
            source = self._route(f"registry:{question.reference.host}")
            answer = question.ask(self._open_source(source))
        except ImageError as error:
            return error
        self._notes.keep(*question.note, answer.encode())
        return answer


def _image_question(reference: Reference, platform: Platform) -> _Question[Image]:
    return _Question(
        reference,
        ("image", f"{reference} {platform}"),
        lambda source: source.image(reference, platform),
        Image.decode,
    )


def _index_question(name: IndexName) -> _Question[Index]:
    reference, platforms = name
    return _Question(
        reference,
        ("index", " ".join(map(str, (reference, *platforms)))),
        lambda source: source.index(reference, platforms),
        Index.decode,
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


def local_file(path: Path, notes: Notes) -> Digest:
    """The digest of a file of the user's; unchanged files are not read again.

    A file counts as unchanged if size, mtime, ctime, inode and device are those noted. Raises RuleError if it
    cannot be read, is no regular file, or changes while it is read.
    """
    name = str(path.absolute())
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RuleError(f"expected a regular file, got something else: `{path}`")
        return _noted(notes.note("stat", name), status) or _hashed(path, name, notes)
    except OSError as error:
        raise RuleError(f"cannot read `{path}`: {error.strerror}") from error


def _hashed(path: Path, name: str, notes: Notes) -> Digest:
    began = time.time_ns()
    with path.open("rb", buffering=0) as stream:
        before = os.fstat(stream.fileno())
        hasher = Hasher()
        # One byte past the size tells a file that is being written, without following it for ever.
        while hasher.size <= before.st_size and (piece := stream.read(_PIECE_BYTES)):
            hasher.update(piece)
        after = os.fstat(stream.fileno())
    if hasher.size != before.st_size or _identity(before) != _identity(after):
        raise RuleError(f"`{path}` changed while it was read", hint="build again once nothing writes to it")
    digest = hasher.digest()
    # A file written a moment ago can be written again within the same tick of its clock: that would not show.
    # Its ctime says when: archives and packagers set the mtime back.
    if began - max(before.st_mtime_ns, before.st_ctime_ns) > _RACY_NANOSECONDS:
        notes.keep("stat", name, f"{_identity(before)} {digest.hex}".encode())
    return digest


def _noted(note: bytes | None, status: os.stat_result) -> Digest | None:
    if note is None:
        return None
    identity, _, hexdigits = note.decode("ascii", "replace").rpartition(" ")
    if identity != _identity(status):
        return None
    try:
        return Digest.parse(hexdigits, status.st_size)
    except ValueError:
        return None


def _identity(status: os.stat_result) -> str:
    fields = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    return " ".join(map(str, fields))
