// Boxes: drawn, moved, resized, named, removed; those that a model proposes are dashed until somebody has agreed.
import { colour } from "./classes.js";
import { crosshair, overview } from "./marks.js";

const HANDLE = 5; // half its side, on the screen
const REACH = { mouse: 8, pen: 12, touch: 22 }; // how near a pointer must be
const SMALL = 4; // on the screen: less is a click
const LETTERS = 24; // of a class beside its box: a longer name would cover other boxes

export class Boxes {
  constructor(room) {
    this.room = room;
    this.accepts = "Save & next";
    this.help = [
      ["drag", "draw a box; drag a selected box or its handles to change it"],
      [".", "begin a box in the middle of what is seen, then arrows and Alt + arrows"], ["click, Tab", "select a box, the next box"],
      ["1 – 9, a – z", "class of the selected box, or of the next ones"], ["Delete", "remove the selected box"],
      ["arrows", "move the selected box (Shift: by 10; Alt: its lower right corner)"], ["Enter", "accept all boxes, next image"],
      ["Ctrl Z", "undo"], ["wheel, pinch, PageUp / PageDown, Home", "zoom, whole image"], ["Space + drag", "move the picture"],
    ];
    this.tools = [
      ["Remove box", "Del", () => this.remove()], ["Undo", "Ctrl Z", () => this.undo()],
      ["Whole image", "Home", () => this.room.view.fit()],
    ];
    this.active = null;
  }

  show(question, image) {
    this.question = question;
    const from = question.mine ?? question.proposal ?? [];
    this.boxes = from.map(({ name, box }) => ({ name, box: [...box], dashed: question.mine === null }));
    this.before = [];
    this.corrections = 0;
    this.undone = 0;
    this.selected = -1;
    this.drag = null;
    this.room.view.set(image, [question.width, question.height]);
    this.#mark();
  }

  note() {
    const dashed = this.boxes.filter((box) => box.dashed).length;
    return `${this.boxes.length} ${this.boxes.length === 1 ? "box" : "boxes"}${dashed ? `, ${dashed} proposed` : ""}`;
  }

  get one() { return this.boxes[this.selected]; }

