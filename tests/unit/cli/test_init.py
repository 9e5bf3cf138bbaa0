"""What `kitbuild init` says to do next: commands that work from the current folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from kitbuild.cli import init
from kitbuild.cli.init import _next_steps, kit_folder, starter

CLONE = Path(init.__file__).parents[2]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KITBUILD_IMAGES", raising=False)


def test_kit_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert kit_folder() == CLONE / "examples" / "kit"
    assert f"kitbuild build --images {CLONE}/examples/kit/images my.yml" in _next_steps("kit", "my.yml")
    assert f"#   python {CLONE}/examples/kit/boot.py my\n" in starter("kit", "my.yml")


def test_kit_of_the_clone_one_is_in_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples" / "kit").mkdir(parents=True)
    (tmp_path / "examples" / "kit" / "make.py").touch()
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")

    steps = _next_steps("kit", "my.yml")

    assert "  python ../examples/kit/make.py " in steps
    assert "  kitbuild build --images ../examples/kit/images my.yml " in steps


def test_images_that_a_setting_names_need_no_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "kitbuild.toml").write_text(f'images = ["{CLONE}/examples/kit/images"]\n')
    monkeypatch.chdir(tmp_path)

    assert "  kitbuild build my.yml " in _next_steps("kit", "my.yml")
    assert "#   kitbuild build my.yml\n" in starter("kit", "my.yml")


def test_without_a_clone_it_is_said_that_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "kit_folder", lambda: None)

    steps = _next_steps("kit", "my.yml")

    assert "  git clone URL CLONE " in steps
    assert "  kitbuild build --images CLONE/examples/kit/images my.yml " in steps


def test_other_starters_need_no_kit() -> None:
    assert "examples" not in _next_steps("minimal", "my.yml") + starter("minimal", "my.yml")
