// Tags: the list of them, putting the selection under one, and lists to take away.
import { element, response, say } from "../base.js";
import { changeTag, count, data, emit, idsOf, on, select, selectedRows, setFilter, showOnlySelected } from "./data.js";

export class Tags {
  constructor(host) {
    this.host = host;
    on("tags", () => this.build());
    on("filter", () => this.build());
  }

  build() {
    const wanted = data.filters.get("tag")?.values ?? new Set();
    const known = element("datalist", { id: "tag-names" }, [...data.tags.keys()].map((name) => element("option", { value: name })));
    const rows = [...data.tags].map(([name, rows]) => element("div", { class: "tag" },
      element("button", { class: "value", "aria-pressed": wanted.has(name), title: `Show the images of ${name}`, onclick: () => this.toggle(name) },
        element("span", { class: "name" }, name), element("span", { class: "count" }, count(rows.size))),
      element("details", { class: "menu" }, element("summary", { "aria-label": `More of ${name}` }, "⋯"),
        element("div", { class: "menu-list" },
          element("button", { onclick: () => { select(rows); showOnlySelected(true); } }, "Select its images"),
          ...["txt", "csv", "json"].map((kind) => element("a", { href: `/api/explore/tag.${kind}?name=${encodeURIComponent(name)}`, download: `${name}.${kind}` }, `Download .${kind}`)),
          element("button", { class: "danger", onclick: (event) => this.remove(event.currentTarget, name) }, "Delete the tag")))));
    this.host.replaceChildren(known, ...(rows.length ? rows : [element("p", { class: "quiet hint" }, "Select images on the map or in the grid, then press T.")]));
  }

  toggle(name) {
    const wanted = new Set(data.filters.get("tag")?.values ?? []);
    if (!wanted.delete(name)) wanted.add(name);
    setFilter("tag", wanted.size ? { values: wanted } : null);
  }

  // The first press asks, the second does it.
  async remove(button, name) {
    if (!button.dataset.sure) {
      button.dataset.sure = "yes";
      button.textContent = "Press again to delete";
      return;
    }
    await told(changeTag(name, { gone: true }), `tag ${name} deleted`);
  }
}

export async function told(work, words) {
  try {
    await work;
    say(words);
    return true;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}

// The bar over the grid: what can be done with the selection.
export class SelectionBar {
  constructor(host) {
    this.input = element("input", {
      list: "tag-names", placeholder: "tag name", "aria-label": "Tag for the selection", maxlength: 100, id: "tag-input",
      onkeydown: (event) => { if (event.key === "Enter") this.put(event.shiftKey); if (event.key === "Escape") this.input.blur(); event.stopPropagation(); },
    });
    this.words = element("strong");
    this.only = element("button", { title: "Show only the selected (O)", onclick: () => showOnlySelected(!data.onlySelected) }, "Only these");
    this.bar = element("div", { class: "selection-bar", hidden: true },
      this.words,
      element("span", { class: "tagging" }, this.input,
        element("button", { class: "main", title: "Put the selection under this tag (Enter)", onclick: () => this.put(false) }, "Tag"),
        element("button", { title: "Take the selection from this tag (Shift+Enter)", onclick: () => this.put(true) }, "Untag")),
      this.only,
      element("button", { title: "Sort by how similar images are to these (S)", onclick: () => emit("similar") }, "Similar"),
      element("button", { title: "Zoom the map to these (Z)", onclick: () => emit("zoom") }, "Zoom"),
      element("details", { class: "menu" }, element("summary", {}, "List"), element("div", { class: "menu-list" },
        ["txt", "csv", "json"].map((kind) => element("button", { onclick: () => this.save(kind) }, `Download .${kind}`)))),
      element("button", { title: "Clear the selection (Escape)", onclick: () => select([]) }, "Clear"));
    host.append(this.bar);
    on("selection", () => this.update());
  }

  update() {
    this.bar.hidden = !data.selected;
    this.words.textContent = `${count(data.selected)} selected`;
    this.only.setAttribute("aria-pressed", data.onlySelected);
  }

  async put(away) {
    const name = this.input.value.trim(), rows = selectedRows();
    if (!name) { say("give the tag a name", true); this.input.focus(); return; }
    const words = `${count(rows.length)} ${away ? "taken from" : "put under"} ${name}`;
    if (await told(changeTag(name, away ? { remove: rows } : { add: rows }), words)) this.input.blur();
  }

  async save(kind) {
    try {
      const answer = await response(`/api/explore/list.${kind}`, { ids: idsOf(selectedRows()) });
      const address = URL.createObjectURL(await answer.blob());
      element("a", { href: address, download: `selection.${kind}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 10_000);
    } catch (error) {
      say(error.message, true);
    }
  }
}
