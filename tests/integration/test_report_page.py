"""The page in a real browser: every view clicked through, with names that mean harm, and a thousand sections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kitbuild.cli.report import laid
from kitbuild.report.html_document import Filling, Subject, document_of
from kitbuild.report.html_page import page
from tests.support.chromium import BACKSPACE, DOWN, ENTER, ESCAPE, LEFT, RIGHT, TAB, Browser, chromium
from tests.support.gestures import GESTURES
from tests.support.pages import HOSTILE, LONG, large, small

pytestmark = pytest.mark.integration

VIEWS = ("overview", "graph", "timeline", "content", "files")
# A machine with other things to do is slower than the 100 ms that are asked for.
MOST_MILLISECONDS = 400


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    """A browser in which, at the end of a test, no script has failed and no request has left."""
    window.requests()
    window.console()
    yield window
    window.scheme("light")
    window.resize(1280, 800)
    assert [] == window.console()
    assert [] == window.requests()


@pytest.fixture(scope="module")
def small_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(small(), tmp_path_factory.mktemp("small") / "page.html")


@pytest.fixture(scope="module")
def large_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(large(1000), tmp_path_factory.mktemp("large") / "page.html")


def written(subject: Subject, path: Path) -> Path:
    path.write_text(page(document_of(subject, version="1", lay=laid)))
    return path


def open_views(browser: Browser) -> list[str]:
    return [view for view in VIEWS if browser.one(f"#view-{view}").is_displayed()]


def heading(browser: Browser, view: str = "graph") -> str:
    return browser.text(f"#view-{view} .panel h2")


def search(browser: Browser, text: str) -> None:
    browser.press("/")
    browser.press(*text)


@pytest.mark.parametrize("view", VIEWS)
def test_a_tab_opens_its_view_alone(browser: Browser, small_page: Path, view: str) -> None:
    browser.open(small_page)

    browser.click(f"#tab-{view}")

    assert [view] == open_views(browser)
    assert "true" == browser.one(f"#tab-{view}").get_attribute("aria-selected")


def test_a_page_of_a_build_opens_with_the_overview(browser: Browser, small_page: Path) -> None:
    browser.open(small_page)

    assert ["overview"] == open_views(browser)
    assert "1 node failed" in browser.text("#subtitle")
    assert "expected a fish, got <b>fowl</b>" in browser.text(".failures")
    assert [] == browser.all(".failures b")


def test_the_overview_counts_what_became_of_the_nodes(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#overview")

    texts = [one.text.replace("\n", " ") for one in browser.all("#view-overview .legend li")]
    assert ["failed 1", "left 1", "ran 3", "sent 1", "far 1", "near 2"] == texts
    assert "cd" * 32 in browser.text("#view-overview table[aria-label=Outputs]")


def test_names_that_mean_harm_are_shown_as_they_are(browser: Browser, small_page: Path) -> None:
    for view in VIEWS:
        browser.open(small_page, f"#{view}")
        assert [] == browser.all("img")
    shown = HOSTILE.partition(" \u202e")[0]
    assert shown.startswith("</script>")
    assert shown in browser.text("#title")
    assert shown in browser.text("#view-files")
    assert LONG in browser.text("#view-files")


def test_the_search_finds_a_node_and_opens_its_panel(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#overview")

    search(browser, "web bundle")
    browser.press(ENTER)

    assert ["graph"] == open_views(browser)
    assert "services web: bundle" == heading(browser)
    panel = browser.text("#view-graph .panel")
    for text in (
        "put a thing together",
        "web.yml:7",
        "`command` was changed",
        "assemble/thing 2",
        "isal",
        "Ran here",
    ):
        assert text in panel


def test_the_search_says_when_there_is_nothing(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph")

    search(browser, "no such thing")

    assert "No node has all these words" in browser.text("#found")
    browser.press(ESCAPE)
    assert not browser.one("#found").is_displayed()


def test_the_panel_leads_to_inputs_and_users(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph/services%20web%3A%20bundle")

    browser.one("#view-graph .panel .link-line button").click()
    assert "image kit/web:v1" == heading(browser)

    browser.all("#view-graph .panel .link-line button")[-1].click()
    browser.painted()
    assert heading(browser).startswith("services")


def test_arrows_go_along_the_lines_of_the_graph(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph/services%20web%3A%20bundle")
    browser.run("document.querySelector('#view-graph canvas').focus()")

    browser.press(LEFT)
    assert "image kit/web:v1" == heading(browser)

    browser.press(LEFT)
    assert "layer 1" == heading(browser)

    browser.press(RIGHT, RIGHT, RIGHT)
    assert heading(browser) in ("services web: segment", "initrd", "disk")
    assert heading(browser) in browser.text("#said")


def test_escape_chooses_nothing(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph/initrd")
    assert "initrd" == heading(browser)

    browser.press(ESCAPE)

    assert "No node chosen" == heading(browser)


def test_a_click_on_a_box_chooses_its_node(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph/initrd")
    browser.press(ESCAPE)

    assert "No node chosen" == heading(browser)

    browser.click("#view-graph canvas")  # the middle of it, where the node was brought

    assert "initrd" == heading(browser)


def test_the_graph_zooms_and_shows_the_longest_chain(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph")
    before = picture(browser, "graph")

    browser.click("#view-graph .controls button")
    zoomed = picture(browser, "graph")
    browser.click("#view-graph .controls .switch")
    chain = picture(browser, "graph")

    assert 3 == len({before, zoomed, chain})
    assert "longest chain has 3 nodes" in browser.text("#said")


def picture(browser: Browser, view: str) -> str:
    return str(browser.run(f"return document.querySelector('#view-{view} canvas').toDataURL()"))


def test_the_timeline_shows_what_ran(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#timeline")

    rows = [one.text for one in browser.all("#view-timeline tbody tr")]
    assert 5 == len(rows)
    assert any("services broken" in row and "failed" in row for row in rows)

    browser.all("#view-timeline tbody button")[0].click()
    browser.painted()
    assert ["timeline"] == open_views(browser)
    assert "No node chosen" != heading(browser, "timeline")

    before = heading(browser, "timeline")
    browser.run("document.querySelector('#view-timeline canvas').focus()")
    browser.press(RIGHT)
    assert before != heading(browser, "timeline")


def test_the_content_goes_down_to_a_file_and_back(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#content")
    assert "not in the local cache" in browser.text("#view-content")

    browser.run("document.querySelector('.tile[aria-label^=\"services web\"]').click()")
    assert crumbs(browser) == ["Root file system", "services web"]
    tiles = [one.get_attribute("aria-label") for one in browser.all(".tile")]
    assert [
        "libc6, package, 1.9 MiB",
        "nginx, package, 1.1 MiB",
    ] == tiles[:2]

    browser.run("document.querySelector('.tile').click()")
    browser.run("document.querySelector('.tile').click()")
    assert ["libc6", "usr"] == crumbs(browser)[-2:]

    browser.one(".crumbs button").click()
    browser.painted()
    assert crumbs(browser) == ["Root file system"]


def crumbs(browser: Browser) -> list[str]:
    return [one.get_attribute("textContent") or "" for one in browser.all(".crumbs li:not(.size)")]


def test_the_content_is_gone_through_with_keys(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#content")
    browser.run("document.querySelector('.tile').focus()")

    browser.press(RIGHT)
    second = browser.driver.switch_to.active_element.get_attribute("aria-label")
    browser.press(ENTER)

    assert str(second).startswith(crumbs(browser)[-1])
    browser.press(BACKSPACE)
    assert ["Root file system"] == crumbs(browser)


def test_files_are_sorted_by_their_headings(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#files")
    first = browser.text("#view-files tbody tr td:nth-child(3)")
    assert first.endswith("libc.so.6")

    browser.click("#view-files th:nth-child(3) button")

    assert "ascending" == browser.one("#view-files th:nth-child(3)").get_attribute("aria-sort")
    assert browser.text("#view-files tbody tr td:nth-child(3)").startswith("etc/")


def test_numbers_open_views_and_a_question_mark_the_keys(browser: Browser, small_page: Path) -> None:
    browser.open(small_page)

    for number, view in enumerate(VIEWS, start=1):
        browser.press(str(number))
        assert [view] == open_views(browser)
    browser.press("?")
    assert browser.one("#keys").is_displayed()
    browser.press(ESCAPE)
    assert not browser.one("#keys").is_displayed()


def test_the_page_can_be_gone_through_with_the_tab_key(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph")
    seen = []

    for _ in range(9):
        browser.press(TAB)
        active = browser.driver.switch_to.active_element
        seen.append(active.get_attribute("id") or active.get_attribute("aria-label") or active.text)

    assert ["tab-graph", "search", "theme", "help"] == seen[:4]
    assert "Zoom in (+)" in seen
    assert any(name.startswith("Graph of") for name in seen)


def test_a_chosen_node_is_in_the_address(browser: Browser, small_page: Path) -> None:
    browser.open(small_page, "#graph")
    search(browser, "disk")
    browser.press(ENTER)

    browser.driver.refresh()
    browser.painted()

    assert "disk" == heading(browser)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_are_those_of_the_system_until_they_are_chosen(
    browser: Browser, small_page: Path, scheme: str
) -> None:
    browser.scheme(scheme)
    browser.open(small_page, "#graph")
    as_system = ground(browser)

    browser.click("#theme")
    light = ground(browser)
    browser.click("#theme")
    dark = ground(browser)

    assert light > dark
    assert as_system == (light if scheme == "light" else dark)


def ground(browser: Browser) -> int:
    """How light the page is."""
    color = browser.run("return getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in color.removeprefix("rgb(").removesuffix(")").split(","))


@pytest.mark.parametrize(("width", "height"), [(600, 800), (1000, 700), (1280, 800), (1920, 1080)])
@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off(browser: Browser, small_page: Path, view: str, width: int, height: int) -> None:
    browser.resize(width, height)
    browser.open(small_page, f"#{view}")

    overflow = browser.run(
        "const page = document.documentElement;"
        "return [page.scrollWidth - page.clientWidth, page.scrollHeight - page.clientHeight]"
    )

    assert [0, 0] == overflow


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, small_page: Path, scheme: str) -> None:
    browser.scheme(scheme)
    browser.open(small_page)

    weakest = browser.run(CONTRAST)

    # WCAG 2.2, "Contrast (Minimum)".
    assert weakest[0] >= 4.5, weakest


CONTRAST = """
const probe = document.body.appendChild(document.createElement("span"));
const light = (name) => {
  probe.style.color = `var(--${name})`;
  const parts = getComputedStyle(probe).color.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  const [r, g, b] = parts.map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const grounds = ["ground", "surface", "raised"];
const pairs = ["ink", "soft-ink", "accent"].flatMap((ink) => grounds.map((ground) => [ink, ground]));
for (const state of ["ran", "sent", "near", "far", "failed", "left"]) {
  pairs.push([state, "surface"], [state, "ground"], [state, `${state}-ground`], ["ink", `${state}-ground`]);
  pairs.push(["soft-ink", `${state}-ground`]);
}
for (let tone = 0; tone < 8; tone++) pairs.push(["ink", `tone-${tone}`], ["soft-ink", `tone-${tone}`]);
const contrasts = pairs.map(([one, other]) => {
  const [low, high] = [light(one), light(other)].sort((left, right) => left - right);
  return [(high + 0.05) / (low + 0.05), one, other];
});
return contrasts.sort((one, other) => one[0] - other[0])[0];
"""


def test_a_build_in_which_nothing_ran_says_so(browser: Browser, tmp_path: Path) -> None:
    subject = small()
    facts = {name: one._replace(state="near", began=0.0) for name, one in subject.facts.items()}
    path = written(subject._replace(facts=facts, filling=Filling()), tmp_path / "page.html")

    browser.open(path)
    assert "nothing had to run" in browser.text("#subtitle")

    browser.click("#tab-timeline")
    assert "Nothing ran" in browser.text("#view-timeline")
    browser.click("#tab-content")
    assert "no parts" in browser.text("#view-content")
    browser.click("#tab-files")
    assert "No files to show" in browser.text("#view-files")


def test_a_graph_nobody_built_opens_with_the_graph(browser: Browser, tmp_path: Path) -> None:
    subject = small()
    states = {"ran": "run", "sent": "gone", "failed": "unknown", "left": "unknown"}
    facts = {
        name: one._replace(state=states.get(one.state, one.state), last=one.state)
        for name, one in subject.facts.items()
    }
    path = written(subject._replace(kind="graph", facts=facts), tmp_path / "page.html")

    browser.open(path)
    assert ["graph"] == open_views(browser)

    for view in VIEWS:
        browser.click(f"#tab-{view}")
    assert "Must run" in browser.text("#view-overview")
    assert 5 == len(browser.all("#view-timeline tbody tr"))


def test_a_selection_is_marked_until_it_is_cleared(browser: Browser, tmp_path: Path) -> None:
    subject = small()
    chosen = [one for one in subject.graph if one.section == "services web"]
    browser.open(written(subject._replace(selected=chosen), tmp_path / "page.html"), "#graph")
    marked = browser.run("return document.querySelector('#view-graph canvas').toDataURL()")
    assert "Selection: 2 nodes" in browser.text("#selection")

    browser.click("#selection")
    browser.painted()

    assert [] == browser.all("#selection")
    assert marked != browser.run("return document.querySelector('#view-graph canvas').toDataURL()")


def test_a_narrow_window_has_room_for_the_heading_the_views_and_the_search(
    browser: Browser, small_page: Path
) -> None:
    browser.resize(600, 800)
    browser.open(small_page)

    boxes = browser.run(
        "return ['#title', '#tab-overview', '#tab-files', '#search', '#theme', '#help'].map((name) => {"
        "const box = document.querySelector(name).getBoundingClientRect();"
        "return [box.left, box.top, box.right, box.bottom]; })"
    )

    for number, (left, top, right, bottom) in enumerate(boxes):
        assert right - left >= 20
        assert 0 <= left
        assert right <= 600
        for left2, top2, right2, bottom2 in boxes[number + 1 :]:
            assert right <= left2 or right2 <= left or bottom <= top2 or bottom2 <= top


def test_a_digest_is_short_in_the_table_and_whole_when_it_is_copied(
    browser: Browser, small_page: Path
) -> None:
    browser.open(small_page)
    short = "#view-overview [aria-label=Images] .digest"
    assert ("ab" * 6, "ab" * 32) == (browser.text(short), browser.one(short).get_attribute("title"))

    copied = browser.run(
        "const found = document.querySelector(arguments[0]);"
        "const event = new ClipboardEvent('copy', { clipboardData: new DataTransfer(), bubbles: true });"
        "found.dispatchEvent(event);"
        "return event.clipboardData.getData('text/plain');",
        short,
    )
    assert "ab" * 32 == copied

    browser.open(small_page, "#graph/image%20kit%2Fweb%3Av1")
    assert "sha256:" + "ab" * 32 in browser.text("#view-graph .panel")


def test_a_page_without_any_node_opens(browser: Browser, tmp_path: Path) -> None:
    subject = small()
    empty = subject._replace(graph=type(subject.graph).of({}), facts={}, sections=[], outputs=[], record=None)

    browser.open(written(empty, tmp_path / "page.html"))

    for view in VIEWS:
        browser.click(f"#tab-{view}")
        assert [view] == open_views(browser)


def test_a_thousand_sections_are_quick_to_use(browser: Browser, large_page: Path) -> None:
    browser.open(large_page)

    times = {
        name: sorted(browser.milliseconds(script) for _ in range(3))[1] for name, script in GESTURES.items()
    }

    slow = {name: time for name, time in times.items() if time >= MOST_MILLISECONDS}
    assert {} == slow


def test_the_small_of_many_are_one_tile_to_go_into(browser: Browser, large_page: Path) -> None:
    browser.open(large_page, "#content")
    assert 200 == len(browser.all(".tile"))

    browser.run("document.querySelector('.tile[aria-label^=\"801 more\"]').click()")

    assert ["Root file system", "801 more"] == crumbs(browser)
    assert 200 == len(browser.all(".tile"))


def test_a_thousand_sections_are_found(browser: Browser, large_page: Path) -> None:
    browser.open(large_page, "#graph")

    search(browser, "s77 segment")

    assert 11 == len(browser.all("#found [role=option]"))  # 77 and 770 to 779
    browser.press(DOWN, ENTER)
    assert heading(browser).startswith("services s77")
