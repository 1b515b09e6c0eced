// The time a person spends on one question: while the page is visible and something moves; and what was pressed.

const IDLE = 30_000; // milliseconds without a movement that still count

export class Clock {
  constructor() {
    this.reset();
    const act = () => this.#tick();
    for (const name of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      window.addEventListener(name, act, { passive: true, capture: true });
    }
    window.addEventListener("pointerdown", () => { this.clicks += 1; }, { capture: true });
    window.addEventListener("keydown", (event) => { if (!event.repeat) this.keys += 1; }, { capture: true });
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.#tick(); else this.last = performance.now(); });
  }

  reset() {
    this.spent = 0;
    this.clicks = 0;
    this.keys = 0;
    this.last = performance.now();
  }

  get idle() { return performance.now() - this.last; }

  get seconds() {
    this.#tick();
    return Math.round(this.spent / 100) / 10;
  }

  #tick() {
    const now = performance.now();
    if (!document.hidden || now - this.last < 1000) this.spent += Math.min(now - this.last, IDLE);
    this.last = now;
  }
}