  #mark() {
    this.room.classes.mark({ active: this.one?.name ?? this.active, proposed: null });
    this.room.noted();
    this.room.view.draw();
  }

  #keep() {
    this.before.push(this.boxes.map((box) => ({ ...box, box: [...box.box] })));
    if (this.before.length > 100) this.before.shift();
  }

  undo() {
    const last = this.before.pop();
    if (!last) return false;
    this.boxes = last;
    this.undone += 1;
    this.selected = Math.min(this.selected, last.length - 1);
    this.#mark();
    return true;
  }

  choose(name) {
    this.active = name;
    if (this.one && this.one.name !== name) {
      this.#keep();
      if (this.one.name) this.corrections += 1;
      this.one.name = name;
    }
    if (this.one) this.one.dashed = false;
    this.#mark();
  }

  remove() {
    if (!this.one) return;
    this.#keep();
    this.corrections += 1;
    this.boxes.splice(this.selected, 1);
    this.selected = Math.min(this.selected, this.boxes.length - 1);
    this.#mark();
  }

  accept() {
    const nameless = this.boxes.findIndex((box) => !box.name);
    if (nameless >= 0) {
      this.selected = nameless;
      this.#mark();
      this.room.say("this box has no class yet: choose one", true);
      return;
    }
    const boxes = this.boxes.map(({ name, box }) => ({ name, box }));
    this.room.desk.submit({ kind: "boxes", boxes }, { corrections: this.corrections, undone: this.undone });
  }

  key(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (event.key === "Delete" || event.key === "Backspace") this.remove();
    else if (event.key === "Escape") { this.selected = -1; this.drag = null; this.#mark(); }
    else if (event.key === ".") this.#begin();
    else if (event.key === "Tab") return this.#next(event.shiftKey ? -1 : 1);
    else if (moves[event.key] && this.one) this.#nudge(moves[event.key], event);
    else return false;
    return true;
  }

  // A box without a pointer: a quarter of what is seen, in its middle, but inside the image.
  #begin() {
    const { view } = this.room;
    const [x0, y0] = view.toImage([0, 0]).map((at) => Math.max(0, at));
    const [x1, y1] = view.toImage(view.box).map((at, i) => Math.min(view.size[i], at));
    if (x1 - x0 < 1 || y1 - y0 < 1) { view.fit(); return this.#begin(); }
    const [cx, cy, w, h] = [(x0 + x1) / 2, (y0 + y1) / 2, Math.max(1, (x1 - x0) / 4), Math.max(1, (y1 - y0) / 4)];
    this.#keep();
    this.boxes.push({ name: this.active, box: this.#snapped([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]), dashed: false });
    this.selected = this.boxes.length - 1;
    this.room.canvas.focus({ preventScroll: true });
    this.room.say(this.active ? "arrows move it, Alt + arrows size it" : "choose its class; arrows move it, Alt + arrows size it");
    this.#mark();
  }

  // The next box; after the last one the focus goes on, so that nobody is caught here.
  #next(step) {
    const to = this.selected + step;
    if (document.activeElement !== this.room.canvas || to < 0 || to >= this.boxes.length) {
      this.selected = -1;
      this.#mark();
      return false;
    }
    this.selected = to;
    this.#mark();
    return true;
  }

  #nudge([dx, dy], event) {
    const by = event.shiftKey ? 10 : 1;
    this.#keep();
    const { box } = this.one;
    this.one.box = this.#snapped(event.altKey
      ? [box[0], box[1], Math.max(box[0] + 1, box[2] + dx * by), Math.max(box[1] + 1, box[3] + dy * by)]
      : this.#shifted(box, dx * by, dy * by));
    this.one.dashed = false;
    this.#mark();
  }

  #shifted([x0, y0, x1, y1], dx, dy) {
    const { width, height } = this.question;
    const sx = Math.max(-x0, Math.min(width - x1, dx));
    const sy = Math.max(-y0, Math.min(height - y1, dy));
    return [x0 + sx, y0 + sy, x1 + sx, y1 + sy];
  }

  // Corners in order, inside the image, and whole pixels unless one looks closer.
  #snapped([x0, y0, x1, y1]) {
    const { width, height } = this.question;
    const grain = this.room.view.scale > 4 ? 10 : 1;
    const put = (value, most) => Math.round(Math.max(0, Math.min(most, value)) * grain) / grain;
    return [put(Math.min(x0, x1), width), put(Math.min(y0, y1), height), put(Math.max(x0, x1), width), put(Math.max(y0, y1), height)];
  }

  // Which corner or side of the selected box a point is at: [-1|0|1, -1|0|1], or null.
  #handle([x, y], kind) {
    if (!this.one) return null;
    const near = (REACH[kind] ?? REACH.mouse) / this.room.view.scale;
    const [x0, y0, x1, y1] = this.one.box;
    if (x < x0 - near || x > x1 + near || y < y0 - near || y > y1 + near) return null;
    const side = (value, low, high) => {
      const [a, b] = [Math.abs(value - low), Math.abs(value - high)];
      return Math.min(a, b) > near ? 0 : a < b ? -1 : 1;
    };
    const found = [side(x, x0, x1), side(y, y0, y1)];
    return found[0] || found[1] ? found : null;
  }

  #at([x, y]) {
    const area = ({ box }) => (box[2] - box[0]) * (box[3] - box[1]);
    const inside = this.boxes.filter(({ box }) => x >= box[0] && x <= box[2] && y >= box[1] && y <= box[3]);
    return this.boxes.indexOf(inside.sort((a, b) => area(a) - area(b))[0]);
  }

  down(point, event) {
    const handle = this.#handle(point, event.pointerType);
    const inside = this.one && this.#at(point) === this.selected;
    this.drag = { from: point, handle, kind: handle ? "resize" : inside ? "move" : "draw", old: this.one ? [...this.one.box] : null, begun: false };
  }

  move([x, y], event) {
    const { drag } = this;
    if (!drag) return;
    const [dx, dy] = [x - drag.from[0], y - drag.from[1]];
    if (!drag.begun && Math.hypot(dx, dy) * this.room.view.scale < SMALL) return;
    if (!drag.begun) {
      drag.begun = true;
      this.#keep();
      if (drag.kind === "draw") {
        this.boxes.push({ name: this.active, box: [...drag.from, ...drag.from], dashed: false });
        this.selected = this.boxes.length - 1;
      } else {
        this.corrections += 1;
        this.one.dashed = false;
      }
    }
    if (drag.kind === "draw") this.one.box = this.#snapped([...drag.from, x, y]);
    else if (drag.kind === "move") this.one.box = this.#snapped(this.#shifted(drag.old, dx, dy));
    else {
      const [h, v] = drag.handle;
      const [x0, y0, x1, y1] = drag.old;
      this.one.box = this.#snapped([h < 0 ? x : x0, v < 0 ? y : y0, h > 0 ? x : x1, v > 0 ? y : y1]);
    }
    this.hover([x, y], event);
  }

  up(point) {
    const { drag } = this;
    this.drag = null;
    if (!drag) return;
    if (!drag.begun) {
      this.selected = this.#at(point);
    } else {
      const { box } = this.one;
      if (box[2] - box[0] < 1 || box[3] - box[1] < 1) this.undo();
      else if (drag.kind === "draw" && !this.one.name) this.room.say("choose its class");
    }
    this.#mark();
  }

  cancel() {
    if (this.drag?.begun) this.undo();
    this.drag = null;
  }

  hover(point, event) {
    const handle = this.#handle(point, event?.pointerType);
    const shapes = { "-1,-1": "nwse", "1,1": "nwse", "1,-1": "nesw", "-1,1": "nesw", "-1,0": "ew", "1,0": "ew", "0,-1": "ns", "0,1": "ns" };
    const over = this.one && this.#at(point) === this.selected;
    this.room.canvas.style.cursor = handle ? `${shapes[handle]}-resize` : over ? "move" : "crosshair";
  }

  draw(view) {
    const { context, scale } = view;
    const pixel = 1 / scale;
    this.boxes.forEach(({ name, box, dashed }, i) => {
      const [x0, y0, x1, y1] = box;
      const paint = name ? colour(this.room.classes.names.indexOf(name)) : "#ffffff";
      context.setLineDash(dashed ? [6 * pixel, 4 * pixel] : []);
      context.lineWidth = (i === this.selected ? 5 : 4) * pixel;
      context.strokeStyle = "#000000aa";
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      context.lineWidth = (i === this.selected ? 3 : 2) * pixel;
      context.strokeStyle = paint;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      context.setLineDash([]);
      const short = name?.length > LETTERS ? `${name.slice(0, LETTERS - 1)}…` : name ?? "?";
      label(context, `${short}${dashed ? " ?" : ""}`, [x0, y0], pixel, paint);
    });
    if (this.one) this.#handles(context, pixel);
    if (!this.drag) crosshair(view, pixel);
    overview(view);
  }

  #handles(context, pixel) {
    const [x0, y0, x1, y1] = this.one.box;
    const half = HANDLE * pixel;
    context.lineWidth = pixel;
    for (const x of [x0, (x0 + x1) / 2, x1]) {
      for (const y of [y0, (y0 + y1) / 2, y1]) {
        if (x === (x0 + x1) / 2 && y === (y0 + y1) / 2) continue;
        context.fillStyle = "#ffffff";
        context.strokeStyle = "#000000";
        context.fillRect(x - half, y - half, 2 * half, 2 * half);
        context.strokeRect(x - half, y - half, 2 * half, 2 * half);
      }
    }
  }
}

function label(context, text, [x, y], pixel, paint) {
  context.font = `${13 * pixel}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  const wide = context.measureText(text).width + 8 * pixel;
  const top = y - 18 * pixel < 0 ? y + 18 * pixel : y;
  context.fillStyle = "#000000cc";
  context.fillRect(x - pixel, top - 18 * pixel, wide, 18 * pixel);
  context.fillStyle = paint;
  context.fillText(text, x + 3 * pixel, top - 2 * pixel);
}
