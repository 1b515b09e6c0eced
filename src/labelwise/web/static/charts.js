// Small line charts as SVG: bands, lines and points over two axes. Colours come from the style sheet, names are text.

const NS = "http://www.w3.org/2000/svg";

function svg(name, attributes = {}, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

// About so many round numbers from low to high.
export function ticks(low, high, about = 5, least = 0) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, [1, 2, 2.5, 5, 10].map((f) => f * power).find((s) => s >= rough * 0.999 && (!least || s % least === 0)) ?? 10 * power);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++) found.push(Number((i * step).toPrecision(12)));
  return found;
}

const MARGIN = { left: 56, right: 14, top: 10, bottom: 42 };

// spec: { label, x: {title, format, min}, y: {title, format, min, max}, bands: [{x, low, high, kind}],
//         lines: [{x, y, kind}], points: [{x, y, said, low, high}], level: {y, said} }
export function chart(place, spec) {
  const width = Math.max(260, place.clientWidth), height = spec.height ?? 300;
  const xs = [...spec.lines, ...spec.bands, { x: spec.points.map((p) => p.x) }].flatMap((l) => l.x);
  const ys = [
    ...spec.lines.flatMap((l) => l.y), ...spec.bands.flatMap((b) => [...b.low, ...b.high]),
    ...spec.points.flatMap((p) => [p.y, p.low ?? p.y, p.high ?? p.y]), ...(spec.level ? [spec.level.y] : []),
  ].filter(Number.isFinite);
  const xLow = spec.x.min ?? Math.min(...xs), xHigh = Math.max(...xs, xLow + 1);
  const pad = Math.max(0.02, (Math.max(...ys) - Math.min(...ys)) * 0.08);
  const yLow = spec.y.min ?? Math.max(spec.y.least ?? -Infinity, Math.min(...ys) - pad);
  const yHigh = Math.min(spec.y.most ?? Infinity, Math.max(...ys) + pad);
  const right = width - MARGIN.right, bottom = height - MARGIN.bottom;
  const px = (x) => MARGIN.left + ((x - xLow) / (xHigh - xLow || 1)) * (right - MARGIN.left);
  const py = (y) => bottom - ((y - yLow) / (yHigh - yLow || 1)) * (bottom - MARGIN.top);
  const drawn = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spec.label, class: "chart" });

  for (const y of ticks(yLow, yHigh, 5, spec.y.step)) {
    drawn.append(svg("line", { x1: MARGIN.left, x2: right, y1: py(y), y2: py(y), class: "grid" }));
    drawn.append(svg("text", { x: MARGIN.left - 8, y: py(y) + 4, class: "tick end" }, spec.y.format(y)));
  }
  for (const x of ticks(xLow, xHigh, width < 420 ? 4 : 7, 1)) {
    drawn.append(svg("line", { x1: px(x), x2: px(x), y1: bottom, y2: bottom + 4, class: "axis" }));
    drawn.append(svg("text", { x: px(x), y: bottom + 18, class: "tick middle" }, spec.x.format(x)));
  }
  drawn.append(svg("line", { x1: MARGIN.left, x2: right, y1: bottom, y2: bottom, class: "axis" }));
  drawn.append(svg("text", { x: (MARGIN.left + right) / 2, y: height - 6, class: "title middle" }, spec.x.title));
  const clipped = (y) => Math.min(Math.max(py(y), MARGIN.top), bottom);
  for (const band of spec.bands) {
    if (!band.x.length) continue;
    const up = band.x.map((x, i) => `${px(x)},${clipped(band.high[i])}`);
    const down = band.x.map((x, i) => `${px(x)},${clipped(band.low[i])}`).reverse();
    drawn.append(svg("polygon", { points: [...up, ...down].join(" "), class: `band ${band.kind}` }));
  }
  if (spec.level) {
    const y = py(spec.level.y);
    drawn.append(svg("line", { x1: MARGIN.left, x2: right, y1: y, y2: y, class: "level" }));
    drawn.append(svg("text", { x: MARGIN.left + 6, y: y - 5, class: "tick" }, spec.level.said));
  }
  for (const line of spec.lines) {
    const points = line.x.map((x, i) => `${px(x)},${clipped(line.y[i])}`).join(" ");
    drawn.append(svg("polyline", { points, class: `line ${line.kind}` }));
  }
  const told = spec.points.map((point) => {
    const circle = svg("circle", { cx: px(point.x), cy: py(point.y), r: 4, class: `point ${point.kind ?? ""}` });
    drawn.append(circle);
    return { ...point, circle, at: px(point.x), height: py(point.y) };
  });
  place.replaceChildren(drawn);
  place.append(hovered(place, drawn, told, width));
}

// What the nearest point says, beside it.
function hovered(place, drawn, told, width) {
  const box = document.createElement("div");
  box.className = "told";
  box.hidden = true;
  drawn.addEventListener("pointermove", (event) => {
    const x = event.clientX - drawn.getBoundingClientRect().left;
    const near = told.reduce((best, p) => (!best || Math.abs(p.at - x) < Math.abs(best.at - x) ? p : best), null);
    for (const point of told) point.circle.classList.toggle("near", point === near && Math.abs(near.at - x) < 60);
    box.hidden = !near || Math.abs(near.at - x) >= 60;
    if (box.hidden) return;
    box.textContent = near.said;
    const left = near.at > width / 2;
    box.style.left = left ? "" : `${near.at + 12}px`;
    box.style.right = left ? `${width - near.at + 12}px` : "";
    box.style.top = `${Math.max(0, near.height - 14)}px`;
  });
  drawn.addEventListener("pointerleave", () => {
    box.hidden = true;
    for (const point of told) point.circle.classList.remove("near");
  });
  return box;
}
