from __future__ import annotations

import pytest

from kitbuild.cache.registry_place import Place, headers_of, placed
from kitbuild.cache.remote import Access
from kitbuild.errors import UsageError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("oci://cache.example.com/kit", Place("cache.example.com", "kit"), id="plain"),
        pytest.param("oci://localhost:5000/a/b-c/d_e.f", Place("localhost:5000", "a/b-c/d_e.f"), id="port"),
        pytest.param("oci://[::1]:5000/kit", Place("[::1]:5000", "kit"), id="address"),
        pytest.param("oci://cache.example.com/kit/", Place("cache.example.com", "kit"), id="slash"),
        pytest.param(
            "oci://me:a%40b%2Fc:d@cache.example.com/kit",
            Place("cache.example.com", "kit", "me", "a@b/c:d"),
            id="login",
        ),
        pytest.param("oci://a.example/kit?insecure", Place("a.example", "kit", insecure=True), id="insecure"),
        pytest.param(
            "oci://localhost/kit?insecure=false", Place("localhost", "kit", insecure=False), id="secure"
        ),
    ],
)
def test_url_says_where_and_who(url: str, expected: Place) -> None:
    assert expected == placed(url)


@pytest.mark.parametrize(
    "url",
    [
        "oci://cache.example.com",
        "oci://cache.example.com/",
        "oci:///kit",
        "oci://cache.example.com/Kit",
        "oci://cache.example.com/a//b",
        "oci://cache.example.com/../kit",
        "oci://cache.example.com/kit:tag",
        "oci://cache.example.com/kit?secure",
        "oci://cache.example.com/kit#part",
        "oci://me:hidden\r\nX: y@cache.example.com:x/kit",
        "oci://me@cache.example.com/kit",
        "oci://me:hid/den@cache.example.com/kit",
        "oci://me:hid?den@cache.example.com/kit",
        "oci://me:hidden@cache.example.com/Kit",
    ],
)
def test_other_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(UsageError, match=r"expected a remote cache's URL such as") as caught:
        placed(url)

    assert "hid" not in str(caught.value)


def test_place_does_not_show_its_password() -> None:
    assert "hidden" not in repr(placed("oci://me:hidden@cache.example.com/kit"))


def test_token_is_sent_as_bearer() -> None:
    assert {"Authorization": "Bearer abc"} == headers_of(Access(token="abc"))


def test_header_given_for_authorization_wins_over_the_token() -> None:
    access = Access(headers=(("authorization", "Basic eHk="), ("X-Team", "kernel")), token="abc")

    assert {"authorization": "Basic eHk=", "X-Team": "kernel"} == headers_of(access)


@pytest.mark.parametrize("value", ["hidden\n", "hid\rden", "hidd€n", " hidden", "hidden\0"])
def test_header_that_cannot_be_sent_is_refused_without_being_shown(value: str) -> None:
    with pytest.raises(UsageError, match="`X-Key`") as caught:
        headers_of(Access(headers=(("X-Key", value),)))

    assert "hid" not in str(caught.value)
