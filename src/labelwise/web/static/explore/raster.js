// Drawing many points into pixels: a disc of soft edge for each, blended by hand. 100,000 take some milliseconds,
// with or without a graphics card.

const discs = new Map();

// How much of each pixel a disc covers, 0 to 256, row after row; its side is odd.
function disc(radius) {
  const key = radius.toFixed(2);
  if (!discs.has(key)) {
    const reach = Math.ceil(radius), side = 2 * reach + 1, cover = new Uint16Array(side * side);
    for (let y = -reach; y <= reach; y++) {
      for (let x = -reach; x <= reach; x++) {
        const share = Math.max(0, Math.min(1, radius + 0.5 - Math.hypot(x, y)));
        cover[(y + reach) * side + x + reach] = Math.round(256 * share);
      }
    }
    discs.set(key, { reach, side, cover });
  }
  return discs.get(key);
}

export class Raster {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
  }

  resize(width, height) {
    this.canvas.width = Math.max(1, width);
    this.canvas.height = Math.max(1, height);
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
  }

  clear(ground) {
    this.pixels.fill(ground);
  }

  // Points where mask[row] has the wanted value; view: x = cx + scale * px, y = cy - scale * py, in canvas pixels.
  points(places, colours, mask, wanted, view, radius, strength = 256, rim = 0) {
    const { width, height } = this.canvas, { pixels } = this, { reach, side, cover } = disc(radius);
    const outer = rim ? disc(radius + 1.6) : null;
    for (let row = 0; row < mask.length; row++) {
      if (mask[row] !== wanted) continue;
      const x = Math.round(view.cx + view.scale * places[2 * row]), y = Math.round(view.cy - view.scale * places[2 * row + 1]);
      if (!(x >= reach && y >= reach && x < width - reach && y < height - reach)) continue; // also what is nowhere
      if (outer && x > outer.reach && y > outer.reach && x < width - outer.reach && y < height - outer.reach) {
        stamp(pixels, width, x, y, outer, rim, 256);
      }
      const colour = colours[row], redBlue = colour & 0xff00ff, green = colour & 0x00ff00;
      let at = (y - reach) * width + x - reach, from = 0;
      for (let j = 0; j < side; j++, at += width - side) {
        for (let i = 0; i < side; i++, at++, from++) {
          const part = (cover[from] * strength) >> 8;
          if (part === 0) continue;
          if (part === 256) { pixels[at] = colour; continue; }
          const old = pixels[at], left = 256 - part;
          pixels[at] = 0xff000000
            | (((redBlue * part + (old & 0xff00ff) * left) >>> 8) & 0xff00ff)
            | (((green * part + (old & 0x00ff00) * left) >>> 8) & 0x00ff00);
        }
      }
    }
  }

  show() {
    this.context.putImageData(this.image, 0, 0);
  }
}

function stamp(pixels, width, x, y, { reach, side, cover }, colour, strength) {
  let at = (y - reach) * width + x - reach, from = 0;
  for (let j = 0; j < side; j++, at += width - side) {
    for (let i = 0; i < side; i++, at++, from++) {
      const part = (cover[from] * strength) >> 8;
      if (part === 0) continue;
      const old = pixels[at], left = 256 - part;
      pixels[at] = 0xff000000
        | ((((colour & 0xff00ff) * part + (old & 0xff00ff) * left) >>> 8) & 0xff00ff)
        | ((((colour & 0x00ff00) * part + (old & 0x00ff00) * left) >>> 8) & 0x00ff00);
    }
  }
}

export function pixelOf(css) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(css.trim().slice(at, at + 2), 16));
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}
