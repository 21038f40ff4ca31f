// One job, live: its state by reading the page anew, its curves and its log point by point and line by line.

import { Curves } from "./curves.js";
import { say } from "./frame.js";
import { refresh, whenLeaving } from "./live.js";
import { ask } from "./request.js";

const standing = document.getElementById("standing");
const { job, seq, final } = standing.dataset;
const MOST_LINES = 5000;
const ASKS = { cancel: "Cancel this job? It saves and stops.", retry: null };

// --- verbs

standing.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-verb]");
  if (!button) return;
  const { verb } = button.dataset;
  if (ASKS[verb] && !confirm(ASKS[verb])) return;
  button.disabled = true;
  try {
    const answer = await (await ask(`/jobs/${job}/${verb}`, { method: "POST" })).json();
    if (verb === "retry") location.href = `/ui/jobs/${answer.id}`;
    else say(`Asked to ${verb}; the job is ${answer.state}.`);
  } catch (error) {
    say(error.message);
    button.disabled = false;
  }
  refresh();
});

// --- curves

const controls = document.getElementById("curve-controls");
const curves = new Curves([{ id: job }], document.getElementById("curves"), controls);
curves.hasPoints = () => {
  controls.hidden = false;
  document.getElementById("no-curves").hidden = true;
};

// --- log

const log = document.getElementById("log");
const follow = document.getElementById("follow");

function write(text) {
  if (!log) return;
  log.append(text);
  const lines = log.textContent.split("\n");
  if (lines.length > MOST_LINES) log.textContent = lines.slice(-MOST_LINES).join("\n");
  if (follow.checked) log.scrollTop = log.scrollHeight;
}

async function logSoFar() {
  if (!log) return "";
  const answer = await ask(`/jobs/${job}/logs?tail=300`);
  write(await answer.text());
  const epoch = answer.headers.get("X-Epoch");
  return epoch ? `${epoch}.${answer.headers.get("X-Next-Offset")}` : "";
}

// --- all of it as it goes on, in one stream

async function start() {
  let left = false;
  let source;
  whenLeaving(() => {
    left = true;
    source?.close();
  });
  const [place] = await Promise.all([logSoFar(), curves.load()]);
  if (final === "1" || left) return;
  let { epoch } = standing.dataset;
  const point = curves.step >= 0 && controls.x.value === "step" ? `${epoch}.${curves.step}.0` : "";
  source = new EventSource(`/ui/jobs/${job}/stream?after=${seq}-${point}-${place}`);
  for (const type of ["state", "waiting", "progress", "checkpoint", "warning", "artifact", "result"]) {
    source.addEventListener(type, refresh);
  }
  source.addEventListener("points", (event) => {
    const told = JSON.parse(event.data);
    curves.hasPoints();
    if (String(told.epoch) !== epoch) {
      epoch = String(told.epoch); // a new attempt goes on from an earlier step
      curves.load();
    } else curves.add(told);
  });
  source.addEventListener("log", (event) => write(JSON.parse(event.data).text));
  source.addEventListener("attempt", (event) => {
    write(`\n--- attempt ${JSON.parse(event.data).epoch} ---\n`);
    refresh();
  });
  source.addEventListener("end", () => {
    source.close();
    refresh();
    curves.load();
  });
}

start().catch((error) => say(error.message));
