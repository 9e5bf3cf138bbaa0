"""What people do with a page, as scripts that tell it so: `browser.milliseconds(GESTURES["search"])`."""

from __future__ import annotations

from collections.abc import Mapping

# Before any of these, the view it is about is open.
_EVENT = """
const canvas = document.querySelector("#view-%s canvas");
const box = canvas.getBoundingClientRect();
const send = (name, x, y, more = {}) => canvas.dispatchEvent(new (name === "wheel" ? WheelEvent : PointerEvent)(name,
  { clientX: box.x + x, clientY: box.y + y, bubbles: true, cancelable: true, pointerId: 1, ...more }));
canvas.setPointerCapture = () => {};
"""


def _on(view: str, script: str) -> str:
    return _EVENT % view + script


_PAN = 'send("pointerdown", 300, 300); send("pointermove", 320, 290); send("pointerup", 320, 290);'
_TYPE = """
const field = document.getElementById("search");
field.focus();
field.value = "s77";
field.dispatchEvent(new Event("input"));
"""
_CLEAR = """
const field = document.getElementById("search");
field.value = "";
field.dispatchEvent(new Event("input"));
field.blur();
"""
_TABS = 'document.getElementById("tab-%s").click();'

GESTURES: Mapping[str, str] = {
    "open the graph": _TABS % "graph",
    "pan the whole graph": _on("graph", _PAN),
    "wheel over the whole graph": _on("graph", 'send("wheel", 300, 300, { deltaY: -120 });'),
    "hover over the graph": _on("graph", 'send("pointermove", 310, 305);'),
    "choose a node": _on("graph", 'send("pointerdown", 200, 300); send("pointerup", 200, 300);'),
    "zoom in": 'document.querySelector("#view-graph .controls button").click();',
    "pan near by": _on("graph", _PAN),
    "go along with an arrow": _on(
        "graph",
        'canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", cancelable: true }));',
    ),
    "show everything": 'document.querySelectorAll("#view-graph .controls button")[2].click();',
    "search": _TYPE,
    "end the search": _CLEAR,
    "open the timeline": _TABS % "timeline",
    "wheel over the timeline": _on("timeline", 'send("wheel", 300, 120, { deltaY: -120 });'),
    "open the content": _TABS % "content",
    "go into a section": 'document.querySelector(".tile").click();',
    "open the files": _TABS % "files",
    "sort the files": 'document.querySelectorAll("#view-files th button")[2].click();',
    "open the overview": _TABS % "overview",
    "switch the colours": 'document.getElementById("theme").click();',
}
