// The room in which images are explored: a map and a grid of the same images, filters beside them.
import { ask, element, main, say } from "./base.js";
import { GRADIENT } from "./explore/colours.js";
import { Compare } from "./explore/compare.js";
import {
  addColumn, binary, count, data, emit, filter, idsOf, loadColumns, loadIds, loadTags, on, rowsWhere, select,
  selectedRows, setFilter, showOnlySelected, sort,
} from "./explore/data.js";
import { Facets } from "./explore/facets.js";
import { Grid } from "./explore/grid.js";
import { ImageView } from "./explore/image.js";
import { PointMap } from "./explore/map.js";
import { SelectionBar, Tags } from "./explore/tags.js";

const QUICK = 1000, SLOW = 8000; // milliseconds between looks at the server: while it works, and else
const KEYS = [
  ["L R V", "lasso, rectangle, move the map"], ["Shift Alt", "while drawing: add, take away"], ["+ − 0", "zoom, show all"], ["Z", "zoom to the selection"],
  ["← ↑ → ↓", "walk over the grid"], ["Space", "select"], ["Shift arrows", "select a range"], ["Enter", "open the image"], ["Ctrl A", "select all shown"],
  ["T", "tag the selection"], ["O", "only the selected"], ["S", "similar images"], ["C", "compare"], ["F", "filters"], ["1 2 3", "map, both, grid"], ["/", "search names"], ["Esc", "clear the selection"],
];

const button = (label, title, act, more = {}) => element("button", { title, onclick: act, ...more }, label);
const labelled = (words, control) => element("label", { class: "field" }, element("span", {}, words), control);

const parts = {
  filters: element("aside", { class: "filters", "aria-label": "Filters" }),
  mapHost: element("div", { class: "map-host" }), legend: element("div", { class: "legend", hidden: true }),
  gridHost: element("div", { class: "grid", tabindex: 0, role: "listbox", "aria-multiselectable": "true", "aria-label": "Images" }),
  found: element("span", { class: "found", role: "status" }),
  layout: element("select", { id: "layout", onchange: (event) => chooseLayout(event.target.value) }),
  colour: element("select", { id: "colour", onchange: (event) => colourBy(event.target.value) }),
  sort: element("select", { id: "sort", onchange: (event) => sortBy(event.target.value) }),
  turn: button("↑", "Turn the order round", () => { data.descending = !data.descending; showTurn(); sort(); }, { id: "turn" }),
  search: element("input", { type: "search", id: "search", placeholder: "search names  /", "aria-label": "Search in names", oninput: (event) => searched(event.target.value), onkeydown: (event) => { if (event.key === "Enter" && data.state?.text) seen(event.target.value); } }),
  size: element("input", { type: "range", min: 64, max: 320, step: 8, value: 112, "aria-label": "Size of the pictures", id: "size", oninput: (event) => grid.setSide(Number(event.target.value)) }),
  facets: element("div"), tags: element("div", { class: "tags" }),
};
const tools = ["lasso", "rect", "pan"].map((tool, i) => button(["Lasso", "Rect", "Move"][i], `${["Lasso (L)", "Rectangle (R)", "Move the map (V)"][i]}; Shift adds, Alt takes away`, () => map.setTool(tool), { "data-tool": tool }));
const views = ["map", "both", "grid"].map((view, i) => button(["Map", "Both", "Grid"][i], `${["Map only (1)", "Map and grid (2)", "Grid only (3)"][i]}`, () => show(view), { "data-view": view }));

let map, grid, image, compare, timer;

function build() {
  const mapPane = element("section", { class: "pane map-pane", "aria-label": "Map" },
    element("div", { class: "pane-bar" }, labelled("Map", parts.layout), labelled("Colour", parts.colour),
      element("span", { class: "tools", role: "group", "aria-label": "Tool of the map" }, tools, button("Fit", "Show the whole map (0)", () => map.fit()))),
    parts.mapHost, parts.legend);
  const gridPane = element("section", { class: "pane grid-pane", "aria-label": "Images" },
    element("div", { class: "pane-bar" }, labelled("Sort", parts.sort), parts.turn, parts.size, parts.found), parts.gridHost);
  parts.filters.append(element("h2", {}, "Tags"), parts.tags, parts.facets);
  const keys = element("details", { class: "menu keys" }, element("summary", { title: "Keys" }, "Keys"),
    element("dl", { class: "menu-list" }, KEYS.flatMap(([key, words]) => [element("dt", {}, key.split(" ").map((one) => element("kbd", {}, one))), element("dd", {}, words)])));
  const top = element("div", { class: "room-bar" },
    button("Filters", "Show or hide the filters (F)", () => toggleFilters(), { id: "toggle-filters", "aria-expanded": "true" }), parts.search,
    element("span", { class: "tools", role: "group", "aria-label": "What is seen" }, views), button("Compare", "Compare two selections (C)", () => compare.show()), keys);
  main.append(element("div", { class: "explore" }, top, parts.filters, mapPane, gridPane));
  map = new PointMap(parts.mapHost);
  new SelectionBar(main.firstChild);
  // The bar stands above the legend, not on it.
  new ResizeObserver(() => main.firstChild.style.setProperty("--legend", `${parts.legend.offsetHeight}px`)).observe(parts.legend);
  grid = new Grid(parts.gridHost);
  image = new ImageView();
  compare = new Compare();
  new Facets(parts.facets);
  new Tags(parts.tags);
  if (innerWidth <= 1000) toggleFilters();
}

