// A class for the whole image: one key, and the next.

export class Classify {
  constructor(room) {
    this.room = room;
    this.help = [
      ["1 – 9, a – z", "the class with this key"], ["Enter", "the model's proposal, or the answer given before"],
      ["Backspace", "take the last answer back"],
    ];
    this.tools = [];
  }

  get accepts() { return this.question.mine ? "Keep the answer" : this.question.proposal ? "Accept the proposal" : "Nothing is proposed"; }

  get accepted() { return this.question.mine ?? this.question.proposal; }

  show(question) {
    this.question = question;
    this.room.classes.mark({ active: question.mine, proposed: question.proposal });
  }

  choose(name) {
    const { proposal } = this.question;
    const corrections = Number(proposal !== null && proposal !== name);
    this.room.desk.submit({ kind: "class", name }, { corrections });
  }

  accept() {
    if (this.accepted) this.choose(this.accepted);
    else this.room.say("nothing is proposed: choose a class");
  }

  note() {
    const { proposal, probability } = this.question;
    if (!proposal) return "";
    return `Proposed: ${proposal}${probability ? ` (${Math.round(probability * 100)} %)` : ""}`;
  }

  key(event) {
    if (event.key !== "Backspace") return false;
    this.room.desk.undo();
    return true;
  }
}
