"use strict";
// What became of a node, told three times: by a word, a colour, and a shape for those who do not see colours.

const STATES = {
  failed: { word: "failed", long: "Failed", path: "M2.5 2.5 9.5 9.5M9.5 2.5 2.5 9.5" },
  left: { word: "left", long: "Left: an input failed", path: "M2 6H10" },
  ran: { word: "ran", long: "Ran here", path: "M3 1.8 10.5 6 3 10.2Z", solid: true },
  sent: { word: "sent", long: "Ran on an executor", path: "M2.2 9.8 9.2 2.8M4 2.5H9.5V8" },
  far: { word: "far", long: "From the remote cache", path: "M6 1.2V7.6M3 5 6 8 9 5M1.8 10.6H10.2" },
  near: { word: "near", long: "From the local cache", path: "M1.8 6.6 4.8 9.6 10.2 2.8" },
  gone: { word: "gone", long: "Known, but its content is gone", path: "M3 3H9V9H3Z" },
  run: { word: "must run", long: "Must run", path: "M3 1.8 10.5 6 3 10.2Z" },
  unknown: { word: "not fetched", long: "Not known before its image is fetched", path: "M2 6H2.01M6 6H6.01M10 6H10.01" },
};
for (const state of Object.values(STATES)) state.shape = new Path2D(state.path);

function stateOf(node) {
  return STATES[node.state] ?? STATES.unknown;
}

/** The shape as an element. */
function mark(state) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "path");
  picture.setAttribute("viewBox", "0 0 12 12");
  picture.setAttribute("class", "mark");
  picture.setAttribute("aria-hidden", "true");
  path.setAttribute("d", STATES[state].path);
  if (STATES[state].solid) path.setAttribute("class", "solid");
  picture.append(path);
  return picture;
}

/** The shape and the word. */
function stateLabel(state) {
  return make("span", { class: `state ${state}`, title: STATES[state].long }, mark(state), STATES[state].word);
}

/** The states that occur, each with how many nodes are in it. */
function legend() {
  const list = make("ul", { class: "legend" });
  for (const state of Object.keys(STATES)) {
    const count = build.count(state);
    if (count) list.append(make("li", {}, stateLabel(state), " ", make("b", {}, count.toLocaleString("en"))));
  }
  return list;
}
