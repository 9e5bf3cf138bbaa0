"""`kitbuild graph` from outside: exact output and status, near and far, offline, and how its time grows."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import Finished, Site

pytestmark = pytest.mark.integration

ABSENT = """\
kernel:
  image: kit/kernel:v1
  cmdline: "console=ttyS0"
init:
  - kit/init:v1
services:
  - name: web
    image: kit/web:v1
  - name: admin
    image: kit/web:v1
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    made.write("absent.yml", ABSENT)
    return made


def lines(finished: Finished) -> list[str]:
    assert (finished.status, finished.stderr) == (0, "")
    return finished.stdout.decode().splitlines()


def document(finished: Finished) -> dict[str, Any]:
    assert (finished.status, finished.stderr) == (0, "")
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def counts(site: Site, *flags: str) -> dict[str, int]:
    found = document(site.run("graph", "--json", *flags, "linuxkit.yml"))["counts"]
    return {state: count for state, count in found.items() if count}


def test_nothing_is_cached_before_a_build_and_everything_after(site: Site) -> None:
    before = lines(site.run("graph", "linuxkit.yml"))
    built = site.run("build", "linuxkit.yml")
    after = lines(site.run("graph", "linuxkit.yml"))

    assert built.status == 0, built.stderr
    nodes = sum("[must run]" in line for line in before)
    assert before[-2:] == ["must run: has to run", f"{nodes} nodes: 0 near, {nodes} to run"]
    assert after[-2:] == ["near: cached, and its content is here", f"{nodes} nodes: {nodes} near, 0 to run"]
    assert [line.split("  [")[0] for line in before[:-2]] == [line.split("  [")[0] for line in after[:-2]]


def test_what_changed_has_to_run_and_took_as_long_as_last_time(site: Site) -> None:
    assert site.run("build", "linuxkit.yml").status == 0
    config = (site.folder / "linuxkit.yml").read_text()
    (site.folder / "linuxkit.yml").write_text(config.replace("contents: first", "contents: second"))

    found = document(site.run("graph", "--json", "linuxkit.yml"))
    last = lines(site.run("graph", "linuxkit.yml"))[-1]

    running = [node["name"] for node in found["nodes"] if node["status"] == "run"]
    assert running[0] == "files"
    assert "initrd" in running
    # What took no time worth noting is not told from what nobody timed.
    told = r"about \d+\.\d\d s to run, judging by last time|\d+ of \d+ took \d+\.\d\d s last time"
    assert re.fullmatch(rf"\d+ nodes: \d+ near, \d+ to run; (?:{told})", last)


def test_sizes_are_those_of_files_and_not_of_what_they_are_cut_from(site: Site) -> None:
    assert site.run("build", "linuxkit.yml").status == 0

    nodes = {node["name"]: node for node in document(site.run("graph", "--json", "linuxkit.yml"))["nodes"]}

    assert len("console=ttyS0") == nodes["cmdline"]["size"]
    assert len("first") == nodes["files"]["size"]
    assert (site.folder / "linuxkit-initrd.img").stat().st_size == nodes["initrd"]["size"]
    assert (site.folder / "linuxkit-kernel").stat().st_size == nodes["kernel: kernel"]["size"]
    assert not any(node["size_at_most"] for node in nodes.values())


def test_sizes_are_the_same_on_the_page(site: Site) -> None:
    site.run("build", "linuxkit.yml")

    nodes = document(site.run("graph", "--json", "linuxkit.yml"))["nodes"]
    page = site.run("graph", "--format", "html", "linuxkit.yml").stdout.decode()

    shown = json.loads(re.findall(r'id="document">(.*?)</script>', page, re.S)[0])["nodes"]
    assert {one["name"]: one["size"] for one in nodes} == {one["name"]: one.get("size", 0) for one in shown}
    assert 0 in {one["size"] for one in nodes}


