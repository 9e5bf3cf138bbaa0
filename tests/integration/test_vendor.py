"""kitbuild vendor: a folder from which a build without network and cache gives the same bytes."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.integration.test_lock import guarded
from tests.support import images
from tests.support.boot import kit_images
from tests.support.command import CONFIG, Site, digest_of, small_images, web_image
from tests.support.loaders import loader_settings
from tests.support.packages import package
from tests.support.registry import registry, tool
from tests.support.sboms import with_sbom

pytestmark = pytest.mark.integration

EXAMPLES = Path(__file__).parents[2] / "examples"


def elsewhere(site: Site, folder: str = "bundle") -> Site:
    """The same folder on another machine: no images but those in it, an empty cache, nobody's home."""
    other = object.__new__(Site)
    other.folder = site.folder / folder
    other.environment = {
        name: text for name, text in site.environment.items() if not name.startswith("KITBUILD_")
    }
    other.environment |= {
        "KITBUILD_CACHE_DIR": str(site.folder / f"{folder}-cache"),
        "HOME": str(site.folder / "nobody"),
    }
    return other


def outputs(site: Site) -> dict[str, str]:
    """The outputs, which a lock beside the config is none of."""
    return {suffix: digest for suffix, digest in site.outputs().items() if suffix != ".yml.lock"}


