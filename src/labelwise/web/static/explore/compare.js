// Two selections beside each other: tags, rounds, lists, what is shown or selected.
import { ask, element, say } from "../base.js";
import { addColumn, count, data, emit, idsOf, number, rowsOf, rowsWhere, selectedRows, values } from "./data.js";

const NAME = "compared";

export class Compare {
  constructor() {
    this.lists = new Map(); // rows of lists that were opened here
    this.first = this.choice("First selection");
    this.second = this.choice("Second selection");
    this.file = element("input", { type: "file", accept: ".txt,.csv,.json", "aria-label": "Open a list of images", onchange: () => this.open() });
    this.result = element("div", { class: "compared" });
    this.dialog = element("dialog", { class: "compare", "aria-labelledby": "compare-title" },
      element("div", { class: "image-bar" }, element("h2", { id: "compare-title" }, "Compare two selections"),
        element("button", { "aria-label": "Close (Escape)", onclick: () => this.dialog.close() }, "×")),
      element("div", { class: "choices" }, element("label", {}, element("i", { class: "swatch a" }), "First", this.first),
        element("label", {}, element("i", { class: "swatch b" }), "Second", this.second), element("label", { class: "quiet" }, "or open a list", this.file)),
      this.result);
    document.body.append(this.dialog);
  }

  choice(label) {
    return element("select", { "aria-label": label, onchange: () => this.run() });
  }

  async show() {
    const found = [["selection", `the selection (${count(data.selected)})`], ["shown", `what is shown (${count(data.shownCount)})`], ["all", `all images (${count(data.ids.length)})`]];
    for (const [name, rows] of data.tags) found.push([`tag ${name}`, `tag ${name} (${count(rows.size)})`]);
    if (data.columns.has("round")) {
      const rounds = await values("round");
      for (const round of [...new Set(rounds)].filter((value) => !Number.isNaN(value)).sort((a, b) => a - b)) found.push([`round ${round}`, `picks of round ${round}`]);
    }
    for (const [name, rows] of this.lists) found.push([`list ${name}`, `${name} (${count(rows.length)})`]);
    for (const [i, select] of [this.first, this.second].entries()) {
      const before = select.value;
      select.replaceChildren(...found.map(([value, words]) => element("option", { value }, words)));
      const usual = [data.selected ? "selection" : found[3]?.[0] ?? "shown", found[data.selected ? 3 : 4]?.[0] ?? "all"][i];
      select.value = found.some(([value]) => value === before) ? before : usual;
    }
    if (!this.dialog.open) this.dialog.showModal();
    await this.run();
  }

  async rows(what) {
    if (what === "selection") return selectedRows();
    if (what === "shown") return rowsWhere(data.shown);
    if (what === "all") return Array.from(data.ids.keys());
    const [kind, name] = [what.slice(0, what.indexOf(" ")), what.slice(what.indexOf(" ") + 1)];
    if (kind === "tag") return [...(data.tags.get(name) ?? [])].sort((a, b) => a - b);
    if (kind === "list") return this.lists.get(name) ?? [];
    const rounds = await values("round");
    return Array.from(data.ids.keys()).filter((row) => rounds[row] === Number(name));
  }

  async run() {
    const ticket = (this.ticket = (this.ticket ?? 0) + 1);
    this.result.replaceChildren(element("p", { class: "quiet" }, "comparing …"));
    try {
      const both = await Promise.all([this.first.value, this.second.value].map((what) => this.rows(what)));
      const facts = await ask("/api/explore/compare", { first: idsOf(both[0]), second: idsOf(both[1]) });
      if (ticket === this.ticket) this.fill(facts, both);
    } catch (error) {
      if (ticket === this.ticket) this.result.replaceChildren(element("p", { class: "wrong" }, error.message));
    }
  }

