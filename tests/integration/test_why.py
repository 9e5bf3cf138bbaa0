"""What makes builds run, each cause produced for real, and what `kitbuild why` says of it, word for word."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import isal
import pytest

from kitbuild import __version__
from kitbuild.node import KEY_FORMAT
from kitbuild.rules.format import segment
from tests.support import images
from tests.support.command import executable, small_images
from tests.support.kernels import kernel
from tests.support.sboms import attestation, attested, spdx, statement
from tests.support.why import CONFIG, Here, boot_image, web

pytestmark = pytest.mark.integration


class Case:
    """A cause: what is done between two builds, how both are called, and what is said, most important first."""

    def __init__(
        self,
        change: Callable[[Here], object],
        *sentences: str,
        first: tuple[str, ...] = (),
        second: tuple[str, ...] = (),
        prepare: Callable[[Here], object] = lambda here: None,
    ) -> None:
        self.change = change
        self.sentences = list(sentences)
        self.first = first
        self.second = second
        self.prepare = prepare


def edit(old: str, new: str) -> Callable[[Here], object]:
    return lambda here: here.change(old, new)


def both(*changes: Callable[[Here], object]) -> Callable[[Here], object]:
    def change(here: Here) -> None:
        for one in changes:
            one(here)

    return change


def nothing(here: Here) -> None:
    pass


AGAIN = '  - name: again\n    image: t/tools:v1\n    command: ["/bin/tool"]\n'
EXTRA = '  - name: extra\n    image: t/tools:v1\n    command: ["/bin/tool"]\n'


def with_sbom(text: str) -> images.MadeIndex:
    """t/web:v1 with an SBOM that says a text."""
    return attested((web("same"), attestation(statement(spdx(name=text)))))


NAMED = {
    "INDEX1": with_sbom("one").digest[7:19],
    "INDEX2": with_sbom("two").digest[7:19],
    "TOOLS": small_images()["t/tools:v1"].digest[7:19],
    "OTHER": web("other").digest[7:19],
}
LOADER = ("--format", "raw-bios", "--boot-loader", "syslinux=loader")


def with_loader(here: Here) -> None:
    here.folder_of_loader()


def moved_web(here: Here) -> None:
    here.keep_images(web=web("another"))


CASES = {
    "a word of a command": Case(
        edit('"one"', '"two"'), 'linuxkit.yml:9: command[1] changed from "one" to "two"'
    ),
    "a word more": Case(edit('"one"]', '"one", "more"]'), 'linuxkit.yml:9: command[2] was added ("more")'),
    "a variable added": Case(
        edit("      - MODE=fast\n", "      - MODE=fast\n      - NEW=1\n"),
        'linuxkit.yml:19: env[2] was added ("NEW=1")',
    ),
    "a variable removed": Case(
        edit("      - PORT=81\n", ""), 'linuxkit.yml:17: env[0] was removed (was "PORT=81")'
    ),
    "a key added": Case(
        edit("    env:\n", "    readonly: true\n    env:\n"), "linuxkit.yml:16: readonly was added (true)"
    ),
    "the command line of the kernel": Case(
        edit("ttyS0", "ttyS1"),
        'linuxkit.yml:3: cmdline changed from "console=ttyS0" to "console=ttyS1"',
    ),
    "another kernel image": Case(
        edit("t/kernel:v1", "t/kernel2:v1"),
        'linuxkit.yml:2: image changed from "t/kernel:v1" to "t/kernel2:v1"',
        prepare=lambda here: here.keep_images(kernel2=boot_image(more="1")),
    ),
    "no kernel modules": Case(
        edit("  cmdline", "  tar: none\n  cmdline"), 'linuxkit.yml:3: tar was added ("none")'
    ),
    "microcode": Case(
        edit("  cmdline", "  ucode: ucode.cpio\n  cmdline"), 'linuxkit.yml:3: ucode was added ("ucode.cpio")'
    ),
    "a service added": Case(
        edit("services:\n", f"services:\n{EXTRA}"), "linuxkit.yml:14: services extra was added"
    ),
    "a service removed": Case(
        edit(EXTRA, ""),
        "services extra was removed (was at linuxkit.yml:14)",
        prepare=edit("services:\n", f"services:\n{EXTRA}"),
    ),
    "a service renamed": Case(
        edit("name: web", "name: www"), "linuxkit.yml:14: services web was renamed to www"
    ),
    "a container that becomes a service": Case(
        both(edit(AGAIN, ""), edit("services:\n", f"services:\n{AGAIN}")),
        "linuxkit.yml:11: again was moved from onboot to services",
    ),
    "containers in another order": Case(
        both(edit(AGAIN, ""), edit("onboot:\n", f"onboot:\n{AGAIN}")),
        "linuxkit.yml:7: onboot again was moved from place 2 to 1",
    ),
    "a container put first, which numbers the next": Case(
        edit("onboot:\n", f"onboot:\n{EXTRA}"), "linuxkit.yml:7: onboot extra was added"
    ),
    "another image of init": Case(
        edit("  - t/init:v1", "  - t/init2:v1"),
        'linuxkit.yml:5: init[0] changed from "t/init:v1" to "t/init2:v1"',
        prepare=lambda here: here.keep_images(init2=images.image({"init": executable("#!/bin/sh\n#2\n")})),
    ),
    "an image more in init": Case(
        edit("onboot:\n", "  - t/tools:v1\nonboot:\n"), "linuxkit.yml:6: init t/tools:v1 was added"
    ),
    "an image less in init": Case(
        edit("  - t/tools:v1\nonboot:\n", "onboot:\n"),
        "init t/tools:v1 was removed (was at linuxkit.yml:6)",
        prepare=edit("onboot:\n", "  - t/tools:v1\nonboot:\n"),
    ),
    "a line of a file": Case(
        edit("second", "other"),
        'linuxkit.yml:23: files: etc/note: contents changed: line 2 from "second" to "other"',
    ),
    "a file more": Case(
        edit("  - path: etc/motd", "  - path: etc/more\n    contents: x\n  - path: etc/motd"),
        "linuxkit.yml:26: files: etc/more was added",
    ),
    "a file less": Case(
        edit("  - path: etc/motd\n    source: motd\n", ""), "linuxkit.yml: files: etc/motd was removed"
    ),
    "the mode of a file": Case(
        edit("    source: motd\n", '    source: motd\n    mode: "0644"\n'),
        'linuxkit.yml:28: files: etc/motd: mode was added ("0644")',
    ),
    "a source file": Case(
        lambda here: here.write("motd", "hello\n"),
        "motd changed: sha256:77f44b9024fd 8 bytes -> sha256:5891b5b522d5 6 bytes",
    ),
    "a tag that moved": Case(
        moved_web,
        "linuxkit.yml:15: t/web:v1 moved: sha256:4ed9e69c61d3 -> sha256:aebc87c75716 (layout:HERE/images)",
    ),
    "an image with another label alone": Case(
        lambda here: here.keep_images(web=web("x", cmd=["b"])),
        "linuxkit.yml:15: t/web:v1 moved: sha256:feffc1d00972 -> sha256:91bf84e5355d (layout:HERE/images)",
        prepare=lambda here: here.keep_images(web=web("x", cmd=["a"])),
    ),
    "an image for a volume": Case(
        edit("  - name: data\n", "  - name: data\n    image: t/tools:v1\n"),
        'linuxkit.yml:21: image was added ("t/tools:v1")',
    ),
    "a container with a user number of its own": Case(
        edit("services:\n", f"services:\n{EXTRA}"),
        "linuxkit.yml:14: services extra was added",
        prepare=edit("    env:\n", "    uid: web\n    env:\n"),
    ),
    "the first of two containers with one image": Case(
        edit(AGAIN, ""),
        "onboot again was removed (was at linuxkit.yml:10)",
        prepare=edit("volumes:\n", f"{EXTRA}volumes:\n"),
    ),
    "metadata in a file": Case(
        edit("ttyS0", "ttyS1"),
        'linuxkit.yml:3: cmdline changed from "console=ttyS0" to "console=ttyS1"',
        prepare=edit("  - path: etc/motd", "  - path: etc/config\n    metadata: yaml\n  - path: etc/motd"),
    ),
    "another SBOM of an image": Case(
        lambda here: here.keep_images(web=with_sbom("two")),
        "linuxkit.yml:15: t/web:v1 moved: sha256:INDEX1 -> sha256:INDEX2 (layout:HERE/images)",
        prepare=lambda here: here.keep_images(web=with_sbom("one")),
    ),
    "a tag that moved in a volume of images": Case(
        lambda here: here.keep_images(tools=web("other")),
        "linuxkit.yml:18: t/tools:v1 moved: sha256:TOOLS -> sha256:OTHER (layout:HERE/images)",
        prepare=both(
            edit("  - name: data\n", "  - name: data\n    image: t/tools:v1\n    format: oci\n"),
            edit(AGAIN, ""),
        ),
    ),
    "an image by its digest": Case(
        edit("t/hello:v1", f"t/hello:v1@{small_images()['t/hello:v1'].digest}"),
        prepare=nothing,
    ),
    "another compression": Case(nothing, "--compression gzip -> zstd", second=("--compression", "zstd")),
    "another format": Case(
        nothing, "--format kernel+initrd -> kernel+squashfs", second=("--format", "kernel+squashfs")
    ),
    "without the SBOM": Case(nothing, "--sbom-output sbom.spdx.json -> none", second=("--no-sbom",)),
    "the SBOM elsewhere": Case(
        nothing, "--sbom-output sbom.spdx.json -> etc/sbom.json", second=("--sbom-output", "etc/sbom.json")
    ),
    "the time in the SBOM": Case(
        nothing, "the SBOM says when it was made (--sbom-current-time)", second=("--sbom-current-time",)
    ),
    "LinuxKit's losses": Case(
        nothing,
        "--linuxkit-compatible none -> yes",
        second=("--linuxkit-compatible",),
        prepare=edit("    env:\n", "    resources:\n      memory:\n        kernelTCP: 5\n    env:\n"),
    ),
    "an unpacked kernel": Case(
        nothing,
        "--decompress-kernel none -> yes",
        second=("--decompress-kernel",),
        prepare=lambda here: here.keep_images(
            kernel=images.image(
                {"kernel": gzip.compress(kernel(), mtime=0), "kernel.tar": images.layer_tar({})}
            )
        ),
    ),
    "another name": Case(
        nothing,
        "--name linuxkit -> other",
        first=("--format", "oci"),
        second=("--format", "oci", "--name", "other"),
    ),
    "the size of a disk": Case(
        nothing, "--size none -> 64M", first=LOADER, second=(*LOADER, "--size", "64M"), prepare=with_loader
    ),
    "a file of a boot loader": Case(
        lambda here: here.folder_of_loader("6.05"),
        "boot loader syslinux: syslinux changed: sha256:22f6935c71b5 78652 bytes -> sha256:b96bb84c4524 78652 bytes",
        first=LOADER,
        second=LOADER,
        prepare=with_loader,
    ),
    "another boot loader": Case(
        nothing,
        "--boot-loader syslinux: HERE/loader -> HERE/other",
        first=LOADER,
        second=(*LOADER[:-1], "syslinux=other"),
        prepare=lambda here: (
            here.folder_of_loader("6.05").rename(here.folder / "other"),
            here.folder_of_loader(),
        ),
    ),
    "the cache switched off": Case(
        nothing, "the cache was switched off (--no-cache)", second=("--no-cache",)
    ),
    "two changes at once": Case(
        both(edit('"one"', '"two"'), lambda here: here.write("motd", "hello\n")),
        "motd changed: sha256:77f44b9024fd 8 bytes -> sha256:5891b5b522d5 6 bytes",
        'linuxkit.yml:9: command[1] changed from "one" to "two"',
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_cause_is_named(tmp_path: Path, name: str) -> None:
    case, here = CASES[name], Here(tmp_path)
    case.prepare(here)
    here.build(*case.first)
    case.change(here)
    expected = []
    for sentence in case.sentences:
        for name, text in {**NAMED, "HERE": str(tmp_path)}.items():
            sentence = sentence.replace(name, text)
        expected.append(sentence)
    foreseen = here.causes("linuxkit.yml", *case.second) if "--no-cache" not in case.second else expected

    events = here.build(*case.second)

    assert expected == here.causes()
    assert expected == foreseen
    said = {sentence for event in events if event["event"] == "node-started" for sentence in event["why"]}
    assert said.issuperset(expected) or "--no-cache" in case.second


# -- causes that are no change of config, image or flag


def test_first_build_says_so(tmp_path: Path) -> None:
    here = Here(tmp_path)
    assert here.causes("linuxkit.yml") == ["this is the first build of these configs that is remembered"]

    here.build()

    assert here.causes() == ["this is the first build of these configs that is remembered"]


def test_content_that_was_dropped_says_so(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.run("cache", "gc", "--max-size", "0")
    (here.folder / "linuxkit-initrd.img").unlink()

    here.build()

    assert here.causes() == ["its content was dropped from the cache"]


def test_content_that_was_lost_says_so(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    for blob in (here.folder / "cache" / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    (here.folder / "linuxkit-initrd.img").unlink()
    assert here.causes("linuxkit.yml") == ["its content was dropped from the cache"]

    here.build()

    assert here.causes() == ["its content was dropped from the cache"]


def test_content_that_nobody_needs_is_not_missed(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    for blob in (here.folder / "cache" / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()

    assert here.why("linuxkit.yml")["runs"] == []


def test_node_that_failed_is_tried_again(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.change("t/kernel:v1\n", "t/kernel:v1\n  binary: none\n")
    here.build(status=1)

    here.build(status=1)

    (sentence,) = here.causes()
    assert sentence.startswith("it failed in the build before: ")


def test_build_that_failed_and_was_mended(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.change("t/kernel:v1\n", "t/kernel:v1\n  binary: none\n")
    here.build(status=1)

    assert here.causes() == ['linuxkit.yml:3: binary was added ("none")']
    here.change("  binary: none\n", "")
    assert here.why("linuxkit.yml")["runs"] == []


def test_rule_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(tmp_path)
    here.build()
    monkeypatch.setattr(segment, "RULE", segment.RULE._replace(version=2))

    here.build()

    assert here.causes() == ["changed the rule format/segment: version 1 -> 2"]


def test_another_kitbuild(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(tmp_path)
    with monkeypatch.context() as older:
        older.setattr("kitbuild.journal.__version__", "0.0.9")
        here.build()
    monkeypatch.setattr(segment, "RULE", segment.RULE._replace(version=2))

    here.build()

    expected = [f"kitbuild 0.0.9 -> {__version__} changed the rule format/segment: version 1 -> 2"]
    assert expected == here.causes()


def test_results_that_do_not_count_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(tmp_path)
    here.build()
    for module in ("node", "record"):
        monkeypatch.setattr(f"kitbuild.{module}.KEY_FORMAT", KEY_FORMAT + 1)

    here.build()

    assert here.causes() == [
        f"kitbuild {__version__} -> {__version__}: results of the earlier one do not count"
    ]


def test_tool_of_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Here(tmp_path)
    here.build()
    before = isal.ISAL_VERSION
    monkeypatch.setattr(isal, "ISAL_VERSION", "9.9")

    here.build()

    level = segment.RULE.tools(segment.SegmentOptions())["isal"].partition(" ")[2]
    assert here.causes() == [f"isal changed: {before} {level} -> 9.9 {level}"]


def test_image_in_an_archive_without_manifests(tmp_path: Path) -> None:
    here = Here(tmp_path, CONFIG.replace("t/web:v1", "u/web:v1"))
    here.environment["KITBUILD_IMAGES"] += f":{tmp_path / 'web.tar'}"
    images.docker_archive(tmp_path / "web.tar", {"u/web:v1": web("one")}, "new")
    here.build()
    images.docker_archive(tmp_path / "web.tar", {"u/web:v1": web("two")}, "new")

    here.build()

    expected = [f"linuxkit.yml:15: u/web:v1 has other layers (archive:{tmp_path}/web.tar)"]
    assert expected == here.causes()


def test_same_image_from_elsewhere_is_no_cause(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.environment["KITBUILD_IMAGES"] = str((tmp_path / "images").rename(tmp_path / "moved"))

    here.build()

    assert here.why("linuxkit.yml")["runs"] == []


def test_line_is_that_of_the_config_it_is_in(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.write("more.yml", f"services:\n{EXTRA}files:\n  - path: etc/more\n    contents: one\n")
    here.build("linuxkit.yml", "more.yml")
    here.change("one", "two", "more.yml")

    here.build("linuxkit.yml", "more.yml")

    expected = ['more.yml:7: files: etc/more: contents changed from "one" to "two"']
    assert expected == here.causes()


def test_other_architecture_is_a_flag_of_a_build_compared_with(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build("--record", "first.record", "--compression", "zstd", "--arch", "amd64")
    here.keep_images(**{name[2:-3]: for_arm(made) for name, made in here.images.items()})
    here.build("--compression", "none", "--arch", "arm64")

    sentences = here.causes("--since", "first.record")

    assert "--compression zstd -> none" in sentences
    assert any(sentence.startswith("linuxkit.yml:15: t/web:v1 moved: ") for sentence in sentences)


def for_arm(made: images.Made) -> images.MadeIndex:
    """An image for two architectures that differ."""
    assert isinstance(made, images.MadeImage)
    content: dict[str, images.Content] = {"kernel": kernel("arm64"), "x": "arm"}
    modules = images.layer_tar({})
    other = images.image({**content, "kernel.tar": modules}, architecture="arm64")
    return images.index(made, other)


def test_build_with_record_that_changed_nothing_is_not_listed(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()

    here.build("--record", "same.record")

    assert len(json.loads(here.run("history", "--json").stdout)) == 1
    assert here.why("--since", "same.record")["causes"] == []


# -- what did not run


def test_reverted_change_runs_nothing_and_says_when_it_last_ran(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.change('"one"', '"two"')
    here.build()
    here.change('"two"', '"one"')

    here.build()

    (node,) = here.why("initrd")["nodes"]
    sentence = 'linuxkit.yml:9: command[1] changed from "{}" to "{}"'
    assert (node["fate"], node["runs"]) == ("near", False)
    assert [cause["sentence"] for cause in node["causes"]] == [sentence.format("two", "one")]
    assert [cause["sentence"] for cause in node["last"]["causes"]] == [sentence.format("one", "two")]
    assert here.run("why").stdout.endswith(" ran, all else was in the cache\n")


def test_way_leads_from_the_cause_to_the_output(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.change('"one"', '"two"')
    here.build()

    text = here.run("why", "linuxkit-initrd.img").stdout

    assert text.splitlines()[1:] == [
        "",
        'linuxkit.yml:9: command[1] changed from "one" to "two"',
        "    onboot hello: bundle > onboot hello: segment > initrd",
    ]


def test_one_cause_is_said_once_however_many_nodes_it_touches(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.build("--compression", "zstd")

    lines = here.run("why").stdout.splitlines()

    assert lines[2] == "--compression gzip -> zstd"
    assert lines[3].endswith(" more nodes")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("causes", "change"),
    [
        (2, nothing),
        (
            3,
            edit("    source: motd\n", "    source: motd\n  - path: etc/more\n    source: more.txt\n"),
        ),
    ],
)
def test_changes_of_files_and_of_their_sources_are_both_foreseen(
    tmp_path: Path, causes: int, change: Callable[[Here], object]
) -> None:
    here = Here(tmp_path)
    here.build()
    here.write("motd", "hello\n")
    here.write("more.txt", "more\n")
    here.change("second", "other")
    change(here)

    foreseen = here.causes("linuxkit.yml")
    here.build()

    assert sorted(foreseen) == sorted(here.causes())
    assert len(foreseen) == causes


def test_what_may_not_run_is_counted_as_such(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build("--record", "first.record")
    here.write("motd", "hello\n")

    lines = here.run("why", "linuxkit.yml").stdout.splitlines()
    since = here.run("why", "--since", "first.record", "linuxkit.yml").stdout
    foreseen = here.why("linuxkit.yml")
    here.build()

    assert lines[0].startswith("at most ")
    assert lines[1].startswith("(fewer, if what is made again turns out the same")
    assert "and at most " in lines[4]
    assert "and at most " in since
    assert {"initrd", "files"} == set(foreseen["maybe"]) & {"initrd", "files", "files: motd"}
    assert len(here.why()["runs"]) < int(lines[0].split()[2])
    assert "at most" not in here.run("why", "--since", "first.record", "linuxkit.yml").stdout


def test_what_failed_did_not_run_in_either_command(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.change("t/kernel:v1\n", "t/kernel:v1\n  binary: none\n")
    here.build(status=1)

    (build,) = json.loads(here.run("history", "-n", "1", "--json").stdout)
    told = here.run("why").stdout.splitlines()[0]

    assert (build["ran"], build["failed"]) == (0, 1)
    assert told.endswith(f" nodes ran, 1 failed, {build['left']} left for what failed:")


def test_section_moved_and_changed_at_once_is_told_of_both(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    other = AGAIN.replace('"/bin/tool"', '"/bin/tool", "x"')
    both(edit(AGAIN, ""), edit("onboot:\n", f"onboot:\n{other}"))(here)
    foreseen = here.causes("linuxkit.yml")

    here.build()

    expected = {
        "linuxkit.yml:7: onboot again was moved from place 2 to 1",
        'linuxkit.yml:9: command[1] was added ("x")',
    }
    assert expected == set(foreseen) == set(here.causes())


def test_flag_that_changed_to_and_fro_is_not_to_blame(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.build("--compression", "zstd")
    both(edit(AGAIN, ""), edit("onboot:\n", f"onboot:\n{AGAIN}"))(here)
    expected = ["linuxkit.yml:7: onboot again was moved from place 2 to 1"]

    assert expected == here.causes("linuxkit.yml")
    events = here.build()

    assert expected == here.causes()
    said = {sentence for event in events if event["event"] == "node-started" for sentence in event["why"]}
    assert not any("--compression" in sentence for sentence in said)


@pytest.mark.parametrize(
    "name", ["motd", "./motd", "etc/motd", "/etc/note", "files: etc/note", "services", "web"]
)
def test_node_means_the_same_to_why_and_to_graph(tmp_path: Path, name: str) -> None:
    here = Here(tmp_path)
    here.build()

    asked = [node["name"] for node in here.why(name)["nodes"]]
    shown = json.loads(here.run("graph", "--json", "--nodes", name, "linuxkit.yml").stdout)["nodes"]

    assert asked
    assert set(asked) <= {node["name"] for node in shown}


def test_misspelt_config_has_a_hint(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()

    assert "did you mean `linuxkit.yml`?" in here.run("why", "linuxkit.ym", status=2).stderr


@pytest.mark.parametrize("name", ["hello", "onboot hello", "onboot*", "t/hello:v1", "etc/none"])
def test_node_is_found_by_what_the_user_calls_it(tmp_path: Path, name: str) -> None:
    here = Here(tmp_path)
    here.build()

    ran = here.run("why", name, status=None)

    assert (ran.status, "hello" in ran.stdout) == ((2, False) if name == "etc/none" else (0, True))


def test_unknown_node_has_a_hint(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()

    assert "did you mean `initrd`?" in here.run("why", "initr", status=2).stderr


def test_without_a_build_there_is_nothing_to_say(tmp_path: Path) -> None:
    ran = Here(tmp_path).run("why", status=1)

    assert ran.stderr.splitlines()[0] == "error: no build is remembered here"


# -- builds to compare with


def test_build_is_compared_with_an_earlier_one_by_its_id(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    for text in ("two", "three"):
        here.change(f'"{"one" if text == "two" else "two"}"', f'"{text}"')
        here.build()
    first = json.loads(here.run("history", "--json").stdout)[-1]["id"]

    expected = ['linuxkit.yml:9: command[1] changed from "one" to "three"']
    assert expected == here.causes("--since", first)
    assert expected == here.causes("--since", first, "linuxkit.yml")
    assert here.run("why", "--since", "2", status=2).stderr.startswith("error: expected the id of one build")
    assert here.run("why", "--since", "9", status=2).stderr.startswith("error: expected a build")
    assert here.run("why", "--since", "motd", status=2).stderr.startswith("error: expected the record")


@pytest.mark.parametrize("kind", ["plain", "signed", "namespace"])
def test_build_is_compared_with_that_of_ci_through_the_shared_cache(tmp_path: Path, kind: str) -> None:
    ci, mine = Here(tmp_path / "ci"), Here(tmp_path / "mine")
    shared: tuple[str, ...] = ("--remote-cache", f"file://{tmp_path}/shared")
    trust = shared
    if kind == "namespace":
        trust = (*shared, "--remote-cache-namespace", "topic")
    if kind == "signed":
        public = ci.run("cache", "keygen", "key").stdout.strip()
        trust = (*shared, "--trusted-key", public)
        shared = (*shared, "--signing-key", str(ci.folder / "key"))
    ci.build(*shared, "--remote-cache-write")
    mine.change('"one"', '"two"')
    expected = ['linuxkit.yml:9: command[1] changed from "one" to "two"']

    assert expected == mine.causes("--since", "remote", "linuxkit.yml", *trust)
    events = mine.build("-v", *trust)

    reasons = {event["node"]: event["why"] for event in events if event["event"] == "node-started"}
    assert reasons["onboot hello: bundle"] == expected
    assert expected == mine.causes()
    assert expected == mine.causes("--since", "remote", *trust)


def test_record_that_nobody_trusted_signed_explains_nothing(tmp_path: Path) -> None:
    ci, mine = Here(tmp_path / "ci"), Here(tmp_path / "mine")
    shared = ("--remote-cache", f"file://{tmp_path}/shared")
    ci.build(*shared, "--remote-cache-write")
    public = mine.run("cache", "keygen", "key").stdout.strip()

    ran = mine.run("why", "--since", "remote", "linuxkit.yml", *shared, "--trusted-key", public, status=1)

    assert "has no record" in ran.stderr


def test_node_from_the_remote_cache_says_so(tmp_path: Path) -> None:
    ci, mine = Here(tmp_path / "ci"), Here(tmp_path / "mine")
    shared = ("--remote-cache", f"file://{tmp_path}/shared")
    ci.build(*shared, "--remote-cache-write")
    (foreseen,) = mine.why("initrd", "linuxkit.yml", *shared)["nodes"]

    mine.build(*shared)

    (node,) = mine.why("initrd")["nodes"]
    assert ("far", "far") == (foreseen["fate"], node["fate"])
    assert mine.run("why", "initrd").stdout.splitlines()[1] == "its result was in the remote cache"


def test_remote_cache_without_a_record_says_so(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    remote = ("--remote-cache", f"file://{tmp_path}/shared")

    assert "has no record" in here.run("why", "--since", "remote", *remote, status=1).stderr
    assert "expected a remote cache" in here.run("why", "--since", "remote", status=2).stderr


# -- history


def test_history_lists_builds_newest_first(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.write("other.yml", CONFIG)
    here.build("other.yml")
    here.change('"one"', '"two"')
    here.build()

    lines = here.run("history").stdout.splitlines()
    some = json.loads(here.run("history", "--json", "-n", "1", "other.yml").stdout)

    assert lines[1] == '    linuxkit.yml:9: command[1] changed from "one" to "two"'
    configs = [line.split()[3] for line in lines if not line.startswith(" ")]
    assert configs == ["linuxkit.yml", "other.yml", "linuxkit.yml"]
    assert [(build["configs"], build["ran"]) for build in some] == [(["other.yml"], 0)]


def test_history_of_nothing_is_empty(tmp_path: Path) -> None:
    ran = Here(tmp_path).run("history")

    assert (ran.stdout, ran.stderr) == ("", "no build is remembered\n")


def test_history_of_what_nobody_knows_is_an_error_with_a_hint(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.write("never.yml", CONFIG)

    for word, hint in (
        ("linuxkt.yml", "did you mean `linuxkit.yml`?"),
        ("nope", "`kitbuild history` lists"),
        ("9", "`kitbuild history` lists"),
    ):
        ran = here.run("history", word, status=2)
        first, second = ran.stderr.splitlines()
        assert first == f"error: expected a config or a build that is remembered, got `{word}`"
        assert second.startswith(f"hint: {hint}")
    assert here.run("history", "never.yml").stderr == "no build of never.yml is remembered\n"
    assert (
        here.run("history", "-n", "x", status=2).stderr == "error: `--number`: expected 0 or more, got `x`\n"
    )


def test_history_shows_a_build_by_the_beginning_of_its_id(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.change('"one"', '"two"')
    here.build()
    last = json.loads(here.run("history", "--json").stdout)[0]["id"]

    assert [last] == [build["id"] for build in json.loads(here.run("history", "--json", last[:-1]).stdout)]


def test_build_that_ran_nothing_says_what_it_was_for(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    here.change('"one"', '"two"')
    here.build()
    here.change('"two"', '"one"')
    here.build()

    line = here.run("history").stdout.splitlines()[1]

    said = 'linuxkit.yml:9: command[1] changed from "two" to "one"'
    assert line == f"    nothing ran, all results were there: {said}"


def test_builds_beyond_sixteen_are_forgotten(tmp_path: Path) -> None:
    here = Here(tmp_path)
    for number in range(19):
        here.write("linuxkit.yml", CONFIG.replace("one", str(number)))
        here.build()

    found = json.loads(here.run("history", "--json", "-n", "0").stdout)

    assert len(found) == 16


def test_container_that_only_has_another_number_is_no_matter_of_other_sections(tmp_path: Path) -> None:
    here = Here(tmp_path)
    here.build()
    both(
        edit("onboot:\n", f"onboot:\n{EXTRA}"),
        edit("  - name: data\n", "  - name: data\n  - name: more\n"),
        edit("  - t/init:v1", "  - t/init:v1\n  - t/tools:v1"),
    )(here)

    here.build()

    (node,) = here.why("onboot hello: bundle")["nodes"]
    assert ["linuxkit.yml:8: onboot extra was added"] == [cause["sentence"] for cause in node["causes"]]
