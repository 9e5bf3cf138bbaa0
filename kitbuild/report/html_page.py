"""The page: one HTML file that needs nothing else, made of a document and the files of `kitbuild/report/html`.

It lets nothing in and nothing out: a Content-Security-Policy names the scripts and the style by their hashes and
forbids every request. The document is JSON in a data block in which no `<` stands, so nothing in it can end the
block; the scripts put texts into the page as text. Source: HTML, "Restrictions for contents of script elements";
Content Security Policy Level 3.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Any

# In the order in which they are run: each may use those before it.
_SCRIPTS = (
    "elements.js",
    "build.js",
    "marks.js",
    "surface.js",
    "panel.js",
    "camera.js",
    "drawing.js",
    "graph.js",
    "timeline.js",
    "treemap.js",
    "content.js",
    "overview.js",
    "search.js",
    "keys.js",
    "main.js",
)
_STYLES = ("colors.css", "page.css", "views.css")
# `<` and `>` could end the block, `&` begin an entity where the page is read as XML.
_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def page(document: Mapping[str, Any]) -> str:
    """The page that shows `document`; equal documents give equal pages."""
    styles = [_file(name) for name in _STYLES]
    scripts = [_file(name) for name in _SCRIPTS]
    # The text of an inline element as the browser hashes it: all that stands between its tags.
    policy = (
        "default-src 'none'; "
        f"script-src {_hashes(scripts)}; style-src {_hashes(styles)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    data = json.dumps(document, separators=(",", ":")).translate(_ESCAPES)
    fields = {
        "policy": escape(policy),
        "title": escape(f"{document['name']} · kitbuild"),
        "styles": "\n".join(f"<style>{style}</style>" for style in styles),
        "data": f'<script type="application/json" id="document">{data}</script>',
        "scripts": "\n".join(f"<script>{script}</script>" for script in scripts),
    }
    return _filled(_file("page.html"), fields)


def _filled(template: str, fields: Mapping[str, str]) -> str:
    """The template with `{{name}}` replaced, each once: what is put in is not looked at again."""
    pieces = template.split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, _, rest = piece.partition("}}")
        filled += [fields[name], rest]
    return "".join(filled)


def _hashes(texts: list[str]) -> str:
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _file(name: str) -> str:
    return (files("kitbuild.report") / "html" / name).read_text(encoding="utf-8")