  fill(facts, both) {
    const names = [this.first, this.second].map((select) => select.selectedOptions[0]?.textContent ?? "");
    const line = (title, a, b) => element("tr", {}, element("th", { scope: "row" }, title), element("td", {}, a), element("td", {}, b));
    const shares = facts.sizes.map((size) => (size ? `${number((100 * facts.both) / size)} %` : "–"));
    const table = element("table", {}, element("tr", {}, element("th"), names.map((name, i) => element("th", { scope: "col" }, element("i", { class: `swatch ${"ab"[i]}` }), name))),
      line("images", ...facts.sizes.map(count)), line(`in both: ${count(facts.both)}`, ...shares));
    if (facts.coverage) {
      const { coverage } = facts;
      table.append(line("mean distance of all images to the nearest", ...coverage.mean.map((v) => number(v))), line("distance of the image farthest away", ...coverage.farthest.map((v) => number(v))));
      if (coverage.between) table.append(line("mean distance to the nearest of the other", ...coverage.between.map((v) => number(v))));
    }
    for (const one of facts.numbers) if (one.means.some((v) => v !== null)) table.append(line(`mean ${one.title}`, ...one.means.map((v) => number(v ?? NaN))));
    const parts = [table];
    if (facts.coverage && facts.coverage.images < facts.coverage.of) parts.push(element("p", { class: "quiet" }, `Distances to all images are estimated from ${count(facts.coverage.images)} of ${count(facts.coverage.of)}.`));
    for (const balance of facts.balance.filter((one) => one.rows.length).slice(0, 3)) parts.push(this.balance(balance, facts.sizes));
    parts.push(element("p", {}, element("button", { class: "main", onclick: () => this.onMap(both, names) }, "Show both on the map")));
    this.result.replaceChildren(...parts);
  }

  balance({ title, rows, missing, evenness }, sizes) {
    const share = (value, i) => (sizes[i] ? value / sizes[i] : 0), most = Math.max(1e-9, ...rows.flatMap(([, a, b]) => [share(a, 0), share(b, 1)]));
    const bar = (value, i) => element("td", { class: "double" }, element("i", { class: `swatch ${"ab"[i]} long`, style: { width: `${(78 * share(value, i)) / most}%` } }), element("span", {}, count(value)));
    const lost = missing.some((n) => n) ? [["none", ...missing]] : [];
    const even = evenness.map((value) => (value === null ? "–" : number(value))).join(" and ");
    return element("section", {}, element("h3", {}, `By ${title}`), element("p", { class: "quiet" }, `evenness ${even} of 1`),
      element("table", { class: "balance" }, [...rows.slice(0, 15), ...lost].map(([name, a, b]) => element("tr", {}, element("th", { scope: "row", title: name }, name), bar(a, 0), bar(b, 1)))));
  }

  onMap(both, names) {
    const made = new Int32Array(data.ids.length).fill(-1);
    for (const row of both[0]) made[row] = 0;
    for (const row of both[1]) made[row] = made[row] === 0 ? 2 : 1;
    const column = { name: NAME, title: "comparison", group: "Comparison", kind: "category", classes: true, form: "", values: [`only ${names[0]}`, `only ${names[1]}`, "in both"] };
    addColumn(column, made);
    this.dialog.close();
    emit("colour-by", NAME);
  }

  async open() {
    const file = this.file.files[0];
    if (!file) return;
    try {
      const names = namesIn(await file.text(), file.name), rows = rowsOf(names);
      if (!rows.length) throw new Error(`${file.name}: none of its ${count(names.length)} names is an image here`);
      this.lists.set(file.name, rows);
      if (rows.length < names.length) say(`${file.name}: ${count(names.length - rows.length)} names are no images here`, true);
      await this.show();
      this.second.value = `list ${file.name}`;
      await this.run();
    } catch (error) {
      this.result.replaceChildren(element("p", { class: "wrong" }, error.message));
    }
  }
}

// The names in a list that labelwise wrote: a name a line, a column path, or JSON with picks.
export function namesIn(text, name) {
  if (name.endsWith(".json")) {
    const tree = JSON.parse(text), list = Array.isArray(tree) ? tree : tree.picks ?? tree.images ?? [];
    return list.map((one) => (typeof one === "string" ? one : one.id ?? one.path ?? one.file_name)).filter((one) => typeof one === "string");
  }
  const lines = text.replace(/^\ufeff/, "").split(/\r?\n/).filter((line) => line);
  if (!name.endsWith(".csv")) return lines.map((line) => (line.startsWith('"') ? JSON.parse(line) : line.trim()));
  const cells = (line) => Array.from(line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g), ([, cell]) => (cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell));
  const head = cells(lines[0]).map((cell) => cell.toLowerCase()), at = ["path", "id", "filename", "filenames", "file_name"].map((one) => head.indexOf(one)).find((one) => one >= 0);
  return (at === undefined ? lines : lines.slice(1)).map((line) => cells(line)[at ?? 0]);
}
