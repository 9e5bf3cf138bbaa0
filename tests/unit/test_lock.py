"""Lock: what is written is read again, the same bytes every time, and everything wrong is found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitbuild.digest import Digest
from kitbuild.image import Descriptor, Image, ImageConfig, Index, IndexName, Layer, Platform
from kitbuild.lock import (
    Lock,
    LockedImage,
    LockedName,
    LockedVolume,
    LockProblemsError,
    decode,
    locked_image,
    locked_volume,
    volume_name,
)
from kitbuild.reference import Reference

ValueT = TypeVar("ValueT")

AMD64 = Platform("linux", "amd64")
A = Reference.parse("r.example/a:v1")
ONE, TWO, THREE = (Digest.of(text) for text in (b"1", b"22", b"333"))

hexes = st.integers(0, 2**256 - 1).map("{:064x}".format)
digests = st.builds(Digest, hexes, st.integers(0, 1 << 40))
words = st.text("abcxyz019", min_size=1, max_size=4)
references = st.builds(
    lambda host, path, tag: str(Reference(f"{host}.example", path, tag)), words, words, words
)
platforms = st.sampled_from(["linux/amd64", "linux/arm64", "linux/arm/v7"])
stored = st.builds(
    LockedImage,
    digests,
    st.lists(digests, max_size=3).map(tuple),
    digests,
    st.lists(digests, max_size=2).map(tuple),
    st.just(()),
)
saved = st.builds(
    lambda config, diff_ids: LockedImage(config, diff_ids=tuple(diff_ids)),
    digests,
    st.lists(hexes, max_size=3),
)
names = st.builds(
    LockedName, digests, st.dictionaries(platforms, st.one_of(stored, saved), max_size=3)
) | st.builds(LockedName, st.none(), st.dictionaries(platforms, stored, max_size=1))
packages = st.builds("package:pool/{}_1+b1.deb@sha256:{}".format, words, hexes)
sources = st.lists(packages | references.map("image:{}".format), max_size=2).map(tuple)
locks = st.builds(
    Lock,
    configs=st.dictionaries(words.map("https://x.example/{}.yml".format), digests, max_size=2),
    images=st.dictionaries(references, names, max_size=4),
    loaders=st.dictionaries(words, st.dictionaries(words, sources, max_size=2), max_size=2),
    volumes=st.dictionaries(
        st.builds("{} {}".format, references, platforms) | references,
        st.builds(LockedVolume, digests, st.lists(digests, max_size=3).map(tuple)),
        max_size=2,
    ),
)


def problems_of(document: Any) -> list[tuple[tuple[str | int, ...], str]]:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(LockProblemsError) as caught:
        decode(content)
    return [(problem.path, problem.message) for problem in caught.value.problems]


def turned(section: Mapping[str, ValueT]) -> dict[str, ValueT]:
    return dict(reversed(list(section.items())))


def text_of(digest: Digest) -> str:
    return f"{digest.oci} {digest.size}"


@settings(max_examples=40)
@given(locks)
def test_what_is_written_is_read_again(lock: Lock) -> None:
    assert decode(lock.encode()) == lock


@settings(max_examples=40)
@given(locks)
def test_equal_locks_are_equal_bytes_however_they_came_about(lock: Lock) -> None:
    backwards = Lock(turned(lock.configs), turned(lock.images), turned(lock.loaders), turned(lock.volumes))

    assert backwards.encode() == lock.encode()


def test_a_lock_is_text_with_one_thing_a_line() -> None:
    image = LockedImage(ONE, (TWO, THREE), THREE)
    lock = Lock(images={str(A): LockedName(None, {"linux/amd64": image})})

    lines = lock.encode().decode().splitlines()

    assert lines[:3] == [
        "{",
        '  "about": "written by `kitbuild lock`; `kitbuild update` moves what is in it",',
        '  "version": 1,',
    ]
    assert sum("sha256:" in line for line in lines) == 4
    assert all(line.count("sha256:") < 2 for line in lines)


def test_a_lock_knows_images_and_volumes_by_their_names() -> None:
    image = LockedImage(ONE, (), TWO)
    name = IndexName(A, (AMD64,))
    volume = LockedVolume(THREE, ())
    lock = Lock(
        images={str(A): LockedName(None, {"linux/amd64": image})}, volumes={volume_name(name): volume}
    )

    assert lock.image(A, AMD64) == image
    assert lock.image(A, Platform("linux", "arm64")) is None
    assert lock.image(A._replace(tag="v2"), AMD64) is None
    assert lock.volume(name) == volume
    assert lock.volume(IndexName(A)) is None
    assert LockedName(ONE, {}).top == ONE
    assert lock.images[str(A)].top == TWO


def test_an_image_is_locked_with_all_its_digests() -> None:
    image = Image(
        A,
        "layout:/x",
        AMD64,
        (Layer("d" * 64, "tar", TWO),),
        ImageConfig(),
        THREE,
        sboms=(Descriptor("bill", ONE),),
        config_digest=ONE,
    )

    assert locked_image(image) == LockedImage(ONE, (TWO,), THREE, (ONE,))
    assert locked_image(
        image._replace(manifest=None, layers=(Layer("d" * 64, "tar", None, "x"),), sboms=())
    ) == LockedImage(ONE, diff_ids=("d" * 64,))
    index = Index(A, "layout:/x", Descriptor("index", ONE), (AMD64,), (Descriptor("tar", TWO),))
    assert locked_volume(index) == LockedVolume(ONE, (TWO,))


@pytest.mark.parametrize(
    ("change", "path", "message"),
    [
        pytest.param({"version": 2}, ("version",), "expected a lock of version 1, got 2", id="newer"),
        pytest.param(
            {"version": True}, ("version",), "expected a lock of version 1, got a truth", id="truth"
        ),
        pytest.param({"imags": {}}, ("imags",), "got `imags`", id="unknown section"),
        pytest.param({"images": []}, ("images",), "expected an object, got a list", id="list"),
        pytest.param(
            {"images": {"redis:7": {}}},
            ("images", "redis:7"),
            "expected the whole name `docker.io/library/redis:7`, got `redis:7`",
            id="short name",
        ),
        pytest.param({"images": {"a b": {}}}, ("images", "a b"), "expected an image name", id="no name"),
        pytest.param(
            {"images": {str(A): {"index": "sha256:12"}}},
            ("images", str(A), "index"),
            "expected sha256:, 64 hex digits and a size in bytes, got `sha256:12`",
            id="digest",
        ),
        pytest.param(
            {"images": {str(A): {"platforms": {"amd64": {"config": text_of(ONE), "diff_ids": []}}}}},
            ("images", str(A), "platforms", "amd64"),
            "expected a platform such as linux/amd64, got `amd64`",
            id="platform",
        ),
        pytest.param(
            {"images": {str(A): {"platforms": {"linux/amd64": {"manifest": text_of(ONE), "layers": []}}}}},
            ("images", str(A), "platforms", "linux/amd64"),
            "expected `config`, got none",
            id="no config",
        ),
        pytest.param(
            {
                "images": {
                    str(A): {"platforms": {"linux/amd64": {"manifest": text_of(ONE), "config": text_of(TWO)}}}
                }
            },
            ("images", str(A), "platforms", "linux/amd64"),
            "expected `layers`, got none",
            id="no layers",
        ),
        pytest.param(
            {"loaders": {"grub": {"amd64": ["package:../x.deb"]}}},
            ("loaders", "grub", "amd64", 0),
            "expected image:REFERENCE or package:PATH.deb@sha256:HEX",
            id="package",
        ),
        pytest.param(
            {"configs": {"https://user:word@x.example/a.yml": text_of(ONE)}},
            ("configs", "https://user:word@x.example/a.yml"),
            "without password or query",
            id="password",
        ),
        pytest.param(
            {"volumes": {f"{A} amd64": {"index": text_of(ONE)}}},
            ("volumes", f"{A} amd64"),
            "expected a platform",
            id="volume",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    change: dict[str, Any], path: tuple[str | int, ...], message: str
) -> None:
    found = problems_of({"version": 1} | change)

    assert [(path, True)] == [(where, message in text) for where, text in found]


def test_all_that_is_wrong_is_told_at_once() -> None:
    layers = ["sha256:1", 2, None]
    image = {"manifest": "x", "config": text_of(ONE), "layers": layers}

    found = problems_of({"version": 1, "images": {str(A): {"index": 7, "platforms": {"linux/amd64": image}}}})

    ends = [path[2:] for path, _ in found]
    within = ("platforms", "linux/amd64")
    assert ends == [
        ("index",),
        (*within, "manifest"),
        (*within, "layers", 0),
        (*within, "layers", 1),
        (*within, "layers", 2),
    ]


def test_a_name_that_is_there_twice_is_found() -> None:
    found = problems_of(b'{"version": 1, "images": {}, "images": {}}')

    assert found == [(("images",), "expected each name once, got `images` again")]


def test_two_manifests_without_an_index_cannot_be() -> None:
    image = {"config": text_of(ONE), "layers": []}
    both = {
        "linux/amd64": {**image, "manifest": text_of(ONE)},
        "linux/arm64": {**image, "manifest": text_of(TWO)},
    }

    found = problems_of({"version": 1, "images": {str(A): {"platforms": both}}})

    assert found == [
        (("images", str(A)), "expected an `index`, for there are 2 manifests, got none"),
    ]


@pytest.mark.parametrize("content", [b"[]", b"7", b"null", b"{}", b'"x"'])
def test_what_is_no_lock_is_refused(content: bytes) -> None:
    assert problems_of(content)


NAMES = st.sampled_from(["version", "images", "loaders", "index", "platforms", "linux/amd64", str(A)])


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=10,
    )
)
def test_whatever_is_in_the_file_is_a_lock_or_is_refused(document: Any) -> None:
    try:
        decode(json.dumps({"version": 1, "images": document, "loaders": document}).encode())
    except LockProblemsError as error:
        assert error.problems
