// The room in which queries are answered: the picture, the classes, and what a key does.
import { ask, element, main, say } from "./base.js";
import { Boxes } from "./annotate/boxes.js";
import { Classes } from "./annotate/classes.js";
import { Classify } from "./annotate/classify.js";
import { Clock } from "./annotate/clock.js";
import { Desk } from "./annotate/desk.js";
import { Masks } from "./annotate/masks.js";
import { Pixels } from "./annotate/pixels.js";
import { Again } from "./annotate/suspects.js";
import { helpDialog, named } from "./annotate/dialogs.js";
import { View } from "./annotate/view.js";

const POLL = 3000; // milliseconds between looks for new questions, while there is none
const EDITORS = { class: Classify, boxes: Boxes, mask: Masks, regions: Masks, pixels: Pixels };
const WAITING = "There is nothing to answer here now.";

class Room {
  constructor(annotator, state) {
    this.annotator = annotator;
    this.say = say;
    this.editors = {};
    this.editor = null;
    this.canvas = element("canvas", { id: "stage", tabindex: "0", role: "application", "aria-label": "The picture", "aria-describedby": "note" });
    this.empty = element("div", { class: "empty", id: "nothing", hidden: true });
    this.view = new View(this.canvas, {});
    this.classes = new Classes(state.task, {
      choose: (name) => this.editor?.choose(name), add: (name) => this.addClass(name), leave: () => this.leave(),
    });
    this.classes.set(state.classes);
    this.desk = new Desk(annotator, new Clock(), { show: (question, image) => this.show(question, image), progress: () => this.progress() });
    this.again = new Again(this);
    this.#layout(annotator);
    document.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("keyup", (event) => { if (event.key === " ") this.view.moving = false; });
    setInterval(() => this.desk.poll(), POLL);
  }

