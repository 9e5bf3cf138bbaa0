"""What goes wrong, from outside: one clear message, the right exit status, and every file as it was before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import CONFIG, PROGRAM, Site, small_images
from tests.support.registry import tool

pytestmark = pytest.mark.integration


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def built(site: Site) -> Site:
    site.run("build", "linuxkit.yml")
    return site


def everything(site: Site) -> dict[str, bytes | str]:
    """Every file of the site but the cache, hidden ones too."""
    paths = [
        path for path in site.folder.rglob("*") if "cache" not in path.relative_to(site.folder).parts[:1]
    ]
    return {str(path): path.read_bytes() for path in paths if path.is_file() and not path.is_symlink()}


def error(site: Site, *arguments: str, status: int = 2, **how: object) -> str:
    """What a failing command says, once it is sure that it changed nothing; the site's folder is left out."""
    before = everything(site)
    finished = site.run(*arguments, status=status, **how)  # type: ignore[arg-type]
    assert finished.stdout == b""
    assert everything(site) == before
    return finished.stderr.replace(f"{site.folder}/", "")


def powerless() -> list[str]:
    """What goes before a command so that file permissions hold for it, even if root runs the tests."""
    if os.geteuid() != 0:
        return []
    return [tool("setpriv"), "--bounding-set=-dac_override,-dac_read_search"]


def with_mount(options: str, folder: str) -> list[str]:
    """What goes before a command to give it a file system of its own in a folder."""
    mounting = f'mount -t tmpfs -o {options} none {folder} && exec "$@"'
    command = [tool("unshare"), "--mount", "--map-root-user", "bash", "-c", mounting, "bash"]
    with_probe = [tool("unshare"), "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(with_probe, capture_output=True).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    return command


# -- configs


def test_every_mistake_of_a_config_is_told_with_its_place(site: Site) -> None:
    site.write(
        "bad.yml",
        "kernel:\n"
        "  image: t/kernel:v1\n"
        "  cmdlin: quiet\n"
        "services:\n"
        "  - name: web\n"
        "    image: t/web:v1\n"
        "    capabilities: [CAP_NET_ADMN]\n"
        "  - name: web\n"
        "    image: t/web:v1\n"
        "servces: []\n",
    )

    assert error(site, "build", "bad.yml") == (
        "error: bad.yml:3:3: unknown key `cmdlin`\n"
        "      cmdlin: quiet\n"
        "      ^\n"
        "hint: did you mean `cmdline`?\n"
        "error: bad.yml:7:20: expected a capability, got `CAP_NET_ADMN`\n"
        "        capabilities: [CAP_NET_ADMN]\n"
        "                       ^\n"
        "hint: did you mean `CAP_NET_ADMIN`?\n"
        "error: bad.yml:8:11: expected each service name once, got `web` again\n"
        "      - name: web\n"
        "              ^\n"
        "hint: rename one; the first is at bad.yml:5:11\n"
        "error: bad.yml:10:1: unknown key `servces`\n"
        "    servces: []\n"
        "    ^\n"
        "hint: did you mean `services`?\n"
        "4 mistakes\n"
    )


def test_mistakes_of_several_configs_are_told_together(site: Site) -> None:
    site.write("one.yml", "kernel: 1\n")
    site.write("two.yml", "services: x\n")

    text = error(site, "build", "one.yml", "two.yml", "missing.yml")

    assert [line.split(": ")[1] for line in text.splitlines() if line.startswith("error")] == [
        "one.yml:1:9",
        "two.yml:1:11",
        "cannot read `missing.yml`",
    ]
    assert text.endswith("3 mistakes\n")


def test_missing_images_and_files_are_told_together_in_their_order(site: Site) -> None:
    site.change("linuxkit.yml", "t/hello:v1", "t/helo:v1")
    site.change("linuxkit.yml", "contents: first", "source: nowhere.txt")
    site.change("linuxkit.yml", "t/kernel:v1", "t/kernel:v9")

    text = error(site, "build", "--offline", "linuxkit.yml")

    places = [line.split(": ")[1:] for line in text.splitlines() if line.startswith("error")]
    assert [place for place, *_ in places] == ["linuxkit.yml:2:10", "linuxkit.yml:9:12", "linuxkit.yml:15:13"]
    assert places[1][1].startswith("docker.io/t/helo:v1 is in none of the given sources")
    assert places[2][1:] == ["cannot read `nowhere.txt`", "No such file or directory"]
    assert "    image: t/helo:v1\n               ^\nhint: give an image layout or archive" in text


def test_image_with_another_digest_is_missing(site: Site) -> None:
    digest = f"sha256:{'0' * 64}"
    site.change("linuxkit.yml", "t/web:v1", f"t/web:v1@{digest}")

    text = error(site, "build", "--offline", "linuxkit.yml")

    assert text.startswith(
        f"error: linuxkit.yml:12:12: docker.io/t/web:v1@{digest} is in none of the given sources"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "expected a config, got an empty file", id="empty"),
        pytest.param(b"# nothing\n", "expected a config, got an empty file", id="a comment"),
        pytest.param(bytes(range(256)), "expected UTF-8 text, got the byte 0x80", id="binary"),
        pytest.param(b"kernel: [", "", id="cut off"),
        pytest.param(b"\x1f\x8b\x08\x00" * 100, "expected UTF-8 text", id="gzip"),
        pytest.param(b"a: &a [*a, *a]\n", "", id="a loop"),
        pytest.param(b"[" * 100_000, "", id="too deep"),
    ],
)
def test_file_that_is_no_config_is_one_mistake(site: Site, content: bytes, message: str) -> None:
    site.write("odd.yml", content)

    text = error(site, "build", "odd.yml")

    assert text.startswith("error: odd.yml:")
    assert message in text
    assert text.endswith("\n1 mistake\n")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        pytest.param("nope.yml", "cannot read `nope.yml`: no such file or directory", id="missing"),
        pytest.param("images", "cannot read `images`: is a directory", id="a folder"),
        pytest.param("linuxkit.yml/x", "cannot read `linuxkit.yml/x`: not a directory", id="below a file"),
    ],
)
def test_config_that_cannot_be_read_is_one_mistake(site: Site, config: str, message: str) -> None:
    assert (
        error(site, "build", config) == f"error: {message}\nhint: check the path of the config\n1 mistake\n"
    )


