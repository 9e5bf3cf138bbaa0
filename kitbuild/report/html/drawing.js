"use strict";
// The graph as a picture. What is out of sight is not drawn, what is too small to read has no text.

const LEGIBLE = 0.66;
// From how near lines have tips, and how long these are.
const TIPPED = 0.4;
const TIP = 7;
const BOX = { width: build.box[0], height: build.box[1] };

/** Lines and frames of the graph: worked out once. */
const scene = (() => {
  for (const node of build.nodes) Object.assign(node, { x: node.at[0], y: node.at[1], ...BOX });
  const blockOf = new Map();
  const blocks = build.blocks.map((numbers) => {
    const groups = numbers.map((number) => build.groups[number]);
    const block = { ...around(groups), groups };
    for (const group of groups) blockOf.set(group.number, block);
    return block;
  });

  // A line within a group runs from node to node. Those of many groups alike are one, from the block they are in.
  const lines = new Map();
  for (const node of build.nodes) {
    for (const needed of node.needs) {
      const isInside = needed.group === node.group;
      const ends = [needed, node].map((one) => {
        const block = blockOf.get(one.group);
        return isInside || block.groups.length === 1 ? one : block;
      });
      const name = ends.map((end) => (end.number === undefined ? `b${end.x},${end.y}` : end.number)).join(" ");
      const known = lines.get(name);
      if (known) known.count += 1;
      else lines.set(name, { from: ends[0], to: ends[1], count: 1, isInside, ...between(...ends) });
    }
  }
  const many = blocks.filter((block) => block.groups.length > 1);
  return { blocks: many, lines: [...lines.values()], box: around(build.groups), blockOf };
})();

function around(boxes) {
  if (!boxes.length) return { x: 0, y: 0, width: 1, height: 1 };
  const x = boxes.reduce((least, box) => Math.min(least, box.x), Infinity);
  const y = boxes.reduce((least, box) => Math.min(least, box.y), Infinity);
  const right = boxes.reduce((most, box) => Math.max(most, box.x + box.width), -Infinity);
  const bottom = boxes.reduce((most, box) => Math.max(most, box.y + box.height), -Infinity);
  return { x, y, width: right - x, height: bottom - y };
}

/** The curve from one box to another, and the box around it: downwards in a group, else to the right. */
function between(from, to) {
  const isInside = from.group !== undefined && from.group === to.group;
  const start = isInside
    ? { x: from.x + from.width / 2, y: from.y + from.height }
    : { x: from.x + from.width, y: from.y + from.height / 2 };
  const end = isInside ? { x: to.x + to.width / 2, y: to.y } : { x: to.x, y: to.y + to.height / 2 };
  const reach = isInside ? Math.abs(end.y - start.y) / 2 : Math.max(18, Math.min(140, Math.abs(end.x - start.x) / 2));
  const [across, down] = isInside ? [0, reach] : [reach, 0];
  return {
    start, end, across, down,
    x: Math.min(start.x, end.x) - across - 1, y: Math.min(start.y, end.y) - 1,
    width: Math.abs(end.x - start.x) + 2 * across + 2, height: Math.abs(end.y - start.y) + 2,
  };
}

function trace(context, { start, end, across, down }, isStraight) {
  context.moveTo(start.x, start.y);
  if (isStraight) context.lineTo(end.x, end.y);
  else context.bezierCurveTo(start.x + across, start.y + down, end.x - across, end.y - down, end.x, end.y);
}

/** The tip of a line, which comes in downwards in a group, else to the right. */
function tip(context, { end, down }) {
  const [ahead, beside] = down ? [[0, TIP], [TIP / 2, 0]] : [[TIP, 0], [0, TIP / 2]];
  context.moveTo(end.x, end.y);
  context.lineTo(end.x - ahead[0] - beside[0], end.y - ahead[1] - beside[1]);
  context.lineTo(end.x - ahead[0] + beside[0], end.y - ahead[1] + beside[1]);
  context.closePath();
}

