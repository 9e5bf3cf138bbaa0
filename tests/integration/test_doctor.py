"""kitbuild doctor, on this machine and on poorer ones."""

from __future__ import annotations

import json
import shutil
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from kitbuild.cli.checks import EMULATORS
from kitbuild.registry import formats
from tests.support.command import PROGRAM, Site
from tests.support.registry import registry

pytestmark = pytest.mark.integration

SECRET = "hunter2"
PROGRAM_OF_PYTHON = (sys.executable, str(PROGRAM))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


def checks(site: Site, *arguments: str, status: int = 0, **environment: str | None) -> dict[str, Any]:
    """What it found, by section and name."""
    done = site.run(
        "doctor", "--json", *arguments, status=status, environment=environment, program=PROGRAM_OF_PYTHON
    )
    document = json.loads(done.stdout)
    assert document["well"] is (status == 0)
    return {f"{check['section']} {check['name']}": check for check in document["checks"]}


def test_this_machine_can_build(site: Site) -> None:
    text = site.run("doctor").stdout.decode()
    found = checks(site)

    assert "this machine can build" in text
    assert {name.removeprefix("formats ") for name in found if name.startswith("formats ")} == set(formats())
    for name, (package, _) in EMULATORS.items():
        there = Path(name).exists() if name.startswith("/") else shutil.which(name) is not None
        assert found[f"emulators {name}"]["state"] == ("ok" if there else "missing")
        install = "apt-get install" if shutil.which("apt-get") else "install"
        assert there or found[f"emulators {name}"]["hint"] == f"{install} {package}"


def test_machine_without_any_program_can_build_what_needs_none(site: Site) -> None:
    found = checks(site, PATH="/nonexistent")

    assert found["formats kernel+initrd"]["state"] == "ok"
    assert found["formats iso-bios"]["state"] == "missing"
    assert found["formats iso-bios"]["hint"] == "see to syslinux for amd64, above"
    assert found["loaders syslinux for amd64"]["hint"].startswith("give it with `--boot-loader NAME=FOLDER`")
    assert found["tools git"]["hint"] == "install git"
    site.run("build", "linuxkit.yml", environment={"PATH": "/nonexistent"}, program=PROGRAM_OF_PYTHON)


def test_boot_loader_that_is_given_needs_no_network(site: Site) -> None:
    (site.folder / "grub").mkdir()

    given = checks(site, "--boot-loader", "grub=grub")
    gone = checks(site, "--boot-loader", "grub=nowhere", status=1)

    assert given["loaders grub for amd64"]["text"] == str(site.folder / "grub")
    assert gone["loaders grub for amd64"]["state"] == "broken"


def test_cache_is_told_of(site: Site) -> None:
    before = checks(site)
    assert not (site.folder / "cache").exists()
    site.run("build", "-q", "linuxkit.yml")
    after = checks(site)

    assert before["cache folder"]["text"] == f"{site.folder / 'cache'}: will be made by the first build"
    assert "results" in after["cache folder"]["text"]
    assert after["cache room"]["text"].endswith(" free")


def test_cache_that_cannot_be_made_is_to_be_mended(site: Site) -> None:
    found = checks(site, status=1, KITBUILD_CACHE_DIR="/proc/nowhere")

    assert found["cache folder"]["state"] == "broken"
    assert "--cache-dir" in found["cache folder"]["hint"]


def test_misspelt_variable_is_told(site: Site) -> None:
    found = checks(site, KITBUILD_JOB="3", KITBUILD_CACHE="x", KITBUILD_SOMETHING="y")

    assert found["settings KITBUILD_JOB"]["hint"] == "did you mean `KITBUILD_JOBS`?"
    assert found["settings KITBUILD_CACHE"]["hint"] == "did you mean `KITBUILD_CACHE_DIR`?"
    assert found["settings KITBUILD_SOMETHING"]["state"] == "missing"


def test_value_that_cannot_be_read_is_to_be_mended(site: Site) -> None:
    found = checks(site, status=1, KITBUILD_JOBS="many")

    assert found["settings value"]["text"] == "`KITBUILD_JOBS`: expected N, got `many`"


