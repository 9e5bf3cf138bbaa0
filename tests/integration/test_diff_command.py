"""`kitbuild diff` against builds whose differences are known: it says exactly those, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.command import CONFIG, Site, executable, small_images
from tests.support.formats import kernel_image
from tests.support.loaders import loader_settings
from tests.support.sboms import with_sbom

pytestmark = pytest.mark.integration

APK = "P:busybox\nV:1.36.1-r5\n\nP:musl\nV:{musl}\n\n"
DPKG = "Package: bash\nVersion: 5.2\n\nPackage: curl\nStatus: install ok installed\nVersion: {curl}\n\n"
# One format of every kind of structure: what is packed in what differs most.
FORMATS = {
    "tar": ".tar",
    "kernel+initrd": "-initrd.img",
    "iso-bios": ".iso",
    "iso-efi": "-efi.iso",
    "iso-efi-initrd": "-efi-initrd.iso",
    "iso": "-hybrid.iso",
    "raw-efi": "-efi.img",
    "raw-bios": "-bios.img",
    "qcow2-efi": "-efi.qcow2",
    "uki": ".efi",
    "oci": "-oci.tar",
    "kernel+squashfs": "-squashfs.img",
    "kernel+erofs": "-erofs.img",
    "tar-kernel-initrd": "-initrd.tar",
}
# All edits are made for these, and for the others those that lie in different places.
THOROUGHLY = ("tar", "kernel+initrd", "iso-bios", "raw-efi", "oci")
BRIEFLY = ("command", "file", "added word")
# A container engine boots no kernel; the others have the command line in a file of its own.
WITHOUT_CMDLINE = ("oci", "kernel+squashfs", "kernel+erofs")
# These fields of a report say something even if nothing differs.
ALWAYS = ("format", "equal", "before", "after", "total", "outputs", "sizes", "budgets")
Said = dict[str, Any]


def package_images(
    *, musl: str = "1.2.4-r2", curl: str = "7.88", openssl: str = "3.0.1"
) -> dict[str, images.MadeImage | images.MadeIndex]:
    """Images with the databases of apk and dpkg and an SBOM."""
    return {
        "t/alpine:v1": images.image({"lib/apk/db/installed": APK.format(musl=musl)}),
        "t/debian:v1": images.image({"var/lib/dpkg/status": DPKG.format(curl=curl)}),
        "t/bom:v1": with_sbom(
            images.image({"bin/app": b"app"}),
            packages=[{"name": "openssl", "SPDXID": "SPDXRef-openssl", "versionInfo": openssl}],
        ),
    }


PACKAGES = """\
services:
  - name: alpine
    image: t/alpine:v1
    command: [/bin/app]
  - name: debian
    image: t/debian:v1
    command: [/bin/app]
onboot:
  - name: bom
    image: t/bom:v1
    command: [/bin/app]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    made = Site(tmp_path_factory.mktemp("diff") / "site")
    made.environment["KITBUILD_BOOT_LOADERS"] = loader_settings("amd64")
    web: dict[str, images.Content] = {"bin/web": executable(b"another"), "data/new": b"new"}
    images.layout(
        made.folder / "images",
        {**all_images(), "t/web:v2": images.image(web, entrypoint=["/bin/web"], env=["PORT=80"])},
    )
    return made


def all_images(**versions: str) -> dict[str, images.MadeImage | images.MadeIndex]:
    return {**small_images(), "t/kernel:v1": kernel_image("amd64"), **package_images(**versions)}


def built(site: Site, name: str, config: str, image_format: str) -> str:
    """Builds a config and gives the name of the output that has the system in it."""
    site.write(f"{name}.yml", config)
    (site.folder / name).mkdir(exist_ok=True)
    where = ("--dir", name, "--name", "linuxkit")
    site.run("build", "-q", "--arch", "amd64", *where, "--format", image_format, f"{name}.yml")
    return f"{name}/linuxkit{FORMATS[image_format]}"


def said(site: Site, *arguments: str) -> Said:
    """What of a JSON report says that something differs, in short."""
    report = json.loads(site.run("diff", "--json", *arguments).stdout)
    return short(report)


def short(report: Said) -> Said:
    return {name: value for name, value in report.items() if value and name not in ALWAYS}


def fields(section: Said, kind: str) -> list[tuple[str, Any, Any]]:
    return [(change["field"], change["before"], change["after"]) for change in section[kind]]


def paths(section: Said) -> dict[str, list[str]]:
    """The files of a section that differ, with what of them does."""
    return {file["path"]: file["fields"] or [file["state"]] for file in section["files"]}


