"use strict";
// The build over time: what ran beside what, lane under lane, and what all the rest waited for.

const LANE = 24;
// Above the lanes are the buttons and the ruler.
const TOP = 82;

/** Lanes of bars that do not overlap: each node goes into the first that is free when it starts. */
const lanes = (() => {
  const ends = [];
  const bars = [...build.ran].sort((one, other) => one.began - other.began || one.number - other.number).map((node) => {
    // Times are rounded to a tenth of a millisecond.
    let lane = ends.findIndex((end) => end <= node.began + 0.00015);
    if (lane < 0) lane = ends.length;
    ends[lane] = node.began + node.seconds;
    return { node, lane, start: node.began, end: node.began + node.seconds };
  });
  const end = bars.reduce((latest, bar) => Math.max(latest, bar.end), 0);
  return { bars, count: ends.length, end: Math.max(end, build.seconds || 0, 0.001) };
})();

class TimelineView {
  constructor(choose) {
    this.choose = choose;
    this.chosen = null;
    this.start = 0;
    this.span = lanes.end;
    this.panel = new Panel(choose);
    this.canvas = make("canvas", {
      tabindex: "0", role: "application", "aria-roledescription": "timeline",
      "aria-label": `Timeline: ${counted(lanes.bars.length, "node")} in ${counted(lanes.count, "lane")}. Left and right go from node to node.`,
    });
    this.drawing = make("div", { class: "drawing" }, this.controls(), this.canvas);
    // As high as its lanes, up to half of the page.
    this.drawing.style.height = `clamp(180px, ${TOP + lanes.count * LANE + 20}px, 50vh)`;
    const list = make("div", { class: "list" }, this.table());
    const column = make("div", { class: "timeline" }, this.drawing, list);
    this.element = lanes.bars.length ? make("div", { class: "beside" }, column, this.panel.element) : this.nothing();
    this.tip = new Tip(this.drawing);
    this.surface = new Surface(this.canvas, (...given) => this.draw(...given));
    this.listen();
  }

  nothing() {
    let text = "No build of this config is remembered, so there are no times to show.";
    if (build.isBuilt) text = "Every node was in a cache, so there is no time to show.";
    else if (build.began) text = "In the last build every node was in a cache, so there is no time to show.";
    return make("div", { class: "empty" }, make("h2", {}, "Nothing ran"), make("p", {}, text));
  }

  controls() {
    const press = (label, text, act) => button({ class: "plain", "aria-label": label, title: label, on: { click: act } }, text);
    const source = build.isBuilt ? "" : `of the build of ${moment(build.began)}`;
    return make("div", { class: "controls" },
      press("Zoom in (+)", "+", () => this.zoom(1.5)),
      press("Zoom out (-)", "−", () => this.zoom(1 / 1.5)),
      press("Show everything (0)", "Fit", () => this.zoom(0)),
      make("span", { class: "key" }, "Outlined: the longest chain ", source));
  }

  table() {
    const columns = [
      { name: "Started", number: true, value: (bar) => bar.start, cell: (bar) => humanSeconds(bar.start) },
      { name: "Took", number: true, descends: true, value: (bar) => bar.node.seconds, cell: (bar) => humanSeconds(bar.node.seconds) },
      { name: "Node", class: "name", value: (bar) => bar.node.name, cell: (bar) => button({ class: "link", on: { click: () => this.choose(bar.node) } }, bar.node.name) },
      { name: "Rule", value: (bar) => bar.node.rule },
      { name: "State", value: (bar) => build.fate(bar.node), cell: (bar) => stateLabel(build.fate(bar.node)) },
      { name: "Chain", value: (bar) => (build.isCritical.has(bar.node) ? 0 : 1), cell: (bar) => (build.isCritical.has(bar.node) ? "longest" : "") },
    ];
    return table("What ran", columns, lanes.bars, { sorted: 0 });
  }

  show(node) {
    this.chosen = node;
    this.panel.show(node);
    const bar = lanes.bars.find((one) => one.node === node);
    if (bar && (bar.end < this.start || bar.start > this.start + this.span)) {
      this.start = Math.max(0, (bar.start + bar.end - this.span) / 2);
    }
    this.surface.schedule();
  }

  mark() {}

  zoom(factor, at = this.surface.width / 2) {
    const time = this.start + (at / this.surface.width) * this.span;
    const span = factor ? Math.min(lanes.end, Math.max(lanes.end / 20000, this.span / factor)) : lanes.end;
    this.start = time - (at / this.surface.width) * span;
    this.span = span;
    this.keepInside();
  }

  keepInside() {
    this.start = Math.max(0, Math.min(this.start, lanes.end - this.span));
    this.surface.schedule();
  }

  place(time) {
    return 12 + ((time - this.start) / this.span) * (this.surface.width - 24);
  }

  row(lane) {
    const room = this.surface.height - TOP - 10;
    const height = Math.min(LANE, room / Math.max(1, lanes.count));
    return [TOP + lane * height, Math.max(1, height - (height > 6 ? 3 : 0))];
  }

