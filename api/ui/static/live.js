// A page that reads itself anew: whatever has `data-live` is exchanged for what the service shows now.

import { localize } from "./frame.js";

const PAUSE_MS = 2000;

let asked = false;
let busy = false;

// At most once in two seconds, however often it is asked for; not while nobody looks.
export function refresh() {
  asked = true;
  if (busy || document.hidden) return;
  busy = true;
  exchange().finally(() =>
    setTimeout(() => {
      busy = false;
      if (asked) refresh();
    }, PAUSE_MS),
  );
}

// Before the page goes, or the session that its streams need. One that comes back out of the browser's memory is read anew.
export function whenLeaving(then) {
  for (const leaving of ["pagehide", "signout"]) addEventListener(leaving, then);
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}

// Refresh whenever the queue is other than at `mark`, which the page was made from.
export function watch(mark) {
  const source = new EventSource(`/ui/queue/stream?mark=${mark}`);
  source.addEventListener("changed", refresh);
  whenLeaving(() => source.close());
}

document.addEventListener("visibilitychange", () => {
  if (asked) refresh();
});

async function exchange() {
  asked = false;
  const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "manual" }).catch(() => null);
  if (answer?.type === "opaqueredirect") location.reload(); // signed out: to where one signs in
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id);
    if (now) replace(old, now);
  }
}

function replace(old, now) {
  localize(now);
  if (old.innerHTML === now.innerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const scrolled = [...old.querySelectorAll(".table")].map((table) => table.scrollLeft);
  old.innerHTML = now.innerHTML;
  old.querySelectorAll(".table").forEach((table, index) => (table.scrollLeft = scrolled[index] ?? 0));
  if (focused) twin(old, focused)?.focus({ preventScroll: true });
  old.dispatchEvent(new CustomEvent("exchanged", { bubbles: true }));
}

// The element that stands where another one stood.
function twin(within, gone) {
  if (gone.id) return within.querySelector(`#${CSS.escape(gone.id)}`);
  const address = gone.getAttribute("href");
  return address ? within.querySelector(`a[href="${CSS.escape(address)}"]`) : within.querySelector(gone.tagName);
}
