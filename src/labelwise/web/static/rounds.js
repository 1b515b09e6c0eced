// The room in which rounds are followed: where the run stands, what its labels bought, what is to be expected.
import { ask, element as el, main, runIs, say } from "./base.js";
import { chart } from "./charts.js";

const STEPS = ["query", "annotate", "train", "evaluate"];
const OFTEN = 1500, SELDOM = 6000; // milliseconds between two looks: seen, and hidden
const whole = (n) => Math.round(n).toLocaleString("en");
const share = (v, digits = 1) => `${(100 * v).toFixed(digits)}\u00a0%`;
const said = (v, metric) => (v === null || v === undefined ? "–" : metric.share ? share(v) : v.toFixed(3));
const points = (v) => (100 * v).toFixed(1);
const range = (low, high) => `${points(low)}–\u2060${points(high)}\u00a0%`;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const all = Math.round(seconds);
  if (all < 60) return `${all} s`;
  return all < 3600 ? `${Math.floor(all / 60)} min ${all % 60} s` : `${Math.floor(all / 3600)} h ${Math.floor((all % 3600) / 60)} min`;
}

const parts = {};
for (const name of ["now", "advice", "tiles", "curve", "balance", "discovery", "table"]) parts[name] = el("section", { class: "card" });
parts.now.className = "card now whole";
parts.now.setAttribute("aria-label", "Where the run stands");
parts.tiles = el("dl", { class: "tiles whole" });
parts.table.classList.add("whole");
const column = (...children) => el("div", { class: "column" }, children);
main.append(el("div", { class: "rounds" }, parts.now, parts.tiles,
  column(parts.curve, parts.discovery), column(parts.advice, parts.balance), parts.table));
for (const part of [parts.advice, parts.tiles, parts.curve, parts.balance, parts.discovery, parts.table]) part.hidden = true;

// --- where the run stands ---------------------------------------------------------------------------

function standing(facts) {
  if (facts.state === "finished") return ["done", "finished"];
  if (facts.at_work) return facts.state === "waiting" ? ["waits", "waiting for people"] : ["busy", "at work"];
  if (facts.state === "waiting") return ["waits", "waiting for people"];
  return facts.state === "stopped" ? ["off", "stopped"] : ["off", "interrupted"];
}

function far(progress) {
  const { what, done, total, begun, at } = progress;
  const left = done > 0 && total > done ? ((at - begun) / done) * (total - done) : 0;
  const soon = left >= 1 ? `, about ${duration(left)} left` : "";
  return el("div", { class: "far" },
    el("progress", { value: done, max: Math.max(1, total), "aria-label": what }),
    el("span", {}, `${what}: ${whole(done)} of ${whole(total)}${soon}`));
}

let links = "";
function drawNow(facts) {
  const [look, text] = standing(facts);
  const steps = el("ol", { class: "steps", "aria-label": "Steps of the round" }, STEPS.map((step) => el("li", {
    class: facts.steps.includes(step) ? "done" : "", "aria-current": facts.state !== "finished" && step === facts.step ? "step" : null,
  }, `${facts.steps.includes(step) ? "✓ " : ""}${step}`)));
  // What the bar and the button say already is not said again.
  const known = facts.at_work && (facts.state === "unfinished" || facts.asks === "web");
  const message = known ? "" : facts.message;
  const kept = parts.now.querySelector(".links");
  const shown = `${facts.open} ${facts.round}`;
  const places = kept && links === shown ? kept : el("div", { class: "links" },
    facts.open ? el("a", { class: "button main", href: "/annotate" }, `Answer ${whole(facts.open)} open`) : null,
    el("a", { class: "button", href: "/api/rounds/report", target: "_blank", rel: "noopener" }, "Report"));
  links = shown;
  const open = facts.step === "annotate" && facts.asked
    ? far({ what: `answers of round ${facts.round}`, done: facts.asked - facts.open, total: facts.asked, begun: 0, at: 0 }) : null;
  const nodes = [
    el("span", { class: `pill ${look}` }, text),
    el("span", { class: "number" }, facts.rounds ? `Round ${facts.round} · ${Math.min(facts.round + 1, facts.rounds)} of ${facts.rounds}` : `Round ${facts.round}`),
    steps,
    places,
    facts.at_work && facts.progress && facts.step !== "annotate" ? far(facts.progress) : open,
    message ? el("p", { class: "message" }, message) : null,
  ].filter(Boolean);
  // What has the focus stays in its place.
  if (kept === places) {
    for (const child of [...parts.now.children]) if (child !== places) child.remove();
    places.before(...nodes.slice(0, 3));
    places.after(...nodes.slice(4));
  } else parts.now.replaceChildren(...nodes);
}

// --- what the figures say ---------------------------------------------------------------------------

function drawAdvice({ advice }) {
  const words = { stop: ["stop", "Stop"], "go on": ["go", "Go on"], wait: ["", "Too early to say"] }[advice.advice];
  parts.advice.className = `card advice ${words[0]}`;
  parts.advice.replaceChildren(
    el("h2", { id: "advice" }, words[1], el("span", { class: "quiet" }, advice.reason)),
    advice.said.length ? el("ul", {}, advice.said.map((line) => el("li", {}, line))) : "");
  parts.advice.setAttribute("aria-labelledby", "advice");
}