def test_config_from_a_closed_stdin_is_empty(site: Site) -> None:
    assert "<stdin>:1:1: expected a config, got an empty file" in error(site, "build", "-", shell='"$@" <&-')


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param("images", "expected a regular file, got something else: `images`", id="a folder"),
        pytest.param("/dev/null", "expected a regular file, got something else: `/dev/null`", id="a device"),
        pytest.param("dangling", "cannot read `dangling`: No such file or directory", id="a dangling link"),
        pytest.param("locked", "cannot read `locked`: Permission denied", id="unreadable"),
        pytest.param(
            "~nobody-like-that/x", "expected the path of a file, got `~nobody-like-that/x`", id="no user"
        ),
        pytest.param('"a\\0b"', "", id="a NUL"),
    ],
)
def test_source_that_cannot_be_read_is_told_at_its_place(site: Site, source: str, message: str) -> None:
    (site.folder / "dangling").symlink_to("nowhere")
    site.write("locked", "x").chmod(0)
    site.change("linuxkit.yml", "contents: first", f"source: {source}")

    finished = site.run("build", "linuxkit.yml", status=2, program=[*powerless(), str(PROGRAM)])

    assert finished.stderr.startswith(f"error: linuxkit.yml:15:13: {message}")
    assert site.outputs() == {}


# -- images


def break_layer(site: Site, how: str) -> str:
    """Damages the first layer of t/web; gives its hex digits."""
    made = small_images()["t/web:v1"]
    name = images.hex_of(made.layers[0])
    path = site.folder / "images" / "blobs" / "sha256" / name
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        changed = {
            "corrupted": content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
            "truncated": content[:5000],
            "longer": content + b"more",
            "empty": b"",
            "no gzip": b"x" * len(content),
            "another": made.layers[1],
        }
        path.write_bytes(changed[how])
    return name


