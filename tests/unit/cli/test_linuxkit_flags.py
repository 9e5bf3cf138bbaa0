"""Command lines written for LinuxKit: what each flag becomes, and what is refused in which words."""

from __future__ import annotations

import re
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import pytest

from kitbuild.cli import build
from kitbuild.cli.flags import Parser
from kitbuild.cli.linuxkit import check_linuxkit_flags, disk_bytes, rewritten
from kitbuild.errors import UsageError
from kitbuild.settings import Settings, settings_of

FLAGS_PAGE = Path(__file__).parents[3] / "docs/linuxkit-flags.md"
# What `linuxkit build --help` lists, its global flags included.
OF_LINUXKIT = {
    *(
        "--arch",
        "--cache",
        "--cert-file",
        "--decompress-kernel",
        "--dir",
        "--docker",
        "--dry-run",
        "--format",
    ),
    *("--input-tar", "--mirror", "--name", "--no-sbom", "--o", "--pull", "--quiet", "--sbom-current-time"),
    *("--sbom-output", "--size", "--verbose", "--disable-content-trust"),
}


def parser() -> ArgumentParser:
    """The command line with `build` as its one command."""
    made: ArgumentParser = Parser(prog="kitbuild")
    build.add(made.add_subparsers(metavar="COMMAND", required=True))
    return made


def parsed(*arguments: str) -> Namespace:
    """What `kitbuild` with these arguments asks `build` for."""
    return parser().parse_args(rewritten(arguments))


def refused(*arguments: str) -> UsageError:
    with pytest.raises(UsageError) as raised:
        check_linuxkit_flags(parsed(*arguments))
    return raised.value


# Every flag of `linuxkit build`, the global ones before and behind the command, in each way pflag reads them.
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("build linuxkit.yml", {"configs": ["linuxkit.yml"]}),
        ("build a.yml b.yml", {"configs": ["a.yml", "b.yml"]}),
        ("build -", {"configs": ["-"]}),
        ("build https://example.com/linuxkit.yml", {"configs": ["https://example.com/linuxkit.yml"]}),
        (
            "build --format kernel+initrd --name test ../test.yml",
            {"format": ["kernel+initrd"], "name": "test"},
        ),
        ("build --format=iso-bios,iso-efi x.yml", {"format": ["iso-bios,iso-efi"]}),
        ("build -f tar -f kernel+initrd x.yml", {"format": ["tar", "kernel+initrd"]}),
        ("build -ftar x.yml", {"format": ["tar"]}),
        ("build -f=tar x.yml", {"format": ["tar"]}),
        ("build --dir out x.yml", {}),
        ("build --no-sbom --format tar --o out.tar ./test.yml", {"no_sbom": True, "output": "out.tar"}),
        ("build --o - x.yml", {"output": "-"}),
        ("build --o=- x.yml", {"output": "-"}),
        ("build --format aws --size 2G x.yml", {"size": "2G"}),
        ("build x.yml", {"size": None}),
        ("build --pull x.yml", {"pull": True}),
        ("build x.yml --pull", {"pull": True, "configs": ["x.yml"]}),
        ("build --pull=true x.yml", {"pull": True}),
        ("build --pull=false x.yml", {"pull": False}),
        ("build --pull --pull=0 x.yml", {"pull": False}),
        ("build --docker x.yml", {"docker": True}),
        ("build --docker=f x.yml", {"docker": False}),
        ("build --decompress-kernel x.yml", {"decompress_kernel": True}),
        ("build --arch aarch64 x.yml", {"arch": "aarch64"}),
        ("build --input-tar a.tar --o b.tar x.yml", {"input_tar": "a.tar"}),
        ("build --disable-content-trust x.yml", {"disable_content_trust": True}),
        (
            "build --sbom-output s.json --sbom-current-time x.yml",
            {"sbom_output": "s.json", "sbom_current_time": True},
        ),
        ("build --sbom-current-time=false x.yml", {"sbom_current_time": False}),
        ("build --dry-run x.yml", {"dry_run": True}),
        ("build --cache dir x.yml", {"image_cache": "dir"}),
        ("--cache dir build x.yml", {"image_cache": "dir"}),
        ("--cache=dir build x.yml", {"image_cache": "dir"}),
        ("--cache build build x.yml", {"image_cache": "build"}),
        ("--cache one build --cache two x.yml", {"image_cache": "two"}),
        ("--mirror http://m build x.yml", {"mirrors": ["http://m"]}),
        (
            "--mirror docker.io=http://m --mirror=http://n build x.yml",
            {"mirrors": ["docker.io=http://m", "http://n"]},
        ),
        ("--cert-file a.pem --cert-file b.pem build x.yml", {"cert_files": ["a.pem", "b.pem"]}),
        ("build --cert-file a.pem x.yml", {"cert_files": ["a.pem"]}),
        ("-q build x.yml", {"quiet": True}),
        ("--quiet build x.yml", {"quiet": True}),
        ("--quiet=false build x.yml", {"quiet": False}),
        ("build -q x.yml", {"quiet": True}),
        ("-v 0 build x.yml", {"quiet": True, "verbose": 0}),
        ("-v 1 build x.yml", {"quiet": False, "verbose": 0}),
        ("-v 2 build x.yml", {"verbose": 1}),
        ("--verbose 3 build x.yml", {"verbose": 2}),
        ("--verbose=2 build x.yml", {"verbose": 1}),
        ("build -v 2 --no-sbom x.yml", {"verbose": 1, "no_sbom": True, "configs": ["x.yml"]}),
        ("build -v2 x.yml", {"verbose": 1}),
        ("build -v=3 x.yml", {"verbose": 2}),
        ("build x.yml y.yml -v 2", {"verbose": 1, "configs": ["x.yml", "y.yml"]}),
        ("build a.yml --name n b.yml --pull c.yml", {"configs": ["a.yml", "b.yml", "c.yml"], "name": "n"}),
        ("build a.yml --pull - b.yml", {"configs": ["a.yml", "-", "b.yml"]}),
        ("build --pull -- -v --odd.yml", {"configs": ["-v", "--odd.yml"]}),
        ("build a.yml --pull -- -b.yml", {"configs": ["a.yml", "-b.yml"]}),
    ],
)
def test_line_for_linuxkit_is_understood(line: str, expected: dict[str, object]) -> None:
    found = vars(parsed(*line.split()))

    assert expected == {name: found[name] for name in expected}