function drawTiles(facts) {
  const { metric, cost, forecast, unit, pool, curve } = facts;
  const last = curve.at(-1);
  const tile = (name, value, note) => el("div", {}, el("dt", {}, name), el("dd", {}, value), el("dd", { class: "note" }, note));
  parts.tiles.replaceChildren(
    tile(`labelled ${unit}`, whole(cost.labels), unit === "images" && pool ? `${share(cost.labels / pool)} of ${whole(pool)} in the pool` : ""),
    tile(metric.title, last ? said(last.value, metric) : "–", !last ? "no round judged yet" : last.low === null ? `on the ${facts.split} images` : `95 % interval ${range(last.low, last.high)}`),
    tile("next round", forecast ? `+${points(forecast.gain.value)} points` : "–",
      forecast ? `${Math.round(100 * forecast.level)} % interval ${points(forecast.gain.low)} to ${points(forecast.gain.high)}` : facts.advice.advice === "wait" ? "needs three judged rounds" : "nothing is left to ask"),
    tile("people", cost.seconds === null ? "–" : duration(cost.seconds),
      `${whole(cost.answers)} answers${cost.each === null ? "" : `, ${cost.each.toFixed(1)} s each`}`),
    tile("corrections", cost.corrections === null ? "–" : whole(cost.corrections), cost.proposed ? `${share(cost.accepted / cost.proposed, 0)} of proposals accepted` : "nothing was proposed"),
    tile("computing", duration(cost.machine), "without people's time"));
}

function drawCurve(facts) {
  const { metric, curve, forecast, target, unit } = facts;
  if (!curve.length) {
    parts.curve.querySelector(".hint").textContent = `It begins when the first round is judged: ${metric.title} over labelled ${unit}.`;
    return;
  }
  const format = metric.share ? (v) => `${Math.round(100 * v * 10) / 10} %` : (v) => v.toFixed(2);
  const known = curve.filter((p) => p.low !== null);
  const marks = curve.map((p) => ({ x: p.labels, y: p.value, low: p.low, high: p.high,
    said: `round ${p.round}: ${whole(p.labels)} ${unit}\n${metric.title} ${said(p.value, metric)}${p.low === null ? "" : `\n95 % interval ${range(p.low, p.high)}`}` }));
  const bands = [{ x: known.map((p) => p.labels), low: known.map((p) => p.low), high: known.map((p) => p.high), kind: "" }];
  const lines = [{ x: curve.map((p) => p.labels), y: curve.map((p) => p.value), kind: "" }];
  if (forecast) {
    const line = forecast.line;
    bands.push({ x: line.labels, low: line.low, high: line.high, kind: "forecast" });
    lines.push({ x: line.labels, y: line.value, kind: "forecast" });
    const next = forecast.next;
    marks.push({ x: next.labels, y: next.value, kind: "next",
      said: `next round: ${whole(next.labels)} ${unit}\nexpected ${range(next.low, next.high)}` });
  }
  const plot = parts.curve.querySelector(".plot");
  plot.drawn = () => chart(plot, {
    label: `${metric.title} over labelled ${unit}; the numbers are in the table of rounds`, height: 320,
    x: { title: `labelled ${unit}`, format: whole, min: 0 },
    y: { format, ...(metric.share ? { least: 0, most: 1 } : {}) }, bands, lines, points: marks,
    level: target ? { y: target.figure, said: `target ${share(target.figure)}` } : null,
  });
  plot.drawn();
  parts.curve.querySelector("h2 span").textContent = `${metric.title} on the ${facts.split === "audit" ? "audit sample" : "test images"}`;
  parts.curve.querySelector(".hint").textContent = (forecast
    ? `Dotted: the forecast, and where ${Math.round(100 * forecast.level)} % of the next figures are expected${forecast.doubt ? `; ${forecast.doubt}` : ""}. ` : "")
    + (target ? target.said : "");
}

function makeCurve() {
  const input = el("input", { type: "number", min: 1, max: 99, step: 1, id: "target", placeholder: "90", inputmode: "decimal" });
  input.addEventListener("change", () => {
    const wanted = Number(input.value);
    aim = input.value && wanted > 0 && wanted < 100 ? wanted / 100 : null;
    seen = "";
    look();
  });
  parts.curve.append(
    el("h2", { id: "curve" }, "Learning curve", el("span", { class: "quiet" }),
      el("label", { class: "target", for: "target" }, "target in %", input)),
    el("div", { class: "plot" }), el("p", { class: "hint" }));
  parts.curve.setAttribute("aria-labelledby", "curve");
}