def only(section: Said) -> set[str]:
    """The kinds of differences that a section has."""
    return {name for name in ("image", "settings", "runtime", "packages", "files") if section[name]}


def the_section(report: Said, *beside: str) -> Said:
    """The one section that differs, nothing else but `beside` having changed."""
    assert {"sections", *beside} == report.keys()
    (section,) = report["sections"]
    assert isinstance(section, dict)
    return section


def changed_command(report: Said) -> None:
    section = the_section(report)
    assert ("onboot hello", "changed") == (section["name"], section["state"])
    assert [("process.args[1]", "first", "second")] == fields(section, "runtime")
    assert {"runtime"} == only(section)


def added_capability(report: Said) -> None:
    section = the_section(report)
    sets = ["bounding", "effective", "inheritable", "permitted"]
    assert "services web" == section["name"]
    assert [("capability CAP_SYS_TIME", None, sets)] == fields(section, "runtime")
    assert {"runtime"} == only(section)


def changed_environment(report: Said) -> None:
    section = the_section(report)
    assert [("env PORT", "80", "8080"), ("env TZ", None, "UTC")] == fields(section, "runtime")
    assert {"runtime"} == only(section)


def added_mount(report: Said) -> None:
    section = the_section(report)
    (mount,) = section["runtime"]
    assert ("mount /srv", "added", "/etc") == (mount["field"], mount["state"], mount["after"]["source"])
    assert {"runtime"} == only(section)


def moved_image(report: Said) -> None:
    section = the_section(report)
    assert "services web" == section["name"]
    prefix = "containers/services/web/lower"
    assert {
        f"{prefix}/bin/web": ["content"],
        f"{prefix}/bin/http": ["removed"],
    } == paths(section)
    assert {"files", "runtime"} >= only(section)
    # The label of the first image asks for it.
    assert ["capability CAP_NET_BIND_SERVICE"] == [change["field"] for change in section["runtime"]]


def added_file(report: Said) -> None:
    section = the_section(report)
    assert {"etc/added": ["added"]} == paths(section)
    assert {"files"} == only(section)


def changed_mode(report: Said) -> None:
    section = the_section(report)
    assert {"etc/note": ["mode"]} == paths(section)
    assert {"files"} == only(section)
    assert ("0644", "0755") == tuple(section["files"][0][side]["mode"] for side in ("before", "after"))


def changed_owner(report: Said) -> None:
    # The folders of a file are its owner's too.
    assert {"etc": ["owner"], "etc/note": ["owner"]} == paths(the_section(report))


def changed_contents(report: Said) -> None:
    section = the_section(report)
    assert {"etc/note": ["content"]} == paths(section)
    assert (5, 6) == tuple(section["files"][0][side]["size"] for side in ("before", "after"))


def added_word(report: Said) -> None:
    assert ["cmdline"] == list(report)
    assert [("quiet", None, "quiet")] == fields(report, "cmdline")


def changed_word(report: Said) -> None:
    assert ["cmdline"] == list(report)
    assert [("console", "console=ttyS0", "console=tty0")] == fields(report, "cmdline")


def removed_service(report: Said) -> None:
    section = the_section(report)
    assert ("services web", "removed") == (section["name"], section["state"])
    assert all(path.startswith("containers/services/web") for path in paths(section))
    assert section["size"]["after"] == 0 < section["size"]["before"]


def added_onboot_before(report: Said) -> None:
    section = the_section(report)
    # The number of the one behind it has moved, which changes nothing for anybody.
    assert ("onboot early", "added") == (section["name"], section["state"])


BASE = CONFIG.replace("image: t/hello:v1", "image: t/hello:v1\n    command: [/hello, first]").replace(
    "contents: first", 'contents: first\n    mode: "0644"'
)
Check = Callable[[Said], None]
EDITS: dict[str, tuple[str, str, Check]] = {
    "command": ("/hello, first", "/hello, second", changed_command),
    "capability": ("t/web:v1", "t/web:v1\n    capabilities.add: [CAP_SYS_TIME]", added_capability),
    "environment": ("t/web:v1", "t/web:v1\n    env: [PORT=8080, TZ=UTC]", changed_environment),
    "mount": ("t/web:v1", 't/web:v1\n    binds: ["/etc:/srv:ro"]', added_mount),
    "image": ("t/web:v1", "t/web:v2", moved_image),
    "file": ("files:\n", 'files:\n  - path: etc/added\n    contents: x\n    mode: "0644"\n', added_file),
    "mode": ('mode: "0644"', 'mode: "0755"', changed_mode),
    "owner": ('mode: "0644"', 'mode: "0644"\n    uid: 7', changed_owner),
    "contents": ("contents: first", "contents: second", changed_contents),
    "added word": ("ttyS0", "ttyS0 quiet", added_word),
    "changed word": ("ttyS0", "tty0", changed_word),
    "service": ("services:\n  - name: web\n    image: t/web:v1\n", "", removed_service),
    "onboot": (
        "onboot:\n",
        "onboot:\n  - name: early\n    image: t/web:v2\n    command: [/bin/web]\n",
        added_onboot_before,
    ),
}


