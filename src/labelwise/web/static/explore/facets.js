// Filters: for each column its values with their counts, or a histogram with a range.
import { element, say } from "../base.js";
import { colourOf, countsOf } from "./colours.js";
import { count, data, number, on, passing, setFilter, values } from "./data.js";

const FIRST = 10; // values shown before one asks for more
const MORE = 200;
const BINS = 36;
const OPEN = ["status", "label", "prediction", "score", "folder"]; // at the beginning

export class Facets {
  constructor(host) {
    this.host = host;
    this.facets = new Map();
    this.open = new Set(OPEN);
    on("columns", () => this.build());
    on("filter", () => this.update());
    on("colour", () => this.update());
  }

  build() {
    this.host.replaceChildren();
    this.facets.clear();
    let group = "";
    for (const column of data.columns.values()) {
      if (column.group !== group) this.host.append(element("h2", {}, (group = column.group)));
      const body = element("div", { class: "facet-body" });
      const clear = element("button", {
        class: "clear", hidden: true, "aria-label": `Clear the filter of ${column.title}`, title: "Clear this filter",
        onclick: (event) => { event.preventDefault(); setFilter(column.name, null); },
      }, "×");
      const details = element("details", { class: "facet", open: this.open.has(column.name) },
        element("summary", {}, element("span", {}, column.title), clear), body);
      details.addEventListener("toggle", () => {
        this.open[details.open ? "add" : "delete"](column.name);
        if (details.open) this.fill(column.name);
      });
      this.facets.set(column.name, { column, details, body, clear, all: false });
      this.host.append(details);
    }
    this.update();
  }

  update() {
    for (const [name, facet] of this.facets) {
      facet.clear.hidden = !data.filters.has(name);
      if (facet.details.open) this.fill(name);
    }
  }

  async fill(name) {
    const facet = this.facets.get(name);
    try {
      const own = await values(name);
      if (this.facets.get(name) !== facet) return;
      if (facet.column.kind === "category") this.fillNames(facet, own);
      else this.fillNumbers(facet, own);
    } catch (error) {
      say(error.message, true);
    }
  }

  fillNames(facet, own) {
    const { column, body } = facet, { name } = column, mask = passing(name);
    const whole = countsOf(column, own), now = countsOf(column, own, mask), wanted = data.filters.get(name)?.values;
    const colours = data.colourBy === name ? colourOf(column, whole.counts) : null;
    const order = Array.from(whole.counts.keys()).filter((value) => whole.counts[value])
      .sort((a, b) => (column.classes ? 0 : whole.counts[b] - whole.counts[a]) || a - b);
    if (whole.missing) order.push(-1);
    const shown = facet.all ? order.slice(0, MORE) : order.slice(0, FIRST), most = Math.max(1, ...order.slice(0, MORE).map((value) => whole.counts[value] ?? 0));
    const focused = body.contains(document.activeElement) ? document.activeElement.dataset.value : undefined;
    body.replaceChildren(...shown.map((value) => {
      const total = value < 0 ? whole.missing : whole.counts[value], left = value < 0 ? now.missing : now.counts[value];
      const bar = element("span", { class: "bar" }, element("i", { style: { width: `${Math.min(100, (100 * total) / most)}%` } }), element("b", { style: { width: `${Math.min(100, (100 * left) / most)}%` } }));
      if (colours?.[value]) bar.lastChild.style.background = colours[value];
      return element("button", {
        class: "value", "data-value": value, "aria-pressed": wanted?.has(value) ?? false,
        title: `${value < 0 ? "none" : column.values[value]}: ${count(left)} of ${count(total)}`, onclick: () => this.toggle(name, value),
      }, element("span", { class: "name" }, value < 0 ? "none" : column.values[value]), bar, element("span", { class: "count" }, count(left)));
    }));
    if (order.length > shown.length || facet.all) {
      const label = facet.all ? "fewer" : `all ${count(order.length)}${order.length > MORE ? ` (the first ${MORE})` : ""}`;
      if (order.length > FIRST) body.append(element("button", { class: "more", onclick: () => { facet.all = !facet.all; this.fill(name); } }, label));
    }
    if (focused !== undefined) body.querySelector(`[data-value="${focused}"]`)?.focus();
  }

  toggle(name, value) {
    const wanted = new Set(data.filters.get(name)?.values ?? []);
    if (!wanted.delete(value)) wanted.add(value);
    setFilter(name, wanted.size ? { values: wanted } : null);
  }

