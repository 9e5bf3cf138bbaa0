"""What counts as a change, and which files are looked at."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from kitbuild.cli.flags import Parser
from kitbuild.cli.watch import Watched, add, changed, difference, snapshot, written

A, B, C = Path("a.yml"), Path("b.txt"), Path("c.txt")


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        ({A: (1, 1, 1)}, {A: (1, 1, 1)}, ""),
        ({A: (1, 1, 1)}, {A: (2, 1, 1)}, "a.yml changed"),
        ({A: (1, 1, 1)}, {A: (1, 1, 9)}, "a.yml changed"),
        ({A: (1, 1, 1)}, {A: None}, "a.yml vanished"),
        ({A: None}, {A: (1, 1, 1)}, "a.yml appeared"),
        ({A: None, B: (1, 1, 1)}, {A: (1, 1, 1), B: None}, "a.yml appeared and b.txt vanished"),
        ({A: None, B: None, C: None}, dict.fromkeys([A, B, C], (1, 1, 1)), "a.yml appeared, and 2 more"),
        # What the config names only now was read by the build that is over.
        ({A: (1, 1, 1)}, {A: (1, 1, 1), B: (1, 1, 1)}, ""),
    ],
)
def test_difference_is_told(before: dict[Path, None], now: dict[Path, None], told: str) -> None:
    assert difference(before, now) == told


def test_change_is_told_once_it_has_come_to_rest(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("0")
    before = snapshot([file])
    steps = iter(["1", "12", "123", "1234"])

    def sleep(_: float) -> None:
        text = next(steps, None)
        if text is not None:
            file.write_text(text)

    reason = changed(before, lambda: [file], sleep=sleep)

    assert reason.endswith("a.yml changed")
    assert next(steps, None) is None


def test_what_is_put_back_in_a_moment_is_no_change(tmp_path: Path) -> None:
    file, aside, end = tmp_path / "a.yml", tmp_path / "aside", tmp_path / "b.yml"
    file.write_text("text")
    end.write_text("text")
    before = snapshot([file, end])
    file.rename(aside)
    naps = iter(range(100))

    def sleep(_: float) -> None:
        nap = next(naps)
        if nap == 3:
            aside.rename(file)
        if nap == 6:
            end.write_text("another")

    assert changed(before, lambda: [file, end], sleep=sleep).endswith("b.yml changed")


def watched(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Callable[[], set[str]]:
    monkeypatch.chdir(folder)
    parser: ArgumentParser = Parser()
    add(parser.add_subparsers())
    known = Watched(parser.parse_args(["watch", *arguments, str(folder / "linuxkit.yml")]))
    return lambda: {path.name for path in known.paths()}


def test_everything_a_build_reads_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "linuxkit.yml").write_text("files:\n- path: etc/a\n  source: note.txt\n")

    names = watched(
        tmp_path, monkeypatch, "--images", "layout", "--images", "two.tar", "--cert-file", "ca.pem"
    )()

    assert names == {
        *(
            "linuxkit.yml",
            "linuxkit.yml.lock",
            "kitbuild.toml",
            "note.txt",
            "index.json",
            "two.tar",
            "ca.pem",
        ),
        "cache",  # LinuxKit's image cache, which is not there
    }


def test_files_of_a_config_that_broke_stay_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "linuxkit.yml"
    config.write_text("files:\n- path: etc/a\n  source: note.txt\n")
    names = watched(tmp_path, monkeypatch)
    before = names()

    config.write_text("files: [")

    assert names() == before
    assert "note.txt" in before


def test_flags_of_a_build_are_flags_of_a_watch() -> None:
    parser: ArgumentParser = Parser()
    add(parser.add_subparsers())

    found: Namespace = parser.parse_args(["watch", "--format", "iso", "a.yml", "--jobs", "3", "--exec", "x"])

    assert (found.format, found.configs, found.jobs, found.exec) == (["iso"], ["a.yml"], "3", "x")


def test_home_of_nobody_is_no_reason_to_end(tmp_path: Path) -> None:
    config = tmp_path / "a.yml"
    config.write_text("files:\n  - path: x\n    source: ~nobody-of-this-name/x\n")
    parser: ArgumentParser = Parser()
    add(parser.add_subparsers())

    assert config in Watched(parser.parse_args(["watch", str(config)])).paths()


def built_as(folder: Path, output: str | None = None) -> Namespace:
    return Namespace(
        format=["tar"], output=output, name="box", dir=None if output else folder, configs=["box.yml"]
    )


def test_output_that_is_replaced_is_seen_and_one_that_is_left_alone_is_not(tmp_path: Path) -> None:
    for name in ("box.tar", "other.tar", "box.yml"):
        (tmp_path / name).write_text("0")
    before = written(built_as(tmp_path))

    for name in ("other.tar", "box.yml"):
        (tmp_path / name).write_text("changed")
    untouched = written(built_as(tmp_path))
    (tmp_path / "new").write_text("0")
    (tmp_path / "new").replace(tmp_path / "box.tar")

    assert before == untouched
    assert before != written(built_as(tmp_path))


def test_nobody_can_tell_what_went_to_stdout(tmp_path: Path) -> None:
    arguments = built_as(tmp_path, "-")
    arguments.name = None

    assert written(arguments) is None