@pytest.mark.parametrize(
    "how", ["corrupted", "truncated", "longer", "empty", "no gzip", "another", "missing"]
)
def test_layer_that_is_not_what_the_image_says_fails_its_node(site: Site, how: str) -> None:
    good = shutil.copytree(site.folder / "images", site.folder / "good")
    name = break_layer(site, how)

    text = error(site, "build", "linuxkit.yml", status=1)

    assert text.count("error: ") == 1
    assert text.startswith("error: linuxkit.yml:12:12: layer ")
    assert f"docker.io/t/web:v1: layer sha256:{name}: " in text
    assert " 1 failed, 5 left, " in text.splitlines()[-1]
    site.run("build", "--images", str(good), "linuxkit.yml")
    site.run("cache", "verify")


def test_failed_node_is_marked_where_it_is_written(site: Site) -> None:
    break_layer(site, "corrupted")
    job = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(site.folder)}

    told = site.run("build", "linuxkit.yml", environment=job, status=1).stderr
    events = site.run("build", "--json", "linuxkit.yml", status=1).stdout.decode().splitlines()
    refused = site.run("build", "--require-cached", "linuxkit.yml", environment=job, status=1).stderr

    assert "\n::error file=linuxkit.yml,line=12,col=12,title=kitbuild::layer " in told
    assert told.count("::group::") == 1
    failed = [event for event in map(json.loads, events) if event["event"] == "node-failed"]
    assert [{"file": "linuxkit.yml", "line": 12, "column": 12}] == [event["where"] for event in failed]
    assert re.search(r"^::error file=linuxkit\.yml,line=\d+,col=\d+,", refused, re.M)


def test_layer_that_was_damaged_after_a_build_does_not_matter(built: Site) -> None:
    break_layer(built, "corrupted")

    assert built.run("build", "linuxkit.yml").counts["run"] == 0


@pytest.mark.parametrize("how", ["changed", "truncated"])
def test_manifest_that_does_not_fit_its_digest_is_told_at_the_image(site: Site, how: str) -> None:
    digest = small_images()["t/web:v1"].digest
    path = site.folder / "images" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    content = path.read_bytes()
    path.write_bytes(content[:50] if how == "truncated" else content.replace(b"sha256:0", b"sha256:1") + b" ")

    text = error(site, "build", "--offline", "linuxkit.yml", status=1)

    assert text.startswith("error: linuxkit.yml:12:12: ")
    assert digest in text
    assert text.endswith("1 problem\n")


def test_registry_that_is_down_is_no_mistake_of_the_config(site: Site) -> None:
    site.write("far.yml", "init: [127.0.0.1:1/t/init:v1]\n")

    text = error(site, "build", "far.yml", status=1)

    assert text.startswith("error: far.yml:1:8: cannot reach the registry 127.0.0.1:1")
    assert text.endswith("1 problem\n")


def test_kernel_image_without_a_kernel_fails_with_a_hint(site: Site) -> None:
    kernel = images.image({"boot/vmlinuz": b"k", "kernel.tar": images.layer_tar({})})
    images.layout(site.folder / "images", {**small_images(), "t/kernel:v1": kernel})

    text = error(site, "build", "linuxkit.yml", status=1)

    assert text.splitlines()[:4] == [
        "error: linuxkit.yml:2:3: kernel: boot: expected a file `kernel` in the kernel image, got none",
        "      image: t/kernel:v1",
        "      ^",
        "hint: name one of its files in the kernel section: boot/vmlinuz, kernel.tar",
    ]
    assert "1 failed" in text.splitlines()[-1]


def test_layout_that_is_not_there_is_told(site: Site) -> None:
    assert error(site, "build", "--images", "nowhere", "linuxkit.yml").startswith(
        "error: expected an image layout or archive at nowhere, got nothing\n"
    )