  fillNumbers(facet, own) {
    const { column, body } = facet, { name, form } = column;
    facet.bins ??= binned(own);
    if (facet.bins.own !== own) facet.bins = binned(own);
    const { low, high, counts, binOf } = facet.bins;
    if (low === null) { body.replaceChildren(element("p", { class: "quiet" }, "nothing there")); return; }
    const mask = passing(name), now = new Uint32Array(BINS), wanted = data.filters.get(name) ?? { low, high };
    for (let row = 0; row < own.length; row++) if (mask[row] && binOf[row] < BINS) now[binOf[row]]++;
    if (!facet.plot) this.makePlot(facet);
    if (!body.contains(facet.plot)) body.replaceChildren(facet.plot, facet.range);
    const most = Math.sqrt(Math.max(...counts, 1)), across = 100 / BINS;
    const bars = (some, kind) => Array.from(some, (value, i) => `<rect class="${kind}" x="${(i * across).toFixed(2)}" width="${(across * 0.86).toFixed(2)}" y="${(40 - (38 * Math.sqrt(value)) / most).toFixed(2)}" height="${((38 * Math.sqrt(value)) / most).toFixed(2)}"/>`).join("");
    const place = (value) => (100 * (value - low)) / (high - low || 1);
    const left = Math.max(0, Math.min(100, place(wanted.low))), right = Math.max(0, Math.min(100, place(wanted.high)));
    // Only numbers go into this markup.
    facet.plot.innerHTML = `${bars(counts, "all")}${bars(now, "now")}<rect class="veil" x="0" y="0" width="${left}" height="40"/><rect class="veil" x="${right}" y="0" width="${100 - right}" height="40"/>`;
    const [from, to] = facet.inputs;
    for (const [input, value] of [[from, wanted.low], [to, wanted.high]]) {
      if (document.activeElement === input) continue;
      input.value = form === "time" ? number(value, form) : String(Number(value.toPrecision(5)));
    }
  }

  makePlot(facet) {
    const { name, title, form } = facet.column;
    const plot = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    plot.setAttribute("viewBox", "0 0 100 40");
    plot.setAttribute("preserveAspectRatio", "none");
    plot.setAttribute("class", "histogram");
    plot.setAttribute("aria-hidden", "true");
    const at = (event) => {
      const box = plot.getBoundingClientRect(), { low, high } = facet.bins;
      return low + Math.max(0, Math.min(1, (event.clientX - box.left) / box.width)) * (high - low);
    };
    let from = null;
    plot.addEventListener("pointerdown", (event) => { plot.setPointerCapture(event.pointerId); from = at(event); });
    plot.addEventListener("pointermove", (event) => { if (from !== null) this.range(name, from, at(event)); });
    plot.addEventListener("pointerup", (event) => {
      const to = at(event);
      if (Math.abs(to - from) < (facet.bins.high - facet.bins.low) / 200) setFilter(name, null);
      from = null;
    });
    const input = (end) => element("input", {
      type: form === "time" ? "text" : "number", step: "any", "aria-label": `${title}: ${end}`,
      onchange: () => {
        const [low, high] = facet.inputs.map((one, i) => read(one.value, form) ?? (i ? facet.bins.high : facet.bins.low));
        this.range(name, low, high);
      },
    });
    facet.plot = plot;
    facet.inputs = [input("least"), input("most")];
    facet.range = element("div", { class: "range" }, facet.inputs[0], element("span", { class: "quiet" }, "to"), facet.inputs[1]);
  }

  range(name, a, b) {
    const { low, high } = this.facets.get(name).bins, wanted = { low: Math.min(a, b), high: Math.max(a, b) };
    // What people see is rounded: the ends themselves stay in.
    const slack = (high - low) * 1e-5;
    const whole = wanted.low <= low + slack && wanted.high >= high - slack;
    setFilter(name, whole ? null : { low: wanted.low - slack, high: wanted.high + slack });
  }
}

function read(text, form) {
  if (text.trim() === "") return null;
  const value = form === "time" ? Date.parse(`${text.trim().replace(" ", "T")}Z`) / 1000 : Number(text);
  return Number.isNaN(value) ? null : value;
}

function binned(own) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of own) { if (value < low) low = value; if (value > high) high = value; }
  const counts = new Uint32Array(BINS), binOf = new Uint8Array(own.length).fill(BINS);
  if (low > high) return { own, low: null, high: null, counts, binOf };
  const scale = BINS / (high - low || 1);
  for (let row = 0; row < own.length; row++) {
    if (Number.isNaN(own[row])) continue;
    binOf[row] = Math.min(BINS - 1, Math.floor((own[row] - low) * scale));
    counts[binOf[row]]++;
  }
  return { own, low, high, counts, binOf };
}
