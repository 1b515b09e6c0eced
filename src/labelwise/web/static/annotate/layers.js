// Masks and regions as pictures: classes as colours, and the numbers of regions read from the picture the server sends.
import { colour } from "./classes.js";
import { borders, NONE } from "./raster.js";

// Paint a part of a mask, within bounds, into a canvas of the picture's size.
export function painted(layer, mask, [x0, y0, x1, y1]) {
  const { width, height, values } = mask;
  const [left, top, right, bottom] = [Math.max(0, x0), Math.max(0, y0), Math.min(width, x1), Math.min(height, y1)];
  if (left >= right || top >= bottom) return;
  const data = new ImageData(right - left, bottom - top);
  const words = new Uint32Array(data.data.buffer);
  const paint = new Map();
  for (let y = top, to = 0; y < bottom; y += 1) {
    for (let x = left; x < right; x += 1, to += 1) {
      const value = values[y * width + x];
      if (value === NONE) continue;
      if (!paint.has(value)) paint.set(value, abgr(colour(value)));
      words[to] = paint.get(value);
    }
  }
  layer.getContext("2d").putImageData(data, left, top);
}

function abgr(text) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
  return (255 << 24 | blue << 16 | green << 8 | red) >>> 0;
}

const known = new Map(); // by question: its regions, or on their way

// For each pixel the number of its region, from 1 on, 0 outside; and the borders of the regions as a path.
export function regionsOf(question) {
  const { id } = question;
  if (!known.has(id)) {
    known.set(id, read(question));
    known.get(id).catch(() => known.delete(id));
    for (const old of [...known.keys()].slice(0, -6)) known.delete(old);
  }
  return known.get(id);
}

async function read({ id, width, height }) {
  const image = new Image();
  image.src = `/api/annotate/regions?query=${encodeURIComponent(id)}`;
  await image.decode();
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const zones = new Uint16Array(width * height);
  for (let i = 0; i < zones.length; i += 1) zones[i] = data[4 * i] + 256 * data[4 * i + 1];
  const lines = new Path2D();
  for (const [x0, y0, x1, y1] of borders(zones, width, height)) { lines.moveTo(x0, y0); lines.lineTo(x1, y1); }
  return { zones, lines };
}
