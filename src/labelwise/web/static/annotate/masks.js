// Masks: brush, eraser, polygon and fill, over the whole image or inside the regions that are asked.
import { element } from "../base.js";
import { painted, regionsOf } from "./layers.js";
import { outlined, overview } from "./marks.js";
import { Mask, NONE } from "./raster.js";

const AROUND = 5; // how much of the picture is shown around a region, in its sides

export class Masks {
  constructor(room) {
    this.room = room;
    this.help = [
      ["b  e  p  f", "brush, eraser, polygon, fill"], ["r", "regions: a key fills the region with a class, and the next"],
      [",  .", "smaller, larger brush"], ["1 – 9, a – z", "the class to paint with"], ["0", "region: no class"],
      ["Enter", "close the polygon; else save, next image"], ["Esc", "leave the polygon"], ["Ctrl Z", "undo"],
      ["wheel, pinch, PageUp / PageDown, Home", "zoom, whole image or region"], ["Space + drag", "move the picture"],
    ];
    this.accepts = "Save & next";
    this.layer = document.createElement("canvas");
    this.radius = 8;
    this.active = null;
    this.slider = element("input", {
      type: "range", min: "0.5", max: "100", step: "0.5", "aria-label": "Brush size",
      oninput: () => { this.radius = Number(this.slider.value); this.room.view.draw(); },
      onchange: () => this.room.leave(),
    });
    this.tools = [];
  }

  show(question, image) {
    this.question = question;
    const { width, height } = question;
    this.mask = new Mask(width, height);
    this.mask.runs = question.mine ?? question.proposal ?? [NONE, width * height];
    this.points = [];
    this.undone = 0;
    this.zones = null;
    this.lines = null;
    this.region = 0;
    this.done = new Set(question.mine ? question.regions?.keys() : []);
    this.layer.width = width;
    this.layer.height = height;
    this.tool = question.kind === "regions" ? "regions" : "brush";
    this.#tools();
    this.#paint([0, 0, width, height]);
    this.room.view.set(image, [width, height]);
    this.home();
    this.#mark();
    this.loaded = question.kind === "regions" ? this.#load(question) : Promise.resolve();
  }

