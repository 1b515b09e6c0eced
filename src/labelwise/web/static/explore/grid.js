// The grid: only the tiles one sees are there; the keyboard walks over all of them.
import { element, picture } from "../base.js";
import { data, emit, on, select, told, values } from "./data.js";

const HIGHEST = 8_000_000; // pixels a browser can surely scroll
const AHEAD = 2; // rows of tiles beyond what is seen
const PATIENCE = 70; // milliseconds of rest before pictures are fetched while one scrolls fast
const GAP = 6, LINE = 22, FREE = 56; // pixels; below the last row there is room for what floats there

export class Grid {
  constructor(host) {
    this.host = host;
    this.space = element("div", { class: "space" });
    this.empty = element("p", { class: "empty", hidden: true });
    host.append(this.space, this.empty);
    this.tiles = new Map();
    this.focus = 0; // a place in the order
    this.anchor = 0;
    this.side = 112;
    this.caption = null;
    this.last = { top: 0, at: 0 };
    host.addEventListener("scroll", () => this.scrolled(), { passive: true });
    host.addEventListener("keydown", (event) => this.key(event));
    host.addEventListener("focus", () => this.render());
    host.addEventListener("blur", () => this.render());
    new ResizeObserver(() => this.render()).observe(host);
    on("order", () => this.reordered());
    on("selection", () => this.render());
    on("focus", (row) => this.reveal(row));
  }

  async reordered() {
    const name = data.sortBy;
    this.caption = data.columns.has(name) ? { column: data.columns.get(name), own: await values(name) } : null;
    // The run going on must not take away what one looks at: only another order begins at its top.
    const same = this.order?.length === data.order.length && this.order.every((row, place) => row === data.order[place]);
    this.order = data.order;
    if (!same) this.host.scrollTop = this.focus = this.anchor = 0;
    this.empty.hidden = data.order.length > 0;
    this.empty.textContent = data.ids.length ? "No image passes these filters." : "No images yet: the run has not taken in its data.";
    this.rebuild();
  }

  setSide(side) {
    const first = this.first();
    this.side = side;
    this.rebuild();
    this.show(first);
  }

