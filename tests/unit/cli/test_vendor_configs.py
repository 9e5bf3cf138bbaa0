"""Configs as they go into the folder of `kitbuild vendor`."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cli.vendor_configs import local_files, names_of, rewritten
from kitbuild.cli.vendor_folder import VendorFolder
from kitbuild.config.load import load
from kitbuild.digest import Digest
from kitbuild.errors import ConfigErrors

ONE = Digest.of(b"one")


@pytest.mark.parametrize(
    ("configs", "names"),
    [
        (["a.yml"], ["a.yml"]),
        (["dir/a.yml", "a.yml"], ["2-a.yml", "a.yml"]),
        (["x/a.yml", "y/a.yml", "a.yml"], ["3-a.yml", "2-a.yml", "a.yml"]),
        (["https://x.example/b.yml?token=1", "-"], ["b.yml", "moby.yml"]),
        (["https://x.example/"], ["x.example"]),
        (["https://x.example/a/..", "dir/kitbuild.toml"], ["2-..", "2-kitbuild.toml"]),
    ],
)
def test_every_config_has_a_name_and_the_last_its_own(configs: list[str], names: list[str]) -> None:
    assert list(names_of(configs).values()) == names


def moved(tmp_path: Path, text: str) -> str:
    """The config after all its files are somewhere else."""
    path = tmp_path / "a.yml"
    path.write_text(text)
    config = load([str(path)])
    digests = {file.source: ONE for file in config.files if file.source}
    files = local_files(config, digests, VendorFolder(tmp_path / "folder"))
    return rewritten(str(path), path.read_bytes(), config, files).decode()


NEW = f'"files/{ONE.hex[:16]}-x.txt"'


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("source: /etc/x.txt", f"source: {NEW}"),
        ("source: '~/x.txt'  # home", f"source: {NEW}  # home"),
        ('source: "../x.txt"', f"source: {NEW}"),
        ("source: blobs/x.txt", f"source: {NEW}"),
        ("source: etc/x.txt", "source: etc/x.txt"),
        ("source: ./etc/x.txt", "source: ./etc/x.txt"),
    ],
)
def test_only_a_path_that_leads_outside_is_replaced(line: str, changed: str, tmp_path: Path) -> None:
    text = "# über\nfiles:\n  - path: etc/x\n    {}\n    mode: '0600'\n"

    assert moved(tmp_path, text.format(line)) == text.format(changed)


def test_two_paths_in_one_line_are_both_replaced(tmp_path: Path) -> None:
    text = "files: [{path: a, source: /x.txt}, {path: b, source: /x.txt}]\n"

    assert moved(tmp_path, text) == text.replace("/x.txt", NEW)


def test_a_path_in_a_form_that_cannot_be_replaced_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors) as caught:
        moved(tmp_path, 'files:\n  - path: a\n    source: "/\\x78.txt"\n')

    assert "expected a path that can be replaced, got `/x.txt`" in str(caught.value.errors[0])


def test_a_file_with_the_name_of_a_config_goes_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("files:\n  - path: x\n    source: linuxkit.yml\n")
    folder = VendorFolder(tmp_path / "folder")

    (found,) = local_files(load([str(path)]), {"linuxkit.yml": ONE}, folder, taken=["linuxkit.yml"])

    assert found.name == f"files/{ONE.hex[:16]}-linuxkit.yml"


def test_a_path_with_quotes_in_it_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "b.yml"

    path.write_text(moved(tmp_path, 'files:\n  - path: a\n    source: /x"y\\z\n'))

    assert [file.source for file in load([str(path)]).files] == [f'files/{ONE.hex[:16]}-x"y\\z']
