"""The documentation as a site: built without a warning, complete, and at home without a network."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from kitbuild.registry import formats
from kitbuild.settings import TABLE

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
# Where a page may lead its reader, but not its browser.
LOADS = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "docs/site/make.py", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    return folder


def text_of(page: Path) -> str:
    return re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8")).replace("&#34;", '"')


def test_every_page_of_the_documents_is_in_the_site(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}

    assert {page for page in pages if not (site / page).is_file()} == set()


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    loaded: set[str] = set()

    class Loads(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            loaded.add(dict(attrs).get(LOADS.get(tag, "")) or "")

    for page in site.rglob("*.html"):
        Loads().feed(page.read_text(encoding="utf-8"))

    assert {target for target in loaded if re.match(r"(https?:)?//", target)} == set()


def test_reference_has_every_format_and_rule(site: Path) -> None:
    shown = text_of(site / "reference/formats.html")
    assert {name for name in formats() if name not in shown} == set()
    rules = text_of(site / "reference/rules.html")
    groups = ("fetch/layer", "unpack/image", "assemble/container", "format/segment")
    assert {name for name in groups if name not in rules} == set()


def test_reference_has_every_command_and_setting(site: Path) -> None:
    from kitbuild.cli.commands import SUMMARIES

    shown = text_of(site / "reference/commands.html")

    assert {name for name in SUMMARIES if f"kitbuild {name}" not in shown} == set()
    assert {setting.flag for setting in TABLE if setting.flag not in shown} == set()


def test_settings_page_has_every_setting_with_its_variable() -> None:
    page = (ROOT / "docs/settings.md").read_text(encoding="utf-8")

    missing = {setting.flag for setting in TABLE if f"`{setting.flag}" not in page}
    assert missing | {setting.variable for setting in TABLE if setting.variable not in page} == set()