function drawBalance(facts) {
  const rows = [...facts.balance].sort((a, b) => b.labels - a.labels);
  const most = Math.max(1, ...rows.map((r) => r.labels));
  const name = facts.metric.name === "map" ? "AP" : "recall";
  parts.balance.replaceChildren(
    el("h2", { id: "balance" }, "Classes", el("span", { class: "quiet" }, `${rows.filter((r) => r.labels).length} of ${rows.length} have labels`)),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-labelledby": "balance" }, el("table", { class: "balance" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "class"), el("th", { scope: "col", "aria-label": "labels as a bar" }), el("th", { scope: "col" }, "labels"), el("th", { scope: "col" }, name))),
      el("tbody", {}, rows.map((row) => el("tr", { class: row.labels ? "" : "none" },
        el("th", { scope: "row", title: row.name }, row.name),
        el("td", { class: "bar" }, el("span", { style: { width: `${(100 * row.labels) / most}%` } })),
        el("td", {}, whole(row.labels)), el("td", {}, row.found === null ? "–" : share(row.found, 0))))))));
  parts.balance.setAttribute("aria-labelledby", "balance");
}

function drawDiscovery({ discovery }) {
  parts.discovery.hidden = !discovery || discovery.images.length < 2;
  if (parts.discovery.hidden) return;
  const plot = el("div", { class: "plot" });
  parts.discovery.replaceChildren(
    el("h2", { id: "discovery" }, "Discovery of classes", el("span", { class: "quiet" }, discovery.said)), plot,
    el("p", { class: "hint" }, `Classes expected in so many of the answered images. ${discovery.once
      ? `${discovery.once} seen only once; about ${discovery.new.toFixed(1)} new ones to be expected in the next round.` : "Each was seen more than once."}`));
  parts.discovery.setAttribute("aria-labelledby", "discovery");
  const last = { x: discovery.images.at(-1), y: discovery.found, kind: "classes", said: discovery.said };
  plot.drawn = () => chart(plot, {
    label: `Classes over answered images: ${discovery.said}`, height: 200,
    x: { title: "answered images", format: whole, min: 0 }, y: { format: (v) => String(v), min: 0, least: 0, step: 1 },
    bands: [], lines: [{ x: discovery.images, y: discovery.classes, kind: "classes" }], points: [last],
  });
  plot.drawn();
}

function agreed({ queries, annotators, same, kappa, alpha, overlap }) {
  const figures = [
    same === null ? "" : `${share(same, 0)} of the answers are the same`, kappa === null ? "" : `Cohen's kappa ${kappa.toFixed(2)}`,
    alpha === null ? "" : `Krippendorff's alpha ${alpha.toFixed(2)}`, overlap === null ? "" : `mean IoU ${overlap.toFixed(2)}`,
  ].filter(Boolean).join(", ");
  return `Agreement of ${annotators.join(", ")} on ${whole(queries)} shared ${queries === 1 ? "question" : "questions"}: ${figures || "nothing to compare yet"}.`;
}

function drawTable(facts) {
  const heads = ["round", `labelled ${facts.unit}`, ...facts.metrics.map((m) => m.title), "answered", "skipped", "accepted", "corrections", "people", "computing"];
  const row = (r) => el("tr", {}, el("th", { scope: "row" }, String(r.round)), [
    whole(r.labels), ...facts.metrics.map((m) => said(r.metrics[m.name], m)), `${whole(r.answered)} of ${whole(r.asked)}`, whole(r.skipped),
    r.people.proposed ? share(r.people.accepted / r.people.proposed, 0) : "–", r.people.corrections === null ? "–" : whole(r.people.corrections), duration(r.people.seconds), duration(r.machine),
  ].map((text) => el("td", {}, text)));
  parts.table.replaceChildren(
    el("h2", { id: "table" }, "Rounds"),
    el("div", { class: "scroll wide", tabindex: 0, role: "region", "aria-labelledby": "table" }, el("table", {},
      el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, [...facts.rounds].reverse().map(row)))),
    facts.agreement ? el("p", { class: "hint", id: "agreement" }, agreed(facts.agreement)) : "");
  parts.table.setAttribute("aria-labelledby", "table");
}

// --- looking again and again --------------------------------------------------------------------------

let seen = "", aim = null, timer = 0;

async function look() {
  clearTimeout(timer);
  try {
    const facts = await ask("/api/rounds/state");
    runIs(facts.state);
    drawNow(facts);
    if (facts.version !== seen) {
      if (!seen) say("reading the figures …");
      const figures = await ask(`/api/rounds/figures${aim === null ? "" : `?target=${aim}`}`);
      seen = facts.version;
      drawAll(figures);
    }
    say("");
  } catch (error) {
    say(error.message, !error.expected);
  }
  timer = setTimeout(look, document.hidden ? SELDOM : OFTEN);
}

function drawAll(figures) {
  const begun = figures.rounds.length > 0;
  for (const name of ["advice", "tiles", "balance", "table"]) parts[name].hidden = !begun;
  parts.curve.hidden = !begun;
  if (!begun) return;
  drawAdvice(figures);
  drawTiles(figures);
  drawCurve(figures);
  drawBalance(figures);
  drawDiscovery(figures);
  drawTable(figures);
}

makeCurve();
document.addEventListener("visibilitychange", () => document.hidden || look());
new ResizeObserver(() => { for (const plot of document.querySelectorAll(".plot")) plot.drawn?.(); }).observe(main);
look();