function listen() {
  on("columns", () => { fillChoices(); });
  on("order", () => { parts.found.textContent = words(); });
  on("selection", () => { parts.found.textContent = words(); });
  on("legend", drawLegend);
  on("filter", () => drawLegend(lastLegend));
  on("colour-by", (name) => { fillChoices(); colourBy(name); });
  on("similar", similar);
  on("zoom", () => map.fit(selectedRows()));
  on("tool", (tool) => { for (const one of tools) one.setAttribute("aria-pressed", one.dataset.tool === tool); });
  on("focus-grid", () => parts.gridHost.focus({ preventScroll: true }));
  document.addEventListener("keydown", key);
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
}

function words() {
  const all = data.ids.length, some = data.onlySelected ? data.order.length : data.shownCount;
  return some < all ? `${count(some)} of ${count(all)}` : `${count(all)} images`;
}

// --- choices -----------------------------------------------------------------------------------------

function fillChoices() {
  for (const [select, now, first] of [[parts.colour, data.colourBy, "nothing"], [parts.sort, data.sortBy, "name"]]) {
    select.replaceChildren(element("option", { value: "" }, first));
    const groups = new Map();
    for (const column of data.columns.values()) {
      if (!groups.has(column.group)) groups.set(column.group, element("optgroup", { label: column.group }));
      groups.get(column.group).append(element("option", { value: column.name }, column.title));
    }
    select.append(...groups.values());
    select.value = data.columns.has(now) ? now : "";
  }
}

async function colourBy(name) {
  data.colourBy = name;
  parts.colour.value = name;
  await map.colour();
  emit("colour");
  grid.rebuild();
}

async function sortBy(name) {
  data.sortBy = name;
  data.descending = data.columns.get(name)?.kind === "number" && !["rank", "round", "similarity"].includes(name);
  parts.sort.value = name;
  showTurn();
  await sort();
}

function showTurn() {
  parts.turn.textContent = data.descending ? "↓" : "↑";
  parts.turn.setAttribute("aria-label", data.descending ? "Highest first" : "Lowest first");
}

let lastLegend = null;
function drawLegend(legend) {
  lastLegend = legend;
  parts.legend.hidden = !legend;
  if (!legend) return;
  const { column } = legend, wanted = data.filters.get(column.name)?.values;
  const grey = () => element("i", { class: "swatch missing" });
  if (legend.ends) {
    parts.legend.replaceChildren(element("span", {}, legend.ends[0]), element("i", { class: "ramp", style: { background: GRADIENT } }), element("span", {}, legend.ends[1]),
      ...(legend.missing ? [element("span", { class: "quiet" }, grey(), "none")] : []));
    return;
  }
  parts.legend.replaceChildren(...legend.entries.map((entry) => element("button", {
    "aria-pressed": wanted?.has(entry.value) ?? false, title: `${entry.name}: ${entry.count}; press to show only these`,
    onclick: () => { const now = new Set(wanted ?? []); if (!now.delete(entry.value)) now.add(entry.value); setFilter(column.name, now.size ? { values: now } : null); },
  }, element("i", { class: "swatch", style: { background: entry.colour } }), entry.name)),
  ...(legend.others ? [element("span", { class: "quiet" }, grey(), `${count(legend.others)} others`)] : []),
  ...(legend.missing ? [element("span", { class: "quiet" }, grey(), "none")] : []));
}

// --- maps --------------------------------------------------------------------------------------------

let wantedLayout = "pca";
async function chooseLayout(kind) {
  wantedLayout = kind;
  const known = data.state.layouts.find((one) => one.kind === kind);
  try {
    if (known.state === "ready") { await map.load(kind); say(""); } else {
      await ask("/api/explore/layout", { kind });
      look();
    }
  } catch (error) {
    say(error.message, true);
    wantedLayout = parts.layout.value = data.layoutKind;
  }
}

function fillLayouts() {
  const ends = { working: " …", lacking: " (not installed)", failed: " (failed)" };
  const options = data.state.layouts.map((one) => element("option", { value: one.kind, disabled: one.state === "lacking", title: one.message }, `${one.title}${ends[one.state] ?? ""}`));
  if (document.activeElement !== parts.layout || parts.layout.options.length !== options.length) parts.layout.replaceChildren(...options);
  parts.layout.value = wantedLayout;
}

