from __future__ import annotations

import io
from pathlib import Path

import pytest

from kitbuild.errors import BuildError, ConfigError, ConfigErrors, KitbuildError, RuleError, UsageError, Where
from kitbuild.event import Event
from kitbuild.report.ci import Dialect, Github, Gitlab, complaint, dialect_of
from kitbuild.report.lines import LinesReport, QuietReport
from tests.unit.report import events
from tests.unit.report.events import tell


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_WORKSPACE", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def told(dialect: Dialect, *happened: Event, verbosity: int = 0) -> list[str]:
    stream = io.StringIO()
    report = LinesReport(stream, verbosity=verbosity, dialect=dialect)
    tell(report, *happened)
    report.close()
    return stream.getvalue().split("\n")[:-1]


def commands(lines: list[str]) -> list[str]:
    """The lines a runner of GitHub Actions obeys, by what its source says: behind spaces, or `##[` anywhere."""
    return [line for line in lines if line.strip().startswith("::") or "##[" in line]


def test_nodes_that_run_are_folded() -> None:
    lines = told(Github(), events.STARTED, events.CACHED, events.RUN, events.DONE, events.WRITTEN)

    assert [line.partition(":")[0] for line in lines] == [
        "",
        "run",
        "",
        "out/linuxkit-initrd.img  1.5 KiB  sha256",
    ]
    assert commands(lines) == ["::group::kitbuild: nodes that run", "::endgroup::"]


def test_cached_nodes_are_folded_if_they_are_told() -> None:
    lines = told(Github(), events.STARTED, events.CACHED, events.RUN, verbosity=1)

    assert lines[0] == "::group::kitbuild: nodes that run"
    assert lines[1] == "cached: kernel: image"
    assert lines[-1] == "::endgroup::"


def test_build_with_nothing_to_do_folds_nothing() -> None:
    assert commands(told(Github(), events.STARTED, events.CACHED, events.UP_TO_DATE, events.FINISHED)) == []


def test_failure_stands_outside_of_folds_with_a_mark() -> None:
    lines = told(Github(), events.STARTED, events.RUN, events.FAILED, events.RUN)

    assert commands(lines) == [
        "::group::kitbuild: nodes that run",
        "::endgroup::",
        "::error file=x.yml,line=3,col=5,title=kitbuild::services[0] redis: segment: a file too large%0A"
        "hint: make it small",
    ]
    assert lines.index("::endgroup::") < lines.index("hint: make it small")


@pytest.mark.parametrize("dialect", [Github(), Gitlab()])
def test_no_fold_begins_below_an_error(dialect: Dialect) -> None:
    lines = told(dialect, events.STARTED, events.RUN, events.FAILED, events.RUN, events.DONE, events.CACHED)

    assert lines.count(next(line for line in lines if "nodes that run" in line)) == 1
    assert lines[-1].startswith(("hint: ", "::error "))


def test_what_goes_on_below_an_error_is_told_to_who_asks() -> None:
    lines = told(Github(), events.STARTED, events.FAILED, events.RUN, verbosity=1)

    assert lines[-1].startswith("run: services[0] redis: segment: ")


def test_nodes_gone_through_anew_are_folded_again() -> None:
    lines = told(Github(), events.STARTED, events.FAILED, events.STARTED, events.RUN)

    assert lines[-1] == "::endgroup::"


def test_warning_has_a_mark() -> None:
    assert told(Github(), events.NODE_WARNED) == [
        "warning: kernel: image: no kernel modules",
        "::warning title=kitbuild::kernel: image: no kernel modules",
    ]


