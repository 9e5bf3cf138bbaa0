"use strict";
// The overview: what was built, what came of it, and where the time went.

class OverviewView {
  constructor(choose) {
    this.choose = choose;
    const sections = [
      this.failures(), this.figures(), this.shares(), this.outputs(), this.warnings(), this.images(), this.slowest(),
      this.sections(), this.about(),
    ];
    this.element = make("div", { class: "scroll" }, make("div", { class: "column" }, ...sections.filter(Boolean)));
  }

  show() {}

  mark() {}

  section(title, ...children) {
    return make("section", {}, make("h2", {}, title), ...children);
  }

  link(node, text = node.name) {
    return button({ class: "link", on: { click: () => this.choose(node, { view: "graph" }) } }, text);
  }

  failures() {
    const failed = build.nodes.filter((node) => node.state === "failed");
    if (!failed.length) return null;
    const notes = failed.slice(0, 20).map((node) => make("div", { class: "note bad" },
      stateLabel("failed"), " ", this.link(node), node.place ? make("span", { class: "soft" }, ` · ${node.place}`) : "",
      node.log.length ? make("pre", {}, node.log.join("\n")) : ""));
    if (failed.length > 20) notes.push(make("p", { class: "soft" }, `and ${failed.length - 20} more`));
    return this.section(`${counted(failed.length, "node")} failed`, make("div", { class: "failures" }, ...notes));
  }

  figures() {
    const ran = build.count("ran") + build.count("sent");
    const saved = build.total(["near", "far"]);
    const cached = build.count("near") + build.count("far");
    const size = build.outputs.reduce((sum, output) => sum + (output.size ?? 0), 0);
    const pairs = build.isBuilt
      ? [
          ["Nodes", build.nodes.length.toLocaleString("en"), counted(build.sections.length, "section")],
          ["Ran", ran.toLocaleString("en"), ran ? `${humanSeconds(build.total(["ran", "sent"]))} of work` : "nothing to do"],
          ["From caches", cached.toLocaleString("en"), `${build.count("far")} from a remote one`],
          ["Time", humanSeconds(build.seconds), moment(build.began)],
          ["Time saved", humanSeconds(saved), "by what was cached"],
          ["Outputs", humanSize(size), counted(build.outputs.length, "file")],
        ]
      : [
          ["Nodes", build.nodes.length.toLocaleString("en"), counted(build.sections.length, "section")],
          ["Cached", cached.toLocaleString("en"), `took ${humanSeconds(saved)} to make`],
          ["Must run", build.count("run").toLocaleString("en"), "in the next build"],
          ["Not fetched", build.count("unknown").toLocaleString("en"), "what is not at hand"],
          ["Longest chain", humanSeconds(build.critical.reduce((sum, node) => sum + node.seconds, 0)), counted(build.critical.length, "node")],
        ];
    const list = make("dl", { class: "figures" });
    for (const [name, value, more] of pairs) {
      list.append(make("div", {}, make("dt", {}, name), make("dd", {}, value, make("div", { class: "soft" }, more))));
    }
    return list;
  }

  shares() {
    const bar = make("div", { class: "shares", "aria-hidden": "true" });
    for (const state of Object.keys(STATES)) {
      const part = make("span", { class: state });
      part.style.flexGrow = build.count(state);
      if (build.count(state)) bar.append(part);
    }
    return make("section", { "aria-label": "What became of the nodes" }, bar, legend());
  }

  outputs() {
    const columns = [
      { name: "Output", class: "name", value: (row) => row.path || row.name, cell: (row) => this.link(row.node, row.path || row.name) },
      { name: "Size", number: true, descends: true, value: (row) => row.size ?? -1, cell: (row) => humanSize(row.size) },
      { name: "sha256", value: (row) => row.digest, cell: (row) => (row.digest ? make("span", { class: "digest" }, row.digest) : make("span", { class: "soft" }, build.isBuilt ? "not written" : "not built here")) },
    ];
    return build.outputs.length ? this.section("Outputs", table("Outputs", columns, build.outputs)) : null;
  }

