"""kitbuild watch, in a process of its own: what changes is built again, and nothing ends it but Ctrl-C."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import CONFIG, Site, digest_of, small_images, web_image

pytestmark = pytest.mark.integration

_SECONDS = 20
_SOURCE = "  - path: etc/extra\n    source: extra.txt\n"


class Watch:
    """A running watch, and what it has said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said = ""
        self._told = 0
        assert process.stderr is not None
        self._stream = process.stderr.fileno()

    def until(self, text: str, *, builds: int = 0) -> str:
        """What it says from now on, up to and with a text; after it, as many builds have to end."""
        start = self._told
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            new = self.said[start:]
            if text in new and new[new.index(text) :].count(" nodes: ") >= builds:
                self._told = len(self.said) if builds else start + new.index(text) + len(text)
                return new
            if select.select([self._stream], [], [], 0.2)[0]:
                self.said += os.read(self._stream, 1 << 16).decode()
        raise AssertionError(f"expected {text!r}, got {self.said[start:]!r}")

    def is_silent(self, seconds: float) -> bool:
        return not select.select([self._stream], [], [], seconds)[0]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site", config=CONFIG + _SOURCE)
    site.write("extra.txt", "one")
    return site


@pytest.fixture
def watch(site: Site) -> Iterator[Watch]:
    """A watch of linuxkit.yml whose first build is over."""
    yield from watching(site, "--format", "tar", "linuxkit.yml")


def watching(site: Site, *arguments: str) -> Generator[Watch, None, None]:
    process = site.start("watch", *arguments)
    try:
        watch = Watch(process)
        watch.until("watching", builds=1)
        yield watch
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_edited_config_is_built_again(site: Site, watch: Watch) -> None:
    before = digest_of(site.folder / "linuxkit.tar")

    site.change("linuxkit.yml", "contents: first", "contents: second")

    watch.until("linuxkit.yml changed", builds=1)
    assert digest_of(site.folder / "linuxkit.tar") != before


def test_edited_file_of_a_config_is_built_again(site: Site, watch: Watch) -> None:
    before = digest_of(site.folder / "linuxkit.tar")

    site.write("extra.txt", "two")

    watch.until("extra.txt changed", builds=1)
    assert digest_of(site.folder / "linuxkit.tar") != before


def test_file_that_an_editor_replaces_is_built_again_and_stays_watched(site: Site, watch: Watch) -> None:
    for text in ("second", "third"):
        site.write(".new", f"{CONFIG}{_SOURCE}# {text}\n").replace(site.folder / "linuxkit.yml")

        watch.until("linuxkit.yml changed", builds=1)


def test_new_image_in_a_layout_is_built_again(site: Site, watch: Watch) -> None:
    before = digest_of(site.folder / "linuxkit.tar")

    images.layout(site.folder / "images", {**small_images(), "t/web:v1": web_image("another")})

    watch.until("images/index.json changed", builds=1)
    assert digest_of(site.folder / "linuxkit.tar") != before


def test_new_settings_are_built_with(site: Site, watch: Watch) -> None:
    site.write("kitbuild.toml", "jobs = 1\n")

    watch.until("kitbuild.toml appeared", builds=1)


def test_failed_build_says_why_and_the_watch_goes_on(site: Site, watch: Watch) -> None:
    site.change("linuxkit.yml", "services:", "servces:")
    said = watch.until("1 mistake")

    site.change("linuxkit.yml", "servces:", "services:")
    watch.until("linuxkit.yml changed", builds=1)

    assert "did you mean `services`?" in said
    assert watch.process.poll() is None


def test_config_that_vanishes_is_waited_for(site: Site, watch: Watch) -> None:
    content = (site.folder / "linuxkit.yml").read_text()
    (site.folder / "linuxkit.yml").unlink()
    watch.until("linuxkit.yml vanished")
    watch.until("cannot read `linuxkit.yml`")

    site.write("linuxkit.yml", content)

    watch.until("linuxkit.yml appeared", builds=1)


def test_changes_in_quick_succession_are_one_build(site: Site, watch: Watch) -> None:
    for number in range(8):
        site.write("extra.txt", f"number {number}")
        time.sleep(0.03)

    said = watch.until("extra.txt changed", builds=1)

    assert said.count("changed") == 1
    assert watch.is_silent(1.5)


def test_nothing_is_built_while_nothing_changes(watch: Watch) -> None:
    assert watch.is_silent(2)


def test_command_runs_after_each_build_that_went_well(site: Site) -> None:
    command = "echo built >> log; test ! -e stop"
    watches = watching(site, "--format", "tar", "--exec", command, "linuxkit.yml")
    watch = next(watches)
    try:
        site.write("stop", "")
        site.change("linuxkit.yml", "services:", "servces:")
        watch.until("1 mistake")
        site.change("linuxkit.yml", "contents: first", "contents: second")
        watch.until("1 mistake")
        site.change("linuxkit.yml", "servces:", "services:")
        watch.until("ended with status 1")
    finally:
        watches.close()

    assert (site.folder / "log").read_text() == "built\nbuilt\n"


def test_nothing_stays_open_from_build_to_build(site: Site, watch: Watch) -> None:
    def opened() -> int:
        return len(list(Path(f"/proc/{watch.process.pid}/fd").iterdir()))

    site.write("extra.txt", "first")
    watch.until("extra.txt changed", builds=1)
    assert watch.is_silent(1)
    before = opened()

    for number in range(4):
        site.write("extra.txt", f"number {number}")
        watch.until("extra.txt changed", builds=1)
    assert watch.is_silent(1)

    assert opened() <= before


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_ends_it_cleanly(watch: Watch, how: signal.Signals) -> None:
    watch.process.send_signal(how)

    watch.until("interrupted")
    assert watch.process.wait(_SECONDS) == 130
    assert "Traceback" not in watch.said


def test_config_from_stdin_cannot_be_watched(site: Site) -> None:
    finished = site.run("watch", "-", status=2)

    assert finished.stderr == "error: expected files to watch, got stdin\nhint: give the path of the config\n"


def test_command_does_not_run_when_all_is_up_to_date(site: Site) -> None:
    watches = watching(site, "--format", "tar", "--exec", "echo ran >>ran.txt", "linuxkit.yml")
    watch = next(watches)
    try:
        (site.folder / "linuxkit.yml").touch()
        watch.until("linuxkit.yml changed", builds=1)
        site.write("extra.txt", "two")
        watch.until("extra.txt changed", builds=1)
        # What is told of this one comes behind the command of the last.
        (site.folder / "linuxkit.yml").touch()
        watch.until("linuxkit.yml changed", builds=1)
    finally:
        watches.close()

    assert (site.folder / "ran.txt").read_text() == "ran\nran\n"