@pytest.mark.parametrize("image_format", FORMATS)
def test_an_output_differs_in_what_was_edited_and_nothing_else(site: Site, image_format: str) -> None:
    before = built(site, "base", BASE, image_format)

    for name, (old, new, check) in EDITS.items():
        assert old in BASE, name
        if image_format not in THOROUGHLY and name not in BRIEFLY:
            continue
        after = built(site, "edited", BASE.replace(old, new, 1), image_format)
        if image_format in WITHOUT_CMDLINE and name.endswith("word"):
            continue
        try:
            report = said(site, before, after)
            if image_format == "tar":
                # A tar says what its entries come from.
                for section in report.get("sections", ()):
                    section["image"] = []
            check(report)
        except (AssertionError, ValueError) as error:
            raise AssertionError(
                f"{name}: {error}\n{site.run('diff', before, after).stdout.decode()}"
            ) from error


@pytest.mark.parametrize("image_format", FORMATS)
def test_two_builds_of_one_config_do_not_differ(site: Site, image_format: str) -> None:
    before, after = (built(site, name, BASE, image_format) for name in ("one", "other"))

    finished = site.run("diff", "--exit-code", before, after)

    assert b"no differences\n" == finished.stdout.partition(b"note:")[0]


@pytest.mark.parametrize("side", ["config", "record"])
def test_configs_and_records_tell_the_edit_with_its_line(site: Site, side: str) -> None:
    site.write("base.yml", BASE)
    site.write("edited.yml", BASE.replace("/hello, first", "/hello, second"))
    for name in ("base", "edited"):
        site.run("build", "-q", "--record", f"{name}.rec", f"{name}.yml")
    ending = "yml" if side == "config" else "rec"

    report = said(site, f"base.{ending}", f"edited.{ending}")

    section = the_section(report)
    assert [("command[1]", "first", "second")] == fields(section, "settings")
    assert [("process.args[1]", "first", "second")] == fields(section, "runtime")
    assert "edited.yml:10" == section["settings"][0]["where"]
    assert {"settings", "runtime"} == only(section)


def test_a_config_is_compared_before_it_is_built(site: Site) -> None:
    site.write("base.yml", BASE)
    site.write("unbuilt.yml", BASE.replace("/hello, first", "/hello, third"))
    site.run("build", "-q", "base.yml")

    finished = site.run("diff", "base.yml", "unbuilt.yml")

    assert [
        "base.yml -> unbuilt.yml",
        "",
        "~ onboot hello",
        '  ~ command[1]: "first" -> "third"  (unbuilt.yml:10)',
        "",
        "note: unbuilt.yml is not built as it is now: the files of onboot hello are not compared",
    ] == finished.stdout.decode().splitlines()


def test_a_config_an_output_and_a_record_of_one_build_do_not_differ(site: Site) -> None:
    site.write("base.yml", BASE)
    site.run("build", "-q", "--record", "base.rec", "--format", "tar", "base.yml")
    site.run("build", "-q", "base.yml")
    sides = ("base.yml", "base.tar", "base.rec", "base-initrd.img")

    for before in sides:
        for after in sides:
            report = said(site, before, after)
            report.pop("notes", None)
            assert report.keys() <= {"flags"}, (before, after, report)


def test_sizes_mean_the_same_whatever_the_system_is_packed_in(site: Site) -> None:
    initrd = built(site, "base", BASE, "kernel+initrd")
    others = [
        built(site, "base", BASE, image_format) for image_format in ("tar", "iso-bios", "raw-efi", "iso")
    ]
    site.run("build", "-q", "--arch", "amd64", "--record", "sizes.rec", "base.yml")
    # Two of one kind: nothing is left out because it could not be compared.
    whole = json.loads(site.run("diff", "--json", "sizes.rec", "sizes.rec").stdout)["total"]["after"]

    for other in (*others, "sizes.rec", "base.yml"):
        report = json.loads(site.run("diff", "--json", initrd, other).stdout)

        assert {"before": whole, "after": whole} == report["total"], other
        assert all(size["before"] == size["after"] for size in report["sizes"].values()), other


