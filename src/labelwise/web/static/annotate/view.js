// A picture to look into: drawn on a canvas, zoomed and moved by wheel, keys, pen and fingers; editors draw on it.

const MOST = 64; // screen pixels for one of the picture
const SMOOTH = 3; // from this scale on single pixels are shown as squares
const THIN = 6; // a picture is drawn at least so high and wide on the screen, or one of 4000 x 1 pixels were not seen

export class View {
  // `editor` may have draw(view), down(point, event), move, up, hover; points are in pixels of the picture.
  constructor(canvas, editor) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.editor = editor;
    this.image = null;
    this.size = [1, 1];
    this.scale = 1;
    this.origin = [0, 0]; // of the picture, on the screen
    this.pointers = new Map();
    this.held = false; // a pointer draws
    this.moving = false; // the space bar is down
    this.observer = new ResizeObserver(() => this.#resized());
    this.observer.observe(canvas);
    const on = (name, handle) => canvas.addEventListener(name, handle.bind(this), { passive: false });
    on("pointerdown", this.#down); on("pointermove", this.#move); on("pointerup", this.#up);
    on("pointercancel", this.#up); on("pointerleave", () => { this.at = null; this.draw(); });
    on("wheel", this.#wheel); on("contextmenu", (event) => event.preventDefault());
  }

  set(image, size) {
    this.image = image;
    this.size = size;
    this.#resized();
    this.fit();
  }

  get box() { return [this.canvas.clientWidth, this.canvas.clientHeight]; }

  fit(bounds = [0, 0, ...this.size], share = 0.98) {
    const [x0, y0, x1, y1] = bounds;
    const [width, height] = this.box;
    this.scale = Math.min(MOST, share * Math.min(width / (x1 - x0), height / (y1 - y0)));
    this.origin = [width / 2 - this.scale * (x0 + x1) / 2, height / 2 - this.scale * (y0 + y1) / 2];
    this.draw();
  }

  zoom(factor, [x, y] = this.box.map((side) => side / 2)) {
    const least = 0.5 * Math.min(this.box[0] / this.size[0], this.box[1] / this.size[1]);
    const scale = Math.max(Math.min(least, 1), Math.min(MOST, this.scale * factor));
    const [px, py] = this.toImage([x, y]);
    this.scale = scale;
    this.origin = [x - px * scale, y - py * scale];
    this.draw();
  }

  pan(dx, dy) {
    this.origin = [this.origin[0] + dx, this.origin[1] + dy];
    this.draw();
  }

  toImage([x, y]) { return [(x - this.origin[0]) / this.scale, (y - this.origin[1]) / this.scale]; }

  toScreen([x, y]) { return [x * this.scale + this.origin[0], y * this.scale + this.origin[1]]; }

  #spot(event) {
    const edge = this.canvas.getBoundingClientRect();
    return [event.clientX - edge.left, event.clientY - edge.top];
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.#draw(); });
  }

  #draw() {
    const { context, canvas, scale } = this;
    const ratio = devicePixelRatio;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(scale * ratio, 0, 0, scale * ratio, this.origin[0] * ratio, this.origin[1] * ratio);
    context.imageSmoothingEnabled = scale < SMOOTH;
    if (this.image) {
      const drawn = this.size.map((side) => Math.max(side, THIN / scale));
      context.drawImage(this.image, ...this.size.map((side, i) => (side - drawn[i]) / 2), ...drawn);
    }
    this.editor.draw?.(this);
  }

  #resized() {
    const [width, height] = this.box.map((side) => Math.max(1, Math.round(side * devicePixelRatio)));
    if (this.canvas.width === width && this.canvas.height === height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    if (!this.image) return;
    if (this.editor.home) this.editor.home();
    else this.fit();
  }

  #down(event) {
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    this.canvas.setPointerCapture?.(event.pointerId);
    const spot = this.#spot(event);
    this.pointers.set(event.pointerId, spot);
    if (this.pointers.size > 1) {
      if (this.held) { this.held = false; this.editor.cancel?.(); }
    } else if (event.button === 0 && !this.moving) {
      this.held = true;
      this.editor.down?.(this.toImage(spot), event);
    }
    this.draw();
  }

  #move(event) {
    const spot = this.#spot(event);
    this.at = spot;
    const before = this.pointers.get(event.pointerId);
    if (!before) {
      this.editor.hover?.(this.toImage(spot), event);
    } else if (this.pointers.size > 1) {
      const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
      this.zoom(apart(spot, other) / Math.max(1, apart(before, other)), other);
      this.pan((spot[0] - before[0]) / 2, (spot[1] - before[1]) / 2);
    } else if (this.held) {
      const steps = event.getCoalescedEvents?.() ?? [];
      for (const step of steps.length ? steps : [event]) this.editor.move?.(this.toImage(this.#spot(step)), step);
    } else {
      this.pan(spot[0] - before[0], spot[1] - before[1]);
    }
    if (before) this.pointers.set(event.pointerId, spot);
    this.draw();
  }

  #up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.held && !this.pointers.size) {
      this.held = false;
      this.editor.up?.(this.toImage(this.#spot(event)), event);
    }
    this.draw();
  }

  #wheel(event) {
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), this.#spot(event));
  }

  // Keys that every picture has; true if it was one.
  key(event) {
    if (event.key === "PageUp") this.zoom(1.25, this.at ?? undefined);
    else if (event.key === "PageDown") this.zoom(0.8, this.at ?? undefined);
    else if (event.key === "Home") this.editor.home ? this.editor.home() : this.fit();
    else return false;
    return true;
  }
}

function apart([ax, ay], [bx, by]) { return Math.hypot(ax - bx, ay - by); }