@pytest.mark.parametrize(
    ("line", "verbose"),
    [
        ("build -v x.yml", 1),
        ("build --verbose x.yml", 1),
        ("build -vv x.yml", 2),
        ("build -v -v x.yml", 2),
        ("build -v ./2", 1),
        ("-v build x.yml", 1),
        ("-vv build x.yml", 2),
        ("build x.yml -v", 1),
    ],
)
def test_verbosity_without_a_number_is_counted(line: str, verbose: int) -> None:
    found = parsed(*line.split())

    assert found.verbose == verbose
    assert found.configs in (["x.yml"], ["./2"])


@pytest.mark.parametrize(
    "arguments",
    [[], ["--version"], ["-h", "build"], ["--odd", "build", "x.yml"], ["--cache", "dir"], ["-q", "--help"]],
)
def test_other_lines_stay_as_they_are(arguments: list[str]) -> None:
    assert arguments == rewritten(arguments)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("build --fromat tar x", "unknown flag `--fromat`", "did you mean `--format`?"),
        ("build --fromat=tar x", "unknown flag `--fromat`", "did you mean `--format`?"),
        ("build --form tar x", "unknown flag `--form`", "did you mean `--format`?"),
        (
            "build --disable-content x",
            "unknown flag `--disable-content`",
            "`kitbuild build --help` lists the flags",
        ),
        ("build x --hyperkit y", "unknown flag `--hyperkit`", "`kitbuild build --help` lists the flags"),
        ("build -z x", "unknown flag `-z`", None),
        ("build -output x y.yml", "unknown flag `-output`", "write it with two dashes: `--output`"),
        ("build -format=tar y.yml", "unknown flag `-format`", "write it with two dashes: `--format`"),
        (
            "build -disable-content-trust y.yml",
            "unknown flag `-disable-content-trust`",
            "write it with two dashes",
        ),
        ("build --name", "`--name`: expected a value, got none", None),
        ("build --format", "`--format`: expected a value, got none", None),
        ("build", "expected CONFIG, got none", None),
        ("build --no-cache=yes x", "`--no-cache`: expected no value, got `yes`", None),
        ("build --pull=maybe x", "`--pull`: expected true or false, got `maybe`", None),
        ("-v 4 build x", "expected a level from 0 to 3 with `--verbose`, got `4`", "use 0 (only errors)"),
        ("build --verbose=9 x", "expected a level from 0 to 3 with `--verbose`, got `9`", "use 0"),
        ("-q -v 2 build x", "expected either `--quiet` or `--verbose`, got both", None),
        ("build --size 3T x", "`--size`: expected a size such as 512M or 2G, got `3T`", None),
        ("build --input-tar a --pull x", "expected either `--input-tar` or `--pull`, got both", None),
        (
            "build --input-tar a.tar --o a.tar x",
            "expected another file with `--input-tar`",
            "remove `--input-tar`",
        ),
        ("pkg build .", "unknown command `pkg`", "keep `linuxkit pkg` for that"),
        ("biuld x", "unknown command `biuld`", "did you mean `build`?"),
    ],
)
@pytest.mark.usefixtures("capsys")
def test_line_that_cannot_be_is_refused(line: str, message: str, hint: str | None) -> None:
    error = refused(*line.split())

    assert error.message.startswith(message)
    assert hint is None or hint in str(error.hint)


def test_wrong_line_shows_the_usage_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    refused("build", "--nope", "x.yml")

    assert capsys.readouterr().err == "usage: kitbuild build [flags] CONFIG [CONFIG ...]\n"


