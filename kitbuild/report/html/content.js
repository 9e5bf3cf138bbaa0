"use strict";
// What fills the image: sections, their packages, folders and files, as a treemap to go down into, and as a table.

/** The content as a tree of {name, kind, size, files, parent, children, tone}: largest first everywhere. */
const filling = (() => {
  const { rows, sections, packages } = build.content;
  const hasPackages = packages.some(Boolean);
  const entry = (name, kind, parent) => ({ name, kind, parent, size: 0, files: 0, below: new Map(), children: [] });
  const root = entry("Root file system", "root", null);

  const step = (from, name, kind) => {
    const key = `${kind} ${name}`;
    if (!from.below.has(key)) from.below.set(key, entry(name, kind, from));
    return from.below.get(key);
  };
  for (const [section, owner, path, size, count] of rows) {
    let at = step(root, sections[section] || "other", "section");
    if (hasPackages) at = step(at, packages[owner] || "in no package", packages[owner] ? "package" : "rest");
    const names = path ? path.split("/") : [];
    const last = count > 1 ? `${counted(count, "small file")}` : names.pop();
    for (const name of names) at = step(at, name, "folder");
    at = step(at, last, "file");
    for (let one = at; one; one = one.parent) {
      one.size += size;
      one.files += count;
    }
  }

  const sort = (at) => {
    at.children = [...at.below.values()].filter((child) => child.size > 0).sort((one, other) => other.size - one.size);
    at.below = null;
    // A folder that only holds another one is shown with it: usr/lib/modules.
    if (at.kind === "folder" && at.children.length === 1 && at.children[0].kind === "folder") {
      const child = at.children[0];
      sort(child);
      at.name = `${at.name}/${child.name}`;
      at.children = child.children;
      for (const one of at.children) one.parent = at;
    } else at.children.forEach(sort);
  };
  sort(root);
  root.children.forEach((child, place) => (child.tone = place % 8));
  return root;
})();

function toneOf(entry, place) {
  for (let at = entry; at; at = at.parent) if (at.tone !== undefined && at.parent === filling) return at.tone;
  return place % 8;
}

// More tiles are too small to be told apart.
const MOST_TILES = 200;

/** What is in an entry, the small of many as one that can be gone into like any other. */
function gathered(entry) {
  if (entry.children.length <= MOST_TILES) return entry.children;
  const rest = entry.children.slice(MOST_TILES - 1);
  const more = { name: `${rest.length.toLocaleString("en")} more`, kind: "more", parent: entry, children: rest, tone: 7 };
  more.size = rest.reduce((sum, one) => sum + one.size, 0);
  more.files = rest.reduce((sum, one) => sum + one.files, 0);
  // Where it would be by its size.
  return [...entry.children.slice(0, MOST_TILES - 1), more].sort((one, other) => other.size - one.size);
}