  rebuild() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
    this.render();
  }

  measure() {
    const width = this.host.clientWidth - 2 * GAP;
    const across = Math.max(1, Math.floor((width + GAP) / (this.side + GAP)));
    const step = this.side + LINE + GAP, rows = Math.ceil(data.order.length / across);
    const real = rows * step + GAP + FREE, height = Math.min(real, HIGHEST);
    const seen = this.host.clientHeight, room = Math.max(1, height - seen);
    const top = real > height ? (this.host.scrollTop / room) * (real - seen) : this.host.scrollTop;
    const wide = Math.floor((width - (across - 1) * GAP) / across);
    return { across, step, rows, real, height, seen, top, shift: this.host.scrollTop - top, wide };
  }

  first() {
    const { across, step, top } = this.measure();
    return Math.floor(top / step) * across;
  }

  scrolled() {
    const now = performance.now(), fast = Math.abs(this.host.scrollTop - this.last.top) / Math.max(1, now - this.last.at) > 4;
    this.last = { top: this.host.scrollTop, at: now };
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => { this.frame = 0; this.render(fast); });
  }

  render(fast = false) {
    if (!this.host.clientWidth || !this.host.clientHeight) return;
    const m = this.measure();
    this.space.style.height = `${m.height}px`;
    const from = Math.max(0, Math.floor(m.top / m.step) - AHEAD) * m.across;
    const to = Math.min(data.order.length, (Math.ceil((m.top + m.seen) / m.step) + AHEAD) * m.across);
    for (const [place, tile] of this.tiles) {
      if (place < from || place >= to) { tile.querySelector("img")?.removeAttribute("src"); tile.remove(); this.tiles.delete(place); }
    }
    const added = document.createDocumentFragment();
    for (let place = from; place < to; place++) {
      let tile = this.tiles.get(place);
      if (!tile) { tile = this.tile(place); this.tiles.set(place, tile); added.append(tile); }
      const row = data.order[place], chosen = data.selection[row] === 1;
      tile.style.transform = `translate(${GAP + (place % m.across) * (m.wide + GAP)}px, ${GAP + Math.floor(place / m.across) * m.step + m.shift}px)`;
      tile.style.width = `${m.wide}px`;
      tile.setAttribute("aria-selected", chosen);
      tile.classList.toggle("focus", place === this.focus);
    }
    this.space.append(added);
    const focused = this.tiles.get(this.focus);
    if (focused) this.host.setAttribute("aria-activedescendant", focused.id);
    else this.host.removeAttribute("aria-activedescendant");
    clearTimeout(this.waiting);
    if (fast) this.waiting = setTimeout(() => this.fetch(), PATIENCE);
    else this.fetch();
  }

  fetch() {
    const side = this.side * Math.min(devicePixelRatio || 1, 2) <= 110 ? 96 : this.side * Math.min(devicePixelRatio || 1, 2) <= 220 ? 192 : 384;
    for (const tile of this.tiles.values()) {
      const image = tile.firstChild;
      if (!image.hasAttribute("src") && !tile.classList.contains("broken")) image.src = `${picture(tile.dataset.id, side)}&of=${data.key}`;
    }
  }

  tile(place) {
    const row = data.order[place], id = data.ids[row];
    const image = element("img", { alt: "", decoding: "async", draggable: "false" });
    const colour = data.colourBy && data.colours ? data.colours[row] : null;
    const value = this.caption ? told(this.caption.column, this.caption.own[row]) : "–";
    const words = value === "–" ? id.slice(id.lastIndexOf("/") + 1) : value;
    const tile = element("div", {
      class: "tile", role: "option", id: `tile-${place}`, "data-id": id, title: id, "aria-label": `${id}, ${words}`,
      onclick: (event) => this.clicked(event, place), ondblclick: () => emit("open", row),
      onpointerenter: () => emit("hover", row), onpointerleave: () => emit("hover", -1),
    }, image, element("span", { class: "words" }, colour === null ? null : element("i", { class: "swatch", style: { background: css(colour) } }), words));
    tile.style.setProperty("--side", `${this.side}px`);
    image.addEventListener("error", () => { if (image.hasAttribute("src")) { tile.classList.add("broken"); tile.title = `${id}: the picture cannot be shown`; } });
    return tile;
  }

  clicked(event, place) {
    this.host.focus({ preventScroll: true });
    if (event.shiftKey) this.extend(this.anchor, place);
    else {
      select([data.order[place]], event.ctrlKey || event.metaKey ? "toggle" : "set");
      this.anchor = place;
    }
    this.focus = place;
    this.render();
  }

  extend(from, to) {
    const [low, high] = from < to ? [from, to] : [to, from];
    select(data.order.slice(low, high + 1), "add");
  }

  // Bring a place of the order into sight.
  show(place) {
    const m = this.measure(), top = Math.floor(place / m.across) * m.step;
    let wanted = m.top;
    if (top < m.top) wanted = top;
    else if (top + m.step > m.top + m.seen) wanted = top + m.step - m.seen + GAP;
    if (wanted !== m.top) {
      this.host.scrollTop = m.real > m.height ? (wanted / (m.real - m.seen)) * (m.height - m.seen) : wanted;
    }
    this.render();
  }

  reveal(row) {
    const place = data.order.indexOf(row);
    if (place < 0) return;
    this.focus = this.anchor = place;
    this.show(place);
  }

  key(event) {
    if (!data.order.length) return;
    const { across, seen, step } = this.measure(), page = Math.max(1, Math.floor(seen / step)) * across, last = data.order.length - 1;
    const moves = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, PageUp: -page, PageDown: page,
      Home: -this.focus, End: last - this.focus,
    };
    if (event.key in moves && !event.altKey) {
      const before = this.focus;
      this.focus = Math.max(0, Math.min(last, this.focus + moves[event.key]));
      if (event.shiftKey) this.extend(before, this.focus);
      else this.anchor = this.focus;
      emit("hover", data.order[this.focus]);
      this.show(this.focus);
    } else if (event.key === " ") select([data.order[this.focus]], "toggle");
    else if (event.key === "Enter") emit("open", data.order[this.focus]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function css(pixel) {
  return `rgb(${pixel & 255} ${(pixel >> 8) & 255} ${(pixel >> 16) & 255})`;
}
