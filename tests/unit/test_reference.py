from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitbuild.reference import Reference

_DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        pytest.param("redis", "docker.io/library/redis", id="one part is an official image"),
        pytest.param("redis:alpine", "docker.io/library/redis:alpine", id="one part with tag"),
        pytest.param("foo/bar", "docker.io/foo/bar", id="two parts are on Docker's registry"),
        pytest.param("myregistry.io/foo", "myregistry.io/foo", id="a dot makes a host"),
        pytest.param("host:5000/foo", "host:5000/foo", id="a port makes a host"),
        pytest.param("localhost/foo", "localhost/foo", id="localhost is a host"),
        pytest.param("foo/bar/baz", "foo/bar/baz", id="of three parts the first is a host"),
        pytest.param("[::1]:5000/foo:v1", "[::1]:5000/foo:v1", id="an address of IPv6 is a host"),
        pytest.param(f"foo/bar@{_DIGEST}", f"docker.io/foo/bar@{_DIGEST}", id="digest"),
        pytest.param(f"foo/bar:v1@{_DIGEST}", f"docker.io/foo/bar:v1@{_DIGEST}", id="tag and digest"),
        pytest.param("linuxkit/init:v1.2_3-x", "docker.io/linuxkit/init:v1.2_3-x", id="all a tag may hold"),
    ],
)
def test_names_are_expanded_as_linuxkit_does(text: str, canonical: str) -> None:
    assert canonical == str(Reference.parse(text))


def test_parts_are_told_apart() -> None:
    reference = Reference.parse(f"registry.example:5000/team/app:v1@{_DIGEST}")

    assert Reference("registry.example:5000", "team/app", "v1", _DIGEST) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected an image name such as linuxkit/init:v1, got nothing"),
        ("two words", "expected an image name such as linuxkit/init:v1, got `two words`"),
        ("docker://foo", "expected an image name such as linuxkit/init:v1, got `docker://foo`"),
        ("host:port/foo", "expected an image name such as linuxkit/init:v1, got `host:port/foo`"),
        ("foo//bar", "expected an image name such as linuxkit/init:v1, got `foo//bar`"),
        ("/foo", "expected an image name such as linuxkit/init:v1, got `/foo`"),
        ("foo/", "expected an image name such as linuxkit/init:v1, got `foo/`"),
        ("foo\0", "expected an image name such as linuxkit/init:v1, got `foo\0`"),
        ("redis:", "expected a tag of letters, digits, `.`, `_` and `-` after `:`, got nothing"),
        ("quay.io/redis:a/b", "expected a tag of letters, digits, `.`, `_` and `-` after `:`, got `a/b`"),
        ("redis@", "expected a digest such as sha256:<64 hex digits>, got nothing"),
        ("redis@sha256:12", "expected a digest such as sha256:<64 hex digits>, got `sha256:12`"),
    ],
)
def test_text_that_names_no_image_is_refused_with_a_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        Reference.parse(text)

    assert message == str(raised.value)


_names = st.from_regex(r"[a-z0-9]+([._-][a-z0-9]+)*", fullmatch=True)


@given(
    st.builds(
        Reference,
        st.from_regex(r"[a-z]+\.[a-z]+(:[0-9]{1,4})?", fullmatch=True),
        st.lists(_names, min_size=1, max_size=3).map("/".join),
        st.just("") | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True),
        st.sampled_from(["", _DIGEST]),
    )
)
def test_canonical_text_names_the_same_image_again(reference: Reference) -> None:
    assert reference == Reference.parse(str(reference))