# -- the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["--format", "tra", "linuxkit.yml"],
            "error: expected a format, got `tra`\nhint: did you mean `tar`?\n",
            id="misspelt format",
        ),
        pytest.param(
            ["--format", "floppy", "linuxkit.yml"],
            "error: expected a format, got `floppy`\nhint: choose from aws, docker, ",
            id="unknown format",
        ),
        pytest.param(
            ["--format", "tar,kernel+initrd", "linuxkit.yml"],
            "error: expected `tar` alone, got 2 formats\n",
            id="a stream with another",
        ),
        pytest.param(
            ["--output", "-", "-f", "kernel+initrd", "-f", "tar-kernel-initrd", "linuxkit.yml"],
            "error: expected one format with `--output`, got 2\n",
            id="output of two formats",
        ),
        pytest.param(
            ["--output", "x", "--name", "y", "linuxkit.yml"],
            "error: expected either `--output` or `--name` and `--dir`, got both\n",
            id="output and name",
        ),
        pytest.param(
            ["--output", "-", "--json", "linuxkit.yml"],
            "error: expected either `--json` or the output on stdout, got both\n",
            id="json and stdout",
        ),
        pytest.param(
            ["--name", "", "linuxkit.yml"], "error: expected a name with `--name`, got none\n", id="no name"
        ),
        pytest.param(
            ["--dir", "no/where", "linuxkit.yml"],
            "error: expected a folder at `no/where`, got none\nhint: make it first: mkdir -p no/where\n",
            id="no folder",
        ),
        pytest.param(
            ["--dir", "linuxkit.yml", "linuxkit.yml"],
            "error: expected a folder at `linuxkit.yml`, got a file\n",
            id="a file as folder",
        ),
        pytest.param(
            ["--jobs", "many", "linuxkit.yml"],
            "error: `--jobs`: expected N, got `many`\nhint: give a whole number, 0 or more\n",
            id="jobs",
        ),
        pytest.param(
            ["--compression", "gzp", "linuxkit.yml"],
            "error: `--compression`: expected KIND, got `gzp`\nhint: did you mean `gzip`?\n",
            id="compression",
        ),
        pytest.param(["--no-such-flag", "linuxkit.yml"], "usage: kitbuild ", id="unknown flag"),
        pytest.param([], "usage: kitbuild build ", id="no config"),
    ],
)
def test_command_line_that_cannot_be_is_refused(site: Site, arguments: list[str], message: str) -> None:
    assert error(site, "build", *arguments).startswith(message)
    assert not (site.folder / "cache" / "blobs").exists()


@pytest.mark.parametrize("arguments", [[], ["biuld"]], ids=["none", "unknown"])
def test_unknown_command_is_refused_with_those_there_are(site: Site, arguments: list[str]) -> None:
    text = error(site, *arguments)

    assert text.startswith("usage: kitbuild COMMAND")
    assert (
        ("`biuld`" in text and "did you mean `build`" in text) if arguments else ("expected COMMAND" in text)
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(
            "jbos = 1", "kitbuild.toml: unknown key `jbos`\nhint: did you mean `jobs`?", id="unknown key"
        ),
        pytest.param(
            'jobs = "two"',
            "kitbuild.toml: `jobs`: expected N, got `two`\nhint: give a whole number, 0 or more",
            id="a text for a number",
        ),
        pytest.param(
            "jobs = true", "kitbuild.toml: `jobs`: expected N, got `True`", id="a truth for a number"
        ),
        pytest.param("jobs = 1.5", "kitbuild.toml: `jobs`: expected N, got `1.5`", id="a fraction"),
        pytest.param(
            "cache-dir = 3",
            "kitbuild.toml: `cache-dir`: expected DIR, got `3`\nhint: give a path in quotes",
            id="a number for a path",
        ),
        pytest.param(
            'images = "images"',
            'kitbuild.toml: `images`: expected a list of texts, got `images`\nhint: write images = ["..."]',
            id="a text for a list",
        ),
        pytest.param(
            'compression = ["zstd"]',
            "kitbuild.toml: `compression`: expected KIND, got `['zstd']`\nhint: use one of",
            id="a list for a text",
        ),
        pytest.param("jobs = ", "cannot read kitbuild.toml: Invalid value", id="no TOML"),
        pytest.param(b"# \xff\n", "cannot read kitbuild.toml: 'utf-8' codec can't decode", id="no text"),
    ],
)
def test_settings_file_with_a_mistake_is_refused(site: Site, content: str | bytes, message: str) -> None:
    site.write("kitbuild.toml", content)

    assert error(site, "build", "linuxkit.yml").startswith(f"error: {message}")


