// The map: points to pan, zoom, hover, and select by lasso or rectangle.
import { element, picture, say } from "../base.js";
import { colouring } from "./colours.js";
import { binary, data, emit, on, select, showOnlySelected, valueNow } from "./data.js";
import { pixelOf, Raster } from "./raster.js";

const NEAR = 9; // pixels: how close a pointer must come to a point
const CELLS = 96; // of the index, on each side

export class PointMap {
  constructor(host) {
    this.canvas = element("canvas", {
      tabindex: 0, role: "img", class: "points",
      "aria-label": "Map of the images. Plus and minus zoom, arrows move, 0 shows all, L lasso, R rectangle, V moves the map.",
    });
    this.ink = element("canvas", { class: "ink", "aria-hidden": "true" });
    this.tip = element("div", { class: "tip", hidden: true });
    this.note = element("p", { class: "note", hidden: true });
    host.append(this.canvas, this.ink, this.tip, this.note);
    this.raster = new Raster(this.canvas);
    this.tool = "lasso";
    this.zoom = { x: 0, y: 0, scale: 1 };
    this.colours = new Uint32Array(0);
    this.pointers = new Map();
    this.path = null;
    this.hover = -1;
    this.marked = -1;
    this.wanted = false;
    new ResizeObserver(() => this.resize()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.colour());
    this.listen();
    for (const event of ["filter", "selection"]) on(event, () => this.draw());
    on("hover", (row) => { this.marked = row; this.drawInk(); });
  }

  async load(kind) {
    const places = await binary(`/api/explore/layout?kind=${kind}`, Float32Array);
    data.layoutKind = kind;
    const old = data.layout;
    data.layout = places;
    if (old && old.length === places.length && !matchMedia("(prefers-reduced-motion: reduce)").matches) this.glide(old, places);
    else this.setPlaces(places);
  }

