"use strict";
// The graph: seen from afar or near, gone through with the mouse or from node to node with the keys.

class GraphView {
  constructor(choose) {
    this.choose = choose;
    this.camera = new Camera();
    this.picture = new Picture(this.camera);
    this.panel = new Panel(choose);
    this.canvas = make("canvas", {
      tabindex: "0", role: "application", "aria-roledescription": "graph", "aria-describedby": "graph-keys",
      "aria-label": `Graph of ${counted(build.nodes.length, "node")} in ${counted(build.groups.length, "group")}`,
    });
    this.drawing = make("div", { class: "drawing" }, this.controls(), this.canvas,
      make("div", { class: "corner" }, legend()),
      make("p", { id: "graph-keys", class: "unseen" },
        "Arrow keys go from node to node: left to inputs, right to users. Plus and minus zoom, 0 shows everything."));
    this.element = make("div", { class: "beside" }, this.drawing, this.panel.element);
    this.tip = new Tip(this.drawing);
    this.surface = new Surface(this.canvas, (...given) => this.picture.draw(...given));
    // Until somebody moves it, everything is to be seen, however large the window becomes.
    this.isMoved = false;
    this.surface.opened = () => this.open();
    this.surface.resized = () => this.isMoved || this.open();
    this.listen();
  }

  get chosen() {
    return this.picture.chosen;
  }

  controls() {
    const press = (label, text, act) => button({ class: "plain", "aria-label": label, title: label, on: { click: act } }, text);
    this.criticalSwitch = button({ class: "switch", "aria-pressed": "false", on: { click: () => this.toggleCritical() } }, "Longest chain");
    this.criticalSwitch.hidden = !build.critical.length;
    return make("div", { class: "controls" },
      press("Zoom in (+)", "+", () => this.zoom(1.4)),
      press("Zoom out (-)", "−", () => this.zoom(1 / 1.4)),
      press("Show everything (0)", "Fit", () => this.fit()),
      this.criticalSwitch,
      this.selection());
  }

  /** What was asked for when the page was made, as far as that is not everything; a click ends the marks. */
  selection() {
    if (!build.selected.size) return null;
    const clear = () => {
      this.picture.selected = null;
      this.surface.schedule();
      pressed.remove();
      say("No selection");
    };
    const text = `Selection: ${counted(build.selected.size, "node")}`;
    const pressed = button({ class: "switch", id: "selection", title: "Clear the selection", "aria-pressed": "true", on: { click: clear } }, `${text} ×`);
    return pressed;
  }

  open() {
    this.camera.size(this.surface.width, this.surface.height);
    this.camera.fit(scene.box);
    if (this.chosen) {
      this.camera.scale = Math.max(this.camera.scale, 0.8);
      this.camera.centre(this.chosen);
    }
  }

  fit() {
    this.isMoved = false;
    this.camera.fit(scene.box);
    this.surface.schedule();
  }

  zoom(factor, x, y) {
    this.isMoved = true;
    this.camera.zoom(factor, x, y);
    this.surface.schedule();
  }

  toggleCritical() {
    this.picture.showsCritical = !this.picture.showsCritical;
    this.criticalSwitch.setAttribute("aria-pressed", String(this.picture.showsCritical));
    if (this.picture.showsCritical) {
      say(`The longest chain has ${counted(build.critical.length, "node")}`);
      this.camera.fit(around(build.critical));
    }
    this.surface.schedule();
  }

  /** Shows a node (null: none); `near` brings it into sight large enough to be read. */
  show(node, { near = true } = {}) {
    this.isMoved ||= node !== null;
    this.picture.chosen = node;
    this.panel.show(node);
    if (node && this.surface.width) {
      if (near && this.camera.scale < LEGIBLE) {
        this.camera.scale = 0.8;
        this.camera.centre(node);
      }
      this.camera.reveal(node);
    }
    this.surface.schedule();
  }

  mark(nodes) {
    this.picture.matches = nodes ? new Set(nodes) : null;
    this.surface.schedule();
  }

  nodeAt(x, y) {
    const [across, down] = this.camera.point(x, y);
    return build.nodes.find((node) => across >= node.x && across <= node.x + BOX.width && down >= node.y && down <= node.y + BOX.height) ?? null;
  }

  listen() {
    let from = null;
    let moved = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      from = this.surface.at(event);
      moved = 0;
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const at = this.surface.at(event);
      if (from) {
        this.isMoved = true;
        moved += Math.abs(at[0] - from[0]) + Math.abs(at[1] - from[1]);
        this.camera.pan(at[0] - from[0], at[1] - from[1]);
        from = at;
        this.tip.hide();
        this.surface.schedule();
      } else this.hover(...at);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      const node = moved < 5 ? this.nodeAt(...this.surface.at(event)) : undefined;
      from = null;
      if (node !== undefined) this.choose(node, { near: false });
    });
    this.canvas.addEventListener("pointercancel", () => (from = null));
    this.canvas.addEventListener("pointerleave", () => this.hover(-1e9, -1e9));
    this.canvas.addEventListener("dblclick", (event) => this.zoom(1.8, ...this.surface.at(event)));
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const step = event.deltaY * (event.deltaMode ? 20 : 1);
      this.zoom(Math.exp(-Math.max(-240, Math.min(240, step)) * 0.0022), ...this.surface.at(event));
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  hover(x, y) {
    const node = this.nodeAt(x, y);
    if (node !== this.picture.hovered) {
      this.picture.hovered = node;
      this.surface.schedule();
    }
    if (node) this.tip.show(x, y, make("b", {}, node.name), make("div", { class: "soft" }, [node.about || node.rule, stateOf(node).long].join(" · ")));
    else this.tip.hide();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (step && event.shiftKey) {
      this.camera.pan(-80 * step[0], -80 * step[1]);
      this.surface.schedule();
    } else if (step) this.walk(...step);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else if (event.key === "Enter") this.panel.element.focus();
    else return;
    event.preventDefault();
  }

  walk(across, down) {
    const { chosen } = this;
    const next = chosen ? this.neighbour(chosen, across, down) : (build.outputs[0]?.node ?? build.nodes[0]);
    if (!next) return;
    this.choose(next);
    say(`${next.name}: ${stateOf(next).long}`);
  }

  /** Where an arrow leads: along a line to the left and right, to what stands nearest up and down. */
  neighbour(node, across, down) {
    const distance = (other) => Math.hypot(other.x - node.x, (other.y - node.y) * (across ? 1 : 0.4), across ? 0 : (other.x - node.x) * 3);
    let choice = across < 0 ? node.needs : across > 0 ? node.users : [];
    if (down) choice = build.nodes.filter((other) => (other.y - node.y) * down > 1);
    return choice.reduce((best, other) => (best === null || distance(other) < distance(best) ? other : best), null);
  }
}
