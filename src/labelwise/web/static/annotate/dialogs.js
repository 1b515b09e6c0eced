// What is asked or told in between: the annotator's name, and the keys.
import { element, main } from "../base.js";

const KEY = "labelwise-name";

// The annotator's name: asked once, and kept in this browser.
export function named() {
  const known = localStorage.getItem(KEY)?.trim();
  if (known) return Promise.resolve(known);
  return new Promise((resolve) => {
    const field = element("input", { id: "your-name", required: true, maxlength: "60", autocomplete: "name" });
    const form = element("form", {
      class: "ask-name",
      onsubmit: (event) => {
        event.preventDefault();
        const name = field.value.trim();
        if (!name) return;
        localStorage.setItem(KEY, name);
        resolve(name);
      },
    }, element("h1", {}, "Who is answering?"),
    element("p", { class: "quiet" }, "Your name stands beside your answers. Several people can work at once, each under a name of their own."),
    element("label", { for: "your-name" }, "Name"), element("div", { class: "row" }, field, element("button", { class: "main", type: "submit" }, "Begin")));
    main.replaceChildren(form);
    field.focus();
  });
}

export function helpDialog(keys, closed) {
  const dialog = element("dialog", { class: "keys", "aria-labelledby": "keys-title" },
    element("h2", { id: "keys-title" }, "Keys"),
    element("dl", {}, keys.map(([key, text]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)])),
    element("form", { method: "dialog" }, element("button", { class: "main", autofocus: true }, "Close")));
  dialog.addEventListener("close", () => { dialog.remove(); closed(); });
  document.body.append(dialog);
  dialog.showModal();
}
