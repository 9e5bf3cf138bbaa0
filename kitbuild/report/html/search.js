"use strict";
// The search: nodes whose names, rules, sections or states hold all words typed.

const MOST_SHOWN = 12;

function addSearch({ choose, mark: markNodes, graph }) {
  const input = document.getElementById("search");
  const list = document.getElementById("found");
  let hits = [];
  let place = 0;

  function search() {
    hits = build.found(input.value);
    place = 0;
    markNodes(input.value.trim() ? hits : null);
    fill();
  }

  function fill() {
    const isOpen = document.activeElement === input && input.value.trim() !== "";
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    const lines = hits.slice(0, MOST_SHOWN).map((node, number) => {
      const line = make("li", { role: "option", id: `found-${number}`, "aria-selected": String(number === place), class: node.state },
        stateLabel(node.state), make("span", {}, node.name));
      // Before the field loses the focus, which would close the list.
      line.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        go(node);
      });
      return line;
    });
    const rest = hits.length - lines.length;
    const text = hits.length ? (rest > 0 ? `and ${counted(rest, "more node")}` : "") : "No node has all these words";
    if (text) lines.push(make("li", { class: "none", role: "presentation" }, text));
    list.replaceChildren(...lines);
    if (isOpen && hits.length) input.setAttribute("aria-activedescendant", `found-${place}`);
    else input.removeAttribute("aria-activedescendant");
  }

  function go(node) {
    choose(node, { view: "graph" });
    input.blur();
    document.querySelector("#view-graph canvas")?.focus();
  }

  input.addEventListener("input", () => {
    if (input.value.trim()) graph();
    search();
    say(input.value.trim() ? `${counted(hits.length, "node")} found` : "");
  });
  input.addEventListener("focus", search);
  input.addEventListener("blur", fill);
  input.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step) {
      place = Math.max(0, Math.min(Math.min(hits.length, MOST_SHOWN) - 1, place + step));
      fill();
    } else if (event.key === "Enter" && hits[place]) go(hits[place]);
    else if (event.key === "Escape") {
      input.value = "";
      search();
      input.blur();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
