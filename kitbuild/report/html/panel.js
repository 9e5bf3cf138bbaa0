"use strict";
// The panel beside a drawing: all there is to know of one node.

class Panel {
  constructor(choose) {
    this.choose = choose;
    this.element = make("aside", { class: "panel", "aria-label": "Node", tabindex: "-1" });
    this.show(null);
  }

  show(node) {
    this.element.scrollTop = 0;
    this.element.replaceChildren(...(node ? this.about(node) : this.nothing()));
  }

  nothing() {
    return [
      make("h2", {}, "No node chosen"),
      make("p", { class: "soft" }, "Choose one with the mouse, with the arrow keys, or by its name: ", make("kbd", {}, "/")),
      make("section", {}, make("h3", {}, build.isBuilt ? "What became of the nodes" : "What is known of the nodes"), legend()),
    ];
  }

  about(node) {
    const [, summary] = build.rules[node.rule] ?? [0, ""];
    const parts = [
      make("h2", {}, node.name),
      make("p", { class: "soft" }, summary ? `${summary}` : node.rule),
      make("span", { class: `chip ${node.state}` }, mark(node.state), stateOf(node).long),
      this.section("Facts", facts([
        ["Config", node.place ? make("span", { class: "code" }, node.place) : ""],
        ["Image", node.about],
        ["Manifest", this.manifest(node)],
        ["Section", node.section],
        ["Size", node.size || node.digest ? `${humanSize(node.size)} (${node.size.toLocaleString("en")} bytes)` : ""],
        ["Time", node.seconds ? this.time(node) : ""],
        ["Started", this.started(node)],
        ["Last build", node.last ? STATES[node.last].long : ""],
        ["Outputs", build.outputs.filter((output) => output.node === node).map((output) => output.name).join(", ")],
        ["Digest", node.digest ? make("span", { class: "digest" }, `sha256:${node.digest}`) : ""],
        ["Gives", { blob: "a blob", tree: "a tree of files", extents: "a file as a list of extents" }[node.kind] ?? ""],
      ])),
      node.why.length ? this.section(build.isBuilt ? "Why it ran" : "Why it ran in the last build", this.list(node.why, "why")) : null,
      node.log.length ? this.section("Log", make("pre", {}, node.log.join("\n"))) : null,
      this.links("Inputs", node.inputs),
      this.users(node),
      this.section("Key ingredients", this.ingredients(node)),
    ];
    return parts.filter(Boolean);
  }

  manifest(node) {
    const image = build.images.find((one) => node.name === `image ${one.reference}`);
    return image?.manifest ? make("span", { class: "digest" }, `sha256:${image.manifest}`) : "";
  }

  time(node) {
    const before = ["near", "far"].includes(node.state) && build.isBuilt ? ", when it was made" : "";
    const critical = build.isCritical.has(node) ? "; on the longest chain" : "";
    return `${humanSeconds(node.seconds)}${before}${critical}`;
  }

  started(node) {
    if (!["ran", "sent", "failed"].includes(build.fate(node))) return "";
    return `${humanSeconds(node.began)} after the ${build.isBuilt ? "" : "last "}build began`;
  }

  section(title, ...children) {
    return make("section", {}, make("h3", {}, title), ...children);
  }

  list(texts, name) {
    return make("ul", { class: name }, ...texts.map((text) => make("li", {}, text)));
  }

  link(node) {
    const press = button({ class: "link", on: { click: () => this.choose(node, { focus: true }) } }, node.name);
    return make("li", { class: `link-line ${node.state}` }, mark(node.state), press);
  }

  links(title, inputs) {
    const names = Object.keys(inputs).filter((name) => inputs[name].length);
    if (!names.length) return this.section(title, make("p", { class: "soft" }, "None"));
    const lists = names.map((name) => {
      const nodes = inputs[name].map((number) => build.nodes[number]);
      return make("div", {}, make("p", { class: "soft" }, name), this.some(nodes));
    });
    return this.section(title, ...lists);
  }

  users(node) {
    if (!node.users.length) return this.section("Used by", make("p", { class: "soft" }, "Nothing: it is an output"));
    return this.section("Used by", this.some(node.users));
  }

  /** The nodes as a list, the first of them if there are many. */
  some(nodes) {
    const first = nodes.length > 24 ? 20 : nodes.length;
    const list = make("ul", {}, ...nodes.slice(0, first).map((node) => this.link(node)));
    if (first === nodes.length) return list;
    const fill = () => list.replaceChildren(...nodes.map((node) => this.link(node)));
    const more = button({ class: "link", on: { click: fill } }, `All ${nodes.length.toLocaleString("en")}`);
    list.append(make("li", {}, more));
    return list;
  }

  ingredients(node) {
    const holder = make("div", {});
    const pairs = [["Rule", make("code", {}, `${node.rule} ${node.version}`)]];
    for (const [tool, version] of Object.entries(node.tools)) pairs.push([tool, version]);
    if (node.key) pairs.push(["Key", make("span", { class: "digest" }, node.key)]);
    holder.append(facts(pairs));
    if (node.options && Object.keys(node.options).length) {
      const shown = make("details", {}, make("summary", {}, "Options"), make("pre", {}, readable(node.options)));
      shown.open = JSON.stringify(node.options).length < 600;
      holder.append(shown);
    }
    return holder;
  }
}

/** Options as text: JSON, with texts that are JSON themselves opened up. */
function readable(options) {
  const opened = Object.fromEntries(Object.entries(options).map(([name, value]) => {
    if (typeof value === "string" && /^\s*[{[]/.test(value)) {
      try {
        return [name, JSON.parse(value)];
      } catch {
        return [name, value];
      }
    }
    return [name, value];
  }));
  return JSON.stringify(opened, null, 2);
}
