// The room in which queries are answered.
import { ask, element, main, say } from "./base.js";

try {
  const { open } = await ask("/api/annotate/state");
  main.append(element("p", { class: "empty" }, `${open} open queries`));
} catch (error) {
  say(error.message, true);
}
