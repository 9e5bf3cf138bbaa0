"""Image sources as text."""

from __future__ import annotations

import pytest

from kitbuild.errors import UsageError
from kitbuild.rules.fetch import open_source
from kitbuild.rules.fetch.archive import ArchiveSource
from kitbuild.rules.fetch.layout import LayoutSource
from kitbuild.rules.fetch.registry import RegistrySource


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("layout:/no/such", LayoutSource),
        ("archive:/no/such.tar", ArchiveSource),
        ("registry:127.0.0.1:5000/a/b", RegistrySource),
    ],
)
def test_the_scheme_names_the_kind_and_nothing_is_read_yet(text: str, kind: type[object]) -> None:
    assert isinstance(open_source(text), kind)


@pytest.mark.parametrize(
    "text", ["", "layout", "layout:", "manifest:/x", "/some/path", "os:/x", "https://a/b"]
)
def test_another_text_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match=f"expected an image source such as .*, got `{text}`"):
        open_source(text)
