// The queue, live.

import { refresh } from "./live.js";

const { mark } = document.getElementById("running").dataset; // what the page was made from
const source = new EventSource(`/ui/queue/stream?mark=${mark}`);
source.addEventListener("changed", refresh);
addEventListener("pagehide", () => source.close());
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