  // From one map to another: one sees where the images go.
  glide(old, places) {
    const began = performance.now(), between = new Float32Array(places.length);
    const step = (now) => {
      const share = Math.min(1, (now - began) / 450), eased = share * share * (3 - 2 * share);
      if (data.layout !== places) return;
      if (share >= 1) { this.setPlaces(places); return; }
      for (let i = 0; i < places.length; i++) between[i] = old[i] + (places[i] - old[i]) * eased;
      this.places = between;
      this.draw(true);
      requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  setPlaces(places) {
    this.places = places;
    const cells = Array.from({ length: CELLS * CELLS }, () => []);
    for (let row = 0; row < places.length / 2; row++) {
      const [x, y] = [places[2 * row], places[2 * row + 1]];
      if (!Number.isNaN(x)) cells[cell(y) * CELLS + cell(x)].push(row);
    }
    this.cells = cells;
    this.canvas.dataset.ready = "yes";
    this.draw();
  }

  async colour() {
    const found = await colouring(data.colourBy);
    this.colours = found.colours;
    this.lost = found.lost;
    data.colours = found.colours;
    this.draw();
    emit("legend", found.legend);
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvas.parentElement;
    if (!clientWidth || !clientHeight) return;
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    this.raster.resize(Math.round(clientWidth * this.ratio), Math.round(clientHeight * this.ratio));
    this.ink.width = this.canvas.width;
    this.ink.height = this.canvas.height;
    this.draw(true);
  }

  // Where the plane lies in canvas pixels.
  view() {
    const { width, height } = this.canvas, base = 0.46 * Math.min(width, height), { x, y, scale } = this.zoom;
    return { scale: base * scale, cx: width / 2 - x * base * scale, cy: height / 2 + y * base * scale };
  }

  draw(now = false) {
    if (now) { this.paint(); return; }
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => { this.wanted = false; this.paint(); });
  }

  paint() {
    if (!this.places || !this.raster.pixels || this.colours.length !== data.ids.length) return;
    const began = performance.now(), style = getComputedStyle(document.documentElement);
    const view = this.view(), n = data.shownCount || 1, selecting = data.selected > 0;
    const size = Math.max(1.1, Math.min(4.5, 3.6 * Math.sqrt(3000 / (n + 400)) * Math.sqrt(this.zoom.scale) ** 0.7)) * this.ratio;
    if (this.state?.length !== data.ids.length) this.state = new Uint8Array(data.ids.length);
    const { state } = this;
    for (let row = 0; row < state.length; row++) state[row] = data.selection[row] ? 2 : data.shown[row] && this.lost[row] ? 3 : data.shown[row];
    this.raster.clear(pixelOf(style.getPropertyValue("--ground")));
    if (data.shownCount < data.ids.length) this.raster.points(this.places, this.faint(style), state, 0, view, 0.8 * this.ratio, 110);
    this.raster.points(this.places, this.colours, state, 3, view, size * 0.8, selecting ? 90 : 190); // nothing known: below
    this.raster.points(this.places, this.colours, state, 1, view, size, selecting ? 120 : 235);
    if (selecting) this.raster.points(this.places, this.colours, state, 2, view, size + 0.4, 256, pixelOf(style.getPropertyValue("--ink")));
    this.raster.show();
    this.drawInk();
    this.canvas.dataset.milliseconds = (performance.now() - began).toFixed(1);
  }

  faint(style) {
    const colour = pixelOf(style.getPropertyValue("--missing"));
    if (this.greys?.length !== data.ids.length || this.greys[0] !== colour) this.greys = new Uint32Array(data.ids.length).fill(colour);
    return this.greys;
  }

  drawInk() {
    const context = this.ink.getContext("2d"), view = this.view(), style = getComputedStyle(document.documentElement);
    context.clearRect(0, 0, this.ink.width, this.ink.height);
    const accent = style.getPropertyValue("--accent").trim();
    for (const row of new Set([this.hover, this.marked])) {
      if (row < 0 || !this.places) continue;
      const x = view.cx + view.scale * this.places[2 * row], y = view.cy - view.scale * this.places[2 * row + 1];
      context.beginPath();
      context.arc(x, y, 9 * this.ratio, 0, 7);
      context.lineWidth = 5 * this.ratio;
      context.strokeStyle = style.getPropertyValue("--ground").trim();
      context.stroke();
      context.lineWidth = 2.5 * this.ratio;
      context.strokeStyle = accent;
      context.stroke();
    }
    if (!this.path) return;
    context.beginPath();
    this.outline().forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    context.globalAlpha = 0.12;
    context.fillStyle = accent;
    context.fill();
    context.globalAlpha = 1;
    context.lineWidth = 1.5 * this.ratio;
    context.strokeStyle = accent;
    context.setLineDash([6 * this.ratio, 4 * this.ratio]);
    context.stroke();
    context.setLineDash([]);
  }

  outline() {
    const { path } = this;
    if (this.path.tool === "lasso") return path.points;
    const [[x0, y0], [x1, y1]] = [path.points[0], path.points[path.points.length - 1]];
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]];
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.ratio, (event.clientY - box.top) * this.ratio];
  }

  nearest([x, y]) {
    if (!this.cells) return -1;
    const view = this.view(), px = (x - view.cx) / view.scale, py = (view.cy - y) / view.scale;
    const reach = (NEAR * this.ratio) / view.scale;
    let [best, least] = [-1, reach * reach];
    for (let j = cell(py - reach); j <= cell(py + reach); j++) {
      for (let i = cell(px - reach); i <= cell(px + reach); i++) {
        for (const row of this.cells[j * CELLS + i]) {
          if (!data.shown[row]) continue;
          const far = (this.places[2 * row] - px) ** 2 + (this.places[2 * row + 1] - py) ** 2;
          if (far < least) [best, least] = [row, far];
        }
      }
    }
    return best;
  }

  inside(outline) {
    const view = this.view(), rows = [];
    const xs = outline.map((p) => p[0]), ys = outline.map((p) => p[1]);
    const [left, right] = [Math.min(...xs), Math.max(...xs)], [top, bottom] = [Math.min(...ys), Math.max(...ys)];
    for (let row = 0; row < data.ids.length; row++) {
      if (!data.shown[row]) continue;
      const x = view.cx + view.scale * this.places[2 * row], y = view.cy - view.scale * this.places[2 * row + 1];
      if (!(x >= left && x <= right && y >= top && y <= bottom)) continue;
      let within = false;
      for (let i = 0, j = outline.length - 1; i < outline.length; j = i++) {
        if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) within = !within;
      }
      if (within) rows.push(row);
    }
    return rows;
  }

  zoomAt([x, y], factor) {
    const view = this.view(), px = (x - view.cx) / view.scale, py = (view.cy - y) / view.scale;
    const scale = Math.max(0.5, Math.min(400, this.zoom.scale * factor)), part = 1 - this.zoom.scale / scale;
    this.zoom = { scale, x: this.zoom.x + (px - this.zoom.x) * part, y: this.zoom.y + (py - this.zoom.y) * part };
    this.draw();
  }

  move(dx, dy) {
    const { scale } = this.view();
    this.zoom = { ...this.zoom, x: this.zoom.x - dx / scale, y: this.zoom.y + dy / scale };
    this.draw();
  }

  fit(rows = null) {
    this.zoom = { x: 0, y: 0, scale: 1 };
    const known = (rows ?? []).filter((row) => !Number.isNaN(this.places[2 * row]));
    if (known.length) {
      let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity]; // many rows: too many arguments for Math.min
      for (const row of known) {
        const [x, y] = [this.places[2 * row], this.places[2 * row + 1]];
        [left, right, low, high] = [Math.min(left, x), Math.max(right, x), Math.min(low, y), Math.max(high, y)];
      }
      const scale = Math.min(60, 1.8 / Math.max(right - left, high - low, 0.01));
      this.zoom = { x: (left + right) / 2, y: (low + high) / 2, scale };
    }
    this.draw();
  }

  setTool(tool) {
    this.tool = tool;
    this.canvas.style.cursor = tool === "pan" ? "grab" : "crosshair";
    emit("tool", tool);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(this.at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.point(-1));
    canvas.addEventListener("dblclick", (event) => { const row = this.nearest(this.at(event)); if (row >= 0) emit("open", row); });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("keydown", (event) => this.key(event));
  }

  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.point(-1);
    if (this.pointers.size === 2) { this.path = null; this.drawInk(); return; }
    const panning = this.tool === "pan" || event.button === 1 || event.button === 2;
    this.path = { tool: panning ? "pan" : this.tool, points: [this.at(event)] };
  }

  moved(event) {
    const here = this.at(event);
    if (!this.pointers.has(event.pointerId)) { if (event.pointerType !== "touch") this.point(this.nearest(here), event); return; }
    const before = this.pointers.get(event.pointerId);
    if (this.pointers.size === 2) { // two fingers: zoom and move
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      const span = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]) || 1;
      this.zoomAt([(here[0] + other[0]) / 2, (here[1] + other[1]) / 2], span(here) / span(before));
      this.move((here[0] - before[0]) / 2, (here[1] - before[1]) / 2);
    } else if (this.path) {
      if (this.path.tool === "pan") this.move(here[0] - before[0], here[1] - before[1]);
      this.path.points.push(here);
      if (this.path.tool !== "pan") this.drawInk();
    }
    this.pointers.set(event.pointerId, here);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    const { path } = this;
    this.path = null;
    if (!path || event.type === "pointercancel") { this.drawInk(); return; }
    const far = Math.max(...path.points.map(([x, y]) => Math.hypot(x - path.points[0][0], y - path.points[0][1])));
    const how = event.shiftKey ? "add" : event.altKey ? "remove" : "set";
    if (far < 4 * this.ratio) {
      const row = this.nearest(this.at(event));
      if (row >= 0) { select([row], event.shiftKey ? "toggle" : how); emit("focus", row); } else if (how === "set" && path.tool !== "pan") select([]);
    } else if (path.tool !== "pan") {
      this.path = path;
      const rows = this.inside(this.outline());
      this.path = null;
      select(rows, how);
      showOnlySelected(true);
      if (!rows.length) say("no images there");
    }
    this.drawInk();
  }

  point(row, event) {
    if (row !== this.hover) {
      this.hover = row;
      this.drawInk();
      this.tip.hidden = row < 0;
      if (row >= 0) {
        const colour = data.colourBy ? valueNow(data.colourBy, row) : null;
        this.tip.replaceChildren(
          element("img", { src: `${picture(data.ids[row], 192)}&of=${data.key}`, alt: "" }),
          element("span", {}, data.ids[row]),
          ...(colour === null ? [] : [element("span", { class: "quiet" }, `${data.columns.get(data.colourBy).title}: ${colour}`)]),
        );
      }
    }
    if (row < 0 || !event) return;
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    const right = x > box.width / 2, low = y > box.height / 2;
    Object.assign(this.tip.style, {
      left: right ? "auto" : `${x + 16}px`, right: right ? `${box.width - x + 16}px` : "auto",
      top: low ? "auto" : `${y + 12}px`, bottom: low ? `${box.height - y + 12}px` : "auto",
    });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey) return;
    const middle = [this.canvas.width / 2, this.canvas.height / 2], step = 60 * this.ratio;
    const moves = { ArrowLeft: [step, 0], ArrowRight: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] };
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoomAt(middle, 1.3);
    else if (event.key === "-") this.zoomAt(middle, 1 / 1.3);
    else if (event.key === "0") this.fit();
    else return;
    event.preventDefault();
  }
}

function cell(value) {
  return Math.max(0, Math.min(CELLS - 1, Math.floor(((value + 1) / 2) * CELLS)));
}
