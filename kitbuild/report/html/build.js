"use strict";
// The document of this page: what is known of the build, with what follows from it.

const build = (() => {
  const data = JSON.parse(document.getElementById("document").textContent);
  const empty = {
    name: "", about: "", rule: "", section: "", state: "unknown", last: "", inputs: {}, options: null, tools: {}, version: 0,
    key: "", kind: "", digest: "", size: 0, seconds: 0, began: 0, why: [], log: [], place: "",
  };
  data.nodes = data.nodes.map((node, number) => ({ ...empty, ...node, number, users: [], group: 0 }));
  data.byName = new Map(data.nodes.map((node) => [node.name, node]));

  for (const node of data.nodes) {
    node.needs = [...new Set(Object.values(node.inputs).flat())].map((number) => data.nodes[number]);
    for (const needed of node.needs) needed.users.push(node);
    const own = `${node.section}: `;
    node.label = node.section && node.name.startsWith(own) ? node.name.slice(own.length) : node.name;
    node.words = `${node.name}\n${node.about}\n${node.rule}\n${node.section}\n${node.state}`.toLowerCase();
  }

  data.groups = data.groups.map(([title, x, y, width, height, nodes], number) => {
    const group = { number, title, x, y, width, height, nodes: nodes.map((one) => data.nodes[one]) };
    for (const node of group.nodes) node.group = number;
    return group;
  });
  data.selected = new Set(data.selected.map((number) => data.nodes[number]));
  data.outputs = data.outputs.map((output) => ({ ...output, node: data.nodes[output.node] }));
  data.isBuilt = data.kind === "build";

  /** What became of a node when it last ran: in this build, or in the last one if this page is about none. */
  data.fate = (node) => (data.isBuilt ? node.state : node.last);
  data.ran = data.nodes.filter((node) => ["ran", "sent", "failed"].includes(data.fate(node)));

  /** The chain of nodes that takes longest: of those that ran, or of all if nothing was built. */
  data.critical = (() => {
    const counts = new Set(data.isBuilt ? data.ran : data.nodes);
    const longest = new Map();
    for (const node of data.nodes) {
      const before = node.needs.reduce((best, needed) => (best && longest.get(best).sum >= longest.get(needed).sum ? best : needed), null);
      // A nanosecond more than it took: what takes no time belongs to the chain as well.
      const own = counts.has(node) ? node.seconds + 1e-9 : 0;
      longest.set(node, { before, sum: own + (before ? longest.get(before).sum : 0) });
    }
    const chain = [];
    let node = data.nodes.reduce((best, one) => (best && longest.get(best).sum >= longest.get(one).sum ? best : one), null);
    for (; node; node = longest.get(node).before) if (counts.has(node)) chain.unshift(node);
    return chain;
  })();
  data.isCritical = new Set(data.critical);

  data.count = (state) => data.nodes.filter((node) => node.state === state).length;
  data.total = (states) =>
    data.nodes.reduce((sum, node) => (states.includes(node.state) ? sum + node.seconds : sum), 0);

  /** Nodes in which every word of a text occurs, those whose names begin with it first. */
  data.found = (text) => {
    const wanted = text.toLowerCase().split(/\s+/).filter(Boolean);
    if (!wanted.length) return [];
    const hits = data.nodes.filter((node) => wanted.every((word) => node.words.includes(word)));
    const rank = (node) => {
      const name = node.name.toLowerCase();
      return name.startsWith(wanted[0]) ? 0 : wanted.every((word) => name.includes(word)) ? 1 : 2;
    };
    return hits.sort((one, other) => rank(one) - rank(other) || one.number - other.number);
  };
  return data;
})();
