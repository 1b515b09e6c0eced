// The room in which rounds are followed.
import { ask, element, main, say } from "./base.js";

try {
  const { message } = await ask("/api/rounds/state");
  main.append(element("p", { class: "empty" }, message));
} catch (error) {
  say(error.message, true);
}
