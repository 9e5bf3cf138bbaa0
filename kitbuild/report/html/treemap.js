"use strict";
// Boxes that fill an area, each as large as its share: squarified treemaps (Bruls, Huizing, van Wijk, 2000).

/**
 * A box for every item, largest first: [{item, x, y, width, height}]. `size(item)` is more than 0.
 * Rows are filled along the shorter side as long as that makes their boxes squarer.
 */
function squarified(items, size, { x, y, width, height }) {
  const total = items.reduce((sum, item) => sum + size(item), 0);
  if (!total || width <= 0 || height <= 0) return [];
  const area = (width * height) / total;
  const boxes = [];
  let room = { x, y, width, height };
  let row = [];
  let sum = 0;
  const worst = (least, most, all, side) => {
    const thickness = all / side;
    return Math.max((most / thickness) / thickness, (thickness * thickness) / least);
  };
  for (const item of items) {
    const own = size(item) * area;
    const side = Math.min(room.width, room.height);
    const isWorse = row.length > 0 &&
      worst(Math.min(own, row.at(-1).own), row[0].own, sum + own, side) > worst(row.at(-1).own, row[0].own, sum, side);
    if (isWorse) {
      room = placed(row, sum, room, boxes);
      [row, sum] = [[], 0];
    }
    row.push({ item, own });
    sum += own;
  }
  if (row.length) placed(row, sum, room, boxes);
  return boxes;
}

/** Puts a row along the shorter side of the room; gives the room that is left. */
function placed(row, sum, room, boxes) {
  const isUpright = room.width >= room.height;
  const thickness = sum / (isUpright ? room.height : room.width);
  let along = isUpright ? room.y : room.x;
  for (const { item, own } of row) {
    const length = own / thickness;
    boxes.push(isUpright
      ? { item, x: room.x, y: along, width: thickness, height: length }
      : { item, x: along, y: room.y, width: length, height: thickness });
    along += length;
  }
  return isUpright
    ? { ...room, x: room.x + thickness, width: Math.max(0, room.width - thickness) }
    : { ...room, y: room.y + thickness, height: Math.max(0, room.height - thickness) };
}