def test_quiet_build_marks_failures() -> None:
    stream = io.StringIO()

    tell(QuietReport(stream, dialect=Github()), events.WARNED, events.PLAIN_FAILED)

    assert commands(stream.getvalue().splitlines()) == [
        "::error title=kitbuild::services[0] redis: segment: no space"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "::error::x",
        "  \t::add-mask::x",
        "\u00a0\u3000::set-env name=PATH::x",
        "a\n::stop-commands::x\nb",
        "a\r::set-output name=x::y",
        "\x1b[0m::x::",
        "harmless ##[add-path]/tmp",
        "##[##[error]x",
        "::error::%0A::x",
    ],
)
def test_nobody_else_gives_orders(text: str) -> None:
    warned, failed = (
        events.WARNED._replace(message=text),
        events.FAILED._replace(error=RuleError(text, hint=text)),
    )

    for happened in (
        warned,
        failed,
        events.RUN._replace(why=(text,)),
        events.WRITTEN._replace(path=Path(text)),
        events.REMOTE._replace(place=text),
    ):
        lines = told(Github(), events.STARTED, happened, verbosity=2)
        ours = [line for line in commands(lines) if line.startswith(("::group::kit", "::endgroup::"))]
        ours += [
            line for line in commands(lines) if line.startswith(("::error title=kit", "::warning title=kit"))
        ]
        assert sorted(commands(lines)) == sorted(ours)


def test_order_in_a_mark_is_escaped() -> None:
    where = Where("a,b:c%\n.yml", 1, 2)

    mark = Github().mark("error", "100 %\r\nnext", where, None)

    assert mark == "::error file=a%2Cb%3Ac%25%0A.yml,line=1,col=2,title=kitbuild::100 %25\\x0d%0Anext"


def test_gitlab_folds_are_closed_at_first() -> None:
    begin, _, end, _ = told(Gitlab(), events.STARTED, events.RUN, events.WRITTEN)

    start, _, title = begin.partition("\r")
    assert start.startswith("section_start:")
    assert start.endswith(":kitbuild_1[collapsed=true]")
    assert title == "\x1b[0Kkitbuild: nodes that run"
    assert end.startswith("section_end:")
    assert end.endswith(":kitbuild_1\r\x1b[0K")


def test_gitlab_folds_have_names_of_their_own() -> None:
    lines = told(Gitlab(), events.STARTED, events.RUN, events.WARNED, events.RUN)

    assert [line.count("kitbuild_1") + 2 * line.count("kitbuild_2") for line in lines] == [
        1,
        0,
        1,
        0,
        2,
        0,
        2,
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("GITHUB_ACTIONS", "true", "Github"),
        ("GITLAB_CI", "true", "Gitlab"),
        ("GITHUB_ACTIONS", "false", "Plain"),
        ("CI", "true", "Plain"),
    ],
)
def test_dialect_is_that_of_the_machine(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)

    assert type(dialect_of()).__name__ == expected


# -- errors that end the program

MISTAKES = ConfigErrors(
    [
        ConfigError("one", where=Where("x.yml", 3, 5, "  ::set-env name=X::y"), hint="mend it"),
        ConfigError("two", where=Where("y.yml", 1, 1)),
    ]
)


def test_every_mistake_in_a_config_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    lines = complaint(MISTAKES, io.StringIO()).splitlines()

    assert lines[0] == "error: x.yml:3:5: one"
    assert commands(lines) == [
        "::error file=x.yml,line=3,col=5,title=kitbuild::one%0Ahint: mend it",
        "::error file=y.yml,line=1,col=1,title=kitbuild::two",
    ]


def test_elsewhere_errors_are_text_alone() -> None:
    assert complaint(UsageError("no", hint="yes"), io.StringIO()) == "error: no\nhint: yes"


def test_marks_name_files_from_the_top_of_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")

    def marked(file: str) -> str:
        error = KitbuildError("x", where=Where(file, 1, 1))
        return complaint(error, io.StringIO()).splitlines()[-1].partition("title=")[0]

    assert marked("../x.yml") == "::error file=x.yml,line=1,col=1,"
    assert marked("x.yml") == "::error file=below/x.yml,line=1,col=1,"
    assert marked("/etc/x.yml") == "::error "
    assert marked("https://host/x.yml") == "::error "


def test_failed_nodes_are_not_marked_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    assert commands(complaint(BuildError([("n", RuleError("x"))]), io.StringIO()).splitlines()) == []
