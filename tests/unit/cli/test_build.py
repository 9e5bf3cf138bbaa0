"""What `kitbuild build` is asked for, before anything is built."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest

from kitbuild.cli import build
from kitbuild.cli.build import Target, check_folder, target_of
from kitbuild.cli.configs import scope_of
from kitbuild.errors import UsageError


def parsed(*arguments: str) -> Namespace:
    parser = ArgumentParser()
    build.add(parser.add_subparsers())
    return parser.parse_args(["build", *arguments])


@pytest.mark.parametrize(
    ("arguments", "formats", "base"),
    [
        (["a.yml"], ("kernel+initrd",), "a"),
        (["some/a.b.yml"], ("kernel+initrd",), "a.b"),
        (["a.yml", "b.yml"], ("kernel+initrd",), "b"),
        (["-"], ("kernel+initrd",), "moby"),
        (["--name", "n", "--dir", "d", "a.yml"], ("kernel+initrd",), "d/n"),
        (["-f", "tar", "a.yml"], ("tar",), "a"),
        (["-f", "tar-kernel-initrd,kernel+initrd,", "a.yml"], ("tar-kernel-initrd", "kernel+initrd"), "a"),
    ],
)
def test_outputs_are_named_by_the_last_config(
    arguments: list[str], formats: tuple[str, ...], base: str
) -> None:
    assert target_of(parsed(*arguments)) == Target(formats, Path(base))


def test_output_is_a_tar_unless_another_stream_is_asked_for() -> None:
    assert target_of(parsed("-o", "-", "a.yml")) == Target(("tar",), Path("a"), "-")
    assert target_of(parsed("--o", "x", "-f", "docker", "a.yml")) == Target(("docker",), Path("a"), "x")


def test_what_a_build_is_remembered_under_holds_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    scope = scope_of(parsed("--arch", "arm64", "a.yml", "https://me:secret@example.com/b.yml"))

    assert scope == f"{tmp_path / 'a.yml'}\0https://example.com/b.yml\0arm64"


def test_path_of_an_output_is_the_name_and_what_follows_it() -> None:
    assert Target((), Path("folder/a.b")).path("-initrd.img") == Path("folder/a.b-initrd.img")
    assert Target((), Path("folder/a"), "out.tar").path(".tar") == Path("out.tar")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-f", "tar,kernel+initrd"], "expected `tar` alone, got 2 formats"),
        (["-f", "tar", "-f", "docker"], "expected `"),
        (["-o", "x", "--name", "y"], "expected either `--output` or `--name` and `--dir`"),
        (["-o", "x", "--dir", "y"], "expected either `--output` or `--name` and `--dir`"),
        (["-o", "x", "-f", "raw-efi,iso"], "expected one format with `--output`, got 2"),
        (["--name", ""], "expected a name with `--name`"),
    ],
)
def test_what_cannot_go_together_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        target_of(parsed(*arguments, "a.yml"))

    assert raised.value.message.startswith(message)


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("nowhere", "expected a folder at `.*/nowhere`, got none"),
        ("file", "expected a folder at `.*/file`, got a file"),
        ("file/below", "cannot use the folder `.*/file/below`: Not a directory"),
    ],
)
def test_folder_of_the_outputs_has_to_be_there(tmp_path: Path, name: str, mistake: str) -> None:
    (tmp_path / "file").touch()

    check_folder(tmp_path)
    with pytest.raises(UsageError, match=mistake):
        check_folder(tmp_path / name)