@pytest.mark.usefixtures("capsys")
def test_command_without_configs_takes_nothing_more() -> None:
    with pytest.raises(UsageError, match="expected no more arguments, got `x`"):
        Parser(prog="kitbuild").parse_args(["x"])


@pytest.mark.parametrize(
    ("line", "warnings"),
    [
        ("build x.yml", []),
        ("build --docker x.yml", ["no Docker engine is asked"]),
        ("build --docker --pull x.yml", []),
        ("build --input-tar a --o b x.yml", ["`--input-tar` is not read"]),
        ("build --docker --input-tar a x.yml", ["`--input-tar` is not read", "no Docker engine is asked"]),
        ("build --disable-content-trust --size 1 x.yml", []),
    ],
)
def test_flag_without_work_here_is_said_once(line: str, warnings: Sequence[str]) -> None:
    found = check_linuxkit_flags(parsed(*line.split()))

    assert len(found) == len(warnings)
    assert all(said.startswith(expected) for said, expected in zip(found, warnings, strict=True))


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024M", 1 << 30), ("512M", 512 << 20), ("2G", 2 << 30), ("3", 3 << 30), ("007M", 7 << 20)],
)
def test_size_of_a_disk_is_read_as_linuxkit_does(text: str, size: int) -> None:
    assert size == disk_bytes(text)


@pytest.mark.parametrize("text", ["", "G", "0M", "-1G", "1.5G", "1 G", "1GB", "1g", "x", "\u0663G"])
def test_other_text_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="expected a size such as 512M or 2G"):
        disk_bytes(text)


def settings(folder: Path, *flags: str, variable: str = "") -> Settings:
    environment = {"LINUXKIT_MIRROR": variable}
    return settings_of(parsed("build", "x.yml", *flags), environment=environment, folder=folder)


def mirrors(folder: Path, *flags: str, variable: str = "") -> dict[str, str]:
    return dict(settings(folder, *flags, variable=variable).mirrors)


def test_docker_hub_has_one_mirror_under_all_its_names(tmp_path: Path) -> None:
    hub = {name: "https://m" for name in ("docker.io", "index.docker.io", "registry-1.docker.io")}

    assert mirrors(tmp_path, "--mirror", "docker.io=https://m/") == hub
    assert mirrors(tmp_path, "--mirror", "registry-1.docker.io=https://m") == {
        "registry-1.docker.io": "https://m"
    }


@pytest.mark.parametrize("address", ["http://m", "https://m:5000/a/b", "http://m/a=b", "http://[::1]:5000"])
def test_mirror_without_a_registry_is_for_all_others(tmp_path: Path, address: str) -> None:
    assert mirrors(tmp_path, "--mirror", address) == {"*": address}


def test_file_variable_and_flags_are_joined_and_the_last_word_counts(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text('mirrors = ["a=http://file", "f=http://file"]\n')

    found = mirrors(
        tmp_path,
        *("--mirror", "a=http://flag"),
        *("--mirror", "b=http://first", "--mirror", "b=http://second"),
        variable=" a=http://variable,v=http://variable   b=http://variable\n",
    )

    assert found == {"a": "http://flag", "b": "http://second", "f": "http://file", "v": "http://variable"}


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("m.example", "begins with http:// or https://"),
        ("docker.io=m.example", "begins with http:// or https://"),
        ("=http://m", "begins with http:// or https://"),
        ("a=http://", "begins with http:// or https://"),
        ("http://m?x=y", "begins with http:// or https://"),
        ("https://user:word@m", "leave the password out"),
    ],
)
def test_other_text_is_no_mirror(tmp_path: Path, text: str, hint: str) -> None:
    with pytest.raises(UsageError, match=r"expected \[REGISTRY=\]URL") as raised:
        mirrors(tmp_path, "--mirror", text)

    assert hint in str(raised.value.hint)
    assert "user:word" not in f"{raised.value.message} {raised.value.hint}"


def test_wrong_mirror_in_the_variable_is_named_for_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`LINUXKIT_MIRROR`: expected"):
        mirrors(tmp_path, "--mirror", "http://m", variable="m")


def test_certificates_of_flags_stand_in_for_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "kitbuild.toml").write_text('cert-files = ["ca.pem"]\n')

    assert settings(tmp_path).cert_files == (tmp_path / "ca.pem",)
    flags = ("--cert-file", "a.pem", "--cert-file", "/b.pem")
    assert settings(tmp_path, *flags).cert_files == (tmp_path / "a.pem", Path("/b.pem"))


def test_page_about_flags_has_a_row_for_every_flag_of_linuxkit(capsys: pytest.CaptureFixture[str]) -> None:
    rows = re.findall(r"^\| (`-.*?) \|", FLAGS_PAGE.read_text(), re.MULTILINE)
    with pytest.raises(SystemExit):
        parser().parse_args(["build", "--help"])
    known = capsys.readouterr().out

    documented = {flag for row in rows for flag in re.findall(r"--[a-z-]+", row)}

    assert documented == OF_LINUXKIT
    assert [flag for flag in documented if flag not in known] == []
