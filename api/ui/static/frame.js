// What every page does: times in the reader's own zone, and signing out.

import { ask } from "./request.js";

const short = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
const long = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });

export function localize(within = document) {
  for (const element of within.querySelectorAll("time[datetime]")) {
    const at = new Date(element.dateTime);
    element.textContent = short.format(at);
    element.title = long.format(at);
  }
}

// Says it where a screen reader hears it too.
export function say(text) {
  document.getElementById("said").textContent = text;
}

localize();
document.getElementById("sign-out")?.addEventListener("click", async () => {
  dispatchEvent(new Event("signout")); // streams end with the session, and must not ask for another one
  await ask("/session", { method: "DELETE" });
  location.href = "/ui/sign-in";
});