  async #load(question) {
    const found = await regionsOf(question).catch(() => null);
    if (this.question !== question) return;
    if (!found) { this.room.say("the regions cannot be shown: load the page again", true); return; }
    Object.assign(this, found);
    this.room.view.draw();
  }

  #tools() {
    const asked = this.question.kind === "regions";
    const named = [["regions", "Regions", "r"], ["brush", "Brush", "b"], ["eraser", "Eraser", "e"], ["polygon", "Polygon", "p"], ["fill", "Fill", "f"]];
    this.tools = [
      ...named.filter(([name]) => asked || name !== "regions").map(([name, text, key]) => [text, key, () => this.#take(name), name === this.tool]),
      ["Undo", "Ctrl Z", () => this.undo()], ["Zoom out", "Home", () => this.home()],
    ];
    this.slider.value = String(this.radius);
    this.room.tooled(element("label", { class: "row" }, "Size", this.slider));
  }

  #take(name) {
    this.tool = name;
    this.points = [];
    this.#tools();
    this.#mark();
  }

  home() {
    const bounds = this.question.regions?.[this.region];
    if (!bounds) { this.room.view.fit(); return; }
    const [x0, y0, x1, y1] = bounds;
    const side = (Math.max(x1 - x0, y1 - y0, 8) * AROUND) / 2;
    this.room.view.fit([(x0 + x1) / 2 - side, (y0 + y1) / 2 - side, (x0 + x1) / 2 + side, (y0 + y1) / 2 + side]);
  }

  note() {
    if (this.question.kind === "regions") return `Region ${this.region + 1} of ${this.question.regions.length}`;
    const painted = this.mask.count((value) => value !== NONE) / this.mask.values.length;
    return `${Math.round(painted * 100)} % painted`;
  }

  #mark() {
    this.room.classes.mark({ active: this.active, proposed: null });
    this.room.noted();
    this.room.canvas.style.cursor = this.tool === "brush" || this.tool === "eraser" ? "none" : "crosshair";
    this.room.view.draw();
  }

  get value() { return this.tool === "eraser" ? NONE : this.room.classes.names.indexOf(this.active); }

  choose(name) {
    this.active = name;
    if (this.tool === "regions") this.#fillRegion(this.room.classes.names.indexOf(name));
    else if (this.tool === "eraser") this.#take("brush");
    this.#mark();
  }

  // One key for a region: all of it has this class; then the next one, and after the last the next image.
  #fillRegion(value) {
    const { question } = this;
    if (!this.zones) { // a quick person: the key counts once the regions are here
      this.loaded.then(() => { if (this.question === question && this.zones) this.#fillRegion(value); });
      return;
    }
    this.mask.begin();
    this.mask.where(this.zones, this.region + 1, value);
    this.mask.end();
    this.done.add(this.region);
    this.#paint(this.question.regions[this.region]);
    const rest = [...this.question.regions.keys()].filter((i) => !this.done.has(i));
    const last = this.region + 1 === this.question.regions.length;
    if (!rest.length && (!this.question.mine || last)) { this.accept(); return; }
    this.region = rest.find((i) => i > this.region) ?? rest[0] ?? this.region + 1; // of an earlier answer all are done
    this.home();
    this.#mark();
  }

  undo() {
    if (this.points.length) { this.points.pop(); this.room.view.draw(); return true; }
    const bounds = this.mask.undo();
    if (!bounds) return false;
    this.undone += 1;
    const region = this.question.regions?.findIndex(([x0, y0, x1, y1]) => bounds[0] >= x0 && bounds[1] >= y0 && bounds[2] <= x1 && bounds[3] <= y1) ?? -1;
    if (region >= 0) { this.done.delete(region); this.region = region; this.home(); }
    this.#paint(bounds);
    this.#mark();
    return true;
  }

  accept() {
    if (this.points.length > 2) { this.#closePolygon(); return; }
    if (!this.mask.count((value) => value !== NONE) && this.question.kind === "mask") {
      this.room.say("nothing is painted yet: paint, or skip the image", true);
      return;
    }
    const left = this.#unpainted();
    if (left >= 0) {
      this.done.add(left); // asked once: Enter again leaves it without a class
      this.region = left;
      this.home();
      this.#mark();
      this.room.say("this region has no class yet: give it one, or Enter again to leave it without", true);
      return;
    }
    const answer = { kind: this.question.kind, classes: this.room.classes.names, runs: this.mask.runs };
    this.room.desk.submit(answer, { undone: this.undone });
  }

  #unpainted() {
    if (!this.zones) return -1;
    const painted = new Set();
    this.mask.values.forEach((value, at) => { if (value !== NONE) painted.add(this.zones[at]); });
    return this.question.regions.findIndex((_, i) => !painted.has(i + 1) && !this.done.has(i));
  }

  key(event) {
    const tools = { b: "brush", e: "eraser", p: "polygon", f: "fill", r: "regions" };
    const tool = tools[event.key.toLowerCase()];
    if (tool && (tool !== "regions" || this.zones)) this.#take(tool);
    else if (event.key === "," || event.key === ".") this.#resize(event.key === "," ? 1 / 1.3 : 1.3);
    else if (event.key === "Escape") { this.points = []; this.room.view.draw(); }
    else if (event.key === "0" && this.tool === "regions") this.#fillRegion(NONE);
    else if (event.key === "Backspace") this.undo();
    else if (event.key === "Tab" && this.zones && document.activeElement === this.room.canvas) return this.#turn(event.shiftKey ? -1 : 1);
    else return false;
    return true;
  }

  #turn(step) {
    const to = this.region + step;
    if (to < 0 || to >= this.question.regions.length) return false;
    this.region = to;
    this.home();
    this.#mark();
    return true;
  }

  #resize(factor) {
    this.radius = Math.max(0.5, Math.min(100, this.radius * factor));
    this.slider.value = String(this.radius);
    this.room.view.draw();
  }

  #ready() {
    if (this.tool === "eraser" || (this.active && this.value >= 0)) return true;
    this.room.say("choose a class first", true);
    return false;
  }

  down(point) {
    if (this.tool === "regions") { this.#pickRegion(point); return; }
    if (!this.#ready()) return;
    if (this.tool === "polygon") this.#corner(point);
    else if (this.tool === "fill") {
      this.mask.begin();
      this.mask.bucket(Math.floor(point[0]), Math.floor(point[1]), this.value, this.zones);
      this.#ended();
    } else {
      this.mask.begin();
      this.last = point;
      this.#paint(this.mask.stroke(point, point, this.radius, this.value, this.zones));
    }
  }

  #pickRegion([x, y]) {
    const zone = this.zones?.[Math.floor(y) * this.question.width + Math.floor(x)];
    if (zone) { this.region = zone - 1; this.#mark(); }
  }

  #corner(point) {
    const [first] = this.points;
    if (first && this.points.length > 2 && Math.hypot(point[0] - first[0], point[1] - first[1]) * this.room.view.scale < 12) this.#closePolygon();
    else this.points.push(point);
  }

  #closePolygon() {
    this.mask.begin();
    this.mask.polygon(this.points, this.value, this.zones);
    this.points = [];
    this.#ended();
  }

  #ended() {
    const bounds = this.mask.step?.bounds;
    this.mask.end();
    if (bounds) this.#paint(bounds);
    this.#mark();
  }

  move(point) {
    if (!this.mask.step) return;
    this.#paint(this.mask.stroke(this.last, point, this.radius, this.value, this.zones));
    this.last = point;
  }

  up() { if (this.mask.step) this.#ended(); }

  cancel() { this.up(); this.undo(); }

  #paint(bounds) {
    painted(this.layer, this.mask, bounds);
    this.room.view.draw();
  }

  draw(view) {
    const { context, scale } = view;
    const pixel = 1 / scale;
    context.imageSmoothingEnabled = false;
    context.globalAlpha = this.tool === "regions" ? 0.35 : 0.5;
    context.drawImage(this.layer, 0, 0);
    context.globalAlpha = 1;
    if (this.lines) this.#outline(context, pixel);
    this.#polygon(view, pixel);
    if (view.at && (this.tool === "brush" || this.tool === "eraser")) {
      const [x, y] = view.toImage(view.at);
      outlined(context, pixel, () => context.arc(x, y, this.radius, 0, 2 * Math.PI), "#ffffff", 1.5);
    }
    overview(view);
  }

  #outline(context, pixel) {
    for (const [paint, wide] of [["#000000", 4], ["#ffffff", 2]]) {
      context.strokeStyle = paint;
      context.lineWidth = wide * pixel;
      context.stroke(this.lines);
    }
    const [x0, y0, x1, y1] = this.question.regions[this.region];
    const room = 5 * pixel;
    context.setLineDash([6 * pixel, 4 * pixel]);
    outlined(context, pixel, () => context.rect(x0 - room, y0 - room, x1 - x0 + 2 * room, y1 - y0 + 2 * room), "#ffd400");
    context.setLineDash([]);
  }

  #polygon(view, pixel) {
    if (!this.points.length) return;
    const { context } = view;
    outlined(context, pixel, () => {
      this.points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      if (view.at) context.lineTo(...view.toImage(view.at));
    });
    const [x, y] = this.points[0];
    context.fillStyle = "#ffd400";
    context.fillRect(x - 5 * pixel, y - 5 * pixel, 10 * pixel, 10 * pixel);
  }
}
