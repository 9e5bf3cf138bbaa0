"""Every example that boots is built and booted, and does what it says it does."""

from __future__ import annotations

import time
import urllib.request
from pathlib import Path
from socket import create_server

import pytest

from tests.support.boot import EXAMPLES, KIT, Machine, boot, booted, built
from tests.support.registry import tool

pytestmark = [pytest.mark.integration, pytest.mark.boot]

GREETING = "Welcome to the kitbuild starter kit"
HELLO = "hello from an onboot container"
SHELL = "This is the getty container"


@pytest.mark.parametrize("compression", ["gzip", "zstd", "none"])
def test_minimal_greets_runs_its_onboot_container_and_then_its_service(
    tmp_path: Path, compression: str
) -> None:
    prefix = built(tmp_path, EXAMPLES / "minimal.yml", options=("--compression", compression))

    console = booted(prefix, SHELL)

    assert -1 < console.find(GREETING) < console.find(f"\n{HELLO}\n") < console.find(SHELL)


def test_web_serves_the_pages_written_in_its_config(tmp_path: Path) -> None:
    tool("qemu-system-x86_64")
    prefix = built(tmp_path, EXAMPLES / "web.yml")
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    pages = []

    boot(
        Machine.of(prefix, forwards=((port, 80),)),
        SHELL,
        timeout_seconds=120,
        then=lambda: pages.append(page(f"http://127.0.0.1:{port}/about.txt")),
    )

    assert pages == ["To change this page, change examples/web.yml, build and boot: that is the only way.\n"]


def test_store_keeps_what_the_other_service_of_its_pod_writes(tmp_path: Path) -> None:
    prefix = built(tmp_path, EXAMPLES / "store.yml")

    console = booted(prefix, "client: the store has counted 2")

    assert "client: the store has counted 1\n" in console


def test_files_holds_its_files_and_volumes_and_says_goodbye_when_it_is_shut_down(tmp_path: Path) -> None:
    prefix = built(tmp_path, EXAMPLES / "files.yml", KIT / "poweroff.yml")

    console = booted(prefix, "reboot: Power down")

    assert "contents, source, link: a note a note" in console
    assert "owner and mode of secret: 100:100 640" in console
    assert "optional: left out" in console
    assert "volumes: written while booting, /tools/bin/busybox" in console
    assert "mkdir: /hostroot/var/lib/demo" in console
    assert "goodbye: written while booting" in console


RUNTIME = """
onboot:
  - name: broken
    image: kit/hello:v1
    command: [/no/such/program]
  - name: network
    image: kit/getty:v1
    binds: []
    pid: new
    net: new
    command:
      - /bin/sh
      - -c
      - "echo inside: $(ls /sys/class/net) $(ls -d /made) $(grep -o '/scratch tmpfs' /proc/mounts)"
    runtime:
      mkdir: [made, /run/made]
      mounts:
        - {type: tmpfs, source: tmpfs, destination: scratch, options: [size=1m]}
      interfaces:
        - {name: inner, add: veth, peer: outer}
        - {name: nowhere, add: dummy}
      bindNS:
        net: /run/netns/kept
  - name: joined
    image: kit/hello:v1
    net: /run/netns/kept
    command: [/bin/sh, -c, "echo joined: $(ls /sys/class/net)"]
  - name: system
    image: kit/getty:v1
    command:
      - /usr/bin/host
      - sh
      - -c
      - "echo outside: $(ls /sys/class/net) $(ls -d /run/made); touch /new || echo nothing new"
  - name: end
    image: kit/poweroff:v1
    command: [/usr/bin/poweroff.sh, "0", -f]
"""


def test_the_init_does_all_that_runtime_json_asks_and_goes_on_after_a_broken_container(
    tmp_path: Path,
) -> None:
    config = tmp_path / "runtime.yml"
    config.write_text(RUNTIME)
    prefix = built(tmp_path, EXAMPLES / "minimal.yml", config)

    console = booted(prefix, "reboot: Power down")

    assert "onboot 001-broken: did not start" in console
    assert "inside: inner lo nowhere /made /scratch tmpfs" in console
    assert "joined: inner lo nowhere" in console
    assert "outside: dummy0 eth0 lo outer /run/made" in console
    assert "nothing new" in console
    assert SHELL not in console, "the machine ended before services, as `poweroff -f` asks"


def page(address: str) -> str:
    """What the address gives, once it gives anything: services start without anybody waiting for them."""
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
