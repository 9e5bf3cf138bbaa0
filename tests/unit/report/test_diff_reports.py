"""What a difference looks like: on a terminal, in a comment, for programs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kitbuild.compare.budget import budget, outcomes
from kitbuild.compare.difference import Difference, PackageChange, SectionDifference, Side, Sizes
from kitbuild.compare.files import FileChange
from kitbuild.compare.snapshot import Content, File
from kitbuild.compare.values import Change
from kitbuild.report.diff_json import json_of
from kitbuild.report.diff_lines import size_line, value_text
from kitbuild.report.diff_markdown import markdown_of
from kitbuild.report.diff_text import stat_of, text_of


def file(size: int = 1, **fields: Any) -> File:
    return File("file", 0o644, size=size, content=Content(lambda: "ab" * 32))._replace(**fields)


BEFORE, AFTER = Side("old.yml", "config"), Side("new.yml", "config")
NOTHING = Difference(BEFORE, AFTER, Sizes(1024, 1024))
WEB = SectionDifference(
    "services web",
    "changed",
    Sizes(2048, 4096),
    image=(Change("image", "kit/web:v1", "kit/web:v2"),),
    settings=(Change("env PORT", "80", "8080", "new.yml:7"),),
    runtime=(Change("capability CAP_KILL", None, ["bounding", "effective", "inheritable", "permitted"]),),
    packages=(PackageChange("musl", ("1.2",), ("1.3",)), PackageChange("curl", (), ("8.0",))),
    files=(
        FileChange("bin/web", file(1024), file(3072), ("content",)),
        FileChange("etc/x", file(), file(mode=0o755, uid=7), ("mode", "owner")),
        FileChange("etc/y", file(), file(), ("content",)),
        FileChange("etc/link", None, File("symlink", 0o777, target="x")),
        FileChange("dev/null", File("char", 0o666, device=(1, 3)), None),
    ),
)
REDIS = SectionDifference(
    "services redis", "removed", Sizes(512, 0), files=(FileChange("a", file(512), None),)
)
FULL = Difference(
    BEFORE,
    AFTER,
    Sizes(10_240, 12_288),
    {"services web": WEB.size, "services redis": REDIS.size},
    (WEB, REDIS),
    cmdline=(
        Change("quiet", None, "quiet"),
        Change("root", "root=a", "root=b"),
        Change("order of words", "a b", "b a"),
    ),
    flags=(Change("--arch", "amd64", "arm64"),),
    packages=(PackageChange("openssl", ("3.0.1",), ()),),
    outputs={"-initrd.img": Sizes(100, 200), "-kernel": Sizes(5, 5)},
    missing=("something is not compared",),
)
TEXT = """\
old.yml -> new.yml
total  10.0 KiB -> 12.0 KiB (+2.0 KiB, +20.0 %)
initrd.img  100 B -> 200 B (+100 B, +100.0 %)

flags
  ~ --arch: "amd64" -> "arm64"

kernel command line
  + quiet
  ~ root=a -> root=b
  ~ in another order: a b -> b a

~ services web  2.0 KiB -> 4.0 KiB (+2.0 KiB, +100.0 %)
  ~ image: kit/web:v1 -> kit/web:v2
  ~ env PORT: "80" -> "8080"  (new.yml:7)
  + capability CAP_KILL
  packages
    ~ musl 1.2 -> 1.3
    + curl 8.0
  files
    ~ bin/web  1.0 KiB -> 3.0 KiB, +2.0 KiB
    ~ etc/x  mode 0644 -> 0755, owner 0:0 -> 7:0
    ~ etc/y  other content
    + etc/link  -> x
    - dev/null  char device 1:3

- services redis  512 B, 1 file

packages of the SBOM
  - openssl 3.0.1

note: something is not compared
"""


def test_all_that_differs_is_told_by_section() -> None:
    assert TEXT == text_of(FULL, color=False)


def test_nothing_that_differs_is_one_line() -> None:
    assert ["no differences\n"] * 2 == [text_of(NOTHING, color=False), stat_of(NOTHING, color=False)]


def test_a_stat_is_a_line_for_each_section() -> None:
    assert (
        """\
