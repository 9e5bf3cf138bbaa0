from __future__ import annotations

from pathlib import Path

from kitbuild.errors import RuleError
from kitbuild.event import BuildFinished, Counts
from kitbuild.report.summary import SummaryReport
from tests.unit.report import events
from tests.unit.report.events import tell


def test_outputs_are_a_table(tmp_path: Path) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")

    tell(SummaryReport(path), events.STARTED, events.WRITTEN, events.FINISHED)

    assert path.read_text().splitlines() == [
        "before",
        "### kitbuild: done",
        "",
        "| output | size | sha256 | time |",
        "|---|---:|---|---:|",
        f"| <code>out/linuxkit-initrd.img</code> | 1.5 KiB | <code>{'ab' * 32}</code> | 0.10 s |",
        "",
        "",
        "2 nodes: 1 run, 1 cached (1.50 s saved), 0.42 s",
    ]


def test_errors_are_listed_a_few(tmp_path: Path) -> None:
    failed = [events.FAILED] * 30
    end = BuildFinished("failed", 1, Counts(30, failed=30), 1.0)

    tell(SummaryReport(tmp_path / "summary.md"), *failed, events.ERRED, end)

    lines = (tmp_path / "summary.md").read_text().splitlines()
    assert lines[0] == "### kitbuild: failed"
    assert len([line for line in lines if line.startswith("- ")]) == 21
    assert "- and 11 more" in lines


def test_names_are_text_and_no_markup(tmp_path: Path) -> None:
    evil = "a|b`<img src=x>\n# head [x](y) &amp;\x1b"
    error = events.FAILED._replace(error=RuleError(evil))
    written = events.WRITTEN._replace(path=Path(evil))

    tell(SummaryReport(tmp_path / "summary.md"), written, error, events.FINISHED)

    lines = (tmp_path / "summary.md").read_text().splitlines()
    (row,) = [line for line in lines if "img" in line and line.startswith("|")]
    (item,) = [line for line in lines if line.startswith("- ")]
    for line in (row.replace("| <code>", "").partition("</code>")[0], item[2:]):
        assert not set("|`<>[]\n\x1b") & set(line)
        assert "&amp;amp;" in line


def test_summary_that_cannot_be_written_is_left_out(tmp_path: Path) -> None:
    tell(SummaryReport(tmp_path / "nowhere" / "summary.md"), events.FINISHED)
