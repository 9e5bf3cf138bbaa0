"""What no format can hold or boot is refused with one clear error, before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from kitbuild.cli.main import main
from tests.support import images
from tests.support.command import PROGRAM, small_images
from tests.support.formats import CONFIG, FormatSite, kernel_image
from tests.support.kernels import kernel
from tests.support.loaders import loader_settings
from tests.support.registry import tool

pytestmark = pytest.mark.integration

LISTED: list[dict[str, Any]] = json.loads(
    subprocess.run([PROGRAM, "formats", "--json"], capture_output=True, check=True).stdout
)
BOOTING = [each for each in LISTED if each["boots"]]
STREAMS = [each["name"] for each in LISTED if each["stream"]]
# Every format that boots but these is a disk, so a new one is until it is named here.
WITHOUT_DISK = ("iso", "iso-bios", "iso-efi", "iso-efi-initrd", "rpi3", "uki")
# These hold the root file system instead of an initrd.
WITHOUT_INITRD = ("iso-bios", "iso-efi")
GIBIBYTE = 1 << 30
GOLDEN = Path(__file__).parents[1] / "golden" / "formats"


def on_each(*, but: tuple[str, ...] = ()) -> list[Any]:
    """Every format that boots on every architecture it is for."""
    return [
        pytest.param(each["name"], architecture, id=f"{each['name']} {architecture}")
        for each in BOOTING
        for architecture in each["architectures"]
        if each["name"] not in but
    ]


def on_one() -> list[Any]:
    """Every format that boots on the first architecture it is for."""
    return [pytest.param(each["name"], each["architectures"][0], id=each["name"]) for each in BOOTING]


class Older(FormatSite):
    """A folder with configs that are refused, and in `out` an older file under every name a format writes."""

    def __init__(self, folder: Path, architecture: str) -> None:
        super().__init__(folder, architecture=architecture)
        names = {line.split("/")[-1] for line in (GOLDEN / f"{architecture}.txt").read_text().splitlines()}
        for name in names:
            self.write(f"out/{name}", f"an older {name}")
        self.write("large.bin", os.urandom(8 << 20))
        for name, config in configs().items():
            self.write(name, config)
        stubless = kernel("arm64" if architecture == "arm64" else "amd64", stub=False)
        modules = images.layer_tar({"lib/modules/a.ko": b"module"})
        made = {
            "t/kernel:v1": kernel_image(architecture),
            "t/no-stub:v1": images.image({"kernel": stubless, "kernel.tar": modules}),
            "t/nothing:v1": images.image({"kernel": b"no kernel" * 1000, "kernel.tar": modules}),
        }
        images.layout(folder / "images", {**small_images(), **made})

    def refused(
        self,
        *arguments: str,
        config: str = "linuxkit.yml",
        status: int = 2,
        environment: Mapping[str, str | None] | None = None,
    ) -> list[str]:
        """What the program says to a build that is refused, once it is sure that nothing was written."""
        before = self.files()
        command = self._command(arguments, config)
        ended = self.run(*command, status=status, environment=environment)
        assert ended.stdout == b""
        assert before == self.files()
        return error_of(ended.lines)

    def refused_here(self, *arguments: str, config: str = "linuxkit.yml") -> list[str]:
        """The same for what is wrong on the command line or in the config, and without a process."""
        before = self.files()
        with (
            chdir(self.folder),
            patch.dict(os.environ, self.environment, clear=True),
            redirect_stdout(StringIO()) as stdout,
            redirect_stderr(StringIO()) as stderr,
        ):
            status = main(self._command(arguments, config))
        assert status == 2
        assert stdout.getvalue() == ""
        assert before == self.files()
        return error_of(stderr.getvalue().splitlines())

    def _command(self, arguments: Sequence[str], config: str) -> list[str]:
        architecture = [] if "--arch" in arguments else ["--arch", self.architecture]
        return ["build", "--dir", "out", "--name", "linuxkit", *architecture, *arguments, config]

    def files(self) -> dict[str, tuple[int, int, int]]:
        """Every file there is, hidden ones too, and what changes when one is written; not what nobody looks at."""
        known = {"cache", "images", "home"}
        found = {}
        for path in self.folder.rglob("*"):
            if path.relative_to(self.folder).parts[0] not in known:
                status = path.stat()
                found[str(path)] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found


def error_of(lines: Sequence[str]) -> list[str]:
    """The error and its hint, without warnings and without how many nodes or mistakes there were."""
    return [line for line in lines if not re.match(r"warning: |\d+ (nodes:|mistake)", line)]


def configs() -> dict[str, str]:
    """The configs to refuse, by name."""
    cmdline = "  cmdline: console=ttyS0\n"
    return {
        "no-cmdline.yml": CONFIG.replace(cmdline, ""),
        "empty-cmdline.yml": CONFIG.replace(cmdline, '  cmdline: ""\n'),
        "blank-cmdline.yml": CONFIG.replace(cmdline, '  cmdline: "  "\n'),
        "two-lines.yml": CONFIG.replace(cmdline, '  cmdline: "console=ttyS0\\nquiet"\n'),
        "long-cmdline.yml": CONFIG.replace(cmdline, f"  cmdline: {'x' * (64 << 10)}\n"),
        "no-kernel.yml": CONFIG[CONFIG.index("init:") :],
        "no-stub.yml": CONFIG.replace("t/kernel:v1", "t/no-stub:v1").replace("  ucode: ucode.cpio\n", ""),
        "nothing.yml": CONFIG.replace("t/kernel:v1", "t/nothing:v1").replace("  ucode: ucode.cpio\n", ""),
        "large.yml": f"{CONFIG}  - path: etc/large\n    source: large.bin\n",
        # One file of 8 MiB so often that the initrd has more than 4 GiB.
        "huge.yml": CONFIG
        + "".join(f"  - path: huge{number}\n    source: large.bin\n" for number in range(520)),
    }


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Older]:
    """A folder for each architecture."""
    return {name: Older(tmp_path_factory.mktemp("limits") / "site", name) for name in ("amd64", "arm64")}


@pytest.fixture
def site(sites: dict[str, Older]) -> Older:
    return sites["amd64"]


@pytest.mark.parametrize(("name", "architecture"), on_each(but=WITHOUT_DISK))
def test_payload_too_large_for_the_asked_size_is_refused(
    sites: dict[str, Older], name: str, architecture: str
) -> None:
    error, hint = sites[architecture].refused("--format", name, "--size", "4M", config="large.yml", status=1)

    assert re.fullmatch(
        r"error: .*: expected a disk of at least \d+ MiB for kernel and initrd, got 4 MiB", error
    )
    assert re.fullmatch(r"hint: give `--size \d+M` or more", hint)


@pytest.mark.parametrize("name", ["raw-bios", "raw-efi", "qcow2-efi"])
def test_size_that_is_said_to_be_the_least_is_enough_and_one_mebibyte_less_is_not(
    site: Older, name: str, tmp_path: Path
) -> None:
    error, _ = site.refused("--format", name, "--size", "1M", config="large.yml", status=1)
    found = re.search(r"at least (\d+) MiB", error)
    assert found is not None
    least = int(found[1])

    again, _ = site.refused("--format", name, "--size", f"{least - 1}M", config="large.yml", status=1)
    site.run(
        "build", "--arch", "amd64", "--format", name, "--size", f"{least}M", f"--dir={tmp_path}", "large.yml"
    )

    assert error.partition(", got ")[0] == again.partition(", got ")[0]


def test_nothing_is_left_where_there_was_nothing(site: Older) -> None:
    (site.folder / "empty").mkdir()
    # `dynamic-vhd` has the file name of `vhd`.
    disks = [each["name"] for each in BOOTING if each["name"] not in (*WITHOUT_DISK, "dynamic-vhd")]

    site.refused("--format", ",".join(disks), "--size", "4M", "--dir", "empty", config="large.yml", status=1)

    assert list((site.folder / "empty").iterdir()) == []


@pytest.mark.parametrize(("name", "architecture"), on_each(but=WITHOUT_INITRD))
def test_initrd_of_more_than_4_gib_is_refused(sites: dict[str, Older], name: str, architecture: str) -> None:
    build = ["--format", name, "--compression", "none"]

    error, hint = sites[architecture].refused(*build, config="huge.yml", status=1)

    assert re.search(
        r"expected .*(less than 4 GiB|at most \d+ bytes).*, got 4\d{9}( bytes)?$|an ISO holds", error
    )
    assert hint.startswith("hint: ")


@pytest.mark.slow
def test_file_of_4_gib_in_an_iso_is_refused(tmp_path: Path) -> None:
    site = Older(tmp_path / "site", "amd64")
    with (site.folder / "large.bin").open("r+b") as stream:
        stream.truncate(1 << 32)

    for name in ("iso-bios", "iso-efi", "kernel+iso"):
        error, hint = site.refused("--format", name, config="large.yml", status=1)

        assert error.endswith("`etc/large` has 4294967296 bytes, an ISO holds files of less than 4 GiB")
        assert hint == "hint: leave the file out, or use a format with another file system"
    shutil.rmtree(site.folder)


@pytest.mark.parametrize(
    ("config", "place", "wrong"),
    [
        ("no-cmdline.yml", "2:3", "a kernel command line for {}, got none"),
        ("empty-cmdline.yml", "3:12", "a kernel command line for {}, got none"),
        ("blank-cmdline.yml", "3:12", "a kernel command line for {}, got none"),
        ("two-lines.yml", "3:12", "a kernel command line of one line for {}, got control characters in it"),
        ("long-cmdline.yml", "3:12", "a kernel command line of at most 1980 bytes for {}, got 65536"),
    ],
)
@pytest.mark.parametrize(("name", "architecture"), on_one())
def test_command_line_that_no_boot_loader_takes_is_refused_at_its_place(
    sites: dict[str, Older], name: str, architecture: str, *, config: str, place: str, wrong: str
) -> None:
    error, *_, hint = sites[architecture].refused_here("--format", name, config=config)

    assert error == f"error: {config}:{place}: expected {wrong.format(f'`{name}`')}"
    assert hint.startswith("hint: ")


@pytest.mark.parametrize(
    "config", ["empty-cmdline.yml", "no-cmdline.yml", "long-cmdline.yml", "no-kernel.yml"]
)
def test_program_says_the_same_as_the_tests_here(site: Older, config: str) -> None:
    assert site.refused("--format", "raw-bios", config=config) == site.refused_here(
        "--format", "raw-bios", config=config
    )


@pytest.mark.parametrize(("name", "architecture"), on_one())
def test_config_without_a_kernel_is_refused(sites: dict[str, Older], name: str, architecture: str) -> None:
    lines = sites[architecture].refused_here("--format", name, config="no-kernel.yml")

    assert lines == [
        f"error: expected a kernel section for `{name}`, got none",
        "hint: add a kernel section with an `image`, or make `kernel+initrd` or `tar`",
    ]


def on_efi(*, boot_loaders: tuple[str, ...], architecture: str) -> list[str]:
    """The formats that boot by one of these boot loaders."""
    return [
        each["name"] for each in BOOTING if set(each["loaders"].get(architecture, ())) & set(boot_loaders)
    ]


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        # GRUB starts kernels without a stub on x86, by Linux's own protocol.
        *((name, "amd64") for name in on_efi(boot_loaders=("systemd-boot",), architecture="amd64")),
        *((name, "arm64") for name in on_efi(boot_loaders=("systemd-boot", "grub"), architecture="arm64")),
    ],
)
def test_kernel_without_an_efi_stub_is_refused(sites: dict[str, Older], name: str, architecture: str) -> None:
    error, hint = sites[architecture].refused("--format", name, config="no-stub.yml", status=1)

    assert error.endswith(f": expected a kernel with an EFI stub for {architecture}, got one without")
    assert hint.startswith("hint: build the kernel with CONFIG_EFI_STUB=y")
    # There is no BIOS to choose on arm64.
    assert ("BIOS" in hint) == (architecture == "amd64")


@pytest.mark.parametrize("name", on_efi(boot_loaders=("systemd-boot", "grub"), architecture="amd64"))
def test_file_that_is_no_kernel_is_refused(site: Older, name: str) -> None:
    error, hint = site.refused("--format", name, config="nothing.yml", status=1)

    assert error.endswith(": expected a kernel with an EFI stub for amd64, got a file that is no kernel")
    assert hint == "hint: give a kernel built with CONFIG_EFI_STUB=y"


@pytest.mark.parametrize("name", [each["name"] for each in BOOTING])
def test_architecture_that_a_format_is_not_for_is_refused(site: Older, name: str) -> None:
    (known,) = (each["architectures"] for each in BOOTING if each["name"] == name)
    other = next(found for found in ("amd64", "arm64", "riscv64") if found not in known)

    lines = site.refused_here("--format", name, "--arch", other)

    assert lines == [
        f"error: expected an architecture that `{name}` has a boot loader for, got `{other}`",
        f"hint: choose {' or '.join(f'`--arch {name}`' for name in known)}, or another of `kitbuild formats`",
    ]


@pytest.mark.parametrize(
    ("first", "second", "suffix"), [("kernel+iso", "iso-bios", ".iso"), ("vhd", "dynamic-vhd", ".vhd")]
)
def test_two_formats_with_one_file_name_are_refused(
    site: Older, first: str, second: str, suffix: str
) -> None:
    lines = site.refused("--format", f"{first},{second}")

    assert lines == [
        f"error: expected one format that writes NAME{suffix}, got `{first}` and `{second}`",
        "hint: build them one after the other, with another `--name` or `--dir`",
    ]


def test_two_formats_with_one_file_of_the_same_content_are_not(site: Older, tmp_path: Path) -> None:
    site.run("build", "--format", "kernel+initrd,kernel+erofs", "--dir", str(tmp_path), "linuxkit.yml")

    assert {"kernel", "cmdline", "ucode.cpio", "initrd.img", "erofs.img"} == {
        path.name.removeprefix("linuxkit-") for path in tmp_path.iterdir()
    }


@pytest.mark.parametrize("stream", STREAMS)
def test_stream_with_another_format_is_refused(site: Older, stream: str) -> None:
    assert site.refused("--format", f"iso,{stream}") == [
        f"error: expected `{stream}` alone, got 2 formats",
        "hint: build it by itself",
    ]


@pytest.mark.parametrize(
    ("wrong", "right"), [("raw-bois", "raw-bios"), ("iso-boot", "iso-bios"), ("ISO", "iso")]
)
def test_misspelt_format_is_told_with_the_right_one(site: Older, wrong: str, right: str) -> None:
    assert site.refused("--format", wrong) == [
        f"error: expected a format, got `{wrong}`",
        f"hint: did you mean `{right}`?",
    ]


def test_format_that_is_nothing_like_one_is_told_with_all_there_are(site: Older) -> None:
    assert site.refused("--format", "nothing") == [
        "error: expected a format, got `nothing`",
        f"hint: choose from {', '.join(each['name'] for each in LISTED)}",
    ]


@pytest.mark.parametrize("size", ["0", "0M", "5X", "-5M", "1.5G", "", "G"])
def test_size_that_is_none_is_refused(site: Older, size: str) -> None:
    (error,) = site.refused_here("--format", "raw-bios", f"--size={size}")

    assert error == f"error: `--size`: expected a size such as 512M or 2G, got `{size}`"


@pytest.mark.parametrize("name", [each["name"] for each in BOOTING if each["name"] not in WITHOUT_DISK])
def test_size_beyond_what_can_be_is_refused(site: Older, name: str) -> None:
    ended = site.refused("--format", name, "--size", "9999999999999999G", status=1)

    assert re.match(r"error: .*expected .*, got 10737418239999998926258176", ended[0])
    assert ended[-1].startswith("hint: ")


def build_with(site: Older, source: str, **how: Any) -> list[str]:
    """What the build of a disk says whose boot loader is `source`, and refused."""
    environment = {**how.pop("environment", {}), "KITBUILD_BOOT_LOADERS": None}
    loader = ["--boot-loader", f"systemd-boot={source}"]
    return site.refused("--format", "raw-efi", *loader, **how, environment=environment)


@pytest.fixture(scope="module")
def package() -> bytes:
    """The package of a boot loader."""
    settings = dict(each.split("=", 1) for each in loader_settings("amd64").split(","))
    return Path(settings["systemd-boot"]).read_bytes()


def test_boot_loader_that_is_not_there_is_refused(site: Older) -> None:
    error, hint = build_with(site, "nowhere.deb")

    assert error.endswith("nowhere.deb`: No such file or directory")
    assert error.startswith("error: boot loader systemd-boot: cannot read `")
    assert (
        hint
        == "hint: mend or remove the source of `systemd-boot`: it is a folder, or a file that ends in .deb"
    )
    assert build_with(site, "nowhere")[1] == hint


def test_boot_loader_that_lacks_a_file_is_refused(site: Older) -> None:
    site.write("incomplete/systemd-bootx64.efi", b"MZ")

    error, hint = build_with(site, "incomplete", status=1)

    assert error == (
        "error: boot loader systemd-boot: expected a file `linux.efi.stub` or `linuxx64.efi.stub` "
        f"in {site.folder / 'incomplete'}, got none"
    )
    assert hint.startswith("hint: give all its files with `--boot-loader systemd-boot=FOLDER`")


@pytest.mark.parametrize("damage", ["text", "half", "flipped"])
def test_damaged_package_is_refused(site: Older, package: bytes, damage: str) -> None:
    middle = len(package) // 2
    damaged = {
        "text": b"nothing of a package" * 100,
        "half": package[:middle],
        "flipped": package[:middle] + bytes([package[middle] ^ 0xFF]) + package[middle + 1 :],
    }
    site.write(f"{damage}.deb", damaged[damage])

    error, hint = build_with(site, f"{damage}.deb", status=1)

    assert error.startswith(f"error: boot loader systemd-boot: {damage}.deb: files: ")
    assert hint.startswith("hint: ")


def test_package_with_another_digest_is_refused(site: Older, package: bytes) -> None:
    tool("apt-get")
    site.write("mirror/pool/boot.deb", package)
    site.write("sources.list", f"deb [trusted=yes] file:{site.folder}/mirror bookworm main\n")
    site.write(
        "apt.conf",
        f'Dir::Etc::sourcelist "{site.folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\n',
    )
    apt = {"APT_CONFIG": str(site.folder / "apt.conf")}
    right = hashlib.sha256(package).hexdigest()
    wrong = f"{right[:-1]}{'0' if right[-1] != '0' else '1'}"

    error, hint = build_with(site, f"package:pool/boot.deb@sha256:{wrong}", status=1, environment=apt)

    assert error == (
        "error: boot loader systemd-boot: boot.deb: no mirror of this machine gave pool/boot.deb: "
        f"expected a package with the digest sha256:{wrong}, got sha256:{right}"
    )
    assert hint.startswith("hint: give the boot loader with `--boot-loader systemd-boot=FOLDER`")
    site.run(
        "build",
        "--arch=amd64",
        "--format=raw-efi",
        "--size=64M",
        "--name=taken",
        f"--boot-loader=systemd-boot=package:pool/boot.deb@sha256:{right}",
        "linuxkit.yml",
        environment={**apt, "KITBUILD_BOOT_LOADERS": None},
    )
