"""Volumes of format `oci`: what they hold."""

from __future__ import annotations

import pytest

from kitbuild.config.lower import references_of
from kitbuild.config.volumes import index_names_of
from kitbuild.image import IndexName, Platform
from kitbuild.reference import Reference
from tests.unit.config.configs import config, mistakes

A = Reference.parse("t/a:v1")


def test_an_image_kept_as_it_is_stored_is_asked_for_by_its_platforms_and_not_unpacked() -> None:
    found = config(
        """
        volumes:
          - {name: all, image: "t/a:v1", format: oci}
          - {name: two, image: "t/a:v1", format: oci, platforms: [linux/amd64, linux/arm/v7]}
          - {name: unpacked, image: "t/b:v1", format: filesystem, platforms: [linux/arm64]}
          - {name: empty, format: oci}
        """
    )

    assert list(index_names_of(found)) == [
        IndexName(A, ()),
        IndexName(A, (Platform("linux", "amd64"), Platform("linux", "arm", "v7"))),
    ]
    assert list(references_of(found)) == [Reference.parse("t/b:v1")]


def test_the_place_of_a_name_is_its_image() -> None:
    found = config('volumes:\n  - name: a\n    format: oci\n    image: "t/a:v1"\n')

    (place,) = index_names_of(found).values()
    assert (place.where().line, place.where().column) == (4, 12)


@pytest.mark.parametrize("text", ["linux", "", "linux/", "linux/arm/v7/x", "linux/Amd64", "linux /arm"])
def test_what_is_no_platform_is_a_mistake_at_its_place(text: str) -> None:
    found = mistakes(f'volumes:\n  - name: a\n    image: t/a:v1\n    platforms: [linux/arm64, "{text}"]\n')

    assert found == [
        f"4:30 expected a platform, got {f'`{text}`' if text else 'empty text'} "
        "(write os/architecture or os/architecture/variant, for example linux/arm64)"
    ]