def test_a_folder_filled_from_a_registry_builds_the_same_bytes_without_a_network(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with registry(tmp_path_factory.mktemp("registry")) as server:
        config = CONFIG
        for name, made in small_images().items():
            config = config.replace(f" {name}\n", f" {server.push(name, made)}\n")
        site = Site(tmp_path, config=config)
        site.environment["KITBUILD_IMAGES"] = ""
        site.run("lock", "linuxkit.yml")
        site.run("build", "linuxkit.yml")
        server.push("t/web:v1", web_image("moved"))
        before = len(server.requests())

        first = json.loads(site.run("vendor", "--json", "bundle", "linuxkit.yml").stdout)
        asked = len(server.requests())
        second = json.loads(site.run("vendor", "--json", "--locked", "bundle", "linuxkit.yml").stdout)

        assert asked > before
        assert len(server.requests()) == asked
    assert first["written"] > 10
    assert second == {**second, "written": 0, "bytes": 0, "kept": first["written"]}
    other = elsewhere(site)
    other.run("build", "--locked", "linuxkit.yml", program=guarded())
    assert outputs(site) == outputs(other)
    other.run("lock", "--check", "linuxkit.yml")
    assert not list(other.folder.rglob("*.partial"))


def test_sboms_files_volumes_and_settings_come_along(tmp_path: Path) -> None:
    bill = with_sbom(web_image("with a bill"))
    site = Site(
        tmp_path,
        config="""\
kernel:
  image: t/kernel:v1
  cmdline: console=ttyS0
init:
  - t/init:v1
services:
  - name: web
    image: t/bill:v1
volumes:
  - name: store
    image: t/bill:v1
    format: oci
files:
  - path: etc/inside
    source: etc/inside.txt
  - path: etc/home
    source: "~/home.txt"
  - path: etc/absolute
    source: FOLDER/outside.txt # stays
  - path: etc/none
    source: none.txt
    optional: true
""".replace("FOLDER", str(tmp_path / "else where")),
    )
    images.layout(site.folder / "images", {**small_images(), "t/bill:v1": bill})
    site.write("etc/inside.txt", "inside")
    site.write("home/home.txt", "home")
    site.write("else where/outside.txt", "outside")
    site.write("kitbuild.toml", 'compression = "none"\n')
    site.run("build", "--format", "kernel+initrd", "linuxkit.yml")

    site.run("vendor", "bundle", "linuxkit.yml")
    other = elsewhere(site)
    told = other.run("build", "--locked", "linuxkit.yml", program=guarded()).stderr

    assert outputs(site) == outputs(other)
    assert "warning" not in told
    text = (other.folder / "linuxkit.yml").read_text()
    assert "source: etc/inside.txt\n" in text
    assert str(tmp_path) not in text
    assert "# stays\n" in text
    assert (other.folder / "etc/inside.txt").read_text() == "inside"
    assert 'compression = "none"' in (other.folder / "kitbuild.toml").read_text()


def test_a_boot_loader_comes_along_and_counts_as_locked(tmp_path: Path) -> None:
    site = Site(tmp_path)
    packages = site.folder / "loaders"
    packages.mkdir()
    (packages / "grub.deb").write_bytes(package({"usr/lib/grub/gcdx64.efi": b"MZ" + bytes(4096)}))
    images.layout(
        site.folder / "images",
        {**small_images(), "t/grub:v1": images.image({"grub.efi": b"MZ" + bytes(4096)})},
    )
    by_package = ("--boot-loader", f"grub={packages}/grub.deb")
    by_image = ("--boot-loader", "grub=image:t/grub:v1")

    site.run("vendor", "--format", "iso-efi", *by_package, "one", "linuxkit.yml")
    site.run("vendor", "--format", "iso-efi", *by_image, "two", "linuxkit.yml")

    one, two = elsewhere(site, "one"), elsewhere(site, "two")
    assert "grub=packages/grub.deb" in (one.folder / "kitbuild.toml").read_text()
    assert "grub=image:docker.io/t/grub:v1" in (two.folder / "kitbuild.toml").read_text()
    for place in (one, two):
        place.run("graph", "--locked", "--image-format", "iso-efi", "linuxkit.yml", program=guarded())
    assert not json.loads((one.folder / "linuxkit.yml.lock").read_text()).get("loaders")


def test_what_is_not_needed_any_more_goes_only_when_it_is_asked_for(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("vendor", "bundle", "linuxkit.yml")
    web = site.folder / "bundle/blobs/sha256" / images.hex_of(small_images()["t/web:v1"].manifest)
    site.write("linuxkit.yml", CONFIG[: CONFIG.index("services:")])
    (site.folder / "bundle/blobs/sha256/.x.partial").write_bytes(b"half")
    (site.folder / "bundle/mine.txt").write_bytes(b"mine")

    site.run("vendor", "bundle", "linuxkit.yml")
    kept = web.is_file()
    told = site.run("vendor", "--prune", "bundle", "linuxkit.yml").stdout.decode()

    assert kept
    assert not web.exists()
    assert " removed\n" in told
    assert (site.folder / "bundle/mine.txt").is_file()
    assert not list((site.folder / "bundle").rglob("*.partial"))
    elsewhere(site).run("build", "--locked", "linuxkit.yml")


def test_a_broken_blob_is_refused_and_what_was_copied_is_not_copied_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("lock", "linuxkit.yml")
    layer = small_images()["t/web:v1"].layers[0]
    path = site.folder / "images/blobs/sha256" / images.hex_of(layer)
    path.write_bytes(bytes(len(layer)))

    refused = site.run("vendor", "bundle", "linuxkit.yml", status=1).stderr
    half = len(list((site.folder / "bundle/blobs/sha256").iterdir()))
    path.write_bytes(layer)
    resumed = json.loads(site.run("vendor", "--json", "bundle", "linuxkit.yml").stdout)

    assert f"sha256:{images.hex_of(layer)}: expected sha256:{images.hex_of(layer)}" in refused
    assert not (site.folder / "bundle/index.json").exists() or half
    assert resumed["kept"] == half
    assert not list((site.folder / "bundle").rglob("*.partial"))
    elsewhere(site).run("build", "--locked", "linuxkit.yml")


def test_skopeo_reads_the_layout(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.run("vendor", "bundle", "linuxkit.yml")

    ended = subprocess.run(
        [tool("skopeo"), "inspect", f"oci:{site.folder}/bundle:docker.io/t/web:v1"],
        check=True,
        capture_output=True,
    )

    assert json.loads(ended.stdout)["Digest"] == small_images()["t/web:v1"].digest


def test_a_folder_of_somebody_elses_is_left_alone(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("project/kitbuild.toml", 'compression = "zstd"\n')
    site.write("notes/diary.txt", "dear diary")

    one = site.run("vendor", "project", "linuxkit.yml", status=2).stderr
    two = site.run("vendor", "notes", "linuxkit.yml", status=2).stderr

    assert "expected an empty folder, or one of `kitbuild vendor`, got `project`" in one
    assert "got `notes`" in two
    assert (site.folder / "project/kitbuild.toml").read_text() == 'compression = "zstd"\n'


def test_an_archive_of_docker_save_comes_along_whole(tmp_path: Path) -> None:
    site = Site(tmp_path, config="services:\n  - name: web\n    image: t/web:v9\n")
    images.docker_archive(site.folder / "saved.tar", {"t/web:v9": web_image("saved")})
    site.environment["KITBUILD_IMAGES"] = str(site.folder / "saved.tar")
    site.run("build", "--format", "tar", "linuxkit.yml")

    site.run("vendor", "bundle", "linuxkit.yml")
    other = elsewhere(site)
    other.run("build", "--locked", "--format", "tar", "linuxkit.yml", program=guarded())

    assert outputs(site) == outputs(other)


def test_several_configs_keep_their_names_apart(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write("site/linuxkit.yml", "onboot:\n  - name: more\n    image: t/hello:v1\n")
    site.run("build", "linuxkit.yml", "site/linuxkit.yml")

    site.run("vendor", "bundle", "linuxkit.yml", "site/linuxkit.yml")
    other = elsewhere(site)
    other.run("build", "--locked", "2-linuxkit.yml", "linuxkit.yml", program=guarded())

    assert outputs(site) == outputs(other)
    assert (
        "kitbuild build --locked 2-linuxkit.yml linuxkit.yml" in (other.folder / "kitbuild.toml").read_text()
    )


def test_a_killed_run_leaves_only_whole_files_and_is_taken_up_again(tmp_path: Path) -> None:
    site = Site(tmp_path, config="services:\n  - name: web\n    image: t/large:v1\n")
    content = random.Random(1).randbytes(4 << 20)
    layers = [{f"data/{number}": content + bytes([number])} for number in range(24)]
    made = images.image(*layers, compression="plain")
    images.layout(site.folder / "images", {"t/large:v1": made})
    blobs = site.folder / "bundle/blobs/sha256"

    for least in (2, 8):
        process = site.start("vendor", "bundle", "linuxkit.yml")
        while process.poll() is None and len(finished(blobs)) < least:
            time.sleep(0.001)
        process.kill()
        process.communicate()
        for path in finished(blobs):
            assert path.name == digest_of(path)
    half = len(finished(blobs))
    resumed = json.loads(site.run("vendor", "--json", "bundle", "linuxkit.yml").stdout)

    # All layers, manifest and config; configs and settings come after them.
    assert resumed["kept"] == half
    assert {path.name for path in finished(blobs)} == {*images.blobs_of(made)}
    site.run("vendor", "--prune", "bundle", "linuxkit.yml")
    assert not list(blobs.glob(".*"))


def finished(folder: Path) -> list[Path]:
    """What has its final name."""
    return [path for path in folder.glob("*") if not path.name.startswith(".")]


def test_vendoring_takes_memory_that_does_not_grow_with_layers(tmp_path: Path) -> None:
    used = []
    for number, size in enumerate((1 << 20, 96 << 20)):
        site = Site(tmp_path / str(number), config="services:\n  - name: web\n    image: t/large:v1\n")
        content = random.Random(2).randbytes(1 << 20) * (size >> 20)
        images.layout(
            site.folder / "images", {"t/large:v1": images.image({"x": content}, compression="plain")}
        )
        peak = site.folder / "peak"
        site.run(
            "vendor",
            "bundle",
            "linuxkit.yml",
            shell=f'/usr/bin/env python3 -c "{PEAK}" {peak} "$@"',
        )
        used.append(int(peak.read_text()))

    assert used[1] < used[0] + (16 << 10)


# The largest resident set of a command, in KiB.
PEAK = (
    "import resource, subprocess, sys; "
    "subprocess.run(sys.argv[2:], check=True); "
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))"
)


def test_templates_are_replaced_in_the_copy(tmp_path: Path) -> None:
    site = Site(tmp_path)
    package = site.folder / "packages/web"
    site.write("packages/web/build.yml", "org: t\nimage: web\n")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "-C", str(package)]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    site.write("linuxkit.yml", 'services:\n  - name: web\n    image: "@pkg:packages/web" # ours\n')
    named = site.run("build", "--dry-run", "linuxkit.yml").stdout.decode()
    tag = named[named.index("t/web:") :].split()[0].strip('"')
    images.layout(site.folder / "images", {tag: web_image("from a package")})
    site.run("build", "--format", "tar", "linuxkit.yml")

    site.run("vendor", "bundle", "linuxkit.yml")
    other = elsewhere(site)
    other.run("build", "--locked", "--format", "tar", "linuxkit.yml", program=guarded())

    assert outputs(site) == outputs(other)
    assert f'image: "docker.io/{tag}" # ours' in (other.folder / "linuxkit.yml").read_text()


def test_a_path_that_the_system_shows_is_not_replaced(tmp_path: Path) -> None:
    site = Site(
        tmp_path,
        config="files:\n  - path: etc/x\n    source: ~/x.txt\n  - path: etc/me\n    metadata: yaml\n",
    )
    site.write("home/x.txt", "x")

    refused = site.run("vendor", "bundle", "linuxkit.yml", status=2).stderr

    assert "linuxkit.yml:3:13: expected a path inside this folder, got `~/x.txt`" in refused


def test_pinned_packages_of_boot_loaders_that_are_here_as_files_are_not_fetched(tmp_path: Path) -> None:
    site = Site(tmp_path, config=(EXAMPLES / "minimal.yml").read_text())
    site.environment["KITBUILD_IMAGES"] = str(kit_images())
    settings = {"KITBUILD_BOOT_LOADERS": loader_settings("amd64")}
    site.run("lock", "--format", "iso", "linuxkit.yml")
    lock = (site.folder / "linuxkit.yml.lock").read_bytes()
    build = ("build", "--locked", "--format", "iso", "linuxkit.yml")

    # The same packages as files: what is in them counts.
    site.run(*build, environment=settings)
    first = outputs(site)
    site.run("vendor", "--format", "iso", "bundle", "linuxkit.yml", environment=settings, program=guarded())
    told = site.run(*build, environment=settings, program=guarded()).stderr
    other = elsewhere(site)
    other.run(*build, program=guarded())

    assert "warning" not in told
    assert first == outputs(site) == outputs(other)
    assert len(list((other.folder / "packages").glob("*.deb"))) == 3
    assert lock == (other.folder / "linuxkit.yml.lock").read_bytes()
    site.run("lock", "--format", "iso", "linuxkit.yml", environment=settings, program=guarded())
    site.run("lock", "--check", "--format", "iso", "linuxkit.yml", environment=settings)
    assert lock == (site.folder / "linuxkit.yml.lock").read_bytes()
