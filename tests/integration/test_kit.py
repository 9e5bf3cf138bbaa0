"""The starter kit: images as OCI wants them, the same bytes wherever they are made, clear words if they cannot be."""

from __future__ import annotations

import filecmp
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.boot import EXAMPLES, KIT, kernel_files, kit_images
from tests.support.registry import tool

pytestmark = pytest.mark.integration

BOOTABLE = ["minimal.yml", "web.yml", "store.yml", "files.yml", "live.yml"]


class Made(NamedTuple):
    """One image of a layout: its config document and the uncompressed layers."""

    config: dict[str, Any]
    layers: list[bytes]


@pytest.fixture(scope="module")
def layout() -> Path:
    return kit_images()


def blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    """The blob, once it is what its descriptor says."""
    data: bytes = (layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert descriptor["size"] == len(data)
    return data


def images(layout: Path) -> dict[str, Made]:
    found = {}
    for entry in json.loads((layout / "index.json").read_text())["manifests"]:
        manifest = json.loads(blob(layout, entry))
        layers = [gzip.decompress(blob(layout, layer)) for layer in manifest["layers"]]
        config = json.loads(blob(layout, manifest["config"]))
        found[entry["annotations"]["org.opencontainers.image.ref.name"]] = Made(config, layers)
    return found


def make(
    *arguments: str | Path, path: str | None = None, umask: int = 0o022, **environment: str
) -> tuple[int, str]:
    """Runs make.py; gives the exit status and what it says on stderr."""
    command = [sys.executable, str(KIT / "make.py"), *map(str, arguments)]
    variables = {**os.environ, "PATH": path or os.environ["PATH"], **environment}
    done = subprocess.run(
        command, env=variables, umask=umask, cwd="/", capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


def module_index(folder: Path) -> tuple[dict[str, list[str]], set[str]]:
    """What modules.dep says, by module, and the lines of modules.alias."""
    lines = (line.partition(":") for line in (folder / "modules.dep").read_text().splitlines())
    aliases = {line for line in (folder / "modules.alias").read_text().splitlines() if line[0] != "#"}
    return {module: names.split() for module, _, names in lines}, aliases


def files_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_blob_is_what_its_name_says_and_every_layer_what_its_diff_id_says(layout: Path) -> None:
    made = images(layout)

    for image in made.values():
        digests = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in image.layers]
        assert image.config["rootfs"]["diff_ids"] == digests
        assert (image.config["os"], image.config["architecture"]) == ("linux", "amd64")


def test_every_kit_image_an_example_names_is_there(layout: Path) -> None:
    named = {
        name
        for config in [*EXAMPLES.glob("*.yml"), *KIT.glob("*.yml")]
        for name in re.findall(r"^[^#]*?\b(kit/[a-z]+:v1)", config.read_text(), re.MULTILINE)
    }

    assert named
    assert {f"docker.io/{name}" for name in named} <= set(images(layout))


def test_labels_are_json_and_name_no_image(layout: Path) -> None:
    labels = [
        json.loads(image.config["config"]["Labels"]["org.mobyproject.config"])
        for image in images(layout).values()
        if "Labels" in image.config["config"]
    ]

    assert labels
    assert not [label for label in labels if {"name", "image"} & set(label)]


def test_layers_hold_nothing_of_the_machine_that_made_them(layout: Path) -> None:
    for image in images(layout).values():
        for layer in image.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
                members = archive.getmembers()

            owners = {(member.uid, member.gid, member.mtime, member.uname) for member in members}
            assert owners <= {(0, 0, 0, "")}
            assert sorted(member.name for member in members) == [member.name for member in members]


def test_other_surroundings_give_the_same_bytes(layout: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"

    status, said = make(
        "--output",
        other,
        "--work",
        KIT / ".work",
        umask=0o077,
        TZ="Asia/Tokyo",
        PYTHONHASHSEED="7",
        LC_ALL="C",
    )

    assert (status, said) == (0, "")
    names = files_below(layout)
    assert names == files_below(other)
    assert filecmp.cmpfiles(layout, other, names, shallow=False) == (names, [], [])


def test_the_module_index_says_what_the_one_of_depmod_says(layout: Path, tmp_path: Path) -> None:
    depmod = tool("depmod")
    with tarfile.open(fileobj=io.BytesIO(images(layout)["docker.io/kit/kernel:v1"].layers[0])) as kernel:
        modules = kernel.extractfile("kernel.tar")
        assert modules
        subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=modules.read(), check=True)
    (folder,) = (tmp_path / "lib" / "modules").iterdir()
    needed, aliases = module_index(folder)

    subprocess.run([depmod, "-b", str(tmp_path), folder.name], check=True, capture_output=True)

    depmod_needed, depmod_aliases = module_index(folder)
    assert {module: set(names) for module, names in depmod_needed.items()} == {
        module: set(names) for module, names in needed.items()
    }
    assert depmod_aliases == aliases
    # modprobe loads a line from its end, so whatever a module needs must stand behind it.
    for names in needed.values():
        for position, name in enumerate(names):
            assert set(needed[name]) <= set(names[position + 1 :])


def test_what_comes_before_everything_keeps_to_a_folder_of_its_own_and_has_all_its_init_calls(
    layout: Path, tmp_path: Path
) -> None:
    archive = kernel_files(layout)["early.cpio"]

    subprocess.run([tool("cpio"), "-id", "--quiet"], cwd=tmp_path, input=archive, check=True)

    assert {"dev", "early", "init"} == {path.name for path in tmp_path.iterdir()}
    assert b"#!/early/busybox sh\n" == (tmp_path / "init").read_bytes().splitlines(keepends=True)[0]
    own = {"dd", "findfs", "insmod", "mount", "switch_root", "umount"}
    links = {path.name: str(path.readlink()) for path in (tmp_path / "early").iterdir() if path.is_symlink()}
    assert own <= set(links)
    assert {"busybox"} == set(links.values())


def test_modules_that_come_before_everything_can_be_loaded_in_their_order(
    layout: Path, tmp_path: Path
) -> None:
    archive = kernel_files(layout)["early.cpio"]
    subprocess.run([tool("cpio"), "-id", "--quiet"], cwd=tmp_path, input=archive, check=True)

    loaded: list[str] = []
    for module in sorted((tmp_path / "early" / "modules").iterdir()):
        facts = dict(re.findall(rb"\0(name|depends)=([^\0]*)(?=\0)", module.read_bytes()))
        needed = facts[b"depends"].decode().split(",") if facts[b"depends"] else []
        assert set(needed) <= set(loaded)
        loaded.append(facts[b"name"].decode())

    assert {"virtio_blk", "sr_mod", "isofs", "squashfs", "erofs"} <= set(loaded)


def test_a_folder_that_is_no_image_layout_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")

    status, said = make("--output", tmp_path, "--work", KIT / ".work")

    assert status == 1
    assert f"expected {tmp_path} to be empty or an image layout" in said
    assert precious.read_text() == "mine"


def test_a_machine_without_apt_is_told_so(tmp_path: Path) -> None:
    status, said = make("--output", tmp_path / "images", path=str(tmp_path))

    assert status == 1
    assert "expected a Debian or Ubuntu machine with `apt-get`" in said
    assert "hint: " in said


def test_a_failed_download_says_what_apt_said_and_what_to_do(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("apt-get", "apt-cache"):
        (programs / name).write_text("#!/bin/sh\necho 'E: Unable to locate package crun' >&2\nexit 100\n")
        (programs / name).chmod(0o755)

    status, said = make(
        "--output", tmp_path / "images", "--work", tmp_path / "work", path=f"{programs}:{os.environ['PATH']}"
    )

    assert status == 1
    assert "E: Unable to locate package crun" in said
    assert "hint: run `apt-get update` as root" in said
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize("name", BOOTABLE)
def test_examples_say_which_console_they_boot_with(name: str) -> None:
    text = (EXAMPLES / name).read_text()

    assert "console=ttyS0" in text.partition("\nkernel:")[0]
    assert yaml.safe_load(text)["kernel"]["cmdline"] == "console=ttyS0"


def test_the_config_of_the_talk_is_drawn_without_its_images(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kitbuild", "graph", "--offline", "--cache-dir", str(tmp_path)]

    drawn = subprocess.run(
        [*command, str(EXAMPLES / "linuxkit-talk.yml")], capture_output=True, text=True, check=True
    )

    for name in (
        "docker.io/linuxkit/kernel:4.9.60",
        "linuxkit/dhcpcd:4883",
        "docker.io/library/redis:4.0-alpine",
    ):
        assert name in drawn.stdout