# -- folders and disks that refuse


def test_output_folder_that_is_not_writable_is_told(built: Site) -> None:
    (built.folder / "locked").mkdir(0o555)

    text = error(
        built, "build", "--dir", "locked", "linuxkit.yml", status=1, program=[*powerless(), str(PROGRAM)]
    )

    assert text.endswith(
        "error: cannot write `locked/linuxkit-kernel`: Permission denied\n"
        "hint: choose a folder you may write to with `--dir`\n"
    )


def test_output_that_is_a_folder_is_told(built: Site) -> None:
    (built.folder / "linuxkit-kernel").unlink()
    (built.folder / "linuxkit-kernel").mkdir()

    text = error(built, "build", "linuxkit.yml", status=1)

    assert text.endswith("error: cannot write `linuxkit-kernel`: Is a directory\n")


def test_output_larger_than_a_limit_leaves_the_old_one(built: Site) -> None:
    built.write("linuxkit-initrd.img", "old")

    # 200 KiB: more than the kernel has, less than the initrd.
    text = error(built, "build", "linuxkit.yml", status=1, shell='ulimit -f 200; "$@"')

    assert text.count("error: ") == 1
    assert "error: cannot write `linuxkit-initrd.img`: File too large\n" in text


def test_full_disk_of_the_outputs_leaves_nothing_half_written(built: Site) -> None:
    (built.folder / "small").mkdir()
    program = [
        *with_mount("size=200k", "small"),
        "bash",
        "-c",
        '"$@"; status=$?; ls -A small >&2; exit $status',
    ]

    finished = built.run(
        "build", "--dir", "small", "linuxkit.yml", status=1, program=[*program, "bash", str(PROGRAM)]
    )

    assert "error: cannot write `small/linuxkit-initrd.img`: No space left on device\n" in finished.stderr
    assert "hint: free some space there, or choose another folder with `--dir`\n" in finished.stderr
    assert finished.stderr.splitlines()[-2:] == ["linuxkit-cmdline", "linuxkit-kernel"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        pytest.param("locked/cache", "the cache locked/cache cannot be used: Permission denied", id="locked"),
        pytest.param("linuxkit.yml", "the cache linuxkit.yml cannot be used: File exists", id="a file"),
    ],
)
def test_cache_that_cannot_be_made_is_told(site: Site, folder: str, message: str) -> None:
    (site.folder / "locked").mkdir(0o555)

    text = error(
        site, "build", "--cache-dir", folder, "linuxkit.yml", status=1, program=[*powerless(), str(PROGRAM)]
    )

    assert text == (
        f"error: {message}\n"
        "hint: make the folder writable for you, or set KITBUILD_CACHE_DIR to one that is\n"
    )


def test_cache_that_became_read_only_is_told_once(built: Site) -> None:
    built.change("linuxkit.yml", "first", "second")
    for folder in ("tmp", "blobs", "index", "leases"):
        (built.folder / "cache" / folder).chmod(0o500)

    text = error(built, "build", "linuxkit.yml", status=1, program=[*powerless(), str(PROGRAM)])

    assert text.startswith("error: the cache cache cannot be used: Permission denied\n")
    assert text.count("error: ") == 1


def test_cache_on_a_full_disk_is_told_once(site: Site) -> None:
    (site.folder / "cache").mkdir()

    text = error(
        site,
        "build",
        "linuxkit.yml",
        status=1,
        program=[*with_mount("size=400k,mode=700", "cache"), str(PROGRAM)],
    )

    assert text.count("error: ") == 1
    assert "hint: free some space there" in text
    site.run("build", "linuxkit.yml")


