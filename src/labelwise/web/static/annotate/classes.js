// The classes with their keys and colours: chosen by key, by pointer, or by typing a part of the name; added.
import { element, say } from "../base.js";

const DIGITS = "123456789";
const LETTERS = "qwertyuiopasdfghjklzxcvbnm";
const FIND = "find a class  /", NAME = "new name, Enter";
const TOOLS = { segment: "bepfr" }; // letters that mean a tool in a task
// Okabe and Ito's colours, which colour-blind people tell apart; then turns of the colour wheel.
const COLOURS = ["#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#bbbbbb"];

export function colour(index) {
  if (index < 0) return "#888888";
  if (index < COLOURS.length) return COLOURS[index];
  return hex((index * 137.508) % 360, 0.7, index % 2 ? 0.42 : 0.62);
}

function hex(hue, saturation, lightness) {
  const a = saturation * Math.min(lightness, 1 - lightness);
  const part = (n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1)))).toString(16).padStart(2, "0");
  };
  return `#${part(0)}${part(8)}${part(4)}`;
}

export function keysOf(task) {
  const taken = TOOLS[task] ?? "";
  return [...DIGITS, ...[...LETTERS].filter((letter) => !taken.includes(letter))];
}

export class Classes {
  // `choose` gets the name of a class, `add` makes a new one known.
  constructor(task, { choose, add, leave }) {
    this.keys = keysOf(task);
    this.names = [];
    this.active = null;
    this.proposed = null;
    this.naming = false; // what is typed names a new class
    Object.assign(this, { choose, add, leave });
    this.filter = element("input", {
      type: "search", id: "filter", placeholder: FIND, "aria-label": "Find a class", autocomplete: "off",
      oninput: () => this.draw(), onkeydown: (event) => this.#typed(event),
    });
    this.adding = element("button", { type: "button", id: "add-class", title: "Add a class (+)", onclick: () => this.begin() }, "+ class");
    this.list = element("div", { class: "classes", role: "group", "aria-label": "Classes" });
    this.panel = element("section", { class: "class-panel", "aria-label": "Classes" },
      element("div", { class: "row" }, this.filter, this.adding), this.list);
  }

  set(names) {
    if (names.length === this.names.length && names.every((name, i) => name === this.names[i])) return;
    this.names = [...names];
    this.draw();
  }

  mark({ active = this.active, proposed = this.proposed } = {}) {
    if (active === this.active && proposed === this.proposed) return;
    this.active = active;
    this.proposed = proposed;
    this.draw();
  }

  byKey(key) {
    const at = this.keys.indexOf(key.toLowerCase());
    return at >= 0 ? this.names[at] : undefined;
  }

  get typed() { return this.filter.value.trim(); }

  // The classes with all words that are typed: the name itself first, then those that begin with it.
  get matches() {
    const typed = this.typed.toLowerCase(), words = typed.split(/\s+/);
    const far = (name) => (name === typed ? 0 : name.startsWith(typed) ? 1 : 2);
    return this.names.filter((name) => words.every((word) => name.toLowerCase().includes(word)))
      .sort((a, b) => far(a.toLowerCase()) - far(b.toLowerCase()));
  }

  // What Enter does with what is typed: choose this class; undefined: add it.
  get meant() {
    return this.naming ? this.names.find((name) => name === this.typed) : this.matches[0];
  }

  draw() {
    const { typed, meant } = this;
    this.list.replaceChildren(...this.matches.map((name) => {
      const index = this.names.indexOf(name);
      return element("button", {
        type: "button", class: typed && name === meant ? "one-class meant" : "one-class", "data-class": name, "aria-pressed": String(name === this.active), tabindex: "-1",
        title: name + (name === this.proposed ? ": the model's proposal" : ""),
        onclick: () => { this.choose(name); this.leave(); },
      }, element("kbd", {}, this.keys[index] ?? "·"), element("i", { class: "swatch", style: { background: colour(index) } }),
      element("span", {}, name), name === this.proposed ? element("em", {}, "proposed") : null);
    }));
    if (typed && meant === undefined) this.list.prepend(element("p", { class: "quiet" }, `Enter adds the class “${typed}”.`));
  }

  find() { this.#ask(false); this.filter.select(); }

  begin() {
    if (this.typed && !this.names.includes(this.typed)) this.#add(this.typed);
    else { this.filter.value = ""; this.#ask(true); }
  }

  #ask(naming) {
    this.naming = naming;
    this.filter.placeholder = naming ? NAME : FIND;
    this.filter.focus();
    this.draw();
  }

  async #add(name) {
    try {
      await this.add(name);
    } catch (error) {
      say(error.message, true);
      return;
    }
    this.#clear();
    say(`class “${name}” added: key ${this.keys[this.names.indexOf(name)] ?? "none, find it by typing"}`);
  }

  #clear() {
    this.filter.value = "";
    this.#ask(false);
    this.leave();
  }

  #typed(event) {
    event.stopPropagation();
    if (event.key === "Escape") this.#clear();
    if (event.key !== "Enter") return;
    event.preventDefault();
    const { typed, meant } = this;
    if (!typed) this.#clear();
    else if (meant !== undefined) { this.#clear(); this.choose(meant); } else this.#add(typed);
  }
}