  draw(context, width, height, colors) {
    this.ruler(context, width, height, colors);
    context.textBaseline = "middle";
    context.font = `600 11px ${FONT}`;
    for (const bar of lanes.bars) {
      const [left, right] = [this.place(bar.start), this.place(bar.end)];
      if (right < 0 || left > width) continue;
      this.bar(context, bar, [left, Math.max(right - left, 2)], colors);
    }
  }

  bar(context, { node, lane }, [left, width], colors) {
    const [top, height] = this.row(lane);
    const state = build.fate(node);
    context.fillStyle = colors[width < 8 ? state : `${state}-ground`];
    context.strokeStyle = colors[state];
    context.lineWidth = 1;
    context.beginPath();
    context.roundRect(left, top, width, height, Math.min(3, height / 3));
    context.fill();
    if (width >= 8) context.stroke();
    if (build.isCritical.has(node)) this.outline(context, [left, top, width, height], colors.ink, 2);
    if (node === this.chosen) this.outline(context, [left - 2, top - 2, width + 4, height + 4], colors.accent, 2.5);
    const start = Math.max(left, 0);
    if (height > 12 && left + width - start > 34) {
      context.fillStyle = colors.ink;
      context.fillText(fitted(context, node.name, left + width - start - 12), start + 6, top + height / 2 + 0.5);
    }
  }

  outline(context, [left, top, width, height], color, thickness) {
    context.strokeStyle = color;
    context.lineWidth = thickness;
    context.beginPath();
    context.roundRect(left, top, width, height, Math.min(3, height / 3));
    context.stroke();
  }

  ruler(context, width, height, colors) {
    const least = (this.span / width) * 90;
    const power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= least);
    context.font = `11px ${FONT}`;
    context.textBaseline = "alphabetic";
    context.lineWidth = 1;
    for (let time = Math.ceil(this.start / step) * step; time <= this.start + this.span; time += step) {
      const x = Math.round(this.place(time)) + 0.5;
      context.strokeStyle = colors.line;
      context.beginPath();
      context.moveTo(x, 62);
      context.lineTo(x, height);
      context.stroke();
      context.fillStyle = colors["soft-ink"];
      if (x < width - 40) context.fillText(time ? humanSeconds(time) : "0", x + 4, 72);
    }
  }

  barAt(x, y) {
    return lanes.bars.find((bar) => {
      const [top, height] = this.row(bar.lane);
      const [left, right] = [this.place(bar.start), this.place(bar.end)];
      return x >= left - 2 && x <= Math.max(right, left + 3) + 2 && y >= top - 1 && y <= top + height + 1;
    }) ?? null;
  }

  listen() {
    let from = null;
    let moved = 0;
    this.canvas.addEventListener("pointerdown", (event) => {
      [from, moved] = [this.surface.at(event)[0], 0];
      this.canvas.setPointerCapture(event.pointerId);
    });
    this.canvas.addEventListener("pointermove", (event) => {
      const [x, y] = this.surface.at(event);
      if (from !== null) {
        moved += Math.abs(x - from);
        this.start -= ((x - from) / (this.surface.width - 24)) * this.span;
        from = x;
        this.tip.hide();
        this.keepInside();
      } else this.hover(x, y);
    });
    this.canvas.addEventListener("pointerup", (event) => {
      from = null;
      if (moved < 5) this.choose(this.barAt(...this.surface.at(event))?.node ?? null);
    });
    this.canvas.addEventListener("pointercancel", () => (from = null));
    this.canvas.addEventListener("pointerleave", () => this.tip.hide());
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const step = Math.max(-240, Math.min(240, event.deltaY * (event.deltaMode ? 20 : 1)));
      this.zoom(Math.exp(-step * 0.003), this.surface.at(event)[0]);
    }, { passive: false });
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  hover(x, y) {
    const bar = this.barAt(x, y);
    if (!bar) return this.tip.hide();
    const time = `${humanSeconds(bar.start)} to ${humanSeconds(bar.end)}, took ${humanSeconds(bar.node.seconds)}`;
    this.tip.show(x, y, make("b", {}, bar.node.name), make("div", { class: "soft" }, time));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step && event.shiftKey) {
      this.start += step * this.span * 0.1;
      this.keepInside();
    } else if (step) {
      const place = lanes.bars.findIndex((bar) => bar.node === this.chosen);
      const bar = lanes.bars[Math.max(0, Math.min(lanes.bars.length - 1, place < 0 ? 0 : place + step))];
      this.choose(bar.node);
      say(`${bar.node.name}: started after ${humanSeconds(bar.start)}, took ${humanSeconds(bar.node.seconds)}`);
    } else if (event.key === "+" || event.key === "=") this.zoom(1.5);
    else if (event.key === "-") this.zoom(1 / 1.5);
    else if (event.key === "0") this.zoom(0);
    else if (event.key === "Enter") this.panel.element.focus();
    else return;
    event.preventDefault();
  }
}
