"""What every command that reads configs has in common."""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

import pytest

from kitbuild.cli.configs import platform_of
from kitbuild.cli.images import image_sources
from kitbuild.errors import UsageError
from kitbuild.image import Platform
from kitbuild.settings import Settings


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("amd64", "amd64"),
        ("x86_64", "amd64"),
        ("aarch64", "arm64"),
        ("arm64", "arm64"),
        ("riscv64", "riscv64"),
    ],
)
def test_architecture_may_be_called_as_uname_does(name: str, architecture: str) -> None:
    assert platform_of(Namespace(arch=name)) == Platform("linux", architecture)


def test_architecture_is_this_machines_unless_another_is_asked_for() -> None:
    machine = os.uname().machine

    assert platform_of(Namespace(arch=None)) == platform_of(Namespace(arch=machine))


def test_images_are_looked_for_where_it_was_said_then_in_the_cache_of_linuxkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    layout, archive = tmp_path / "layout", tmp_path / "a.tar"
    layout.mkdir()
    (layout / "index.json").touch()
    archive.touch()
    cache = tmp_path / ".linuxkit" / "cache"
    cache.mkdir(parents=True)
    (cache / "index.json").touch()

    sources = image_sources(Settings(images=(layout, archive)))

    assert sources == [f"layout:{layout}", f"archive:{archive}", f"layout:{cache}"]


def test_cache_of_linuxkit_may_be_elsewhere_or_not_be_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "index.json").touch()

    assert image_sources(Settings()) == []
    assert image_sources(Settings(image_cache=tmp_path)) == [f"layout:{tmp_path}"]


def test_images_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected an image layout or archive"):
        image_sources(Settings(images=(tmp_path / "nowhere",)))


def test_folders_that_are_no_image_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected an image layout at .*, got a folder without index\.json"):
        image_sources(Settings(images=(tmp_path,)))


def test_images_that_cannot_be_reached_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match=r"cannot read .*/file/images: Not a directory"):
        image_sources(Settings(images=(tmp_path / "file" / "images",)))