def test_packages_are_told_with_their_versions(site: Site) -> None:
    before = built(site, "packages", PACKAGES, "tar")
    upgraded = images.layout(site.folder / "newer", all_images(musl="1.2.5-r0", curl="8.0", openssl="3.0.2"))

    site.write("upgraded.yml", PACKAGES)
    site.run("build", "-q", "--record", "old.rec", "--format", "tar", "packages.yml")
    site.run(
        *("build", "-q", "--images", str(upgraded), "--record", "new.rec", "--format", "tar", "upgraded.yml")
    )
    report = said(site, before, "upgraded.tar")

    sections = {section["name"]: section for section in report["sections"]}
    assert [("musl", ["1.2.4-r2"], ["1.2.5-r0"])] == versions(sections["services alpine"])
    assert [("curl", ["7.88"], ["8.0"])] == versions(sections["services debian"])
    assert [("openssl", ["3.0.1"], ["3.0.2"])] == versions(report)
    assert {"services alpine", "services debian", "sbom"} == sections.keys()
    moved = {
        one["name"]: one["image"][0]["field"]
        for one in said(site, "old.rec", "new.rec")["sections"]
        if one["image"]
    }
    assert {
        "services alpine": "image t/alpine:v1 moved",
        "services debian": "image t/debian:v1 moved",
    } == moved


def versions(report: Said) -> list[tuple[str, list[str], list[str]]]:
    return [(package["name"], package["before"], package["after"]) for package in report["packages"]]


def test_a_broken_budget_is_an_error_with_what_was_allowed(site: Site) -> None:
    before = built(site, "base", BASE, "kernel+initrd")
    grown = built(site, "grown", BASE.replace("contents: first", f"contents: {'x' * 5000}"), "kernel+initrd")

    kept = site.run("diff", "--stat", "--budget", "total=+6KB", "--budget", "initrd=+50%", before, grown)
    broken = site.run(
        "diff", "--stat", "--budget", "total=+1KB", "--budget", "root=+2%", before, grown, status=1
    )

    assert [] == kept.lines
    assert b"\nwithin budget: total +5KB of +6KB\nwithin budget: initrd +" in kept.stdout
    assert 2 == len(broken.lines)
    assert broken.lines[0].startswith("error: `total`: expected at most +1KB, got +5KB")
    assert broken.lines[1].startswith("error: `root`: expected at most +2%, got +")


def test_exit_code_is_1_only_if_asked_for(site: Site) -> None:
    before = built(site, "base", BASE, "tar")
    after = built(site, "edited", BASE.replace("first", "second"), "tar")

    site.run("diff", before, after, status=0)
    site.run("diff", "--exit-code", before, after, status=1)
    site.run("diff", "--exit-code", before, before, status=0)


def test_an_image_layout_in_a_folder_is_an_output(site: Site) -> None:
    import tarfile

    archive = built(site, "base", BASE, "oci")
    other = built(site, "edited", BASE.replace("/hello, first", "/hello, second"), "oci")
    with tarfile.open(site.folder / archive) as tar:
        tar.extractall(site.folder / "layout", filter="data")

    assert b"no differences\n" == site.run("diff", "layout", archive).stdout
    assert b"no differences\n" == site.run("diff", "layout", "layout").stdout
    assert ["onboot hello"] == [one["name"] for one in said(site, "layout", other)["sections"]]


def test_what_is_no_side_is_a_usage_error(site: Site) -> None:
    site.write("base.yml", BASE)

    finished = site.run("diff", "base.yml", "bose.yml", status=2)

    assert [
        "error: expected a config, an output or the record of a build, got `bose.yml`, which is no file here",
        "hint: did you mean `base.yml`?",
    ] == finished.lines


def test_builds_that_are_remembered_are_named_by_their_ids(site: Site) -> None:
    for text in ("first", "fourth"):
        site.write("remembered.yml", BASE.replace("first", text))
        site.run("build", "-q", "remembered.yml")
    history = Path(site.environment["KITBUILD_CACHE_DIR"])
    new, old = remembered(history)[:2]

    report = said(site, old, new)

    assert ["onboot hello", "files"] == sorted((one["name"] for one in report["sections"]), reverse=True)


def remembered(folder: Path) -> list[str]:
    from kitbuild.cache.directory import open_directory
    from kitbuild.history import listed

    return [name for name, _ in listed(open_directory(folder, warn=lambda message: None))]
