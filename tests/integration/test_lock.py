"""kitbuild lock and update, against the real docker-registry whose tags move; and builds that use the lock."""

from __future__ import annotations

import http.server
import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.command import CONFIG, Site, executable, small_images, web_image
from tests.support.registry import RegistryServer, registry, serving

pytestmark = pytest.mark.integration

LOCK = "linuxkit.yml.lock"
NAMES = ("t/kernel:v1", "t/init:v1", "t/tools:v1", "t/hello:v1", "t/web:v1")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    with registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def site(tmp_path: Path, server: RegistryServer) -> Site:
    """A site whose images are all in the registry, and nowhere else."""
    config = CONFIG
    for name, made in small_images().items():
        server.push(name, made)
        config = config.replace(f" {name}\n", f" {server.host}/{name}\n")
    found = Site(tmp_path, config=config)
    found.environment["KITBUILD_IMAGES"] = ""
    return found


def lock_of(site: Site, name: str = LOCK) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((site.folder / name).read_text())
    return document


def hex_of_output(site: Site) -> str:
    return site.outputs()["-initrd.img"]


@contextmanager
def files_at(content: Mapping[str, bytes]) -> Iterator[str]:
    """A web server with some files; gives its host and port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = content.get(self.path.partition("?")[0])
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with serving(Handler) as host:
        yield host


# -- writing


def test_a_lock_holds_every_digest_and_is_the_same_when_it_is_written_again(
    site: Site, server: RegistryServer
) -> None:
    made = small_images()["t/web:v1"]

    first = site.run("lock", "linuxkit.yml")
    content = (site.folder / LOCK).read_bytes()
    second = site.run("lock", "linuxkit.yml")

    locked = lock_of(site)["images"][f"{server.host}/t/web:v1"]
    assert locked == {
        "platforms": {
            "linux/amd64": {
                "manifest": f"{made.digest} {len(made.manifest)}",
                "config": f"sha256:{images.hex_of(made.config)} {len(made.config)}",
                "layers": [f"sha256:{images.hex_of(blob)} {len(blob)}" for blob in made.layers],
            }
        }
    }
    assert first.stdout.decode().endswith(f"{LOCK}: 5 images\n")
    assert second.stdout.decode() == f"{LOCK}: 5 images, as before\n"
    assert (site.folder / LOCK).read_bytes() == content
    assert not list(site.folder.glob(".*partial"))


def test_platforms_of_one_index_are_locked_one_after_another(site: Site, server: RegistryServer) -> None:
    both = images.index(
        web_image("amd"),
        images.image({"bin/web": executable("arm")}, architecture="arm64"),
        attestations=True,
    )
    name = server.push("t/both:v1", both)
    site.write("linuxkit.yml", f"services:\n  - name: web\n    image: {name}\n")

    site.run("lock", "--arch", "amd64", "linuxkit.yml")
    alone = lock_of(site)["images"][name]
    server.push("t/both:v1", images.index(web_image("other"), web_image("x")))
    added = site.run("lock", "--arch", "arm64", "linuxkit.yml")
    together = lock_of(site)["images"][name]

    assert list(alone["platforms"]) == ["linux/amd64"]
    assert list(together["platforms"]) == ["linux/amd64", "linux/arm64"]
    assert together["index"] == alone["index"] == f"{both.digest} {len(both.manifest)}"
    assert f"{name} for linux/arm64  added" in added.stdout.decode()


def test_what_the_config_does_not_name_any_more_is_dropped(site: Site, server: RegistryServer) -> None:
    site.run("lock", "linuxkit.yml")
    site.change("linuxkit.yml", f"  - {server.host}/t/tools:v1\n", "")

    checked = site.run("lock", "--check", "linuxkit.yml", status=1)
    told = site.run("lock", "linuxkit.yml").stdout.decode()

    assert f"{server.host}/t/tools:v1 is not needed any more" in checked.stdout.decode()
    assert f"{server.host}/t/tools:v1  removed" in told
    assert f"{server.host}/t/tools:v1" not in lock_of(site)["images"]
    site.run("lock", "--check", "linuxkit.yml")


def test_check_asks_nobody_and_says_what_is_missing(site: Site, server: RegistryServer) -> None:
    site.run("lock", "linuxkit.yml")
    site.change("linuxkit.yml", "t/hello:v1", "t/never:v1")
    before = len(server.requests())

    checked = site.run("lock", "--check", "linuxkit.yml", status=1)
    as_json = json.loads(site.run("lock", "--check", "--json", "linuxkit.yml", status=1).stdout)

    assert f"{server.host}/t/never:v1 for linux/amd64 is missing" in checked.stdout.decode()
    assert "run `kitbuild lock linuxkit.yml`" in checked.stdout.decode()
    assert as_json["missing"] == [f"{server.host}/t/never:v1 for linux/amd64"]
    assert as_json["stale"] == [f"{server.host}/t/hello:v1"]
    assert len(server.requests()) == before


def test_check_says_that_there_is_no_lock_and_what_makes_it(site: Site) -> None:
    checked = site.run("lock", "--check", "--format", "iso-bios", "linuxkit.yml", status=1)

    assert checked.stdout.decode() == (
        "there is no lock at linuxkit.yml.lock\n"
        "run `kitbuild lock --format iso-bios linuxkit.yml` and commit the result\n"
    )


def test_several_configs_share_the_lock_beside_the_last(site: Site, server: RegistryServer) -> None:
    site.write("site/more.yml", f"onboot:\n  - name: more\n    image: {server.host}/t/hello:v1\n")

    site.run("lock", "linuxkit.yml", "site/more.yml")
    site.run("build", "--locked", "linuxkit.yml", "site/more.yml")
    site.run("lock", "-o", "other.lock", "linuxkit.yml")
    site.run("build", "--locked", "--lock", "other.lock", "linuxkit.yml")

    assert (site.folder / "site/more.yml.lock").is_file()
    assert not (site.folder / LOCK).exists()


def test_no_password_gets_into_a_lock(site: Site) -> None:
    with files_at({"/base.yml": b"files:\n  - path: etc/x\n    contents: x\n"}) as host:
        url = f"http://user:secret@{host}/base.yml?token=hidden"
        site.run("lock", "-o", "x.lock", url, "linuxkit.yml")

    text = (site.folder / "x.lock").read_text()
    assert f'"http://{host}/base.yml": "sha256:' in text
    assert "secret" not in text
    assert "hidden" not in text


# -- building


def test_a_moved_tag_changes_nothing_until_it_is_updated(site: Site, server: RegistryServer) -> None:
    site.run("lock", "linuxkit.yml")
    site.run("build", "linuxkit.yml")
    first = hex_of_output(site)
    server.push("t/web:v1", web_image("moved"))

    site.run("build", "--pull", "linuxkit.yml", environment={"KITBUILD_CACHE_DIR": str(site.folder / "cold")})
    locked = hex_of_output(site)
    told = site.run("update", "linuxkit.yml").stdout.decode()
    site.run("build", "linuxkit.yml")
    updated = hex_of_output(site)
    site.run("build", "--no-lock", "--pull", "linuxkit.yml")
    plain = hex_of_output(site)

    old, new = small_images()["t/web:v1"].digest[:19], web_image("moved").digest[:19]
    assert first == locked
    assert locked != updated
    assert updated == plain
    assert f"{server.host}/t/web:v1  {old} -> {new} (1 layer of 1 changed, -" in told
    assert told.endswith(f"{LOCK}: 1 changed, 4 images as before\n")


def test_pull_says_that_the_lock_wins(site: Site) -> None:
    site.run("lock", "linuxkit.yml")

    told = site.run("build", "--pull", "linuxkit.yml").stderr

    assert f"`--pull` leaves alone what is in {LOCK}" in told


def test_what_is_not_locked_is_looked_up_with_a_warning_or_refused_at_its_line(
    site: Site, server: RegistryServer
) -> None:
    site.run("lock", "linuxkit.yml")
    name = server.push("t/new:v1", small_images()["t/hello:v1"])
    site.change("linuxkit.yml", "services:\n", f"services:\n  - name: new\n    image: {name}\n")

    warned = site.run("build", "linuxkit.yml").stderr
    refused = site.run("build", "--locked", "linuxkit.yml", status=2).stderr
    graphed = site.run("graph", "--locked", "linuxkit.yml", status=2).stderr

    assert f"warning: {name} is not in {LOCK}: run `kitbuild lock linuxkit.yml`" in warned
    assert f"linuxkit.yml:12:12: expected {name} for linux/amd64 in {LOCK}, got nothing" in refused
    assert "run `kitbuild lock linuxkit.yml`" in refused
    assert f"linuxkit.yml:12:12: expected {name}" in graphed


def test_locked_without_a_lock_is_a_mistake(site: Site) -> None:
    refused = site.run("build", "--locked", "linuxkit.yml", status=2).stderr

    assert f"expected a lock at `{LOCK}`, got none" in refused
    assert "run `kitbuild lock linuxkit.yml`" in refused


def test_a_layout_with_another_content_under_the_name_is_no_help(site: Site, server: RegistryServer) -> None:
    site.run("lock", "linuxkit.yml")
    moved = web_image("another")
    images.layout(site.folder / "other", {f"{server.host}/t/web:v1": moved})
    cold = {"KITBUILD_CACHE_DIR": str(site.folder / "cold")}

    refused = site.run(
        "build", "--offline", "--images", "other", "linuxkit.yml", status=2, environment=cold
    ).stderr
    site.run("build", "--images", "other", "linuxkit.yml", environment=cold)
    with_registry = hex_of_output(site)
    site.run("build", "linuxkit.yml")

    expected = small_images()["t/web:v1"].digest
    assert f"expected {expected} as in {LOCK}, got {moved.digest} in {site.folder}/other" in refused
    assert with_registry == hex_of_output(site)


def test_a_layout_that_was_tampered_with_is_found_out(site: Site, server: RegistryServer) -> None:
    site.run("lock", "linuxkit.yml")
    made = small_images()["t/web:v1"]
    layout = images.layout(site.folder / "other", {f"{server.host}/t/web:v1": made})
    manifest = layout / "blobs/sha256" / made.digest.removeprefix("sha256:")
    manifest.write_bytes(manifest.read_bytes().replace(b'"size":', b'"sizE":'))

    refused = site.run(
        "build",
        "--images",
        "other",
        "linuxkit.yml",
        status=1,
        environment={"KITBUILD_CACHE_DIR": str(site.folder / "cold")},
    ).stderr

    assert f"expected content with digest {made.digest}, got sha256:" in refused


def test_locked_content_is_taken_from_any_layout_that_has_it_under_whatever_name(
    site: Site, server: RegistryServer
) -> None:
    site.run("lock", "linuxkit.yml")
    renamed = {f"other/{number}:x": made for number, made in enumerate(small_images().values())}
    images.layout(site.folder / "other", renamed)
    before = len(server.requests())

    site.run(
        "build",
        "--locked",
        "--images",
        "other",
        "linuxkit.yml",
        environment={"KITBUILD_CACHE_DIR": str(site.folder / "cold")},
    )

    assert len(server.requests()) == before


def test_what_the_registry_has_lost_is_named_with_what_helps(site: Site, server: RegistryServer) -> None:
    name = server.push("t/lost:v1", web_image("lost"))
    site.write("linuxkit.yml", f"services:\n  - name: web\n    image: {name}\n")
    site.run("lock", "linuxkit.yml")
    text = (site.folder / LOCK).read_text()
    digest = web_image("lost").digest.removeprefix("sha256:")
    site.write(LOCK, text.replace(digest, "0" * 64))

    refused = site.run("build", "linuxkit.yml", status=2).stderr

    assert f"{name}: expected sha256:{'0' * 64} as in {LOCK}, which the registry {server.host}" in refused
    assert f"kitbuild update {name}" in refused


def test_a_build_from_a_lock_and_a_warm_cache_needs_no_network(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with registry(tmp_path_factory.mktemp("stopped")) as stopped:
        config = CONFIG
        for name, made in small_images().items():
            config = config.replace(f" {name}\n", f" {stopped.push(name, made)}\n")
        site = Site(tmp_path, config=config)
        site.environment["KITBUILD_IMAGES"] = ""
        site.run("lock", "linuxkit.yml")
        site.run("build", "linuxkit.yml")
    first = hex_of_output(site)
    for path in site.folder.glob("linuxkit-*"):
        path.unlink()

    site.run("build", "--locked", "linuxkit.yml", program=guarded())
    again = hex_of_output(site)
    site.run("build", "--locked", "--format", "tar", "linuxkit.yml", program=guarded())

    assert first == again
    assert (site.folder / "linuxkit.tar").stat().st_size > 0


def guarded() -> tuple[str, ...]:
    """The program where it has no network: in a namespace without one, or where sockets raise."""
    from tests.support.command import PROGRAM

    can = subprocess.run(["unshare", "-rn", "true"], check=False, capture_output=True).returncode == 0
    if can:
        return ("unshare", "-rn", str(PROGRAM))
    guard = (
        "import socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a socket')\n"
        "socket.socket.connect = refuse; socket.getaddrinfo = refuse\n"
        "from kitbuild.cli.main import entry; entry()"
    )
    from sys import executable as python

    return (python, "-c", guard)


def test_a_config_behind_an_address_is_the_locked_one(site: Site) -> None:
    content = {"/base.yml": b"files:\n  - path: etc/x\n    contents: one\n"}
    with files_at(content) as host:
        url = f"http://{host}/base.yml"
        site.run("lock", url, "linuxkit.yml")
        site.run("build", url, "linuxkit.yml")
        first = hex_of_output(site)
        content["/base.yml"] = b"files:\n  - path: etc/x\n    contents: two\n"
        site.run("build", "--locked", url, "linuxkit.yml")
        cold = site.run(
            "build",
            url,
            "linuxkit.yml",
            status=2,
            environment={"KITBUILD_CACHE_DIR": str(site.folder / "cold")},
        ).stderr
        same = hex_of_output(site)
        told = site.run("update", "configs", url, "linuxkit.yml").stdout.decode()
        site.run("build", "--locked", url, "linuxkit.yml")
    # Nobody answers there any more.
    site.run("build", "--locked", url, "linuxkit.yml")

    assert first == same
    assert f"`{url}`: expected sha256:" in cold
    assert f"as in {LOCK}, got sha256:" in cold
    assert f"config {url}  sha256:" in told
    assert first != hex_of_output(site)


def test_volumes_of_format_oci_are_locked(site: Site, server: RegistryServer) -> None:
    both = images.index(web_image("a"), images.image({"x": "arm"}, architecture="arm64"))
    name = server.push("t/volume:v1", both)
    site.write(
        "linuxkit.yml",
        f"volumes:\n  - name: store\n    image: {name}\n    format: oci\n",
    )
    site.run("lock", "linuxkit.yml")
    site.run("build", "--format", "tar", "linuxkit.yml")
    first = site.outputs()[".tar"]
    server.push("t/volume:v1", images.index(web_image("b"), web_image("c")))

    site.run(
        "build",
        "--locked",
        "--format",
        "tar",
        "linuxkit.yml",
        environment={"KITBUILD_CACHE_DIR": str(site.folder / "cold")},
    )

    assert lock_of(site)["volumes"][name]["index"] == f"{both.digest} {len(both.manifest)}"
    assert first == site.outputs()[".tar"]


def test_an_archive_of_docker_save_is_locked_by_what_is_in_it(tmp_path: Path) -> None:
    site = Site(tmp_path, config="services:\n  - name: web\n    image: t/web:v9\n")
    made = web_image("saved")
    images.docker_archive(site.folder / "saved.tar", {"t/web:v9": made})
    site.environment["KITBUILD_IMAGES"] = str(site.folder / "saved.tar")

    site.run("lock", "linuxkit.yml")
    site.run("build", "--locked", "--format", "tar", "linuxkit.yml")
    images.docker_archive(site.folder / "saved.tar", {"t/web:v9": made}, style="new")
    site.run("build", "--locked", "--format", "tar", "linuxkit.yml")
    images.docker_archive(site.folder / "saved.tar", {"t/web:v9": web_image("another")})
    refused = site.run("build", "--offline", "--format", "tar", "linuxkit.yml", status=1).stderr

    locked = lock_of(site)["images"]["docker.io/t/web:v9"]["platforms"]
    assert locked == {
        "linux/amd64": {
            "config": f"sha256:{images.hex_of(made.config)} {len(made.config)}",
            "diff_ids": [f"sha256:{text}" for text in made.diff_ids],
        }
    }
    assert "expected an image with the config sha256:" in refused


# -- what is wrong in a lock


def test_all_mistakes_in_a_lock_are_told_with_their_places(site: Site) -> None:
    site.run("lock", "linuxkit.yml")
    text = (site.folder / LOCK).read_text().replace('"manifest": "sha256:', '"manifest": "sha512:', 2)
    site.write(LOCK, text)

    refused = site.run("build", "linuxkit.yml", status=2).stderr

    lines = [number for number, line in enumerate(text.splitlines(), 1) if "sha512:" in line]
    for line in lines:
        assert f"{LOCK}:{line}:23: expected sha256:, 64 hex digits and a size in bytes" in refused
    assert "2 mistakes" in refused


def test_a_merge_conflict_in_a_lock_is_recognised(site: Site) -> None:
    site.run("lock", "linuxkit.yml")
    lines = (site.folder / LOCK).read_text().splitlines()
    merged = [*lines[:4], "<<<<<<< HEAD", lines[4], "=======", lines[4], ">>>>>>> other", *lines[5:]]
    site.write(LOCK, "\n".join(merged))

    refused = site.run("build", "linuxkit.yml", status=2).stderr

    assert f"{LOCK}:5:1: expected a lock, got the marker of a merge conflict: `<<<<<<< HEAD`" in refused
    assert "git checkout --ours" in refused


# -- update


def test_update_moves_what_is_named_and_nothing_else(site: Site, server: RegistryServer) -> None:
    site.run("lock", "linuxkit.yml")
    server.push("t/web:v1", web_image("moved"))
    server.push("t/hello:v1", web_image("moved too"))

    dry = site.run("update", "--dry-run", "services", "linuxkit.yml").stdout.decode()
    unchanged = lock_of(site)
    by_section = json.loads(site.run("update", "--json", "web").stdout)
    by_glob = site.run("update", f"{server.host}/t/h*", "linuxkit.yml").stdout.decode()
    unknown = site.run("update", "wep", "linuxkit.yml", status=2).stderr

    assert "t/web:v1  sha256:" in dry
    assert "would change" in dry
    assert (
        unchanged["images"][f"{server.host}/t/web:v1"] != lock_of(site)["images"][f"{server.host}/t/web:v1"]
    )
    assert [change["name"] for change in by_section["changes"]] == [f"{server.host}/t/web:v1"]
    (platform,) = by_section["changes"][0]["platforms"]
    assert {"platform": "linux/amd64", "changed": 1, "layers": 1}.items() <= platform.items()
    assert f"{server.host}/t/hello:v1  sha256:" in by_glob
    assert "t/web" not in by_glob
    assert "did you mean `web`?" in unknown


def test_update_needs_a_lock(site: Site) -> None:
    refused = site.run("update", "linuxkit.yml", status=2).stderr

    assert f"expected a lock at `{LOCK}`, got none" in refused


# -- boot loaders


def test_boot_loaders_are_locked_and_the_lock_wins(site: Site, server: RegistryServer) -> None:
    first = server.push("t/grub:v1", images.image({"grub.efi": "one"}))
    other = server.push("t/grub:v2", images.image({"grub.efi": "two"}))
    flag = ("--boot-loader", f"grub=image:{first}")

    site.run("lock", "--format", "iso-efi", *flag, "linuxkit.yml")
    locked = lock_of(site)
    graph = site.run("graph", "--image-format", "iso-efi", "linuxkit.yml").stdout.decode()
    refused = site.run(
        "build",
        "--locked",
        "--format",
        "iso-efi",
        "--boot-loader",
        f"grub=image:{other}",
        "linuxkit.yml",
        status=2,
    ).stderr
    missing = site.run("build", "--locked", "--format", "qcow2-bios", "linuxkit.yml", status=2).stderr

    assert locked["loaders"] == {"grub": {"amd64": [f"image:{first}"]}}
    assert first in locked["images"]
    assert first in graph
    assert f"expected the boot loader `grub` as in {LOCK}, got image:{other}" in refused
    assert f"expected the boot loader `syslinux` for amd64 in {LOCK}, got nothing" in missing
    assert "run `kitbuild lock --format qcow2-bios linuxkit.yml`" in missing


def test_a_default_boot_loader_is_locked_by_its_packages(site: Site) -> None:
    site.run("lock", "--format", "iso-bios", "linuxkit.yml")

    sources = lock_of(site)["loaders"]["syslinux"]["amd64"]
    site.run("lock", "--check", "--format", "iso-bios", "linuxkit.yml")
    stale = site.run("lock", "--check", "--format", "iso-efi", "linuxkit.yml", status=1).stdout.decode()

    assert all(str(source).startswith("package:pool/") for source in sources)
    assert "boot loader grub (amd64) is missing" in stale
