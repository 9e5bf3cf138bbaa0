"use strict";
// A canvas as large as the element it is in, drawn at most once a frame, in the colours of the style sheet.

const COLORS = [
  "ground", "surface", "raised", "line", "strong-line", "ink", "soft-ink", "accent", "accent-ground", "edge",
  ...["ran", "sent", "near", "far", "failed", "left"].flatMap((state) => [state, `${state}-ground`]),
];

class Surface {
  /** `draw(context, width, height, colors)` is called with sizes in CSS pixels. */
  constructor(canvas, draw) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.draw = draw;
    this.width = this.height = 0;
    this.waiting = false;
    this.colors = {};
    this.readColors();
    new ResizeObserver(() => this.resize()).observe(canvas);
    document.addEventListener("themechange", () => {
      this.readColors();
      this.schedule();
    });
  }

  readColors() {
    // All are put in before the first is read: the browser works out styles once.
    const holder = make("div", { hidden: true }, ...COLORS.map(() => make("span")));
    COLORS.forEach((name, place) => (holder.children[place].style.color = `var(--${name})`));
    document.body.append(holder);
    COLORS.forEach((name, place) => (this.colors[name] = getComputedStyle(holder.children[place]).color));
    holder.remove();
    for (const ending of ["", "-ground"]) {
      this.colors[`run${ending}`] = this.colors[`ran${ending}`];
      this.colors[`gone${ending}`] = this.colors[`unknown${ending}`] = this.colors[`left${ending}`];
    }
  }

  resize() {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height) return;
    const isFirst = !this.width;
    [this.width, this.height] = [width, height];
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    if (isFirst) this.opened?.();
    else this.resized?.();
    this.paint();
  }

  schedule() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.paint();
    });
  }

  paint() {
    if (!this.width) return;
    const ratio = this.canvas.width / this.width;
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.draw(this.context, this.width, this.height, this.colors);
  }

  /** Where a pointer is, in CSS pixels from the upper left corner. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }
}

/** A small box beside the pointer. */
class Tip {
  constructor(parent) {
    this.element = make("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    this.parent = parent;
    parent.append(this.element);
  }

  show(x, y, ...children) {
    this.element.replaceChildren(...children);
    this.element.hidden = false;
    const { offsetWidth, offsetHeight } = this.element;
    this.element.style.left = `${Math.max(0, Math.min(x + 14, this.parent.clientWidth - offsetWidth - 8))}px`;
    this.element.style.top = `${Math.max(0, Math.min(y + 16, this.parent.clientHeight - offsetHeight - 8))}px`;
  }

  hide() {
    this.element.hidden = true;
  }
}

/** `text` cut to `width` pixels; measured once for a text, font and width. */
const fitted = (() => {
  const known = new Map();
  return (context, text, width) => {
    const name = `${context.font}|${Math.round(width)}|${text}`;
    let result = known.get(name);
    if (result === undefined) {
      result = text;
      if (context.measureText(text.slice(0, 400)).width > width) {
        let [low, high] = [0, Math.min(text.length, 400)];
        while (low < high) {
          const middle = (low + high + 1) >> 1;
          if (context.measureText(`${text.slice(0, middle)}…`).width <= width) low = middle;
          else high = middle - 1;
        }
        result = low ? `${text.slice(0, low)}…` : "";
      }
      if (known.size > 20000) known.clear();
      known.set(name, result);
    }
    return result;
  };
})();

const FONT = getComputedStyle(document.body).fontFamily;

/** A name of a section or node within `width`; where that is too little, the part of it that tells it from others. */
const telling = (context, name, width) => {
  const whole = fitted(context, name, width);
  if (whole === name) return whole;
  return fitted(context, name.replace(/^image .*\//, "").replace(/^(init|kernel|onboot|onshutdown|services|volumes) /, ""), width);
};