  #layout(annotator) {
    const button = (id, text, key, onclick, extra = {}) => element("button", { type: "button", id, onclick: () => { onclick(); this.leave(); }, ...extra }, text, " ", element("kbd", {}, key));
    this.bar = element("progress", { id: "bar", max: "1", value: "0", "aria-label": "Answered" });
    this.count = element("p", { id: "count", class: "quiet" });
    this.note = element("p", { id: "note" });
    this.reason = element("p", { id: "reason", class: "quiet" });
    this.banner = element("p", { id: "banner", hidden: true });
    this.toolbar = element("div", { class: "row tools", role: "toolbar", "aria-label": "Tools" });
    this.extra = element("div", { class: "extra" });
    this.tabs = element("div", { class: "row", id: "tabs" },
      element("button", { type: "button", id: "tab-open", "aria-pressed": "true", onclick: () => this.again.leave() }, "Questions"),
      element("button", { type: "button", id: "tab-again", "aria-pressed": "false", onclick: () => this.again.enter() }, "Check again"));
    this.actions = element("div", { class: "row actions" },
      button("accept", "Accept & next", "Enter", () => this.editor?.accept(), { class: "main" }),
      button("skip", "Skip", "-", () => this.skip()),
      button("back", "Back", "←", () => this.desk.back(-1)),
      button("forward", "Forward", "→", () => this.desk.back(1)),
      button("undo", "Take back", "⌫", () => this.takeBack()));
    const panel = element("aside", { class: "side", "aria-label": "Answer" },
      this.tabs, element("div", {}, this.bar, this.count), this.banner, this.note, this.actions, this.toolbar, this.extra, this.classes.panel, this.reason,
      element("div", { class: "row foot" },
        element("button", { type: "button", id: "help", onclick: () => this.help() }, "Keys ", element("kbd", {}, "?")),
        element("button", { type: "button", id: "close", onclick: () => this.close() }, "Train now"),
        element("button", { type: "button", id: "who", title: "Another name", onclick: () => { localStorage.removeItem("labelwise-name"); location.reload(); } }, annotator)));
    main.replaceChildren(element("div", { class: "annotate" }, element("div", { class: "stage" }, this.canvas, this.empty), panel));
  }

  async addClass(name) {
    await this.desk.addClass(name);
    this.classes.set(this.desk.classes);
  }

  leave() { this.canvas.focus({ preventScroll: true }); }

  tooled(...elements) { this.extra.replaceChildren(...elements); }

  noted() {
    this.note.textContent = this.editor?.note?.() ?? "";
    const accept = document.getElementById("accept");
    accept.firstChild.textContent = this.editor?.accepts ?? "Accept";
    accept.disabled = !(this.again.on ? this.again.one : this.question) || this.editor?.accepted === null;
    this.toolbar.replaceChildren(...(this.editor?.tools ?? []).map(([text, key, onclick, pressed]) => element("button", {
      type: "button", "aria-pressed": pressed === undefined ? null : String(pressed), onclick: () => { onclick(); this.leave(); },
    }, text, " ", element("kbd", {}, key))));
  }

  show(question, image) {
    if (this.again.on) return;
    this.question = question;
    const nothing = !question;
    this.canvas.hidden = nothing;
    this.empty.hidden = !nothing;
    document.getElementById("skip").disabled = nothing;
    this.banner.hidden = this.desk.at === null;
    this.banner.textContent = this.desk.at === null ? "" : `An earlier answer${question?.skipped ? " (skipped)" : ""}: answer again to change it, → to leave it.`;
    this.extra.replaceChildren();
    if (nothing) { this.editor = null; this.#wait(); return; }
    this.classes.set(this.desk.classes);
    this.editor = this.editors[question.kind] ??= new EDITORS[question.kind](this);
    this.view.editor = this.editor;
    this.canvas.setAttribute("aria-label", `Picture ${question.sample}`);
    this.reason.textContent = `${question.sample}. ${question.audit ? "Drawn at random, to estimate the quality." : question.reason}`;
    if (question.kind === "class") this.view.set(image, [question.width, question.height]);
    this.editor.show(question, image);
    this.noted();
    if (document.activeElement === document.body || document.activeElement === main) this.leave();
  }

  #wait() {
    this.reason.textContent = "";
    this.noted();
    this.classes.mark({ active: null, proposed: null });
    const { state } = this.desk;
    const others = Object.entries(state.others).map(([who, n]) => `${who} (${n})`).join(", ");
    const left = state.open - state.answered;
    const lines = this.desk.pending ? ["Saving …"] : state.open === 0
      ? [state.run === "finished" ? "The run has finished." : "No question is open.", state.message]
      : left === 0
        ? [`All ${state.open} questions of round ${state.round} are answered.`, state.by_page
          ? "They are taken in as soon as the run looks: 'labelwise run' in another terminal, if it is not running. Until then you can go back and change them."
          : `This run asks through ${state.asks}: “Hand in” gives it the answers.`]
        : [WAITING, others ? `At work on what is left: ${others}.` : `${left} more must be answered by others.`];
    this.empty.replaceChildren(...lines.filter(Boolean).map((line, i) => element(i ? "p" : "h1", {}, line)));
  }

  progress() {
    const { state } = this.desk;
    if (!state) return;
    this.classes.set(this.desk.classes);
    this.bar.max = Math.max(1, state.open);
    this.bar.value = state.answered;
    const others = Object.keys(state.others).length;
    const parts = [state.round === null ? "nothing open" : `Round ${state.round}: ${state.answered} of ${state.open} answered`, `${state.mine} by you`];
    if (others) parts.push(`${others} more at work`);
    parts.push(this.desk.pending ? `saving ${this.desk.pending}` : "all saved");
    this.count.textContent = parts.join(" · ");
    const again = document.getElementById("tab-again");
    again.textContent = `Check again (${state.suspects})`;
    this.tabs.hidden = !state.suspects && !this.again.on;
    const close = document.getElementById("close");
    close.textContent = state.by_page ? "Train now" : "Hand in";
    close.disabled = !state.answered || state.closed;
    if (!this.question && !this.again.on && !this.empty.hidden) this.#wait();
  }

  skip() {
    if (this.again.on) this.again.next();
    else if (this.question) this.desk.submit({ kind: "skipped" });
  }

  takeBack() {
    if (this.again.on) this.again.undo();
    else if (this.editor?.undo?.()) return; // a step of the drawing
    else if (this.question && this.question.kind !== "class") this.desk.back(-1); // with its drawing
    else this.desk.undo();
  }

  async close() {
    const { state } = this.desk;
    const left = state.open - state.answered;
    const ahead = state.by_page ? `Train with what is answered? Open questions (${left}) are not asked in this round, except those of the random sample.` : "Hand in the answers given here? They cannot be changed any more.";
    if (!confirm(ahead)) return;
    try {
      const done = await this.desk.close();
      say(done.left ? `closed; ${done.left} of the random sample stay asked` : "closed");
    } catch (error) {
      say(error.message, true);
    }
    this.leave();
  }

  help() {
    const own = this.editor?.help ?? [];
    helpDialog([...own, ["-", "skip: cannot tell"], ["← →", "back to an earlier answer, forward"], ["Ctrl Z", "take back"], ["/", "find a class by typing"], ["+", "add a class"], ["?", "these keys"]], () => this.leave());
  }

  key(event) {
    const { target } = event;
    if (event.defaultPrevented || document.querySelector("dialog[open]") || event.isComposing) return;
    if (target.matches("input:not([type=range]), select, textarea")) return;
    const command = event.ctrlKey || event.metaKey;
    if (command && event.key.toLowerCase() === "z") this.takeBack();
    else if (command || (event.altKey && !event.key.startsWith("Arrow"))) return;
    else if (target.matches("button, a, summary") && (event.key === "Enter" || event.key === " ")) return;
    else if (event.key === " " && this.editor) this.view.moving = true;
    else if (!this.#command(event)) return;
    event.preventDefault();
  }

  #command(event) {
    const { editor } = this;
    if (event.key === "/") this.classes.find();
    else if (event.key === "+") this.classes.begin();
    else if (event.key === "?") this.help();
    else if (event.repeat && event.key === "Enter") return true; // held down: one image only
    else if (editor?.key(event)) return true;
    else if (editor && this.view.key(event)) return true;
    else if (event.key === "Enter" && editor) editor.accept();
    else if (event.key === "-" && editor) this.skip();
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") this.again.on || this.desk.back(event.key === "ArrowLeft" ? -1 : 1);
    else if (event.key === "Backspace") this.takeBack();
    else if (editor && !event.repeat && event.key.length === 1) {
      const name = this.classes.byKey(event.key);
      if (name === undefined) return false;
      editor.choose(name);
    } else return false;
    return true;
  }
}

try {
  const annotator = await named();
  const state = await ask(`/api/annotate/state?annotator=${encodeURIComponent(annotator)}`);
  const room = new Room(annotator, state);
  await room.desk.begin();
  room.leave();
} catch (error) {
  say(error.message, true);
}
