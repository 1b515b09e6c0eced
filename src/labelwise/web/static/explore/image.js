// One image: as large as one likes, what was asked, said and predicted laid over it, and why it was picked.
import { ask, element, picture, say, whyNot } from "../base.js";
import { binary, changeTag, count, data, emit, number, on, select, told as toldValue, values } from "./data.js";
import { told } from "./tags.js";

const SHARP = 1600; // pixels of the first picture; the whole one comes when one zooms in
const ALIKE = 12;

export class ImageView {
  constructor() {
    this.stage = element("div", { class: "stage", tabindex: 0, autofocus: true, "aria-label": "The image; plus and minus zoom, arrows go to the next" });
    this.facts = element("div", { class: "facts" });
    this.title = element("h2", { id: "image-title" });
    const button = (label, title, act) => element("button", { title, "aria-label": title, onclick: act }, label);
    this.dialog = element("dialog", { class: "image-view", "aria-labelledby": "image-title" },
      element("div", { class: "image-bar" }, this.title,
        button("‹", "Previous image (left arrow)", () => this.step(-1)), button("›", "Next image (right arrow)", () => this.step(1)),
        button("Fit", "Show the whole image (0)", () => this.fit()), button("×", "Close (Escape)", () => this.dialog.close())),
      element("div", { class: "image-body" }, this.stage, this.facts));
    document.body.append(this.dialog);
    this.off = new Set();
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    this.dialog.addEventListener("close", () => { this.row = -1; emit("focus-grid"); });
    this.listen();
    on("open", (row) => this.open(row));
    on("tags", () => { if (this.row >= 0 && this.dialog.open) this.fillTags(); });
  }

  async open(row) {
    this.row = row;
    const id = data.ids[row];
    this.title.textContent = id;
    this.title.title = id;
    if (!this.dialog.open) this.dialog.showModal();
    this.photo = element("img", { class: "photo", alt: id, src: picture(id, SHARP), draggable: "false" });
    this.photo.addEventListener("error", async () => {
      const why = await whyNot(picture(id, SHARP));
      if (this.row === row) this.stage.replaceChildren(element("p", { class: "empty" }, why));
    });
    this.plane = element("div", { class: "plane" }, this.photo);
    this.stage.replaceChildren(this.plane);
    this.facts.replaceChildren(element("p", { class: "quiet" }, "…"));
    this.whole = false;
    try {
      this.known = await ask(`/api/explore/image?id=${encodeURIComponent(id)}`);
      if (this.row !== row) return;
      this.size = [this.known.width || this.photo.naturalWidth || 1, this.known.height || this.photo.naturalHeight || 1];
      this.fit();
      this.drawLayers();
      await this.fillFacts();
    } catch (error) {
      this.facts.replaceChildren(element("p", { class: "wrong" }, error.message));
    }
  }

  step(by) {
    const place = data.order.indexOf(this.row), next = data.order[place + by];
    if (place < 0 || next === undefined) { say(by > 0 ? "this is the last image" : "this is the first image"); return; }
    emit("focus", next);
    this.open(next);
  }

  // --- the picture -----------------------------------------------------------------------------------

  fit() {
    const [width, height] = this.size, { clientWidth, clientHeight } = this.stage;
    const scale = Math.min((clientWidth - 24) / width, (clientHeight - 24) / height, 40);
    this.zoom = { scale, x: (clientWidth - width * scale) / 2, y: (clientHeight - height * scale) / 2 };
    this.least = scale;
    this.place();
  }

  place() {
    const { scale, x, y } = this.zoom, [width, height] = this.size;
    Object.assign(this.plane.style, { width: `${width * scale}px`, height: `${height * scale}px`, transform: `translate(${x}px, ${y}px)` });
    this.plane.classList.toggle("pixels", scale >= 4);
    this.plane.style.setProperty("--line", String(1 / scale));
    if (!this.whole && Math.max(width, height) > SHARP && scale * Math.max(width, height) > SHARP) {
      this.whole = true;
      this.photo.src = picture(this.known.id, 0);
    }
  }

  zoomAt(x, y, factor) {
    const scale = Math.max(this.least / 2, Math.min(60, this.zoom.scale * factor)), part = scale / this.zoom.scale;
    this.zoom = { scale, x: x - (x - this.zoom.x) * part, y: y - (y - this.zoom.y) * part };
    this.place();
  }