def test_a_page_knows_what_was_selected(site: Site) -> None:
    page = site.run("graph", "--format", "html", "--rdeps", "image *web*", "linuxkit.yml").stdout.decode()
    whole = site.run("graph", "--format", "html", "linuxkit.yml").stdout.decode()

    told, all_of_it = (
        json.loads(re.findall(r'id="document">(.*?)</script>', text, re.S)[0]) for text in (page, whole)
    )
    names = [told["nodes"][number]["name"] for number in told["selected"]]
    expected = ["image docker.io/t/web:v1", "services web: bundle", "services web: segment", "initrd"]
    assert expected == names
    assert [] == all_of_it["selected"]


def test_stdout_that_is_closed_is_no_trace(site: Site) -> None:
    for text_format in ("html", "svg", "json", "dot", "tree"):
        ended = site.run("graph", "--format", text_format, "linuxkit.yml", shell='"$@" >&-', status=1)

        assert ended.stderr == "error: cannot write to stdout: Bad file descriptor\n"


def test_what_only_the_remote_cache_has_is_far(site: Site) -> None:
    remote = ("--remote-cache", f"file://{site.folder}/shared")
    assert site.run("build", *remote, "--remote-cache-write", "linuxkit.yml").status == 0
    shutil.rmtree(site.folder / "cache")

    total = sum(counts(site).values())
    with_remote = site.run("graph", *remote, "linuxkit.yml")

    assert {"run": total} == counts(site)
    assert with_remote.status == 0
    assert with_remote.stdout.decode().splitlines()[-1] == f"{total} nodes: 0 near, {total} far, 0 to run"
    assert "  initrd  [far]  at most " in with_remote.stdout.decode()


def test_content_that_is_gone_is_made_again_only_for_an_output(site: Site) -> None:
    assert site.run("build", "linuxkit.yml").status == 0
    total = sum(counts(site).values())
    nodes = document(site.run("graph", "--json", "linuxkit.yml"))["nodes"]
    tar = next(node for node in nodes if node["about"] == "docker.io/t/web:v1")
    initrd = next(node for node in nodes if node["name"] == "initrd")

    def lose(node: dict[str, Any]) -> None:
        name = node["artifact"]["digest"].removeprefix("sha256:")
        (found,) = (site.folder / "cache").rglob(f"*{name[2:]}")
        found.unlink()

    lose(initrd)
    with_initrd_lost = counts(site)
    assert site.run("build", "--name", "again", "linuxkit.yml").status == 0
    lose(tar)

    assert {"near": total - 1, "run": 1} == with_initrd_lost
    found = counts(site)
    assert found.pop("gone") >= 1
    assert {"near"} == found.keys()


def test_images_nobody_has_are_nodes_not_fetched(site: Site) -> None:
    shown = lines(site.run("graph", "absent.yml"))

    stripped = [line.strip() for line in shown]
    assert stripped[:2] == ["absent.yml", "kernel"]
    for image in ("kernel", "init", "web"):
        assert stripped.count(f"image docker.io/kit/{image}:v1  [not fetched]") == 1
    assert stripped.index("kernel") < stripped.index("init kit/init:v1") < stripped.index("services web")
    assert stripped.index("services web") < stripped.index("services admin")


def test_layers_say_which_image_they_are_of(site: Site) -> None:
    nodes = document(site.run("graph", "--json", "linuxkit.yml"))["nodes"]

    layers = {node["about"] for node in nodes if node["name"].startswith("layer ")}
    assert {"docker.io/t/web:v1", "docker.io/t/web:v1: layer 2 of 2"} <= layers
    assert all(layers)


@pytest.mark.parametrize("text_format", ["dot", "mermaid", "json", "svg", "tree"])
def test_graph_goes_into_a_file(site: Site, text_format: str) -> None:
    to_stdout = site.run("graph", "absent.yml", "--format", text_format)
    to_file = site.run("graph", "absent.yml", "--format", text_format, "--output", "graph")

    assert (to_file.status, to_file.stdout, to_file.stderr) == (0, b"", "")
    assert to_stdout.stdout == (site.folder / "graph").read_bytes()


