from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

from kitbuild.report.html_document import Facts, document_of
from kitbuild.report.html_layout import layers
from kitbuild.report.html_page import page
from tests.support.pages import HOSTILE, LONG, large, small


class Elements(HTMLParser):
    """The tags of a page, and the texts of its scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.texts.append((tag, ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag in ("script", "style") and self.texts:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)

    def handle_endtag(self, tag: str) -> None:
        self.lasttag = ""

    def policy(self) -> str:
        return next(
            str(given["content"]) for tag, given in self.tags if tag == "meta" and "http-equiv" in given
        )


def document() -> dict[str, Any]:
    return document_of(small(), version="1", lay=layers)


def embedded(text: str) -> Any:
    found = re.search(r'<script type="application/json" id="document">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


def test_the_page_holds_the_document() -> None:
    assert json.loads(json.dumps(document())) == embedded(page(document()))


def test_equal_documents_give_equal_pages() -> None:
    assert page(document()) == page(document())


def test_no_name_opens_an_element() -> None:
    tags = [tag for tag, _ in Elements(page(document())).tags]

    assert "img" not in tags
    assert tags.count("script") == 1 + len(list(files("kitbuild.report").joinpath("html").glob("*.js")))  # type: ignore[attr-defined]


def test_the_title_is_text() -> None:
    text = page(document())

    assert "<title>web.yml &lt;/script&gt;" in text


def test_every_script_and_style_is_named_in_the_policy_by_its_hash() -> None:
    elements = Elements(page(document()))

    policy = elements.policy()

    own = [text for _, text in elements.texts if not text.startswith("{")]
    assert len(own) > 10
    for text in own:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_the_policy_allows_no_request_and_no_other_script() -> None:
    policy = Elements(page(document())).policy()

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_the_page_names_no_address() -> None:
    addresses = set(re.findall(r"https?://[^\s\"'`]+", page(document())))

    # The name of SVG's vocabulary, which nobody fetches.
    assert {"http://www.w3.org/2000/svg"} == addresses


def test_scripts_put_text_into_the_page_as_text() -> None:
    for script in files("kitbuild.report").joinpath("html").iterdir():
        text = script.read_text()
        for way in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert way not in text, script.name


def test_scripts_and_modules_stay_short() -> None:
    for script in files("kitbuild.report").joinpath("html").iterdir():
        assert len(script.read_text().splitlines()) < 400, script.name


def test_a_thousand_sections_make_a_page_of_some_megabytes() -> None:
    text = page(document_of(large(100, files=2_000), version="1", lay=layers))

    # A tenth of it: a thousand sections take 4 MB.
    assert len(text) < 700_000


def test_what_a_page_or_terminal_would_obey_is_told_as_escapes() -> None:
    texts = json.dumps(document(), ensure_ascii=False)

    assert "\u202e" not in texts and "\u2028" not in texts and "\x1b" not in texts
    assert "日本 ünï" in texts


def test_names_are_told_whole() -> None:
    names = [node["name"] for node in document()["nodes"]]

    assert f"services {LONG}: bundle" in names
    assert HOSTILE[:20] in "".join(names)


def test_nodes_refer_to_each_other_by_number() -> None:
    nodes = document()["nodes"]
    numbers = {node["name"]: number for number, node in enumerate(nodes)}

    assert {"inputs": [numbers["layer 1"]]} == nodes[numbers["image kit/web:v1"]]["inputs"]


def test_a_node_says_where_it_is_written_and_what_it_is_made_of() -> None:
    web = next(node for node in document()["nodes"] if node["name"] == "services web: bundle")

    assert "web.yml:7" == web["place"]
    assert {"isal": "1.6"} == web["tools"]
    assert {"text": "changed"} == web["options"]
    assert 2 == web["version"]
    assert 64 == len(web["key"]) == len(web["digest"])
    assert ["services web, web.yml:7: `command` was changed"] == web["why"]


def test_what_is_empty_is_left_out_of_a_node() -> None:
    left = next(node for node in document()["nodes"] if node["name"] == "disk")

    assert not {"digest", "why", "log", "began", "place"} & left.keys()


def test_a_node_without_ingredients_is_told_from_its_options() -> None:
    subject = small()
    name = "services web: bundle"
    subject = subject._replace(facts={**subject.facts, name: Facts("unknown")})

    found = document_of(subject, version="1", lay=layers)["nodes"]

    web = next(node for node in found if node["name"] == name)
    assert "changed" == web["options"]["text"]
    assert "key" not in web


def test_long_options_are_shortened_and_say_so() -> None:
    subject = small()
    name = "services web: bundle"
    made_of = subject.facts[name].ingredients
    assert made_of
    long = made_of._replace(options={"text": "x" * 5000})
    facts = {**subject.facts, name: subject.facts[name]._replace(ingredients=long)}

    found = document_of(subject._replace(facts=facts), version="1", lay=layers)["nodes"]

    web = next(node for node in found if node["name"] == name)
    assert web["options"]["text"].endswith("… (5,000 characters)")


def test_files_are_told_with_numbers_of_sections_and_packages() -> None:
    content = document()["content"]

    first = content["rows"][0]
    assert "services web" == content["sections"][first[0]]
    assert "libc6" == content["packages"][first[1]]
    assert ["usr/lib/x86_64-linux-gnu/libc.so.6", 2_000_000, 1] == first[2:]
    assert (17, 12, 4, ["services broken"]) == (
        content["files"],
        content["left_out"],
        content["parts"],
        content["missing"],
    )


def test_a_page_about_a_graph_names_the_version_that_made_it() -> None:
    found = document_of(small()._replace(kind="graph"), version="9.9", lay=layers)

    assert ("graph", "9.9") == (found["kind"], found["version"])


def test_a_page_without_a_record_knows_no_times() -> None:
    found = document_of(small()._replace(record=None), version="1", lay=layers)

    assert (0, 0, "") == (found["began"], found["seconds"], found["id"])