class Picture {
  constructor(camera) {
    this.camera = camera;
    this.chosen = null;
    this.hovered = null;
    // What a search found; what was asked for when the page was made.
    this.matches = null;
    this.selected = build.selected.size ? build.selected : null;
    this.showsCritical = false;
  }

  get marked() {
    return this.matches ?? this.selected;
  }

  draw(context, width, height, colors) {
    const { camera } = this;
    camera.size(width, height);
    context.save();
    context.scale(camera.scale, camera.scale);
    context.translate(-camera.x, -camera.y);
    this.frames(context, colors);
    this.lines(context, colors);
    this.boxes(context, colors);
    this.strongLines(context, colors);
    this.strongBoxes(context, colors);
    context.restore();
    this.titles(context, colors);
  }

  frames(context, colors) {
    const thin = 1 / this.camera.scale;
    context.lineWidth = thin;
    for (const block of scene.blocks) {
      if (!this.camera.sees(block)) continue;
      context.strokeStyle = colors["strong-line"];
      context.setLineDash([4 * thin, 4 * thin]);
      context.strokeRect(block.x - 12, block.y - 12, block.width + 24, block.height + 24);
      context.setLineDash([]);
    }
    context.fillStyle = colors.surface;
    context.strokeStyle = colors.line;
    context.beginPath();
    for (const group of build.groups) {
      if (this.camera.sees(group)) context.roundRect(group.x, group.y, group.width, group.height, 8);
    }
    context.fill();
    context.stroke();
  }

  lines(context, colors) {
    const isStraight = this.camera.scale < 0.2;
    context.strokeStyle = colors.edge;
    context.lineWidth = Math.max(1.3, 0.7 / this.camera.scale);
    context.beginPath();
    for (const line of scene.lines) {
      // Short lines between boxes of a few pixels are nothing to see.
      if (this.camera.sees(line) && (!line.isInside || this.camera.scale > 0.09)) trace(context, line, isStraight);
    }
    context.stroke();
    if (this.camera.scale < TIPPED) return;
    context.fillStyle = colors.edge;
    context.beginPath();
    for (const line of scene.lines) if (this.camera.sees(line)) tip(context, line);
    context.fill();
  }

  boxes(context, colors) {
    const seen = build.nodes.filter((node) => this.camera.sees(node));
    const byState = new Map();
    const { marked } = this;
    for (const node of seen) {
      const isFaint = marked !== null && !marked.has(node);
      const name = `${isFaint ? "faint " : ""}${node.state}`;
      if (!byState.has(name)) byState.set(name, { state: node.state, isFaint, nodes: [] });
      byState.get(name).nodes.push(node);
    }
    const isSmall = this.camera.scale < 0.25;
    for (const { state, isFaint, nodes } of byState.values()) {
      context.globalAlpha = isFaint ? 0.3 : 1;
      context.fillStyle = colors[isSmall ? state : `${state}-ground`];
      context.strokeStyle = colors[state];
      context.lineWidth = Math.max(1, 0.6 / this.camera.scale);
      context.beginPath();
      for (const node of nodes) {
        if (isSmall) context.rect(node.x, node.y, BOX.width, BOX.height);
        else context.roundRect(node.x, node.y, BOX.width, BOX.height, 5);
      }
      context.fill();
      if (!isSmall) context.stroke();
      if (!isSmall) for (const node of nodes) this.inside(context, node, colors);
    }
    context.globalAlpha = 1;
  }

