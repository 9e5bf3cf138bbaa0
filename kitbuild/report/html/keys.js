"use strict";
// The keys of this page.

const KEYS = [
  ["1 – 5", "overview, graph, timeline, content, files"],
  ["/", "search nodes; ↑ ↓ choose, Enter goes there"],
  ["← →", "graph: to an input, to a user; timeline: to the node before, after"],
  ["↑ ↓", "graph: to the node above, below"],
  ["Shift + arrows", "move the drawing"],
  ["+ − 0", "zoom in, zoom out, show everything"],
  ["Enter", "from a drawing to the panel beside it"],
  ["Backspace", "content: to the folder above"],
  ["Esc", "end the search, choose no node, close this"],
  ["t", "light, dark, as the system has it"],
  ["?", "show these keys"],
];

function openKeys() {
  const dialog = document.getElementById("keys");
  if (!dialog.firstChild) {
    const list = make("dl");
    for (const [names, text] of KEYS) {
      list.append(make("dt", {}, make("kbd", {}, names)), make("dd", {}, text));
    }
    const close = button({ class: "plain", on: { click: () => dialog.close() } }, "Close");
    dialog.append(make("h2", { id: "keys-title" }, "Keys"), list, close);
  }
  if (!dialog.open) dialog.showModal();
}