async function follow() {
  const { vectors, layouts } = data.state;
  const share = (one) => (one.total ? ` ${Math.floor((100 * one.done) / one.total)} %` : "");
  map.note.hidden = vectors.state === "ready";
  if (vectors.state === "working") map.note.textContent = `${vectors.message}${share(vectors)}`;
  else if (vectors.state === "failed") map.note.textContent = vectors.message;
  else if (vectors.state === "none") map.note.textContent = "The map comes when the run has taken in its images.";
  if (vectors.state !== "ready") return vectors.state === "working";
  fillLayouts();
  if (!data.layout) { await map.load("pca"); if (vectors.message) say(vectors.message); }
  const wanted = layouts.find((one) => one.kind === wantedLayout);
  if (wantedLayout === data.layoutKind) return false;
  if (wanted.state === "ready") { await map.load(wantedLayout); say(`${wanted.title} is ready`); } else if (wanted.state === "working") say(`${wanted.title}:${share(wanted) || " preparing"}, ${wanted.seconds ?? 0} s`);
  else { say(`${wanted.title}: ${wanted.message || "not begun"}`, true); wantedLayout = parts.layout.value = data.layoutKind; }
  return layouts.some((one) => one.state === "working");
}

async function similar() {
  const rows = data.selected ? selectedRows() : data.order.length ? [data.order[grid.focus]] : [];
  if (!rows.length) return;
  try {
    const far = await binary("/api/explore/similar", Float32Array, { ids: idsOf(rows) });
    const title = rows.length === 1 ? `distance to ${data.ids[rows[0]]}` : `distance to ${count(rows.length)} images`;
    addColumn({ name: "similarity", title, group: "Similar", kind: "number", form: "", values: null, classes: false }, Float64Array.from(far));
    await showOnlySelected(false);
    await sortBy("similarity");
    if (data.colourBy === "similarity") await map.colour();
  } catch (error) {
    say(error.message, true);
  }
}

// What images show, in words: where the server has a model that knows.
async function seen(text) {
  if (!text.trim()) return;
  try {
    clearTimeout(typing);
    const far = await binary("/api/explore/text", Float32Array, { text: text.trim() });
    addColumn({ name: "similarity", title: `distance to “${text.trim()}”`, group: "Similar", kind: "number", form: "", values: null, classes: false }, Float64Array.from(far));
    data.text = "";
    await showOnlySelected(false);
    await filter();
    await sortBy("similarity");
  } catch (error) {
    say(error.message, true);
  }
}

// --- the server, again and again ---------------------------------------------------------------------

let taggedOf = null, lost = false, warned = "";
async function look() {
  clearTimeout(timer);
  let busy = true;
  try {
    data.state = await ask("/api/explore/state");
    const { state } = data;
    if (lost) grid.rebuild(); // pictures that did not come meanwhile
    lost = false;
    if (state.images !== data.ids.length || state.key !== data.key) {
      await loadIds();
      data.layout = null;
      taggedOf = null;
    }
    if (taggedOf !== state.key) {
      await loadTags();
      taggedOf = state.key;
    }
    if (state.version !== data.version) {
      await loadColumns();
      if (!data.columns.has(data.colourBy)) data.colourBy = ["label", "prediction", "folder", "score", "status"].find((name) => data.columns.has(name)) ?? "";
      fillChoices();
      await map.colour();
      await filter();
    }
    if (state.text) parts.search.placeholder = "names, or what is seen: Enter";
    busy = await follow();
    const [warning = ""] = state.warnings;
    if (warning !== warned && warning) say(warning, true);
    warned = warning;
  } catch (error) {
    say(error.message, true);
    busy = false;
    lost = true;
  }
  clearTimeout(timer);
  timer = setTimeout(look, busy ? QUICK : SLOW);
}

// --- keys --------------------------------------------------------------------------------------------

function show(view) {
  main.firstChild.dataset.view = view;
  for (const one of views) one.setAttribute("aria-pressed", one.dataset.view === view);
  grid.render();
}

function toggleFilters() {
  const hidden = main.firstChild.classList.toggle("no-filters");
  document.getElementById("toggle-filters").setAttribute("aria-expanded", String(!hidden));
}

let typing;
function searched(text) {
  clearTimeout(typing);
  typing = setTimeout(() => { data.text = text; filter(); }, 120);
}

function key(event) {
  if (document.querySelector("dialog[open]") || event.altKey) return;
  if (event.target.matches("input:not([type=range]):not([type=checkbox]), select, textarea")) { if (event.key === "Escape") event.target.blur(); return; }
  if (event.ctrlKey || event.metaKey) {
    if (event.key.toLowerCase() === "a") { event.preventDefault(); select(data.onlySelected ? selectedRows() : rowsWhere(data.shown)); }
    return;
  }
  const deeds = {
    l: () => map.setTool("lasso"), r: () => map.setTool("rect"), v: () => map.setTool("pan"), 1: () => show("map"), 2: () => show("both"), 3: () => show("grid"),
    t: () => { if (data.selected) document.getElementById("tag-input").focus(); else say("select images first"); }, o: () => showOnlySelected(!data.onlySelected),
    s: similar, c: () => compare.show(), f: toggleFilters, "/": () => parts.search.focus(), z: () => map.fit(data.selected ? selectedRows() : null), 0: () => map.fit(),
    Escape: () => { if (data.selected) select([]); },
  };
  const deed = deeds[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!deed) return;
  event.preventDefault();
  deed();
}

build();
listen();
map.setTool("lasso");
show("both");
loadIds().then(sort).catch((error) => say(error.message, true)).then(look); // pictures first
