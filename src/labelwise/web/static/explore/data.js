// What the room knows: ids, columns, tags, filters, the selection; and who wants to hear when they change.
import { ask, response } from "../base.js";

export const data = {
  ids: [], key: "", columns: new Map(), palette: [], version: -1, state: null,
  layout: null, layoutKind: "pca", tags: new Map(), filters: new Map(), text: "",
  selection: new Uint8Array(0), selected: 0, shown: new Uint8Array(0), shownCount: 0,
  onlySelected: false, colourBy: "", sortBy: "", descending: false, order: new Uint32Array(0), extra: new Map(),
};
const loaded = new Map(); // column data by name, of this version
const heard = new Map();

export function on(event, listener) {
  heard.set(event, [...(heard.get(event) ?? []), listener]);
}

export function emit(event, ...facts) {
  for (const listener of heard.get(event) ?? []) listener(...facts);
}

export async function binary(path, Kind, body) {
  return new Kind(await (await response(path, body)).arrayBuffer());
}

export async function loadIds() {
  const { ids, key } = await ask("/api/explore/ids");
  Object.assign(data, {
    ids, key, selection: new Uint8Array(ids.length), selected: 0,
    shown: new Uint8Array(ids.length).fill(1), shownCount: ids.length,
  });
  rowOf = null;
}

let rowOf = null;
export function rowsOf(ids) {
  rowOf ??= new Map(data.ids.map((id, row) => [id, row]));
  return ids.map((id) => rowOf.get(id)).filter((row) => row !== undefined);
}

export async function loadColumns() {
  const found = await ask("/api/explore/columns");
  data.version = found.version;
  data.palette = found.palette;
  loaded.clear();
  data.columns = new Map(found.columns.map((column) => [column.name, column]));
  for (const [name, { column, values }] of data.extra) {
    data.columns.set(name, column);
    loaded.set(name, Promise.resolve(values));
  }
  for (const name of data.filters.keys()) if (!data.columns.has(name)) data.filters.delete(name);
  await Promise.all([...data.filters.keys()].map(values));
  emit("columns");
}

// A column that the page made itself: distances, a comparison.
export function addColumn(column, made) {
  data.extra.set(column.name, { column, values: made });
  data.columns.set(column.name, column);
  loaded.set(column.name, Promise.resolve(made));
  ready.set(column.name, made);
  emit("columns");
}

const ready = new Map();
export function values(name) {
  if (!loaded.has(name)) {
    const column = data.columns.get(name);
    const Kind = column.kind === "number" ? Float64Array : Int32Array;
    const asked = binary(`/api/explore/column?name=${encodeURIComponent(name)}`, Kind);
    loaded.set(name, asked);
    asked.then((found) => ready.set(name, found), () => loaded.delete(name));
  }
  return loaded.get(name);
}

export async function loadTags() {
  const { tags } = await ask("/api/explore/tags");
  data.tags = new Map(Object.entries(tags).map(([name, ids]) => [name, new Set(rowsOf(ids))]));
  emit("tags");
}

export async function changeTag(name, { add = [], remove = [], gone = false }) {
  await ask("/api/explore/tags", { name, add: idsOf(add), remove: idsOf(remove), delete: gone });
  await loadTags();
  const wanted = data.filters.get("tag");
  if (gone && wanted?.values.delete(name) && !wanted.values.size) data.filters.delete("tag");
  if (wanted) await filter();
}

export function idsOf(rows) {
  return Array.from(rows, (row) => data.ids[row]);
}

// --- filters -----------------------------------------------------------------------------------------

// A filter is { values: Set } of named values (indices; -1: missing) or { low, high, missing }; "tag" holds tag names.
export function setFilter(name, wanted) {
  if (wanted === null) data.filters.delete(name);
  else data.filters.set(name, wanted);
  return filter();
}

