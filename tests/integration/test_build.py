"""`kitbuild build` from outside: what runs and why, what it writes and what it says."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kitbuild import __version__
from kitbuild.report.schema import event_schema
from tests.support import images
from tests.support.command import CONFIG, OUTPUTS, PROGRAM, Site, digest_of, small_images, web_image

pytestmark = pytest.mark.integration

# What follows from another tree of the `files` section, or of anything else that goes into the root.
CHANGED_FILES = {"root: conflicts", "files: settled", "files: segment", "initrd"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def built(site: Site) -> Site:
    """A site that was built once."""
    site.run("build", "linuxkit.yml")
    return site


def ran(site: Site, *arguments: str) -> Mapping[str, str]:
    return site.run("build", "-v", *(arguments or ("linuxkit.yml",))).ran


# -- what is written


def test_first_build_runs_every_node_and_writes_three_files(site: Site) -> None:
    finished = site.run("build", "linuxkit.yml")

    kernel, cmdline, initrd = (site.folder / name for name in OUTPUTS)
    assert finished.stdout == b""
    assert finished.lines == [
        f"linuxkit-kernel  97.7 KiB  sha256:{digest_of(kernel)}",
        f"linuxkit-cmdline  13 B  sha256:{digest_of(cmdline)}",
        f"linuxkit-initrd.img  255 KiB  sha256:{digest_of(initrd)}",
        f"{sum(finished.counts.values())} nodes: {finished.counts['run']} run, 0 cached",
    ]
    assert cmdline.read_text() == "console=ttyS0"
    assert initrd.read_bytes()[:3] == b"\x1f\x8b\x08"
    assert sorted(site.outputs()) == ["-cmdline", "-initrd.img", "-kernel"]


def test_build_with_nothing_to_do_writes_nothing(built: Site) -> None:
    before = {name: (built.folder / name).stat() for name in OUTPUTS}

    finished = built.run("build", "linuxkit.yml")

    assert [line.rpartition("  ")[2] for line in finished.lines[:-1]] == ["up to date"] * 3
    assert finished.counts["run"] == 0
    assert {name: (built.folder / name).stat() for name in OUTPUTS} == before


def test_removed_output_is_written_again_without_running_a_node(built: Site) -> None:
    before = built.outputs()
    (built.folder / "linuxkit-initrd.img").unlink()

    finished = built.run("build", "linuxkit.yml")

    assert finished.counts["run"] == 0
    assert built.outputs() == before


def test_output_somebody_changed_is_written_again(built: Site) -> None:
    before = built.outputs()
    built.write("linuxkit-kernel", b"mine")

    built.run("build", "linuxkit.yml")

    assert built.outputs() == before


def test_name_and_folder_of_the_outputs_can_be_chosen(site: Site) -> None:
    (site.folder / "out put").mkdir()

    site.run("build", "--name", "mÿ system", "--dir", "out put", "linuxkit.yml")

    assert sorted(path.name for path in (site.folder / "out put").iterdir()) == [
        "mÿ system-cmdline",
        "mÿ system-initrd.img",
        "mÿ system-kernel",
    ]
    assert site.outputs() == {}


def test_tar_goes_into_a_pipe(site: Site) -> None:
    finished = site.run(
        "build", "--output", "-", "linuxkit.yml", shell='"$@" | tar t --warning=no-unknown-keyword'
    )

    names = finished.stdout.decode().splitlines()
    assert {"init", "boot/kernel", "boot/cmdline", "etc/note"} <= {name.rstrip("/") for name in names}
    assert "containers/services/web/lower/bin/web" in names
    assert finished.counts["cached"] == 0


def test_tar_written_to_a_file_and_to_stdout_is_the_same(site: Site) -> None:
    site.run("build", "--format", "tar", "linuxkit.yml")
    site.run("build", "-o", "chosen.img", "linuxkit.yml")

    stdout = site.run("build", "--o", "-", "linuxkit.yml").stdout

    assert (site.folder / "linuxkit.tar").read_bytes() == stdout
    assert (site.folder / "chosen.img").read_bytes() == stdout
    with tarfile.open(fileobj=io.BytesIO(stdout)) as archive:
        note = archive.extractfile("etc/note")
        assert note is not None
        assert note.read() == b"first"


def test_several_formats_share_their_nodes(site: Site) -> None:
    first = site.run("build", "-v", "--format", "kernel+initrd", "linuxkit.yml")

    second = site.run("build", "-v", "-f", "kernel+initrd,tar-kernel-initrd", "linuxkit.yml")
    third = site.run("build", "-v", "-f", "tar", "linuxkit.yml")

    assert len(first.ran) > 30
    assert set(second.ran) == {"kernel-initrd tar"}
    assert not any("layer" in name or "bundle" in name or "segment" in name for name in third.ran)
    with tarfile.open(site.folder / "linuxkit-initrd.tar") as archive:
        member = archive.extractfile("initrd.img")
        assert member is not None
        assert member.read() == (site.folder / "linuxkit-initrd.img").read_bytes()


def test_formats_given_one_by_one_or_in_a_list_are_the_same(site: Site) -> None:
    site.run("build", "-f", "kernel+initrd", "--format", "tar-kernel-initrd", "linuxkit.yml")
    apart = site.outputs()
    site.run("build", "-f", "tar-kernel-initrd,kernel+initrd,kernel+initrd", "--dir", "home", "linuxkit.yml")

    assert len(apart) == 4
    assert site.outputs(folder="home") == apart


def test_config_can_come_from_stdin(site: Site) -> None:
    finished = site.run("build", "-", stdin=CONFIG.encode())

    assert [line.split()[0] for line in finished.lines[:3]] == [
        "moby-kernel",
        "moby-cmdline",
        "moby-initrd.img",
    ]
    assert site.outputs("moby") == _built_from(site, "linuxkit.yml")


def _built_from(site: Site, *configs: str) -> dict[str, str]:
    (site.folder / "reference").mkdir(exist_ok=True)
    site.run("build", "--dir", "reference", "--name", "x", *configs)
    return site.outputs("x", folder="reference")


def test_several_configs_are_merged_and_the_last_one_names_the_outputs(site: Site) -> None:
    kernel, separator, rest = CONFIG.partition("onboot:\n")
    site.write("base.yml", kernel)
    site.write("site.yml", separator + rest)

    site.run("build", "base.yml", "site.yml")

    assert site.outputs("site") == _built_from(site, "linuxkit.yml")


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_number_of_jobs_changes_nothing_but_the_time(built: Site, jobs: str) -> None:
    before = built.outputs()

    built.run("build", "--jobs", jobs, "--no-cache", "linuxkit.yml")

    assert built.outputs() == before


def test_microcode_is_part_of_the_initrd(site: Site) -> None:
    site.change("linuxkit.yml", "cmdline:", "ucode: ucode.cpio\n  cmdline:")

    site.run("build", "linuxkit.yml")

    assert (site.folder / "linuxkit-initrd.img").read_bytes().startswith(b"u" * 99 + b"\0\x1f\x8b")


@pytest.mark.parametrize(("name", "other"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_architecture_has_two_names(site: Site, name: str, other: str) -> None:
    made = {
        tag: images.index(
            *(
                images.image(
                    {
                        "init": f"{tag} {architecture}",
                        "kernel": architecture,
                        "kernel.tar": images.layer_tar({}),
                    },
                    architecture=architecture,
                    cmd=["/x"],
                )
                for architecture in ("amd64", "arm64")
            )
        )
        for tag in small_images()
    }
    images.layout(site.folder / "images", made)

    site.run("build", "--arch", name, "linuxkit.yml")

    assert (site.folder / "linuxkit-kernel").read_text() == other
    assert site.run("build", "--arch", other, "linuxkit.yml").counts["run"] == 0


# -- what it says


def test_json_report_is_one_object_a_line_on_stdout(site: Site) -> None:
    finished = site.run("build", "--json", "linuxkit.yml")

    events = events_of(finished.stdout)
    assert finished.stderr == ""
    assert [event["path"] for event in events if event["event"] == "output-written"] == list(OUTPUTS)
    summary = events[-1]
    assert events[0] == {"event": "build-started", "version": __version__, "configs": ["linuxkit.yml"]}
    assert (summary["outcome"], summary["status"]) == ("done", 0)
    assert (summary["nodes"], summary["near"], summary["left"]) == (summary["ran"], 0, 0)
    started = {event["node"] for event in events if event["event"] == "node-started"}
    assert started == {event["node"] for event in events if event["event"] == "node-finished"}


def events_of(stdout: bytes) -> list[dict[str, Any]]:
    """The events of a build, checked: of the schema, the first and the last what they always are."""
    events = [json.loads(line) for line in stdout.splitlines()]
    for event in events:
        jsonschema.validate(event, event_schema())
    assert (events[0]["event"], events[-1]["event"]) == ("build-started", "build-finished")
    assert [event["event"] for event in events].count("build-finished") == 1
    return events


def test_mistakes_in_a_config_are_events(site: Site) -> None:
    site.change("linuxkit.yml", "cmdline:", "cmdlin:")
    site.change("linuxkit.yml", "    contents: first", "    content: first")

    finished = site.run("build", "--json", "linuxkit.yml", status=2)

    _, first, second, last = events_of(finished.stdout)
    assert (first["where"], second["where"]) == (
        {"file": "linuxkit.yml", "line": 3, "column": 3},
        {"file": "linuxkit.yml", "line": 15, "column": 5},
    )
    assert first["hint"] == "did you mean `cmdline`?"
    assert (last["outcome"], last["status"], last["nodes"]) == ("refused", 2, 0)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        pytest.param(["--format", "nothing", "linuxkit.yml"], 2, id="format"),
        pytest.param(["--dir", "nowhere", "linuxkit.yml"], 2, id="folder"),
        pytest.param(["nowhere.yml"], 2, id="config"),
        pytest.param(["--require-cached", "linuxkit.yml"], 1, id="nothing cached"),
    ],
)
def test_build_that_fails_ends_with_an_event(site: Site, arguments: list[str], status: int) -> None:
    finished = site.run("build", "--json", *arguments, status=status)

    events = events_of(finished.stdout)
    assert events[-1]["status"] == status
    assert events[-1]["outcome"] == ("refused" if status == 2 else "failed")
    assert {event["event"] for event in events} & {"error", "node-failed"}


def test_failed_node_leaves_those_that_need_it(site: Site) -> None:
    site.change("linuxkit.yml", "  image: t/kernel:v1", "  image: t/kernel:v1\n  binary: nothing")

    finished = site.run("build", "--json", "linuxkit.yml", status=1)

    last = events_of(finished.stdout)[-1]
    assert (last["outcome"], last["failed"]) == ("failed", 1)
    assert last["left"] > 0
    assert last["ran"] + last["failed"] + last["left"] == last["nodes"]


def test_output_says_how_much_of_it_was_cached(built: Site) -> None:
    built.change("linuxkit.yml", "first", "second")

    lines = built.run("build", "linuxkit.yml").lines

    (initrd,) = [line for line in lines if line.startswith("linuxkit-initrd.img")]
    assert re.search(r"  \d+ of \d+ nodes cached$", initrd)


def test_profile_of_a_build_is_a_trace(site: Site) -> None:
    site.run("build", "--profile", "trace.json", "linuxkit.yml")

    events = json.loads((site.folder / "trace.json").read_text())["traceEvents"]
    nodes = [event for event in events if event["ph"] == "X" and event["tid"]]
    assert {"initrd", "kernel: boot"} <= {event["name"] for event in nodes}
    assert {event["id"] for event in events if event["ph"] == "s"} == {
        event["id"] for event in events if event["ph"] == "f"
    }
    rows: dict[int, float] = {}
    for event in sorted(nodes, key=lambda one: one["ts"]):
        assert event["ts"] >= rows.get(event["tid"], 0.0) - 0.2, event["name"]
        rows[event["tid"]] = event["ts"] + event["dur"]


def test_profile_is_written_of_a_build_that_failed_too(site: Site) -> None:
    site.run("build", "--profile", "trace.json", "--format", "nothing", "linuxkit.yml", status=2)

    assert json.loads((site.folder / "trace.json").read_text())["otherData"]
    site.run("build", "--profile", "nowhere/trace.json", "linuxkit.yml", status=2)


def test_github_job_gets_folds_marks_and_a_summary(site: Site) -> None:
    job = {"GITHUB_ACTIONS": "true", "CI": "true", "GITHUB_STEP_SUMMARY": str(site.folder / "summary.md")}

    built = site.run("build", "linuxkit.yml", environment=job)
    site.change("linuxkit.yml", "cmdline:", "cmdlin:")
    refused = site.run("build", "linuxkit.yml", environment=job, status=2)

    commands = [line for line in built.stderr.splitlines() if line.startswith("::")]
    assert commands == ["::group::kitbuild: nodes that run", "::endgroup::"]
    assert "\n::error file=linuxkit.yml,line=3,col=3,title=kitbuild::" in refused.stderr
    assert "linuxkit-initrd.img</code>" in (site.folder / "summary.md").read_text()


def test_quiet_build_says_nothing(site: Site) -> None:
    finished = site.run("build", "-q", "linuxkit.yml")

    assert (finished.stdout, finished.stderr) == (b"", "")
    assert len(site.outputs()) == 3


def test_colors_are_for_terminals(built: Site) -> None:
    assert "\x1b" not in built.run("build", "-v", "linuxkit.yml").stderr


# -- what runs, and why


def test_nothing_changed_runs_nothing(built: Site) -> None:
    assert ran(built) == {}


def test_changed_contents_of_a_file_run_what_follows_from_it(built: Site) -> None:
    built.change("linuxkit.yml", "first", "second")

    reasons = ran(built)

    expected = 'linuxkit.yml:15: files: etc/note: contents changed from "first" to "second"'
    assert expected == reasons["files"]
    assert set(reasons) == {"files", *CHANGED_FILES}


def test_comment_and_layout_of_the_config_change_nothing(built: Site) -> None:
    built.write("linuxkit.yml", "# a comment\n" + CONFIG.replace("contents: first", "contents:   'first'"))

    assert ran(built) == {}


def test_changed_bytes_of_a_source_file_run_what_follows_from_it(site: Site) -> None:
    site.change("linuxkit.yml", "contents: first", "source: note.txt")
    site.write("note.txt", "one")
    site.run("build", "linuxkit.yml")
    site.write("note.txt", "two")

    reasons = ran(site)

    assert set(reasons) == {"files: note.txt", "files", *CHANGED_FILES}
    assert reasons["files: note.txt"].startswith("note.txt changed: sha256:7692c3ad3540 3 bytes -> sha256:")


def test_touched_source_file_runs_nothing(site: Site) -> None:
    site.change("linuxkit.yml", "contents: first", "source: note.txt")
    note = site.write("note.txt", "one")
    site.run("build", "linuxkit.yml")
    os.utime(note)

    assert ran(site) == {}


def test_image_replaced_behind_its_tag_is_noticed(built: Site) -> None:
    images.layout(built.folder / "images", {**small_images(), "t/web:v1": web_image("another")})

    reasons = ran(built)

    assert set(reasons) == {
        "layer",
        "layer: tar",
        "image docker.io/t/web:v1",
        "services web: bundle",
        "services web: segment",
        "initrd",
    }
    assert reasons["image docker.io/t/web:v1"].startswith("linuxkit.yml:12: t/web:v1 moved: sha256:")
    assert "`image docker.io/t/web:v1` changed (" in reasons["services web: bundle"]


def test_changed_command_line_leaves_the_initrd_alone(built: Site) -> None:
    built.change("linuxkit.yml", "ttyS0", "ttyS1")

    finished = built.run("build", "-v", "linuxkit.yml")

    assert finished.ran == {
        "cmdline": 'linuxkit.yml:3: cmdline changed from "console=ttyS0" to "console=ttyS1"'
    }
    (initrd,) = [line for line in finished.lines if line.startswith("linuxkit-initrd.img")]
    assert initrd.endswith("up to date")
    assert (built.folder / "linuxkit-cmdline").read_text() == "console=ttyS1"


def test_service_put_first_runs_its_own_nodes_only(built: Site) -> None:
    built.change(
        "linuxkit.yml", "services:\n", "services:\n  - name: first\n    image: t/tools:v1\n    command: [x]\n"
    )

    assert set(ran(built)) == {"services first: bundle", "services first: segment", "initrd"}


def test_service_put_first_changes_those_that_are_given_user_numbers(site: Site) -> None:
    site.change("linuxkit.yml", "    image: t/web:v1", "    image: t/web:v1\n    uid: web")
    site.run("build", "linuxkit.yml")
    site.change(
        "linuxkit.yml", "services:\n", "services:\n  - name: first\n    image: t/tools:v1\n    command: [x]\n"
    )

    reasons = ran(site)

    assert set(reasons) == {
        "services first: bundle",
        "services first: segment",
        "services web: bundle",
        "services web: segment",
        "initrd",
    }
    assert reasons["services web: bundle"] == "linuxkit.yml:11: services first was added"


def test_changed_compression_packs_segments_again_and_nothing_else(built: Site) -> None:
    reasons = ran(built, "--compression", "zstd", "linuxkit.yml")

    assert {name.rpartition(": ")[2] for name in reasons} == {"segment", "initrd"}
    assert reasons["services web: segment"] == "--compression gzip -> zstd"
    assert (built.folder / "linuxkit-initrd.img").read_bytes()[:4] == b"\x28\xb5\x2f\xfd"


def test_build_without_the_cache_runs_everything(built: Site) -> None:
    before = built.outputs()

    finished = built.run("build", "-v", "--no-cache", "linuxkit.yml")

    assert set(finished.ran.values()) == {"the cache is switched off"}
    assert finished.counts["cached"] == 0
    assert built.outputs() == before


def test_cache_emptied_behind_our_back_is_filled_again(built: Site) -> None:
    before = built.outputs()
    for blob in (built.folder / "cache" / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    (built.folder / "linuxkit-initrd.img").unlink()

    reasons = ran(built)

    assert set(reasons.values()) == {"its content is no longer in the cache"}
    assert built.outputs() == before


# -- the program itself


def test_formats_are_listed(site: Site) -> None:
    lines = site.run("formats").stdout.decode().splitlines()

    names = [line.split()[0] for line in lines]
    assert {"docker", "kernel+initrd", "tar", "tar-kernel-initrd"} <= set(names)
    assert names == sorted(names)
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    "program", [[str(PROGRAM)], [sys.executable, "-m", "kitbuild"]], ids=["program", "module"]
)
def test_version_is_told(site: Site, program: list[str]) -> None:
    from kitbuild import __version__

    version = site.run("version", program=program).stdout.decode()
    option = site.run("--version", program=program).stdout.decode()

    assert version.startswith(f"kitbuild {__version__} (Python 3.")
    assert option == f"kitbuild {__version__}\n"


def test_module_builds_as_the_program_does(built: Site) -> None:
    finished = built.run("build", "linuxkit.yml", program=[sys.executable, "-m", "kitbuild"])

    assert finished.counts["run"] == 0


@pytest.mark.parametrize(
    ("arguments", "mentioned"),
    [
        (["--help"], ["build", "graph", "cache", "formats", "version", "linuxkit.yml"]),
        (
            ["build", "--help"],
            [
                "CONFIG",
                "--format",
                "--name",
                "--dir",
                "--output",
                "--no-cache",
                "--json",
                "--arch",
                "KITBUILD_IMAGES",
            ],
        ),
        (
            ["build", "-h"],
            [
                "--jobs",
                "--images",
                "--cache-dir",
                "--compression",
                "LINUXKIT_CACHE",
                "kitbuild.toml",
                "linuxkit.yml",
            ],
        ),
        (["formats", "--help"], ["formats"]),
        (["version", "--help"], ["version"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and len(value) < 3 else "",
)
def test_help_mentions_what_there_is(site: Site, arguments: list[str], mentioned: list[str]) -> None:
    text = site.run(*arguments).stdout.decode()

    assert [word for word in mentioned if word not in text] == []


def test_processes_building_at_once_share_the_cache(site: Site) -> None:
    running = []
    for number in range(4):
        (site.folder / str(number)).mkdir()
        running.append(site.start("build", "--dir", str(number), "linuxkit.yml"))
    ends = [process.communicate(timeout=60)[1] for process in running]

    outputs = [site.outputs(folder=str(number)) for number in range(4)]
    assert [process.returncode for process in running] == [0] * 4, ends
    assert outputs == [outputs[0]] * 4
    assert len(outputs[0]) == 3
    site.run("cache", "verify")