~ services web        +2.0 KiB  1 file added, 1 removed, 3 changed; 1 package added, 1 changed;
 another image; 1 setting
- services redis        -512 B
~ flags                         1
~ kernel command line           3
~ packages of the SBOM          1
total  10.0 KiB -> 12.0 KiB (+2.0 KiB, +20.0 %)
initrd.img  100 B -> 200 B (+100 B, +100.0 %)
note: something is not compared
""".replace(" \n", "\n").split()
        == stat_of(FULL, color=False).split()
    )


def test_colours_are_green_red_and_yellow() -> None:
    text = text_of(FULL, color=True)

    assert "\x1b[32m+\x1b[0m curl 8.0" in text
    assert "\x1b[31m-\x1b[0m dev/null" in text
    assert "\x1b[33m~\x1b[0m bin/web" in text


def test_many_files_are_cut_short_unless_all_are_wanted() -> None:
    files = tuple(FileChange(f"f{number:03}", None, file()) for number in range(322))
    many = NOTHING._replace(sections=(SectionDifference("root", "changed", Sizes(1, 2), files=files),))

    short, whole = (
        text_of(many, color=False, everything=everything).splitlines() for everything in (False, True)
    )

    assert ("      and 312 more files (use --all)", 16) == (short[-1], len(short))
    assert 327 == len(whole)


def test_what_is_in_a_removed_section_is_told_if_all_is_wanted() -> None:
    assert "    - a  512 B" in text_of(FULL, color=False, everything=True).splitlines()


def test_runtime_that_only_follows_from_settings_is_told_if_all_is_wanted() -> None:
    plain = WEB._replace(image=())
    one = NOTHING._replace(sections=(plain,))

    assert "CAP_KILL" not in text_of(one, color=False)
    assert "CAP_KILL" in text_of(one, color=False, everything=True)


def test_nothing_in_a_name_reaches_the_terminal() -> None:
    evil = "\x1b[31m\udcff\nEVIL"
    section = SectionDifference(
        evil,
        "changed",
        Sizes(1, 2),
        (Change("image", evil, evil + "x"),),
        (Change(evil, {evil: evil}, evil, evil),),
        packages=(PackageChange(evil, (evil,), ()),),
        files=(FileChange(evil, None, File("symlink", 0, target=evil)),),
    )
    one = Difference(
        Side(evil, "output"),
        AFTER,
        Sizes(1, 2),
        sections=(section,),
        outputs={evil: Sizes(1, 2)},
        missing=(evil,),
    )

    for text in (text_of(one, color=False), stat_of(one, color=False), markdown_of(one)):
        assert "\x1b" not in text
        assert not any(line.startswith("EVIL") for line in text.splitlines())
        text.encode()


@pytest.mark.parametrize(
    ("value", "field", "text"),
    [
        ("x", "command[0]", '"x"'),
        ("", "", '""'),
        ("x", "masked path x", ""),
        (True, "readonly", "true"),
        ("CAP_KILL", "capability CAP_KILL", ""),
        (["ambient", "bounding"], "capability CAP_KILL", "in ambient, bounding"),
        ({"type": "bind", "options": ["ro", "bind"]}, "mount /a", "type bind, options ro,bind"),
        ("a\nb", "contents", '"a\\nb"'),
        ("x" * 200, "contents", '"' + "x" * 98 + "…"),
    ],
)
def test_a_value_is_one_short_line(value: Any, field: str, text: str) -> None:
    assert text == value_text(value, field)


def test_markdown_has_a_table_of_sizes_and_folds() -> None:
    lines = markdown_of(FULL).splitlines()

    assert "### `old.yml` → `new.yml`" == lines[0]
    assert "| `services web` | 2.0 KiB | 4.0 KiB | +2.0 KiB, +100.0 % |" in lines
    assert "| **total** | 10.0 KiB | 12.0 KiB | +2.0 KiB, +20.0 % |" in lines
    assert "<details><summary>~ services web  2.0 KiB -&gt; 4.0 KiB (+2.0 KiB, +100.0 %)</summary>" in lines
    assert "+   curl 8.0" in lines
    assert "- `- services redis  512 B, 1 file`" in lines
    assert "> something is not compared" in lines


def test_markdown_cannot_be_broken_out_of() -> None:
    evil = "</summary><b>```` | x"
    section = SectionDifference(evil, "changed", Sizes(1, 9), files=(FileChange(evil, None, file()),))

    lines = markdown_of(NOTHING._replace(sections=(section,))).splitlines()

    assert "`````diff" in lines
    assert not any(line.startswith("<details><summary>") and "<b>" in line for line in lines)
    assert any(line.startswith("| `````</summary><b>```` \\| x````` |") for line in lines)


def test_markdown_names_the_budgets_that_are_broken() -> None:
    held = outcomes([budget("total=+1KB"), budget("initrd=1KB")], FULL)

    text = markdown_of(FULL, held)

    assert "- **over budget** `total`: expected at most +1KB, got +2KB (10.2KB -\\> 12.3KB)" in text
    assert 1 == text.count("over budget")


def test_json_has_everything_that_differs() -> None:
    report = json.loads(json_of(FULL, outcomes([budget("total=+1KB")], FULL)))

    assert (1, False) == (report["format"], report["equal"])
    assert {"name": "old.yml", "kind": "config", "format": ""} == report["before"]
    assert {"before": 10_240, "after": 12_288} == report["total"]
    web = report["sections"][0]
    assert ("services web", "changed") == (web["name"], web["state"])
    assert {
        "state": "changed",
        "field": "env PORT",
        "before": "80",
        "after": "8080",
        "where": "new.yml:7",
    } == web["settings"][0]
    assert {
        "state": "changed",
        "path": "bin/web",
        "fields": ["content"],
        "before": {"kind": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 1024, "sha256": "ab" * 32},
        "after": {"kind": "file", "mode": "0644", "uid": 0, "gid": 0, "size": 3072, "sha256": "ab" * 32},
    } == web["files"][0]
    assert {"name": "total", "limit": "+1KB", "kept": False, "before": 10_240, "after": 12_288} == report[
        "budgets"
    ][0]


def test_markdown_and_text_confirm_the_budgets_that_are_kept() -> None:
    held = outcomes([budget("total=+3KB"), budget("initrd=50")], FULL)

    assert "- within budget: total +2KB of +3KB" in markdown_of(FULL, held).splitlines()
    for text in (text_of(FULL, held, color=False), stat_of(FULL, held, color=False)):
        assert text.endswith("\nwithin budget: total +2KB of +3KB\n")


def test_markdown_calls_outputs_by_their_names() -> None:
    assert "| `initrd.img` | 100 B | 200 B | +100 B, +100.0 % |" in markdown_of(FULL).splitlines()


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (110, "100 B -> 110 B (+10 B, +10.0 %)"),
        (1100, "100 B -> 1.1 KiB (+1000 B, +1000.0 %)"),
        (27_300, "100 B -> 26.7 KiB (+26.6 KiB, x273)"),
        (1_000_000_000, "100 B -> 954 MiB (+954 MiB)"),
    ],
)
def test_large_growth_is_no_percentage(after: int, text: str) -> None:
    assert text == size_line(Sizes(100, after))


def test_of_flags_with_lists_only_what_came_and_went_is_told() -> None:
    before, after = "iso,raw-efi,qcow2-bios", "iso,raw-efi,tar"
    change = Change("--format", before, after)

    text = text_of(NOTHING._replace(flags=(change,)), color=False)

    assert "  ~ --format: without qcow2-bios; with tar\n" in text
    long = change._replace(after=",".join(f"format-{number}" for number in range(100)))
    assert max(map(len, text_of(NOTHING._replace(flags=(long,)), color=False).splitlines())) < 120