export async function filter() {
  await Promise.all([...data.filters.keys()].filter((name) => name !== "tag").map(values));
  data.shown = passing();
  let count = 0;
  for (let row = 0; row < data.shown.length; row++) count += data.shown[row];
  data.shownCount = count;
  emit("filter");
  await sort();
}

// What passes all filters but one: the counts of a facet are those of the others.
export function passing(except = "") {
  const mask = new Uint8Array(data.ids.length).fill(1);
  for (const [name, wanted] of data.filters) {
    if (name === except) continue;
    if (name === "tag") {
      const sets = [...wanted.values].map((tag) => data.tags.get(tag) ?? new Set());
      for (let row = 0; row < mask.length; row++) if (mask[row] && !sets.some((set) => set.has(row))) mask[row] = 0;
      continue;
    }
    const own = ready.get(name);
    if (!own) continue;
    if (wanted.values) {
      for (let row = 0; row < mask.length; row++) if (!wanted.values.has(own[row])) mask[row] = 0;
    } else {
      for (let row = 0; row < mask.length; row++) if (!(own[row] >= wanted.low && own[row] <= wanted.high)) mask[row] = 0;
    }
  }
  const text = data.text.trim().toLowerCase();
  if (text && except !== "text") {
    for (let row = 0; row < mask.length; row++) if (mask[row] && !data.ids[row].toLowerCase().includes(text)) mask[row] = 0;
  }
  return mask;
}

// --- the order of the grid ---------------------------------------------------------------------------

let sorting = 0;
export async function sort() {
  const ticket = ++sorting;
  const name = data.sortBy && data.columns.has(data.sortBy) ? data.sortBy : "";
  const keys = name ? await values(name) : null;
  if (ticket !== sorting) return;
  const rows = [], missing = [], named = name && data.columns.get(name).kind === "category";
  for (let row = 0; row < data.shown.length; row++) {
    if (!data.shown[row] || (data.onlySelected && !data.selection[row])) continue;
    (keys && (named ? keys[row] < 0 : Number.isNaN(keys[row])) ? missing : rows).push(row);
  }
  const order = Uint32Array.from(rows);
  if (keys) {
    const turn = data.descending ? -1 : 1;
    order.sort((a, b) => turn * (keys[a] - keys[b]) || a - b);
  } else if (data.descending) order.reverse();
  data.order = new Uint32Array(rows.length + missing.length);
  data.order.set(order);
  data.order.set(missing, rows.length);
  emit("order");
}

// --- the selection -----------------------------------------------------------------------------------

// how: "set", "add", "remove" or "toggle".
export function select(rows, how = "set") {
  if (how === "set") data.selection.fill(0);
  for (const row of rows) data.selection[row] = how === "remove" ? 0 : how === "toggle" ? 1 - data.selection[row] : 1;
  let count = 0;
  for (let row = 0; row < data.selection.length; row++) count += data.selection[row];
  data.selected = count;
  if (!count && data.onlySelected) data.onlySelected = false;
  emit("selection");
  if (data.onlySelected || !count) sort();
}

export function selectedRows() {
  return rowsWhere(data.selection);
}

export function rowsWhere(mask) {
  const rows = [];
  for (let row = 0; row < mask.length; row++) if (mask[row]) rows.push(row);
  return rows;
}

export function showOnlySelected(only) {
  data.onlySelected = only && data.selected > 0;
  emit("selection");
  return sort();
}

// --- values for people -------------------------------------------------------------------------------

const short = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
export function number(value, form = "") {
  if (Number.isNaN(value) || value === null || value === undefined) return "–";
  if (form === "time") return new Date(value * 1000).toISOString().slice(0, 16).replace("T", " ");
  return form === "whole" || Math.abs(value) >= 1000 ? whole.format(value) : short.format(value);
}

export function told(column, value) {
  if (column.kind === "number") return number(value, column.form);
  return value < 0 ? "–" : column.values[value];
}

export function valueNow(name, row) {
  const own = ready.get(name);
  return own === undefined ? null : told(data.columns.get(name), own[row]);
}

export const count = (n) => whole.format(n);
