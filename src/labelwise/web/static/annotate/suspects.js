// Labels that may be wrong, looked at once more: kept, corrected, or taken away.
import { ask, element, picture, say, whyNot } from "../base.js";

export class Again {
  constructor(room) {
    this.room = room;
    this.accepts = "The label is right";
    this.on = false;
    this.left = [];
    this.done = [];
    this.help = [
      ["Enter", "the label is right"], ["1 – 9, a – z", "the class it should have"], ["0", "it shows none of the classes"],
      ["-", "not now: the next one"], ["Backspace", "take the last look back"],
    ];
    this.tools = [["No class", "0", () => this.#keep(null)]];
  }

  async enter() {
    try {
      const { suspects } = await ask("/api/annotate/suspects");
      this.left = suspects;
    } catch (error) {
      say(error.message, true);
      return;
    }
    this.#turn(true);
    this.#shown();
  }

  leave() {
    if (!this.on) return;
    this.#turn(false);
    this.room.desk.open();
    this.room.leave();
  }

  #turn(on) {
    this.on = on;
    document.getElementById("tab-open").setAttribute("aria-pressed", String(!on));
    document.getElementById("tab-again").setAttribute("aria-pressed", String(on));
    for (const name of ["back", "forward"]) document.getElementById(name).hidden = on;
  }

  async #shown() {
    const { room } = this;
    const one = this.left[0] ?? null;
    this.one = one;
    room.banner.hidden = true;
    room.extra.replaceChildren();
    room.canvas.hidden = !one;
    room.empty.hidden = Boolean(one);
    document.getElementById("skip").disabled = !one;
    room.editor = this;
    room.view.editor = {};
    room.desk.clock.reset();
    if (!one) {
      room.empty.replaceChildren(element("h1", {}, "No suspect label is left."), element("p", {}, "What you corrected counts from the next training on."));
      room.classes.mark({ active: null, proposed: null });
      room.reason.textContent = "";
      room.noted();
      return;
    }
    room.classes.mark({ active: one.given, proposed: one.suggested });
    room.reason.textContent = `${one.sample}. Predicted ${one.how}: “${one.given}” with a probability of ${(one.probability * 100).toFixed(1)} %.`;
    room.canvas.setAttribute("aria-label", `Picture ${one.sample}`);
    room.noted();
    const image = new Image();
    image.src = picture(one.sample, 1600);
    await image.decode().catch(async () => say(await whyNot(image.src), true));
    if (this.one === one) room.view.set(image, [image.naturalWidth || 1, image.naturalHeight || 1]);
    room.leave();
  }

  note() { return this.one ? `Labelled ${this.one.given}, rather ${this.one.suggested}? ${this.left.length} left` : ""; }

  next() {
    this.left.push(this.left.shift());
    this.#shown();
  }

  accept() { if (this.one) this.#keep(this.one.given); }

  choose(name) { if (this.one) this.#keep(name); }

  async #keep(name) {
    const { one } = this;
    if (!one) return;
    const { seconds } = this.room.desk.clock;
    try {
      await ask("/api/annotate/check", { query: one.query, annotator: this.room.annotator, name, seconds });
    } catch (error) {
      say(error.message, true);
      return;
    }
    say(name === one.given ? "kept" : `${one.given} → ${name ?? "no class"}, from the next training on`);
    this.done.push(one);
    this.left = this.left.filter((other) => other !== one);
    this.room.desk.refill().catch(() => {});
    this.#shown();
  }

  async undo() {
    const last = this.done.pop();
    if (!last) { say("nothing to take back"); return true; }
    try {
      await ask("/api/annotate/uncheck", { query: last.query, annotator: this.room.annotator });
      this.left.unshift(last);
      say("taken back");
    } catch (error) {
      say(error.message, true);
    }
    this.#shown();
    return true;
  }

  key(event) {
    if (event.key === "0") this.#keep(null);
    else if (event.key === "Backspace") this.undo();
    else return false;
    return true;
  }
}
