from __future__ import annotations

import pytest

from kitbuild.cache.s3_place import Place, placed
from kitbuild.errors import UsageError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("s3://kit", Place("kit"), id="bucket"),
        pytest.param("s3://kit/", Place("kit"), id="slash"),
        pytest.param("s3://my.kit-1/a/b_c/", Place("my.kit-1", "a/b_c"), id="prefix"),
        pytest.param(
            "s3://kit/a?endpoint=http://localhost:9000&region=eu-central-1",
            Place("kit", "a", "http://localhost:9000", "eu-central-1"),
            id="options",
        ),
        pytest.param(
            "s3://kit?endpoint=https%3A%2F%2Fs3.example.com%2Fpath",
            Place("kit", "", "https://s3.example.com/path"),
            id="encoded",
        ),
    ],
)
def test_url_says_where(url: str, expected: Place) -> None:
    assert expected == placed(url)


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///a",
        "s3://-kit",
        "s3://kit:9000/a",
        "s3://kit/a//b",
        "s3://kit/../a",
        "s3://kit/a b",
        "s3://kit/a%20b",
        "s3://kit/ä",
        "s3://kit/a\nb",
        "s3://kit?endpoint=localhost:9000",
        "s3://kit?endpoint=",
        "s3://kit?endpoint=http://me:hidden@localhost",
        "s3://kit?endpoint=http://localhost?token=hidden",
        "s3://kit?region=EU",
        "s3://kit?region=a&region=b",
        "s3://kit?secret=hidden",
        "s3://me:hidden@kit/a",
        "s3://me:hid/den@kit/a",
    ],
)
def test_other_url_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        placed(url)

    assert "hid" not in f"{caught.value} {caught.value.hint}"