  listen() {
    const at = (event) => { const box = this.stage.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    this.stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(...at(event), Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015)));
    }, { passive: false });
    let held = null;
    this.stage.addEventListener("pointerdown", (event) => { held = at(event); this.stage.setPointerCapture(event.pointerId); });
    this.stage.addEventListener("pointermove", (event) => {
      if (!held) return;
      const now = at(event);
      this.zoom = { ...this.zoom, x: this.zoom.x + now[0] - held[0], y: this.zoom.y + now[1] - held[1] };
      held = now;
      this.place();
    });
    for (const end of ["pointerup", "pointercancel"]) this.stage.addEventListener(end, () => { held = null; });
  }

  drawLayers() {
    for (const old of this.plane.querySelectorAll(".layer")) old.remove();
    const { id, layers = [], maps = [] } = this.known;
    for (const round of maps) {
      if (this.hidden(`map:${round}`)) continue;
      this.plane.append(element("img", { class: "layer map", alt: `score map of round ${round}`, src: `/api/explore/map?id=${encodeURIComponent(id)}&round=${round}` }));
    }
    for (const layer of layers) {
      if (this.hidden(layer.name) || layer.kind === "class") continue;
      if (layer.kind === "picture") {
        this.plane.append(element("img", { class: "layer", alt: layer.title, src: `/api/explore/overlay?id=${encodeURIComponent(id)}&layer=${encodeURIComponent(layer.name)}` }));
      } else this.plane.append(this.boxes(layer));
    }
  }

  // Score maps, and the truth beside something else, are off until one asks for them; all else is on.
  hidden(name) {
    const kind = name.split(":")[0], others = (this.known.layers ?? []).some((layer) => layer.kind !== "class" && !layer.name.startsWith("truth"));
    return (kind === "map" || (kind === "truth" && others)) !== this.off.has(kind);
  }

  boxes(layer) {
    const [width, height] = this.size, svg = svgElement("svg", { class: `layer boxes ${layer.name.split(":")[0]}`, viewBox: `0 0 ${width} ${height}` });
    const names = data.columns.get("label")?.values ?? data.columns.get("truth")?.values ?? [];
    layer.boxes.forEach(([x0, y0, x1, y1], i) => {
      const colour = layer.names[i] === "asked" ? "#ff4020" : data.palette[Math.max(0, names.indexOf(layer.names[i])) % data.palette.length];
      const title = svgElement("title", {});
      title.textContent = `${layer.title}: ${layer.names[i]}`;
      const box = svgElement("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, stroke: colour });
      box.append(title);
      svg.append(svgElement("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: "under" }), box);
    });
    return svg;
  }

  // --- the facts -------------------------------------------------------------------------------------

  async fillFacts() {
    const { known } = this, parts = [];
    if (!known.there) parts.push(element("p", { class: "wrong" }, "The file is not where it was."));
    for (const query of known.queries) {
      const whose = query.annotator ? ` by ${query.annotator}` : "", time = query.seconds ? `, ${number(query.seconds)} s` : "";
      parts.push(element("section", { class: "query" },
        element("h3", {}, query.purpose === "audit" ? `Asked at random in round ${query.round}` : `Picked in round ${query.round}, number ${query.rank + 1}`),
        element("p", {}, query.reason),
        facts([["prediction", query.proposal], ["annotation", query.state === "labelled" ? `${query.label}${whose}${time}` : query.state]])));
    }
    if (known.truth) parts.push(facts([["true annotation", known.truth]]));
    this.tags = this.makeTags();
    parts.push(this.layerList(), this.tags);
    if (known.scores.length) {
      parts.push(element("section", {}, element("h3", {}, "What each round thought"), element("table", { class: "scores" },
        element("tr", {}, ["round", "score", "rank", "prediction"].map((word) => element("th", {}, word))),
        known.scores.map((one) => element("tr", {},
          element("td", {}, one.round), element("td", {}, number(one.score ?? NaN)), element("td", {}, one.rank ? `${count(one.rank)} of ${count(one.of)}` : "–"),
          element("td", {}, one.class ? `${one.class} ${number(one.confidence)}` : "–"))))));
    }
    const own = [["size", `${known.width} × ${known.height}`], ["split", known.split], ["note", known.note]];
    for (const column of data.columns.values()) {
      if (["split", "width", "height", "status", "truth"].includes(column.name) || column.group.startsWith("Scores")) continue;
      const value = toldValue(column, (await values(column.name))[this.row]);
      if (value !== "–") own.push([column.title, value]);
    }
    parts.push(element("section", {}, element("h3", {}, "Known of it"), facts(own)));
    this.alike = element("section");
    parts.push(this.alike);
    this.facts.replaceChildren(...parts);
    this.fillTags();
    this.fillAlike(this.row);
  }

  layerList() {
    const kinds = new Map();
    const named = { truth: "true annotation", label: "annotation", proposal: "prediction", asked: "what was asked" };
    for (const layer of this.known.layers ?? []) if (layer.kind !== "class") kinds.set(layer.name.split(":")[0], layer);
    const boxes = [...kinds.keys()].map((kind) => [kind, named[kind]]);
    if (this.known.maps?.length) boxes.push(["map", "score map"]);
    if (!boxes.length) return element("span", { hidden: true });
    return element("section", { class: "layers" }, element("h3", {}, "Over the image"), boxes.map(([kind, words]) => element("label", { class: `key ${kind}` },
      element("input", {
        type: "checkbox", checked: !this.hidden(kind),
        onchange: () => { if (!this.off.delete(kind)) this.off.add(kind); this.drawLayers(); },
      }), element("i"), words)));
  }

  makeTags() {
    const input = element("input", {
      list: "tag-names", placeholder: "add a tag", "aria-label": "Add a tag to this image", maxlength: 100,
      onkeydown: (event) => {
        event.stopPropagation();
        if (event.key === "Enter" && input.value.trim()) told(changeTag(input.value.trim(), { add: [this.row] }), "tagged").then((done) => { if (done) input.value = ""; });
        if (event.key === "Escape") { event.preventDefault(); this.stage.focus(); }
      },
    });
    this.chips = element("span");
    return element("section", { class: "image-tags" }, element("h3", {}, "Tags"), this.chips, input);
  }

  // The field stays: what one types in must not be taken away.
  fillTags() {
    const own = [...data.tags].filter(([, rows]) => rows.has(this.row)).map(([name]) => name);
    this.chips?.replaceChildren(...own.map((name) => element("button", {
      class: "chip", title: `Take ${name} from this image`, onclick: () => told(changeTag(name, { remove: [this.row] }), `${name} taken away`),
    }, `${name} ×`)));
  }

  async fillAlike(row) {
    if (data.state?.vectors.state !== "ready" || Number.isNaN(data.layout?.[2 * row])) return;
    const far = await binary("/api/explore/similar", Float32Array, { ids: [data.ids[row]] }).catch(() => null);
    if (!far || this.row !== row) return;
    const order = Array.from(far.keys()).filter((other) => other !== row && !Number.isNaN(far[other])).sort((a, b) => far[a] - far[b]).slice(0, ALIKE);
    this.alike.replaceChildren(element("h3", {}, "Similar images"), element("div", { class: "alike" }, order.map((other) => element("button", {
      title: `${data.ids[other]}, distance ${number(far[other])}`, "aria-label": data.ids[other], onclick: () => this.open(other),
    }, element("img", { src: `${picture(data.ids[other], 96)}&of=${data.key}`, alt: "" })))));
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT" && event.target.type !== "checkbox") return;
    const middle = [this.stage.clientWidth / 2, this.stage.clientHeight / 2];
    const deeds = {
      ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), 0: () => this.fit(),
      "+": () => this.zoomAt(...middle, 1.4), "=": () => this.zoomAt(...middle, 1.4), "-": () => this.zoomAt(...middle, 1 / 1.4),
      t: () => this.tags?.querySelector("input").focus(), x: () => { select([this.row], "toggle"); say(data.selection[this.row] ? "selected" : "not selected"); },
    };
    const deed = deeds[event.key];
    if (!deed) return;
    deed();
    event.preventDefault();
    event.stopPropagation();
  }
}

function facts(pairs) {
  return element("dl", {}, pairs.filter(([, value]) => value).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

