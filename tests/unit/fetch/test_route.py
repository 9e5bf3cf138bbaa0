"""Routes: which mirror a registry has, and how that is written behind a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest

from kitbuild.digest import Digest
from kitbuild.errors import ImageError
from kitbuild.image import Descriptor, Image, ImageConfig, Index, IndexName, Layer, Platform
from kitbuild.reference import Reference
from kitbuild.resolve import Resolver
from kitbuild.rules.fetch import open_source
from kitbuild.rules.fetch.route import Route, Routes, split
from tests.support.work import MemoryNotes

AMD64 = Platform("linux", "amd64")
NAME = Reference.parse("r.example/a:v1")


def test_only_registries_have_a_route() -> None:
    routes = Routes({"*": "http://m.example"}, ("/a.pem",))

    assert routes.routed("layout:/images") == "layout:/images"
    assert routes.routed("archive:/a b.tar") == "archive:/a b.tar"


@pytest.mark.parametrize(
    ("source", "mirror"),
    [
        ("registry:docker.io", "http://hub.example/h"),
        ("registry:docker.io/library/redis", "http://hub.example/h"),
        ("registry:quay.example", "https://others.example"),
        ("registry:docker.io.example/a", "https://others.example"),
    ],
)
def test_registry_has_its_own_mirror_or_that_of_all_others(source: str, mirror: str) -> None:
    routes = Routes({"docker.io": "http://hub.example/h", "*": "https://others.example"})

    assert split(routes.routed(source)) == (source, Route(mirror))


def test_registry_without_a_mirror_is_reached_plainly() -> None:
    assert (
        Routes({"docker.io": "http://hub.example"}).routed("registry:quay.example/a")
        == "registry:quay.example/a"
    )


@pytest.mark.parametrize("path", ["/a.pem", "/my certs/100%.pem", "/a%20b.pem", "/mirror=x cert-file=y"])
def test_paths_of_certificates_come_back_as_they_were(path: str) -> None:
    routes = Routes({"r.example": "https://m.example"}, (path, "/other.pem"))

    text = routes.routed("registry:r.example/a")

    assert split(text) == ("registry:r.example/a", Route("https://m.example", (path, "/other.pem")))


def test_there_is_no_way_to_a_registry_offline() -> None:
    text = Routes({"*": "https://m.example"}, ("/a.pem",), offline=True).routed("registry:r.example/a")

    assert split(text) == ("registry:r.example/a", Route(offline=True))
    with pytest.raises(
        ImageError, match=r"from the registry r\.example, and registries are not asked offline"
    ):
        open_source(text)


class Source:
    """A registry that has everything, as the real one names it: without the route."""

    def image(self, reference: Reference, platform: Platform) -> Image:
        return Image(reference, f"registry:{reference.host}/{reference.path}", platform, (), ImageConfig())

    def index(self, reference: Reference, platforms: tuple[Platform, ...]) -> Index:
        top = Descriptor("an index", Digest.of(b"index"))
        return Index(reference, f"registry:{reference.host}/{reference.path}", top, (AMD64,), (top,))

    def layer(self, layer: Layer) -> AbstractContextManager[Iterator[bytes]]:
        raise NotImplementedError

    def blob(self, blob: Digest, media_type: str) -> AbstractContextManager[Iterator[bytes]]:
        raise NotImplementedError


def test_registry_is_asked_and_its_layers_are_fetched_over_the_route_which_is_not_noted() -> None:
    opened: list[str] = []

    def open_source(text: str) -> Source:
        opened.append(text)
        return Source()

    notes = MemoryNotes()
    routes = Routes({"*": "http://one"})
    first = Resolver([], notes, open_source=open_source, route=routes.routed)
    second = Resolver([], notes, open_source=open_source)
    other = Resolver([], notes, open_source=open_source, route=Routes({"*": "http://two"}).routed)

    assert first.image(NAME, AMD64).source == "registry:r.example/a mirror=http://one"
    assert first.indexes([IndexName(NAME)], AMD64)[IndexName(NAME)] == Index(
        NAME,
        "registry:r.example/a mirror=http://one",
        Descriptor("an index", Digest.of(b"index")),
        (AMD64,),
        (Descriptor("an index", Digest.of(b"index")),),
    )
    assert second.image(NAME, AMD64).source == "registry:r.example/a"
    assert other.image(NAME, AMD64).source == "registry:r.example/a mirror=http://two"
    assert opened == ["registry:r.example mirror=http://one"] * 2
