"use strict";
// The page: its views, one at a time, what is chosen in all of them, and the search.

const page = (() => {
  const views = new Map();
  const makers = {
    overview: ["Overview", () => new OverviewView(choose)],
    graph: ["Graph", () => new GraphView(choose)],
    timeline: ["Timeline", () => new TimelineView(choose)],
    content: ["Content", () => new ContentView()],
    files: ["Files", () => new FilesView()],
  };
  const names = Object.keys(makers);
  const tabs = document.getElementById("tabs");
  let current = "";
  let chosen = null;

  /** Opens a view; it is made when it is first opened. */
  function open(name) {
    if (!views.has(name)) {
      const view = makers[name][1]();
      const holder = document.getElementById(`view-${name}`);
      holder.append(view.element);
      views.set(name, view);
      if (chosen) view.show(chosen);
    }
    current = name;
    for (const other of names) {
      const isOpen = other === name;
      const tab = document.getElementById(`tab-${other}`);
      tab.setAttribute("aria-selected", String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
      document.getElementById(`view-${other}`).hidden = !isOpen;
    }
    remember();
  }

  /** Chooses a node, or none, in all views; goes to one that has a panel. */
  function choose(node, { view = null, focus = false, near = true } = {}) {
    chosen = node;
    if (view || !["graph", "timeline"].includes(current)) open(view ?? "graph");
    for (const one of views.values()) one.show(node, { near });
    if (focus) views.get(current).panel.element.focus();
    remember();
  }

  function remember() {
    const node = chosen && ["graph", "timeline"].includes(current) ? `/${encodeURIComponent(chosen.name)}` : "";
    history.replaceState(null, "", `#${current}${node}`);
  }

  function restore() {
    const [name, node] = location.hash.slice(1).split("/");
    try {
      chosen = build.byName.get(decodeURIComponent(node ?? "")) ?? null;
    } catch {
      chosen = null;
    }
    const failed = build.nodes.some((one) => one.state === "failed");
    open(names.includes(name) ? name : failed || build.isBuilt ? "overview" : "graph");
    for (const view of views.values()) view.show(chosen);
  }

  function addTabs() {
    for (const [place, name] of names.entries()) {
      const [text] = makers[name];
      const tab = button({
        role: "tab", id: `tab-${name}`, "aria-controls": `view-${name}`, "data-text": text, title: `${text} (${place + 1})`,
        on: { click: () => open(name), keydown: (event) => walk(event, place) },
      }, text);
      tabs.append(tab);
      document.getElementById("views").append(
        make("div", { class: "view", role: "tabpanel", id: `view-${name}`, "aria-labelledby": `tab-${name}`, hidden: true }));
    }
  }

  function walk(event, place) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const name = names[(place + step + names.length) % names.length];
    open(name);
    document.getElementById(`tab-${name}`).focus();
    event.preventDefault();
  }

  function addHeading() {
    document.getElementById("title").textContent = build.name;
    const began = build.began ? moment(build.began) : "";
    const ran = build.count("ran") + build.count("sent");
    const failed = build.count("failed");
    const facts = build.isBuilt
      ? [failed ? `${counted(failed, "node")} failed` : ran ? `${ran.toLocaleString("en")} of ${counted(build.nodes.length, "node")} ran` : "nothing had to run", humanSeconds(build.seconds), began]
      : [counted(build.nodes.length, "node"), `${build.count("run")} must run`, "not built for this page"];
    document.getElementById("subtitle").textContent = facts.filter(Boolean).join(" · ");
  }

  function addTheme() {
    const root = document.documentElement;
    const order = ["auto", "light", "dark"];
    const press = document.getElementById("theme");
    const tell = (name) => {
      if (name === "auto") delete root.dataset.theme;
      else root.dataset.theme = name;
      press.textContent = name[0].toUpperCase() + name.slice(1);
      press.setAttribute("aria-label", `Colours: ${name === "auto" ? "as the system has it" : name}`);
      press.title = "Light, dark, or as the system has it (t)";
      document.dispatchEvent(new Event("themechange"));
    };
    press.addEventListener("click", () => tell(order[(order.indexOf(root.dataset.theme ?? "auto") + 1) % 3]));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => document.dispatchEvent(new Event("themechange")));
    tell("auto");
  }

  /** Ends what is going on: the search, and the choice of a node. */
  function leave() {
    const field = document.getElementById("search");
    if (field.value) {
      field.value = "";
      field.dispatchEvent(new Event("input"));
    } else if (chosen) choose(null);
  }

  function addKeys() {
    document.getElementById("help").addEventListener("click", openKeys);
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (document.getElementById("keys").open || event.target.matches("input")) return;
      if (event.key === "/") document.getElementById("search").focus();
      else if (event.key === "?") openKeys();
      else if (event.key === "t") document.getElementById("theme").click();
      else if (event.key === "Escape") leave();
      else if (names[event.key - 1]) open(names[event.key - 1]);
      else return;
      event.preventDefault();
    });
  }

  function start() {
    addTabs();
    addHeading();
    addTheme();
    addKeys();
    addSearch({ choose, mark: (nodes) => views.forEach((view) => view.mark(nodes)), graph: () => open("graph") });
    restore();
    window.addEventListener("hashchange", restore);
  }

  return { start };
})();

page.start();