class ContentView {
  constructor() {
    this.at = filling;
    this.crumbs = make("ol", { class: "crumbs", "aria-label": "Where" });
    this.map = make("div", { class: "treemap", role: "group", "aria-label": "What fills the image" });
    this.element = filling.size
      ? make("div", { class: "content" }, make("div", {}, this.crumbs, contentNote()), this.map)
      : noContent();
    this.map.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.lay()).observe(this.map);
    this.go(filling);
  }

  show() {}

  mark() {}

  go(entry, { focus = false } = {}) {
    this.at = entry;
    const way = [];
    for (let at = entry; at; at = at.parent) way.unshift(at);
    const steps = way.map((at) => make("li", {}, at === entry
      ? make("span", { "aria-current": "location" }, at.name)
      : button({ class: "link", on: { click: () => this.go(at, { focus: true }) } }, at.name)));
    const share = filling.size ? `${((entry.size / filling.size) * 100).toFixed(1)} %` : "";
    const size = `${humanSize(entry.size)} · ${share} · ${counted(entry.files, "file")}`;
    this.crumbs.replaceChildren(...steps, make("li", { class: "size soft" }, size));
    this.lay();
    if (focus) this.map.querySelector("button")?.focus();
    say(`${entry.name}: ${size}`);
  }

  lay() {
    const { clientWidth: width, clientHeight: height } = this.map;
    if (!width || !height) return;
    const hadFocus = this.map.contains(document.activeElement);
    const shown = this.at.children.length ? gathered(this.at) : [this.at];
    const boxes = squarified(shown, (child) => child.size, { x: 0, y: 0, width, height });
    // What is smaller than a few pixels can be neither seen nor hit.
    this.map.replaceChildren(...boxes.filter((box) => box.width > 3 && box.height > 3).map((box, place) => this.tile(box, place)));
    if (hadFocus) this.map.querySelector("button")?.focus();
  }

  tile({ item, x, y, width, height }, place) {
    const isOpen = item.children.length > 0 && item !== this.at;
    const kind = { more: "together", section: "section", package: "package", folder: "folder", rest: "files", file: "file" }[item.kind] ?? "";
    const label = `${item.name}, ${kind}, ${humanSize(item.size)}`;
    const act = () => isOpen && this.go(item, { focus: true });
    const tile = button({ class: isOpen ? "tile" : "tile file", "aria-label": label, title: label, tabindex: place ? "-1" : "0", on: { click: act } });
    const gap = width > 12 && height > 12 ? 2 : 0.5;
    Object.assign(tile.style, { left: `${x}px`, top: `${y}px`, width: `${width - gap}px`, height: `${height - gap}px` });
    tile.style.setProperty("--tone", `var(--tone-${toneOf(item, this.at === filling ? place : 0)})`);
    if (width > 40 && height > 20) tile.append(make("b", {}, item.name));
    if (width > 40 && height > 38) tile.append(make("small", {}, humanSize(item.size)));
    else if (width <= 12 || height <= 12) tile.style.padding = "0";
    if (isOpen && item.kind !== "more" && width > 70 && height > 76) tile.append(...this.inside(item, width - gap, height - gap));
    return tile;
  }

  /** What is in a tile, for the eye alone. */
  inside(item, width, height) {
    const boxes = squarified(item.children, (child) => child.size, { x: 5, y: 41, width: width - 10, height: height - 46 });
    return boxes.filter((box) => box.width > 5 && box.height > 5).slice(0, 60).map((box) => {
      const inner = make("span", { class: "inner", "aria-hidden": "true" });
      if (box.width > 34 && box.height > 15) inner.textContent = box.item.name;
      Object.assign(inner.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.width - 2}px`, height: `${box.height - 2}px` });
      return inner;
    });
  }

  key(event) {
    const tiles = [...this.map.querySelectorAll("button")];
    const place = tiles.indexOf(document.activeElement);
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (step && place >= 0) tiles[Math.max(0, Math.min(tiles.length - 1, place + step))].focus();
    else if ((event.key === "Backspace" || event.key === "Escape") && this.at.parent) {
      this.go(this.at.parent, { focus: true });
      event.stopPropagation();
    } else return;
    event.preventDefault();
  }
}

class FilesView {
  constructor() {
    const { rows, sections, packages } = build.content;
    const columns = [
      { name: "Size", number: true, descends: true, value: (row) => row[3], cell: (row) => humanSize(row[3]) },
      { name: "Share", number: true, descends: true, value: (row) => row[3], cell: (row) => `${((row[3] / build.content.size) * 100).toFixed(2)} %` },
      { name: "File", class: "code", value: (row) => row[2], cell: (row) => (row[4] > 1 ? `${row[2]}/ (${counted(row[4], "small file")})` : row[2]) },
      { name: "Package", class: "name", value: (row) => packages[row[1]] },
      { name: "Section", class: "name", value: (row) => sections[row[0]] },
    ].filter((column) => column.name !== "Package" || packages.some(Boolean));
    const sheet = () => table("Files by size", columns, rows, { sorted: 0 });
    this.element = filling.size
      ? make("div", { class: "scroll" }, make("div", { class: "files" }, contentNote(), sheet()))
      : noContent();
  }

  show() {}

  mark() {}
}

function contentNote() {
  const { missing, parts, left_out: leftOut } = build.content;
  const notes = [];
  if (missing.length) notes.push(`${missing.length} of ${counted(parts, "part")} are not in the local cache and not counted here.`);
  if (leftOut) notes.push(`${counted(leftOut, "small file")} are summed up.`);
  return notes.length ? make("p", { class: "soft", title: missing.slice(0, 40).join("\n") }, notes.join(" ")) : null;
}

function noContent() {
  const { parts, missing } = build.content;
  const text = !parts
    ? "This config has no parts that go into a root file system."
    : missing.length
      ? "The trees of its parts are not in the local cache: a build with nothing to fetch leaves them where they are."
      : "The root file system holds no bytes.";
  return make("div", { class: "empty" }, make("h2", {}, "No files to show"), make("p", {}, text));
}