def test_unknown_keys_of_the_file_are_told_all_at_once(site: Site) -> None:
    site.write("kitbuild.toml", 'jbos = 3\ncompression = "zstd"\nimage = []\n')

    done = site.run("doctor", status=1)

    text = done.stdout.decode()
    assert "unknown key `jbos`" in text
    assert "did you mean `jobs`?" in text
    assert "unknown key `image`" in text
    assert "to mend before builds work" in text


def test_file_that_is_no_toml_is_to_be_mended(site: Site) -> None:
    site.write("kitbuild.toml", "jobs = \n")

    assert checks(site, status=1)["settings kitbuild.toml"]["text"].startswith("cannot read ")


def test_remote_cache_is_asked_one_question(site: Site) -> None:
    (site.folder / "shared").mkdir()
    there = checks(site, "--remote-cache", f"file://{site.folder}/shared")
    gone = checks(site, "--remote-cache", f"http://me:{SECRET}@127.0.0.1:1/x")
    wrong = checks(site, "--remote-cache", "ftp://127.0.0.1/x", status=1)

    assert "answers in " in there["elsewhere remote cache"]["text"]
    assert gone["elsewhere remote cache"]["state"] == "missing"
    assert "http://127.0.0.1:1/x" in gone["elsewhere remote cache"]["text"]
    assert wrong["elsewhere remote cache"]["state"] == "broken"


@pytest.mark.parametrize(("status", "only_read"), [(404, "ok"), (501, "missing")])
def test_server_that_is_no_remote_cache_is_told(site: Site, status: int, only_read: str) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        read = checks(site, "--remote-cache", url)
        written = checks(site, "--remote-cache", url, "--remote-cache-write")
        server.shutdown()

    assert read["elsewhere remote cache"]["state"] == only_read
    assert written["elsewhere remote cache"]["state"] == "missing"


def test_no_secret_is_told(site: Site) -> None:
    secrets = {
        "KITBUILD_REMOTE_CACHE": f"http://me:{SECRET}@127.0.0.1:1/x",
        "KITBUILD_REMOTE_CACHE_TOKEN": SECRET,
        "KITBUILD_REMOTE_CACHE_HEADERS": f"X-Key: {SECRET}\nX-Other: {SECRET}",
        "KITBUILD_SIGNING_KEY": f"kitbuild-secret-ed25519:{SECRET}",
        "KITBUILD_EXECUTOR": f"grpc://{SECRET}@127.0.0.1:1",
    }

    for arguments in ((), ("--json",)):
        # The key is none, which would end every build.
        done = site.run("doctor", *arguments, environment=secrets, status=1)
        assert SECRET not in done.stdout.decode() + done.stderr
        assert "KITBUILD_REMOTE_CACHE_TOKEN" in done.stdout.decode()


def test_registry_is_asked_when_one_asks(site: Site, tmp_path: Path) -> None:
    assert "elsewhere registry" not in checks(site)
    with registry(tmp_path / "registry") as server:
        server.push("team/app:v1", site_image())

        found = checks(site, "--online", f"{server.host}/team/app:v1")
        other = checks(site, "--online", f"{server.host}/team/app:v2")

    assert "found in " in found["elsewhere registry"]["text"]
    assert other["elsewhere registry"]["state"] == "missing"


def site_image() -> Any:
    from tests.support.command import small_images

    return small_images()["t/hello:v1"]


def test_color_is_for_those_who_want_it(site: Site) -> None:
    def colored(*arguments: str, **environment: str) -> bool:
        return b"\x1b[" in site.run(*arguments, environment=environment).stdout

    assert not colored("doctor")
    assert colored("doctor", "--color", "always")
    assert colored("--color=always", "doctor")
    assert colored("doctor", FORCE_COLOR="1")
    assert not colored("doctor", FORCE_COLOR="1", NO_COLOR="1")
    assert not colored("doctor", "--color", "never", FORCE_COLOR="1")
    assert colored("doctor", "--color", "always", NO_COLOR="1")