  warnings() {
    const said = build.nodes.filter((node) => node.log.length && node.state !== "failed");
    const notes = build.warnings.map((text) => make("li", { class: "note" }, text));
    for (const node of said.slice(0, 50)) {
      notes.push(make("li", { class: "note" }, this.link(node), make("pre", {}, node.log.join("\n"))));
    }
    return notes.length ? this.section("Warnings", make("ul", { class: "failures" }, ...notes)) : null;
  }

  images() {
    if (!build.images.length) return null;
    const digest = (text) => (text ? shortDigest(text) : make("span", { class: "soft" }, "–"));
    const columns = [
      { name: "Image", class: "name", value: (row) => row.reference, cell: (row) => this.image(row) },
      { name: "Manifest", value: (row) => row.manifest, cell: (row) => (row.error ? row.error : digest(row.manifest)) },
      { name: "Found in", class: "name", value: (row) => row.source },
      { name: "Config", class: "name", value: (row) => row.place },
    ];
    return this.section("Images", table("Images", columns, build.images, { first: 20 }));
  }

  image(row) {
    const node = build.byName.get(`image ${row.reference}`);
    return node ? this.link(node, row.reference) : row.reference;
  }

  slowest() {
    const nodes = build.ran.filter((node) => node.seconds > 0).sort((one, other) => other.seconds - one.seconds);
    if (!nodes.length) return null;
    const columns = [
      { name: "Took", number: true, descends: true, value: (node) => node.seconds, cell: (node) => humanSeconds(node.seconds) },
      { name: "", class: "fit", value: (node) => node.seconds, cell: (node) => this.meter(node.seconds / nodes[0].seconds, build.fate(node)) },
      { name: "Node", class: "name", value: (node) => node.name, cell: (node) => this.link(node) },
      { name: "Why", class: "name", value: (node) => node.why.join("; ") },
    ].filter((column) => column.name !== "Why" || nodes.some((node) => node.why.length));
    const title = build.isBuilt ? "What took longest" : "What took longest in the last build";
    return this.section(title, table(title, columns, nodes, { first: 10 }));
  }

  meter(share, state) {
    const inner = make("span");
    inner.style.width = `${Math.max(1, share * 100)}%`;
    return make("span", { class: `meter ${state}`, "aria-hidden": "true" }, inner);
  }

  sections() {
    const rows = new Map(build.sections.map((name) => [name, { name: name || "(outputs)", nodes: 0, ran: 0, seconds: 0 }]));
    for (const node of build.nodes) {
      const row = rows.get(node.section);
      row.nodes += 1;
      row.seconds += node.seconds;
      if (["ran", "sent", "failed", "run"].includes(node.state)) row.ran += 1;
    }
    const sizes = new Map(filling.children.map((entry) => [entry.name, entry.size]));
    const columns = [
      { name: "Section", class: "name", value: (row) => row.name },
      { name: "Nodes", number: true, descends: true, value: (row) => row.nodes },
      { name: build.isBuilt ? "Ran" : "Must run", number: true, descends: true, value: (row) => row.ran },
      { name: "Time to make", number: true, descends: true, value: (row) => row.seconds, cell: (row) => humanSeconds(row.seconds) },
      { name: "In the root", number: true, descends: true, value: (row) => sizes.get(row.name) ?? 0, cell: (row) => (sizes.has(row.name) ? humanSize(sizes.get(row.name)) : "–") },
    ];
    return this.section("Sections", table("Sections", columns, [...rows.values()], { first: 20 }));
  }

  about() {
    const flags = Object.entries(build.flags).map(([name, value]) => `${name} ${value}`).join("  ");
    return this.section("About", facts([
      ["Configs", build.configs.join(", ")],
      ["Flags", flags ? make("code", {}, flags) : ""],
      [build.isBuilt ? "Built" : "Last build", build.began ? moment(build.began) : "none is remembered"],
      ["kitbuild", build.version],
      ["Record", build.id],
    ]));
  }
}
