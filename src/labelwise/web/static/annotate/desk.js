// The queue as this page holds it: questions ahead with their pictures, answers on their way, signs of life.
import { ask, picture, runIs, say, whyNot } from "../base.js";
import { regionsOf } from "./layers.js";

const AHEAD = 4; // questions held, the one shown among them
const LARGE = 1600; // longer side of the picture of an image that is only looked at
const BEAT = 60_000; // milliseconds between signs of life
const AWAY = 240_000; // milliseconds without a movement after which there are none

const pictures = new Map(); // by question: the decoded picture, or on its way

// The address of a question's picture: as large as it is where one points at pixels of it.
function address(question) {
  return picture(question.sample, question.kind === "class" && Math.max(question.width, question.height) > LARGE ? LARGE : 0);
}

function fetched(question) {
  if (question.kind === "regions") regionsOf(question).catch(() => {});
  if (!pictures.has(question.id)) {
    const image = new Image();
    image.src = address(question);
    pictures.set(question.id, image.decode().then(() => image));
    pictures.get(question.id).catch(() => pictures.delete(question.id));
    for (const id of [...pictures.keys()].slice(0, -12)) pictures.delete(id);
  }
  return pictures.get(question.id);
}

export class Desk {
  constructor(annotator, clock, { show, progress }) {
    Object.assign(this, { annotator, clock, show, progress });
    this.ahead = []; // questions held; the first is shown unless an earlier answer is
    this.done = []; // ids answered here, the newest last
    this.at = null; // position in `done` of the earlier answer that is shown
    this.pending = 0; // answers on their way
    this.sent = Promise.resolve();
    this.question = null;
    this.classes = [];
    this.gone = new Set(); // ids that must not come back from an older reply
    setInterval(() => this.#beat(), BEAT);
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("beforeunload", (event) => { if (this.pending) event.preventDefault(); });
  }

  async begin() {
    const mine = await ask(`/api/annotate/mine?annotator=${encodeURIComponent(this.annotator)}&limit=200`);
    this.done = mine.map((own) => own.query).reverse();
    await this.refill();
    await this.open();
  }

  take(state) {
    this.state = state;
    runIs(state.run);
    // Classes never leave: a shorter list is from before one was added.
    if (state.classes.length >= this.classes.length) this.classes = state.classes;
    this.progress();
  }

  async refill() {
    const { questions, state } = await ask("/api/annotate/next", { annotator: this.annotator, count: AHEAD });
    const held = new Set(questions.map((q) => q.id));
    this.ahead = this.ahead.filter((q) => held.has(q.id) || q === this.question);
    const known = new Set(this.ahead.map((q) => q.id));
    this.ahead.push(...questions.filter((q) => !known.has(q.id) && !this.gone.has(q.id)));
    for (const question of this.ahead) fetched(question).catch(() => {});
    this.take(state);
  }

  // Show the first question held, or that there is none.
  async open() {
    this.at = null;
    await this.#shown(this.ahead[0] ?? null);
  }

  async #shown(question) {
    this.question = question;
    this.clock.reset();
    if (!question) { this.show(null, null); return; }
    let image = null;
    try {
      image = await fetched(question);
    } catch {
      say(await whyNot(address(question)), true);
    }
    if (this.question === question) { this.clock.reset(); this.show(question, image); }
  }

  // Send an answer; the next question is shown at once.
  submit(answer, effort = {}) {
    const question = this.question;
    if (!question) return;
    const { seconds, clicks, keys } = this.clock;
    const body = { query: question.id, annotator: this.annotator, answer, seconds, effort: { clicks, keys, ...effort } };
    this.done = [...this.done.filter((id) => id !== question.id), question.id];
    this.ahead = this.ahead.filter((q) => q.id !== question.id);
    this.gone.add(question.id);
    this.#send(async () => {
      const state = await ask("/api/annotate/answer", body);
      this.take(state);
      await this.refill();
      if (!this.question && this.at === null) await this.open();
    }, question);
    say("");
    this.open();
  }

  // One after the other, so that what came later also arrives later; again while the server does not answer.
  #send(work, question) {
    this.pending += 1;
    this.progress();
    this.sent = this.sent.then(async () => {
      for (let wait = 500; ; wait = Math.min(wait * 2, 10_000)) {
        try {
          await work();
          break;
        } catch (error) {
          say(error.message, true);
          if (!error.passing) {
            if (question) await this.#refused(question);
            break;
          }
          await new Promise((resolve) => { setTimeout(resolve, wait); });
        }
      }
    }).finally(() => { this.pending -= 1; this.progress(); });
    return this.sent;
  }

  async #refused(question) {
    this.done = this.done.filter((id) => id !== question.id);
    this.gone.delete(question.id);
    await this.refill().catch(() => {});
    if (!this.question && this.at === null) await this.open();
  }

  // Take back the last answer: its question is asked again.
  undo() {
    const id = this.at === null ? this.done.at(-1) : this.done[this.at];
    if (!id) { say("nothing to take back"); return Promise.resolve(); }
    this.done = this.done.filter((other) => other !== id);
    return this.#send(async () => {
      const question = await ask("/api/annotate/undo", { query: id, annotator: this.annotator });
      this.gone.delete(id);
      this.ahead = [question, ...this.ahead.filter((q) => q.id !== id)];
      say("taken back");
      await this.open();
      await this.refill();
    });
  }

  // Show an earlier answer, which may be changed; or go forward again.
  async back(step = -1) {
    const from = this.at === null ? this.done.length : this.at;
    const to = from + step;
    if (to < 0) { say("there is no earlier answer"); return; }
    if (to >= this.done.length) { await this.open(); return; }
    this.at = to;
    this.question = null; // until the earlier one is here: keys mean neither
    await this.sent;
    try {
      const id = this.done[to];
      const question = await ask(`/api/annotate/question?query=${encodeURIComponent(id)}&annotator=${encodeURIComponent(this.annotator)}`);
      if (this.at === to) await this.#shown(question);
    } catch (error) {
      say(error.message, true);
      if (this.at === to) await this.open();
    }
  }

  async addClass(name) {
    const { classes } = await ask("/api/annotate/class", { name, annotator: this.annotator });
    if (classes.length >= this.classes.length) this.classes = classes;
  }

  async close() {
    await this.sent;
    const done = await ask("/api/annotate/close", { annotator: this.annotator });
    this.ahead = [];
    this.take(done.state);
    await this.refill();
    await this.open();
    return done;
  }

  // Look whether there is something new, while nothing is to be done here.
  async poll() {
    if (this.question || this.pending || this.at !== null || document.hidden) return;
    // A run that has finished takes its page away: that is no news then.
    await this.refill().catch((error) => this.state.run === "finished" || say(error.message, true));
    if (this.ahead.length && !this.question) { say(""); await this.open(); }
  }

  #beat() {
    if (document.hidden || this.clock.idle > AWAY || !this.ahead.length) return;
    const queries = this.ahead.map((q) => q.id);
    ask("/api/annotate/heartbeat", { annotator: this.annotator, queries }).then(({ held }) => {
      const kept = new Set(held);
      this.ahead = this.ahead.filter((q) => kept.has(q.id) || q === this.question);
      if (this.question && this.at === null && !kept.has(this.question.id)) say("this question may be with somebody else by now", true);
    }).catch((error) => say(error.message, true));
  }

  #leave() {
    if (!this.ahead.length) return;
    const body = JSON.stringify({ annotator: this.annotator, queries: this.ahead.map((q) => q.id) });
    fetch("/api/annotate/release", { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: true });
  }
}
