// Colours of points: a class its colour, a number its place between dark and light; what is missing is grey.
import { count, data, number, values } from "./data.js";

const ANCHORS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
const MOST = 20; // named values that get a colour of their own; of the others there are too many to tell apart
const STEPS = 256;

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// As canvas pixels on this machine: bytes red, green, blue, alpha.
function packed([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

function between(share) {
  const at = share * (ANCHORS.length - 1), low = Math.min(Math.floor(at), ANCHORS.length - 2), part = at - low;
  const [a, b] = [rgb(ANCHORS[low]), rgb(ANCHORS[low + 1])];
  return a.map((value, i) => Math.round(value + (b[i] - value) * part));
}

const RAMP = Uint32Array.from({ length: STEPS }, (_, i) => packed(between(i / (STEPS - 1))));
export const GRADIENT = `linear-gradient(to right, ${ANCHORS.join(", ")})`;

export function plainColour() {
  return getComputedStyle(document.documentElement).getPropertyValue("--point").trim() || "#3b82c4";
}

export function missingColour() {
  return getComputedStyle(document.documentElement).getPropertyValue("--missing").trim() || "#9aa3ad";
}

// Which index of a column's values has which colour; null: shown as one of the others.
export function colourOf(column, counts) {
  if (column.classes || column.values.length <= MOST) return column.values.map((_, i) => data.palette[i % data.palette.length]);
  const order = Array.from(counts.keys()).sort((a, b) => counts[b] - counts[a] || a - b).slice(0, MOST);
  const found = column.values.map(() => null);
  order.forEach((value, i) => { found[value] = data.palette[i]; });
  return found;
}

export function countsOf(column, own, mask) {
  const counts = new Uint32Array(column.values.length);
  let missing = 0;
  for (let row = 0; row < own.length; row++) {
    if (mask && !mask[row]) continue;
    if (own[row] < 0) missing++;
    else counts[own[row]]++;
  }
  return { counts, missing };
}

// The range that most numbers lie in: a few far out must not make all others alike.
export function rangeOf(own) {
  const known = Float64Array.from(own).filter((value) => !Number.isNaN(value)).sort();
  if (!known.length) return null;
  const [low, high] = [known[0], known[known.length - 1]];
  const [near, far] = [known[Math.floor(known.length * 0.005)], known[Math.ceil(known.length * 0.995) - 1]];
  const wide = high - low > 3 * (far - near) && far > near;
  return { low, high, from: wide ? near : low, to: wide ? far : high };
}

// One colour a row, and what the legend says of it.
export async function colouring(name) {
  const plain = packed(rgb(plainColour())), missing = packed(rgb(missingColour()));
  const colours = new Uint32Array(data.ids.length).fill(plain), lost = new Uint8Array(data.ids.length);
  const column = data.columns.get(name);
  if (!column) return { colours, lost, legend: null };
  const own = await values(name);
  if (column.kind === "number") {
    const range = rangeOf(own);
    if (!range) return { colours: colours.fill(missing), lost: lost.fill(1), legend: null };
    const scale = (STEPS - 1) / (range.to - range.from || 1);
    for (let row = 0; row < own.length; row++) {
      const step = Math.max(0, Math.min(STEPS - 1, Math.round((own[row] - range.from) * scale)));
      lost[row] = Number.isNaN(own[row]) ? 1 : 0;
      colours[row] = lost[row] ? missing : RAMP[step];
    }
    const ends = [range.from, range.to].map((value) => number(value, column.form));
    return { colours, lost, legend: { column, ends, missing: own.some(Number.isNaN) } };
  }
  const { counts, missing: nameless } = countsOf(column, own);
  const named = colourOf(column, counts);
  const table = named.map((colour) => (colour === null ? missing : packed(rgb(colour))));
  for (let row = 0; row < own.length; row++) {
    lost[row] = own[row] < 0 || named[own[row]] === null ? 1 : 0;
    colours[row] = own[row] < 0 ? missing : table[own[row]];
  }
  const entries = Array.from(counts.keys()).filter((value) => counts[value] && named[value] !== null)
    .sort((a, b) => (column.classes ? a - b : counts[b] - counts[a])).slice(0, 2 * MOST)
    .map((value) => ({ value, name: column.values[value], colour: named[value], count: count(counts[value]) }));
  const others = Array.from(counts.keys()).filter((value) => counts[value] && named[value] === null).length;
  return { colours, lost, legend: { column, entries, others, missing: nameless > 0 } };
}