def test_page_is_of_what_is_chosen_and_all_that_it_needs(site: Site) -> None:
    whole = site.run("graph", "--format", "html", "linuxkit.yml")
    part = site.run("graph", "--format", "html", "--nodes", "services web", "linuxkit.yml")

    assert (whole.status, part.status, whole.stderr, part.stderr) == (0, 0, "", "")
    assert b"services web: bundle" in part.stdout
    assert b"onboot hello: bundle" in whole.stdout
    assert b"onboot hello: bundle" not in part.stdout


def test_selections_work_together_in_every_format(site: Site) -> None:
    flags = (
        "--deps",
        "initrd.img",
        "--nodes",
        "*: segment",
        "--nodes",
        "initrd",
        "--reduce",
        "--critical-path",
    )

    shown = {
        text_format: site.run("graph", "-f", text_format, *flags, "linuxkit.yml")
        for text_format in ("tree", "dot", "mermaid", "json", "svg")
    }

    assert {0} == {finished.status for finished in shown.values()}
    nodes = len(document(shown["json"])["nodes"])
    assert 5 < nodes < 20
    assert shown["tree"].stdout.decode().splitlines()[-1].startswith(f"{nodes} of ")
    assert shown["dot"].stdout.count(b"fillcolor=") == nodes
    assert len(re.findall(rb"^ +n\d+\[", shown["mermaid"].stdout, re.M)) == nodes
    assert len(re.findall(rb'class="node ', shown["svg"].stdout)) == nodes


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image-format", "tarr"], "error: expected a format, got `tarr`\nhint: "),
        (
            ["--deps", "initrdd"],
            "error: expected a node, section or output, got `initrdd`\nhint: did you mean ",
        ),
        (["--format", "dott"], "hint: did you mean `dot`?"),
    ],
)
def test_wrong_name_is_a_wrong_command_line(site: Site, flags: list[str], message: str) -> None:
    shown = site.run("graph", "linuxkit.yml", *flags, status=2)

    assert (shown.status, shown.stdout) == (2, b"")
    assert message in shown.stderr


def in_process(site: Site, program: str, *flags: str) -> subprocess.CompletedProcess[bytes]:
    """kitbuild in a Python that runs `program` first."""
    end = f"from kitbuild.cli.main import main; sys.exit(main(['graph', *{flags!r}, 'linuxkit.yml']))"
    return subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\n{end}"],
        cwd=site.folder,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(site.folder / "home"),
            "KITBUILD_IMAGES": str(site.folder / "images"),
            "KITBUILD_CACHE_DIR": str(site.folder / "cache"),
        },
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_tree_needs_neither_rich_nor_networkx_on_a_pipe(site: Site) -> None:
    shown = in_process(site, "sys.modules['rich'] = sys.modules['networkx'] = None")

    assert (shown.returncode, shown.stderr) == (0, b"")


def test_nothing_is_connected_to_and_nothing_runs(site: Site) -> None:
    program = (
        "def audit(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo', 'subprocess.Popen', 'os.exec', 'os.posix_spawn'):\n"
        "        sys.stderr.write(event)\n"
        "sys.addaudithook(audit)"
    )

    shown = in_process(site, program, "--critical-path", "--rdeps", "image *web*")

    assert (shown.returncode, shown.stderr) == (0, b"")


def cpu_seconds(site: Site, services: int) -> float:
    section = "".join(f"  - name: web{number}\n    image: t/web:v1\n" for number in range(services))
    site.write("many.yml", f"kernel:\n  image: t/kernel:v1\ninit:\n  - t/init:v1\nservices:\n{section}")
    before = os.times()
    assert site.run("graph", "many.yml").status == 0
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_time_grows_with_the_number_of_sections_and_no_faster(site: Site) -> None:
    start = min(cpu_seconds(site, 1) for _ in range(3))
    hundred = min(cpu_seconds(site, 200) for _ in range(3)) - start
    thousand = min(cpu_seconds(site, 2000) for _ in range(2)) - start

    assert thousand < 20 * hundred
