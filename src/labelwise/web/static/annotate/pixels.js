// Single pixels: each shown large with what is around it; one key for its class, and the next.
import { colour } from "./classes.js";
import { outlined, overview } from "./marks.js";

const PATCH = 33; // pixels of the picture on the shorter side of the magnified part

export class Pixels {
  constructor(room) {
    this.room = room;
    this.help = [
      ["1 – 9, a – z", "class of the pixel, and the next"], ["Enter", "what the model proposes for it"],
      ["0", "no class (void)"], ["Backspace", "the pixel before; at the first one, the image before"],
      ["Tab", "the next pixel without an answer"], ["PageUp / PageDown, wheel, pinch, Home", "zoom"],
    ];
    this.tools = [["No class", "0", () => this.#give(null)], ["Pixel before", "⌫", () => this.#before()], ["Zoom out", "Home", () => this.home()]];
  }

  get accepts() { return this.question.mine ? "Keep the answers" : this.proposed ? "Accept the proposal" : "Nothing is proposed"; }

  get accepted() { return this.question.mine ?? this.proposed; }

  show(question, image) {
    this.question = question;
    this.names = question.mine ? [...question.mine] : question.points.map(() => undefined);
    this.at = question.mine ? question.points.length - 1 : 0;
    this.corrections = 0;
    this.undone = 0;
    this.room.canvas.style.cursor = "default";
    this.room.view.set(image, [question.width, question.height]);
    this.#go(this.at);
  }

  note() {
    const said = this.names[this.at];
    const proposed = this.proposed ? ` · proposed ${this.proposed}` : "";
    const answer = said === undefined ? proposed : ` · now ${said ?? "no class"}`;
    return `Pixel ${this.at + 1} of ${this.question.points.length}${answer}`;
  }

  get proposed() { return this.question.proposal?.[this.at] ?? null; }

  #go(at) {
    this.at = at;
    this.room.classes.mark({ active: this.names[at] ?? null, proposed: this.proposed });
    this.room.noted();
    this.home();
  }

  home() {
    const [x, y] = this.question.points[this.at];
    const half = PATCH / 2;
    this.room.view.fit([x + 0.5 - half, y + 0.5 - half, x + 0.5 + half, y + 0.5 + half]);
  }

  choose(name) { this.#give(name); }

  #give(name) {
    if (this.proposed && name !== this.proposed) this.corrections += 1;
    this.names[this.at] = name;
    const left = [...this.names.keys()].filter((i) => this.names[i] === undefined);
    if (this.question.mine && this.at + 1 < this.names.length) this.#go(this.at + 1);
    else if (!left.length) this.#send();
    else this.#go(left.find((i) => i > this.at) ?? left[0]);
  }

  #send() {
    const { corrections, undone } = this;
    this.room.desk.submit({ kind: "pixels", names: this.names }, { corrections, undone });
  }

  accept() {
    if (this.question.mine) this.#send();
    else if (this.proposed) this.#give(this.proposed);
    else this.room.say("nothing is proposed: choose a class");
  }

  #before() {
    if (this.at === 0) { this.room.desk.back(); return; }
    this.undone += 1;
    this.names[this.at - 1] = undefined;
    this.#go(this.at - 1);
  }

  undo() {
    if (this.at === 0) return false;
    this.#before();
    return true;
  }

  key(event) {
    if (event.key === "0") this.#give(null);
    else if (event.key === "Backspace") this.#before();
    else if (event.key === "Tab" && document.activeElement === this.room.canvas) {
      const to = this.names.findIndex((name, i) => i > this.at && name === undefined);
      if (to < 0) return false;
      this.#go(to);
    } else return false;
    return true;
  }

  draw(view) {
    const { context, scale } = view;
    const pixel = 1 / scale;
    this.question.points.forEach(([x, y], i) => { if (i !== this.at) this.#spot(context, [x, y], this.names[i], pixel); });
    const [x, y] = this.question.points[this.at];
    const out = 2 * pixel;
    outlined(context, pixel, () => context.rect(x - out, y - out, 1 + 2 * out, 1 + 2 * out), "#ffffff", 3);
    overview(view, [x + 0.5, y + 0.5]);
  }

  #spot(context, [x, y], name, pixel) {
    const index = name ? this.room.classes.names.indexOf(name) : -1;
    context.strokeStyle = name === undefined ? "#ffffff" : name ? colour(index) : "#888888";
    context.lineWidth = 2 * pixel;
    context.strokeRect(x - pixel, y - pixel, 1 + 2 * pixel, 1 + 2 * pixel);
  }
}
