// What the rooms share: asking the server, telling the person, making elements. Text is always set as text.

export async function ask(path, body, { signal } = {}) {
  const init = body === undefined ? { signal } : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal,
  };
  let answer;
  try {
    answer = await fetch(path, init);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: is 'labelwise' still running?");
  }
  const facts = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const detail = Array.isArray(facts.detail) ? facts.detail.map((d) => d.msg).join("; ") : facts.detail;
    throw new Error(facts.error ?? detail ?? `the server refused: ${answer.status}`);
  }
  return facts;
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
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function picture(id, side = 0) {
  return `/api/picture?id=${encodeURIComponent(id)}&side=${side}`;
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