def test_cache_on_a_disk_that_fills_up_at_any_moment_is_told_once(site: Site) -> None:
    messages = set()
    for size in range(0, 700, 35):
        folder = f"cache{size}"
        (site.folder / folder).mkdir()
        mounted = with_mount(f"size={size + 4}k", folder)
        finished = subprocess.run(
            [*mounted, str(PROGRAM), "build", "--cache-dir", folder, "linuxkit.yml"],
            cwd=site.folder,
            env=site.environment,
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in finished.stderr, f"{size}k: {finished.stderr}"
        if finished.returncode != 0:
            assert finished.returncode == 1
            assert finished.stderr.count("error: ") == 1, f"{size}k: {finished.stderr}"
            messages.add(finished.stderr.split("cache")[0])

    assert messages
    assert not [path.name for path in site.folder.iterdir() if path.name.startswith(".kitbuild")]


# -- streams that refuse


def test_reader_that_goes_away_ends_the_build_in_silence(site: Site) -> None:
    finished = site.run("build", "--output", "-", "linuxkit.yml", status=1, shell='"$@" | head -c1')

    assert len(finished.stdout) == 1
    assert len(finished.lines) == 1
    assert finished.counts["cached"] == 0


def test_reader_of_a_json_report_that_goes_away_does_not_stop_the_build(site: Site) -> None:
    site.run("build", "--json", "linuxkit.yml", status=1, shell='"$@" | head -c1')

    assert len(site.outputs()) == 3


@pytest.mark.parametrize("arguments", [["--help"], ["formats"], ["build", "--help"]], ids=" ".join)
def test_reader_of_a_text_may_go_away(site: Site, arguments: list[str]) -> None:
    finished = site.run(*arguments, status=1, shell='("$@"; echo $? >&2; exit 1) | true')

    assert finished.stderr in ("0\n", "1\n")  # it may have been faster


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")],
    ids=["full", "closed"],
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["formats"],
        ["version"],
        ["--help"],
        ["schema"],
        ["help", "build"],
        ["build", "-o", "-", "linuxkit.yml"],
    ],
    ids=" ".join,
)
def test_stdout_that_takes_nothing_is_told(
    built: Site, arguments: list[str], redirection: str, reason: str
) -> None:
    text = error(built, *arguments, status=1, shell=f'"$@" {redirection}')

    assert text.splitlines()[-1] == f"error: cannot write to stdout: {reason}"


@pytest.mark.parametrize(
    "arguments", [["schema"], ["graph", "linuxkit.yml"], ["build", "--dry-run", "linuxkit.yml"]], ids=" ".join
)
def test_stdout_that_takes_nothing_is_told_without_buffers_too(built: Site, arguments: list[str]) -> None:
    unbuffered = {"PYTHONUNBUFFERED": "1"}

    told = built.run(*arguments, status=1, environment=unbuffered, shell='"$@" >/dev/full')

    assert told.stderr == "error: cannot write to stdout: No space left on device\n"


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", ">&-", "<&-", "<&- >&- 2>&-"])
def test_build_does_not_need_its_streams(site: Site, redirection: str) -> None:
    site.run("build", "linuxkit.yml", shell=f'"$@" {redirection}')

    assert len(site.outputs()) == 3


def test_error_that_cannot_be_told_has_its_status_all_the_same(site: Site) -> None:
    closed = site.run("build", "nope.yml", status=2, shell='"$@" 2>&-')
    full = site.run("build", "nope.yml", status=2, shell='"$@" 2>/dev/full')

    assert (2, 2) == (closed.status, full.status)
    assert {} == site.outputs()


def test_failed_build_keeps_the_outputs_of_the_last_good_one(built: Site) -> None:
    before = built.outputs()
    built.write("linuxkit.yml", CONFIG.replace("t/kernel:v1", "t/hello:v1"))

    error(built, "build", "linuxkit.yml", status=1)

    assert built.outputs() == before


def test_output_takes_a_format_of_one_file_and_no_other(site: Site) -> None:
    said = error(site, "build", "--output", "x", "-f", "kernel+initrd", "linuxkit.yml")

    site.run("build", "--output", "one.oci", "-f", "oci", "linuxkit.yml")

    assert said.startswith(
        "error: expected a format of one file with `--output`, got `kernel+initrd`, which has 3\n"
    )
    assert not (site.folder / "x").exists()
    assert (site.folder / "one.oci").stat().st_size > 0
