// What the rooms share: asking the server, telling the person, making elements. Text is always set as text.

let away = false; // whether the server did not answer when it was asked last
let over = false; // whether the run had finished then: its own page closes with it
const AWAY = "the server does not answer: is 'labelwise' still running?";
const CLOSED = "the run has finished and closed its page; 'labelwise serve' shows it again";

// The rooms tell here the state of the run, so that a page closed at its end is not taken for a mistake.
export function runIs(state) { over = state === "finished"; }

// The server's response, or an error that says in words what is wrong; `passing` is true if it may go well later,
// `expected` if nothing is wrong.
export async function response(path, body) {
  const init = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const answer = await fetch(path, init).catch(() => null);
  if (answer && away) say("");
  away = !answer;
  if (away) throw Object.assign(new Error(over ? CLOSED : AWAY), { passing: true, expected: over });
  if (answer.ok) return answer;
  const { error } = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(error ?? `the server refused: ${answer.status}`), { passing: answer.status === 503 });
}

export async function ask(path, body) {
  return (await response(path, body)).json();
}

export function say(text, wrong = false) {
  const said = document.getElementById("said");
  said.textContent = text;
  said.classList.toggle("wrong", wrong);
}

// element("button", { class: "main", onclick: f }, "Save"): attributes, listeners (on...), children as text or elements.
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(made.style, value);
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return made;
}

export function picture(id, side = 0) {
  return `/api/picture?id=${encodeURIComponent(id)}&side=${side}`;
}

// Why a picture cannot be shown, in the server's words.
export async function whyNot(address) {
  return response(address).then(() => "the picture cannot be shown", (error) => error.message);
}

export const main = document.getElementById("main");
const room = document.body.dataset.room;
for (const link of document.querySelectorAll(".top nav a")) {
  if (link.getAttribute("href") === `/${room}`) link.setAttribute("aria-current", "page");
}
ask("/api/about").then((facts) => {
  document.getElementById("name").textContent = facts.name;
  document.title = `${facts.name} · ${room} · labelwise`;
  for (const link of document.querySelectorAll(".top nav a")) {
    if (!facts.rooms.includes(link.getAttribute("href").slice(1))) link.remove();
  }
}).catch((error) => say(error.message, true));
