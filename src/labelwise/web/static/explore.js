// The room in which images are explored.
import { ask, element, main, picture, say } from "./base.js";

try {
  const { ids } = await ask("/api/explore/samples");
  main.append(...ids.slice(0, 60).map((id) => element("img", { src: picture(id, 128), alt: id, loading: "lazy" })));
} catch (error) {
  say(error.message, true);
}
