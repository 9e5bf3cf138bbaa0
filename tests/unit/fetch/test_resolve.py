"""Resolver and local_file: who is asked for an image, and when a file is read again."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError, ImageNotFoundError, RuleError
from kitbuild.image import Descriptor, Image, ImageConfig, Index, IndexName, Layer, Platform
from kitbuild.local_file import local_file
from kitbuild.reference import Reference
from kitbuild.resolve import Resolver
from tests.support.work import MemoryNotes

AMD64 = Platform("linux", "amd64")
A, B = Reference.parse("r.example/a:v1"), Reference.parse("r.example/b:v1")
PINNED = Reference.parse(f"r.example/a@sha256:{'0' * 64}")


class World:
    """Sources by their text; each has references, or an error for everything. Notes who was asked for what."""

    def __init__(self, **sources: set[Reference] | ImageError) -> None:
        self.sources = {name.replace("_", ":", 1): has for name, has in sources.items()}
        self.asked: list[tuple[str, Reference]] = []

    def open(self, text: str) -> _Source:
        return _Source(self, text)


class _Source:
    def __init__(self, world: World, text: str) -> None:
        self._world, self._text = world, text

    def image(self, reference: Reference, platform: Platform) -> Image:
        self._world.asked.append((self._text, reference))
        has = self._world.sources.get(self._text.partition(".")[0], set())
        if isinstance(has, ImageError):
            raise has
        if reference not in has:
            raise ImageNotFoundError(f"{reference} is not in {self._text}")
        return Image(reference, self._text, platform, (), ImageConfig())

    def index(self, reference: Reference, platforms: tuple[Platform, ...]) -> Index:
        image = self.image(reference, AMD64)
        top = Descriptor("an index", Digest.of(b"index"))
        return Index(image.reference, image.source, top, platforms or (AMD64,), (top,))

    def layer(self, layer: Layer) -> AbstractContextManager[Iterator[bytes]]:
        raise NotImplementedError

    def blob(self, blob: Digest, media_type: str) -> AbstractContextManager[Iterator[bytes]]:
        raise NotImplementedError


def resolver(
    world: World, notes: MemoryNotes, *sources: str, pull: bool = False, offline: bool = False
) -> Resolver:
    return Resolver(sources, notes, open_source=world.open, pull=pull, offline=offline)


def test_sources_are_asked_in_order_before_a_registry() -> None:
    world = World(layout_1=set(), layout_2={A}, layout_3={A}, registry_r={A})

    image = resolver(world, MemoryNotes(), "layout:1", "layout:2", "layout:3").image(A, AMD64)

    assert image.source == "layout:2"
    assert world.asked == [("layout:1", A), ("layout:2", A)]


def test_an_error_of_a_source_is_not_hidden_by_the_next_one() -> None:
    world = World(layout_1=ImageError("broken"), layout_2={A})

    with pytest.raises(ImageError, match="broken"):
        resolver(world, MemoryNotes(), "layout:1", "layout:2").image(A, AMD64)


def test_a_registry_is_asked_once_for_all_builds() -> None:
    world, notes = World(registry_r={A}), MemoryNotes()

    first = resolver(world, notes).image(A, AMD64)
    second = resolver(world, notes).image(A, AMD64)

    assert first == second
    assert world.asked == [("registry:r.example", A)]


def test_pull_asks_again() -> None:
    world, notes = World(registry_r={A}), MemoryNotes()
    resolver(world, notes).image(A, AMD64)

    resolver(world, notes, pull=True).image(A, AMD64)

    assert len(world.asked) == 2


def test_pull_does_not_ask_for_what_a_digest_names() -> None:
    world, notes = World(registry_r={PINNED}), MemoryNotes()
    resolver(world, notes).image(PINNED, AMD64)

    resolver(world, notes, pull=True).image(PINNED, AMD64)

    assert len(world.asked) == 1


def test_another_platform_is_another_answer() -> None:
    world, notes = World(registry_r={A}), MemoryNotes()
    resolver(world, notes).image(A, AMD64)

    image = resolver(world, notes).image(A, Platform("linux", "arm64"))

    assert image.platform == Platform("linux", "arm64")


def test_answers_of_layouts_are_not_noted() -> None:
    notes = MemoryNotes()

    resolver(World(layout_1={A}), notes, "layout:1").image(A, AMD64)

    assert notes.kept == {}


def test_failures_are_not_noted() -> None:
    world, notes = World(registry_r=ImageError("no network")), MemoryNotes()

    with pytest.raises(ImageError, match="no network"):
        resolver(world, notes).image(A, AMD64)

    assert notes.kept == {}


def test_offline_no_registry_is_asked() -> None:
    world = World(layout_1=set(), registry_r={A})

    with pytest.raises(ImageError, match="not asked offline") as caught:
        resolver(world, MemoryNotes(), "layout:1", offline=True).image(A, AMD64)

    assert "--images" in str(caught.value.hint)
    assert world.asked == [("layout:1", A)]


@pytest.mark.parametrize("pull", [False, True])
def test_offline_an_earlier_answer_is_good_enough(pull: bool) -> None:
    world, notes = World(registry_r={A}), MemoryNotes()
    resolver(world, notes).image(A, AMD64)

    resolver(world, notes, pull=pull, offline=True).image(A, AMD64)

    assert len(world.asked) == 1


def test_a_damaged_note_is_as_good_as_none() -> None:
    world, notes = World(registry_r={A}), MemoryNotes()
    resolver(world, notes).image(A, AMD64)
    notes.kept = dict.fromkeys(notes.kept, b"damaged")

    resolver(world, notes).image(A, AMD64)

    assert len(world.asked) == 2


def test_several_answers_come_in_the_order_asked_with_failures_in_their_place() -> None:
    world = World(registry_r={B}, registry_s={A})

    answers = resolver(world, MemoryNotes()).images([B, A, B], AMD64)

    assert list(answers) == [B, A]
    assert isinstance(answers[B], Image)
    assert isinstance(answers[A], ImageNotFoundError)


def test_within_a_run_each_is_asked_for_once_even_if_it_failed() -> None:
    world = World(registry_r={B})
    resolving = resolver(world, MemoryNotes(), pull=True)

    for _ in range(2):
        resolving.images([A, B], AMD64)

    assert sorted(reference for _, reference in world.asked) == [A, B]


def write(path: Path, content: bytes, *, seconds_ago: float = 60) -> Path:
    path.write_bytes(content)
    then = time.time_ns() - int(seconds_ago * 1e9)
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the files a test writes be a minute old; nobody can set their ctime."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 60 * 10**9)


def test_a_file_has_the_digest_of_its_content(tmp_path: Path) -> None:
    path = write(tmp_path / "f", b"content")

    assert local_file(path, MemoryNotes()) == Digest.of(b"content")


@pytest.mark.usefixtures("a_minute_later")
def test_an_unchanged_file_is_not_read_again(tmp_path: Path) -> None:
    path, notes = write(tmp_path / "f", b"content"), MemoryNotes()
    local_file(path, notes)
    # Only the note can know this digest.
    notes.kept = {
        name: note.replace(Digest.of(b"content").hex.encode(), b"0" * 64) for name, note in notes.kept.items()
    }

    assert local_file(path, notes) == Digest("0" * 64, 7)


@pytest.mark.usefixtures("a_minute_later")
def test_a_changed_file_is_read_again_though_size_and_mtime_are_the_same(tmp_path: Path) -> None:
    path, notes = write(tmp_path / "f", b"content"), MemoryNotes()
    local_file(path, notes)
    status = path.stat()
    (tmp_path / "g").write_bytes(b"CONTENT")
    os.utime(tmp_path / "g", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "g").rename(path)

    assert local_file(path, notes) == Digest.of(b"CONTENT")


def test_a_file_written_a_moment_ago_is_not_trusted_later(tmp_path: Path) -> None:
    notes = MemoryNotes()

    local_file(write(tmp_path / "f", b"content", seconds_ago=1), notes)

    assert notes.kept == {}


def test_a_file_written_a_moment_ago_with_an_old_mtime_is_not_trusted_later(tmp_path: Path) -> None:
    notes = MemoryNotes()

    local_file(write(tmp_path / "f", b"content", seconds_ago=3600), notes)

    assert notes.kept == {}


@pytest.mark.usefixtures("a_minute_later")
def test_a_file_from_the_future_is_not_trusted_later(tmp_path: Path) -> None:
    notes = MemoryNotes()

    local_file(write(tmp_path / "f", b"content", seconds_ago=-3600), notes)

    assert notes.kept == {}


@pytest.mark.parametrize("note", [b"", b"damaged", b"\xff \xff"])
def test_a_damaged_note_of_a_file_is_not_used(tmp_path: Path, note: bytes) -> None:
    path, notes = write(tmp_path / "f", b"content"), MemoryNotes()
    notes.keep("stat", str(path), note)

    assert local_file(path, notes) == Digest.of(b"content")


@pytest.mark.usefixtures("a_minute_later")
def test_a_note_with_the_right_place_and_no_digest_is_not_used(tmp_path: Path) -> None:
    path, notes = write(tmp_path / "f", b"content"), MemoryNotes()
    local_file(path, notes)
    notes.kept = {name: note[:-1] for name, note in notes.kept.items()}

    assert local_file(path, notes) == Digest.of(b"content")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=r"cannot read `.*/f`: No such file"):
        local_file(tmp_path / "f", MemoryNotes())


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="expected a regular file"):
        local_file(tmp_path, MemoryNotes())


def test_a_file_that_says_it_is_empty_and_is_not_is_refused() -> None:
    # Files of /proc have size 0 and content.
    with pytest.raises(RuleError, match="changed while it was read"):
        local_file(Path("/proc/self/status"), MemoryNotes())


def test_a_registry_is_asked_once_for_all_of_an_image_and_once_for_the_image() -> None:
    world, notes = World(registry_r={A}), MemoryNotes()
    name = IndexName(A)

    first = resolver(world, notes).indexes([name], AMD64)
    again = resolver(world, notes).indexes([name], AMD64)
    resolver(world, notes).image(A, AMD64)

    assert first == again
    assert world.asked == [("registry:r.example", A)] * 2


def test_all_platforms_of_an_image_have_to_be_among_them_the_systems_own() -> None:
    arm = Platform("linux", "arm64")
    every, chosen = IndexName(A), IndexName(A, (AMD64,))

    found = resolver(World(layout_1={A}), MemoryNotes(), "layout:1").indexes([every, chosen], arm)

    assert "expected an image for linux/arm64, got linux/amd64" in str(found[every])
    assert isinstance(found[chosen], Index)
