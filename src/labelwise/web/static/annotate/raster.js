// Masks as arrays: painted, filled, kept as runs. A value is the number of a class, -1 is none; nothing of the page here.

export const NONE = -1;

export class Mask {
  constructor(width, height) {
    this.width = width;
    this.height = height;
    this.values = new Int16Array(width * height).fill(NONE);
    this.steps = []; // what undoing puts back: for each step the rows it touched, and the bounds
    this.step = null;
  }

  begin() { this.step = { rows: new Map(), bounds: null }; }

  end() {
    const { step } = this;
    this.step = null;
    if (!step?.bounds) return;
    this.steps.push(step);
    if (this.steps.length > 60) this.steps.shift();
  }

  // Returns the bounds of what changed, or null if there is nothing to undo.
  undo() {
    const last = this.steps.pop();
    if (!last) return null;
    for (const [y, row] of last.rows) this.values.set(row, y * this.width);
    return last.bounds;
  }

  // Set the pixels x0 to x1 - 1 of a row, where `may` (an array of all pixels, or null) is not 0.
  span(y, x0, x1, value, may) {
    if (y < 0 || y >= this.height) return;
    const [from, to] = [Math.max(0, x0), Math.min(this.width, x1)];
    if (from >= to) return;
    const start = y * this.width;
    if (this.step && !this.step.rows.has(y)) this.step.rows.set(y, this.values.slice(start, start + this.width));
    if (!may) this.values.fill(value, start + from, start + to);
    else for (let x = from; x < to; x += 1) if (may[start + x]) this.values[start + x] = value;
    if (this.step) this.step.bounds = joined(this.step.bounds, [from, y, to, y + 1]);
  }

  // A round brush drawn from one point to another; returns the bounds.
  stroke([ax, ay], [bx, by], radius, value, may) {
    const [top, bottom] = [Math.floor(Math.min(ay, by) - radius), Math.ceil(Math.max(ay, by) + radius)];
    const [dx, dy] = [bx - ax, by - ay];
    const long = dx * dx + dy * dy;
    for (let y = top; y <= bottom; y += 1) {
      let [from, to] = [Infinity, -Infinity];
      const [left, right] = [Math.floor(Math.min(ax, bx) - radius), Math.ceil(Math.max(ax, bx) + radius)];
      for (let x = left; x <= right; x += 1) {
        const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
        const t = long ? Math.max(0, Math.min(1, (px * dx + py * dy) / long)) : 0;
        if (Math.hypot(px - t * dx, py - t * dy) <= radius) { from = Math.min(from, x); to = Math.max(to, x + 1); }
      }
      if (from < to) this.span(y, from, to, value, may);
    }
    return [Math.floor(Math.min(ax, bx) - radius), top, Math.ceil(Math.max(ax, bx) + radius) + 1, bottom + 1];
  }

  // The inside of a polygon by the even-odd rule, pixels by their centres.
  polygon(points, value, may) {
    const ys = points.map(([, y]) => y);
    const [top, bottom] = [Math.max(0, Math.floor(Math.min(...ys))), Math.min(this.height, Math.ceil(Math.max(...ys)))];
    for (let y = top; y < bottom; y += 1) {
      const cuts = [];
      points.forEach(([x0, y0], i) => {
        const [x1, y1] = points[(i + 1) % points.length];
        const middle = y + 0.5;
        if (y0 <= middle !== y1 <= middle) cuts.push(x0 + ((middle - y0) / (y1 - y0)) * (x1 - x0));
      });
      cuts.sort((a, b) => a - b);
      for (let i = 0; i + 1 < cuts.length; i += 2) this.span(y, Math.ceil(cuts[i] - 0.5), Math.ceil(cuts[i + 1] - 0.5), value, may);
    }
  }

  // The pixels around one that have its value and are connected to it by their sides, and lie where `may` says the same.
  bucket(x, y, value, may) {
    const { width, height, values } = this;
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const seed = y * width + x;
    const [old, zone] = [values[seed], may ? may[seed] : 0];
    if (old === value || (may && !zone)) return;
    const same = (at) => values[at] === old && (!may || may[at] === zone);
    const stack = [[x, y]];
    while (stack.length) {
      const [sx, sy] = stack.pop();
      const row = sy * width;
      if (!same(row + sx)) continue;
      let [from, to] = [sx, sx + 1];
      while (from > 0 && same(row + from - 1)) from -= 1;
      while (to < width && same(row + to)) to += 1;
      this.span(sy, from, to, value, null);
      for (const ny of [sy - 1, sy + 1]) {
        if (ny < 0 || ny >= height) continue;
        let open = false;
        for (let at = from; at < to; at += 1) {
          const found = same(ny * width + at);
          if (found && !open) stack.push([at, ny]);
          open = found;
        }
      }
    }
  }

  // All pixels at which an array of all pixels has a value.
  where(zones, zone, value) {
    for (let y = 0; y < this.height; y += 1) {
      const row = y * this.width;
      for (let x = 0; x < this.width; x += 1) if (zones[row + x] === zone) this.span(y, x, x + 1, value, null);
    }
  }

  get runs() {
    const found = [];
    const { values } = this;
    for (let i = 0, from = 0; i < values.length; i += 1) {
      if (i + 1 === values.length || values[i + 1] !== values[from]) { found.push(values[from], i + 1 - from); from = i + 1; }
    }
    return found;
  }

  set runs(runs) {
    for (let i = 0, at = 0; i < runs.length; i += 2) {
      this.values.fill(runs[i], at, at + runs[i + 1]);
      at += runs[i + 1];
    }
  }

  count(test) { return this.values.reduce((sum, value, at) => sum + Number(test(value, at)), 0); }
}

export function joined(one, other) {
  if (!one) return other;
  return [Math.min(one[0], other[0]), Math.min(one[1], other[1]), Math.max(one[2], other[2]), Math.max(one[3], other[3])];
}

// The sides between pixels of different zones, as lines [x0, y0, x1, y1]; `zones` is an array of all pixels.
export function borders(zones, width, height) {
  const lines = [];
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : zones[y * width + x]);
  for (let y = 0; y <= height; y += 1) {
    for (let x = 0, from = -1; x <= width; x += 1) {
      const apart = x < width && at(x, y) !== at(x, y - 1);
      if (apart && from < 0) from = x;
      if (!apart && from >= 0) { lines.push([from, y, x, y]); from = -1; }
    }
  }
  for (let x = 0; x <= width; x += 1) {
    for (let y = 0, from = -1; y <= height; y += 1) {
      const apart = y < height && at(x, y) !== at(x - 1, y);
      if (apart && from < 0) from = y;
      if (!apart && from >= 0) { lines.push([x, from, x, y]); from = -1; }
    }
  }
  return lines;
}