  /** The mark and the text of a box: two lines, or from afar as much of the name as can be read. */
  inside(context, node, colors) {
    const { scale } = this.camera;
    const isLegible = scale >= LEGIBLE;
    const state = stateOf(node);
    // From afar, letters and marks stay as large as they are on the screen.
    const size = isLegible ? 1 : Math.min(3, 0.8 / scale);
    context.save();
    context.translate(node.x + 8, node.y + (isLegible ? 8 : BOX.height / 2 - 6 * size));
    context.scale(size, size);
    [context.strokeStyle, context.fillStyle] = [colors[node.state], colors[node.state]];
    [context.lineWidth, context.lineCap, context.lineJoin] = [1.8, "round", "round"];
    if (state.solid) context.fill(state.shape);
    context.stroke(state.shape);
    context.restore();
    context.textBaseline = "middle";
    context.fillStyle = colors.ink;
    if (!isLegible) {
      const left = 13 + 13 * size;
      context.font = `${Math.round(10 / scale)}px ${FONT}`;
      context.fillText(telling(context, node.label, BOX.width - left - 4), node.x + left, node.y + BOX.height / 2 + 1);
      return;
    }
    context.font = `600 12px ${FONT}`;
    context.fillText(fitted(context, node.label, BOX.width - 36), node.x + 28, node.y + 14);
    context.fillStyle = colors["soft-ink"];
    context.font = `11px ${FONT}`;
    const facts = [state.word, node.size || node.digest ? humanSize(node.size) : "", node.seconds ? humanSeconds(node.seconds) : ""];
    const text = facts.filter(Boolean).join(" · ");
    context.fillText(fitted(context, text, BOX.width - 36), node.x + 28, node.y + 29.5);
  }

  /** The longest chain, and what is around the chosen node. */
  strongLines(context, colors) {
    const strong = [];
    if (this.showsCritical) {
      build.critical.slice(1).forEach((node, place) => strong.push([build.critical[place], node, colors.failed]));
    }
    const { chosen } = this;
    if (chosen) {
      for (const needed of chosen.needs) strong.push([needed, chosen, colors.accent]);
      for (const user of chosen.users) strong.push([chosen, user, colors.accent]);
    }
    context.lineWidth = Math.max(2, 1.5 / this.camera.scale);
    for (const [from, to, color] of strong) {
      const line = between(from, to);
      if (!this.camera.sees(line)) continue;
      context.strokeStyle = color;
      context.beginPath();
      trace(context, line, false);
      context.stroke();
      if (this.camera.scale < TIPPED) continue;
      context.fillStyle = color;
      context.beginPath();
      tip(context, line);
      context.fill();
    }
  }

  strongBoxes(context, colors) {
    const outlined = [];
    if (this.showsCritical) for (const node of build.critical) outlined.push([node, colors.failed, 2]);
    if (this.marked) for (const node of this.marked) outlined.push([node, colors.accent, 1.5]);
    if (this.hovered) outlined.push([this.hovered, colors.ink, 1.5]);
    if (this.chosen) outlined.push([this.chosen, colors.accent, 3]);
    for (const [node, color, thickness] of outlined) {
      if (!this.camera.sees(node)) continue;
      context.strokeStyle = color;
      context.lineWidth = Math.max(thickness, thickness / this.camera.scale);
      context.beginPath();
      context.roundRect(node.x - 1.5, node.y - 1.5, BOX.width + 3, BOX.height + 3, 6);
      context.stroke();
    }
  }

  /** The names of groups, in pixels of the screen so that they can be read from afar. */
  titles(context, colors) {
    const { camera } = this;
    context.textBaseline = "middle";
    const size = Math.max(8, Math.min(12, Math.round(30 * camera.scale)));
    context.font = `600 ${size}px ${FONT}`;
    context.fillStyle = colors["soft-ink"];
    for (const group of build.groups) {
      const width = group.width * camera.scale - 16;
      if (width < 40 || camera.scale < 0.2 || !camera.sees(group)) continue;
      const [x, y] = [(group.x - camera.x) * camera.scale, (group.y - camera.y) * camera.scale];
      context.fillText(telling(context, group.title, width), x + 14 * camera.scale, y + 22 * camera.scale);
    }
    for (const block of scene.blocks) {
      if (block.groups.length < 3 || block.width * camera.scale < 90 || !camera.sees(block)) continue;
      const [x, y] = [(block.x - camera.x) * camera.scale, (block.y - 12 - camera.y) * camera.scale];
      context.fillText(counted(block.groups.length, "section"), x, y - 9);
    }
  }
}
