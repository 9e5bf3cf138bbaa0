"""What the doctor finds out about images, keys and remote caches, and how it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cli.checks import Check, tools
from kitbuild.cli.checks_outside import images, keys, remote_cache
from kitbuild.cli.doctor import lines
from kitbuild.settings import Settings


def test_images_that_a_build_cannot_open_are_to_be_mended(tmp_path: Path) -> None:
    (tmp_path / "broken.tar").write_text("no tar")
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_text("{")

    for name in ("nowhere", "broken.tar", "layout"):
        (check,) = images(Settings(images=(tmp_path / name,)))

        assert check.state == "broken"
        assert check.hint == "mend or remove `--images`"


def test_layout_that_can_be_read_is_well(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    (tmp_path / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    assert list(images(Settings(images=(tmp_path,)))) == [
        Check("settings", "images", "ok", str(tmp_path)),
    ]


def test_certificates_that_cannot_be_read_are_to_be_mended(tmp_path: Path) -> None:
    (check,) = images(Settings(cert_files=(tmp_path / "none.pem",)))

    assert (check.name, check.state) == ("certificates", "broken")


@pytest.mark.parametrize(("url", "state"), [("file:///srv/cache", "broken"), ("", "missing")])
def test_key_that_cannot_be_read_ends_builds_that_use_it(tmp_path: Path, url: str, state: str) -> None:
    for secret in (str(tmp_path / "none"), "kitbuild-secret-ed25519:short"):
        (check,) = keys(Settings(remote_cache=url, signing_key=secret))

        assert check.state == state
        assert check.hint


def test_folder_that_is_not_there_is_told_unless_it_is_to_be_made(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"

    gone = next(remote_cache(Settings(remote_cache=url)))
    made = next(remote_cache(Settings(remote_cache=url, remote_cache_write=True)))
    there = next(remote_cache(Settings(remote_cache=url)))

    assert (gone.state, gone.text) == ("missing", f"{url}: there is no such folder")
    assert made.state == "ok"
    assert made.text.endswith(", and keeps what it is given")
    assert there.state == "ok"
    assert there.text.endswith("; writing not tried")


def test_folder_that_cannot_be_written_to_is_told() -> None:
    check = next(remote_cache(Settings(remote_cache="file:///proc/none", remote_cache_write=True)))

    assert check.state == "missing"
    assert "cannot be written to" in check.text


def test_remote_cache_that_forgets_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from kitbuild.cache.folder import FolderRemote

    monkeypatch.setattr(FolderRemote, "put", lambda self, digest, pieces: None)

    check = next(remote_cache(Settings(remote_cache=f"file://{tmp_path}", remote_cache_write=True)))

    assert (check.state, check.hint) == ("missing", "is it a remote cache?")


def test_writing_nowhere_is_to_be_mended() -> None:
    check = next(remote_cache(Settings(remote_cache_write=True)))

    assert check.state == "broken"


def test_machine_without_apt_is_not_told_to_use_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    found = {check.name: check for check in tools()}

    assert found["git"].hint == "install git"


def test_boot_loader_is_told_of_and_counted_once() -> None:
    found = [
        Check("loaders", "grub for amd64", "missing", "there is no apt", "give it"),
        Check("loaders", "grub for arm64", "missing", "there is no apt", "give it"),
        Check("formats", "iso", "missing", "amd64 with grub", "see to grub for amd64, above"),
        Check("formats", "raw-efi", "missing", "amd64 with grub", "see to grub for amd64, above"),
    ]

    assert list(lines(found, color=False)) == [
        "boot loaders",
        "  --  grub for amd64, grub for arm64: there is no apt",
        "      -> give it",
        "",
        "formats",
        "  --  iso, raw-efi: amd64 with grub",
        "",
        "this machine can build; 1 thing (--) to look at if you need it",
    ]
