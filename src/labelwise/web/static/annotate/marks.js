// What several editors draw over a picture: lines that stand out on any ground, a cross, and where one is in the whole.

const SHARE = 0.4; // of the shorter side of the stage that the whole picture may take

// The path of `trace(context)`, light on dark; widths are on the screen.
export function outlined(context, pixel, trace, paint = "#ffffff", wide = 2) {
  for (const [colour, width] of [["#000000", wide + 2], [paint, wide]]) {
    context.strokeStyle = colour;
    context.lineWidth = width * pixel;
    context.beginPath();
    trace(context);
    context.stroke();
  }
}

export function crosshair(view, pixel) {
  if (!view.at) return;
  const [x, y] = view.toImage(view.at);
  const [left, top] = view.toImage([0, 0]);
  const [right, bottom] = view.toImage(view.box);
  outlined(view.context, pixel, (context) => {
    context.moveTo(left, y); context.lineTo(right, y);
    context.moveTo(x, top); context.lineTo(x, bottom);
  }, "#ffffffcc", 1);
}

// The whole picture in a corner, with the part that is seen and, if given, a point in it; only where one looks closer.
export function overview(view, point = null) {
  const { context } = view;
  const [width, height] = view.box;
  const [w, h] = view.size;
  const [x0, y0] = view.toImage([0, 0]).map((value) => Math.max(0, value));
  const [x1, y1] = view.toImage([width, height]).map((value, i) => Math.min(view.size[i], value));
  if ((x1 - x0) * (y1 - y0) > 0.4 * w * h) return;
  const side = (SHARE * Math.min(width, height)) / Math.max(w, h);
  const [left, top] = [width - w * side - 12, height - h * side - 12];
  context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
  context.imageSmoothingEnabled = true;
  if (view.image) context.drawImage(view.image, left, top, w * side, h * side);
  outlined(context, 1, () => context.rect(left - 1, top - 1, w * side + 2, h * side + 2), "#ffffff", 1);
  if (x1 > x0 && y1 > y0) {
    outlined(context, 1, () => context.rect(left + x0 * side, top + y0 * side, (x1 - x0) * side, (y1 - y0) * side), "#ffd400", 1.5);
  }
  if (!point) return;
  const [cx, cy] = [left + point[0] * side, top + point[1] * side];
  outlined(context, 1, () => {
    context.arc(cx, cy, 9, 0, 2 * Math.PI);
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(cx + 9 * dx, cy + 9 * dy);
      context.lineTo(cx + 16 * dx, cy + 16 * dy);
    }
  }, "#ffd400");
}
