"use strict";
// What part of a drawing is seen: a point of it in the upper left corner, and how many pixels a unit takes.

class Camera {
  constructor({ least = 0.02, most = 2.5 } = {}) {
    this.x = this.y = 0;
    this.scale = 1;
    this.least = least;
    this.most = most;
    this.width = this.height = 1;
  }

  size(width, height) {
    [this.width, this.height] = [width, height];
  }

  /** Changes the scale; the point under (x, y), in pixels, stays where it is. */
  zoom(factor, x = this.width / 2, y = this.height / 2) {
    const scale = Math.min(this.most, Math.max(this.least, this.scale * factor));
    this.x += x / this.scale - x / scale;
    this.y += y / this.scale - y / scale;
    this.scale = scale;
  }

  pan(across, down) {
    this.x -= across / this.scale;
    this.y -= down / this.scale;
  }

  /** Shows a box whole, with some room around it. */
  fit(box, { margin = 32, top = 52, bottom = 52, most = 1.1 } = {}) {
    const [width, height] = [this.width - 2 * margin, this.height - top - bottom];
    const scale = Math.min(width / box.width, height / box.height, most);
    this.least = Math.min(0.05, scale / 1.5);
    this.scale = Math.max(this.least, scale);
    this.x = box.x + box.width / 2 - this.width / 2 / this.scale;
    this.y = box.y + box.height / 2 - (top + height / 2) / this.scale;
  }

  /** Brings a box into sight, and changes nothing if it is in sight already. */
  reveal(box, margin = 60) {
    const [left, top] = [(box.x - this.x) * this.scale, (box.y - this.y) * this.scale];
    const [right, bottom] = [left + box.width * this.scale, top + box.height * this.scale];
    const isInside = left >= margin && top >= margin && right <= this.width - margin && bottom <= this.height - margin;
    if (!isInside) this.centre(box);
  }

  centre(box) {
    this.x = box.x + box.width / 2 - this.width / 2 / this.scale;
    this.y = box.y + box.height / 2 - this.height / 2 / this.scale;
  }

  /** The point of the drawing under (x, y), in pixels. */
  point(x, y) {
    return [this.x + x / this.scale, this.y + y / this.scale];
  }

  sees(box) {
    return (
      box.x < this.x + this.width / this.scale && box.x + box.width > this.x &&
      box.y < this.y + this.height / this.scale && box.y + box.height > this.y
    );
  }
}
