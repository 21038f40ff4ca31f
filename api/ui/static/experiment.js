// An experiment, live: its tables by reading the page anew, its figure drawn from what stands in the page.

import { say } from "./frame.js";
import { refresh, watch } from "./live.js";
import { color, draw, onScheme } from "./plots.js";
import { ask } from "./request.js";

const standing = document.getElementById("standing");
const { mark, experiment } = standing.dataset;
const ASKS = { cancel: "Cancel every job of this experiment?", retry: "Run again what failed or was cancelled?" };

standing.addEventListener("click", async (event) => {
  const { verb } = event.target.closest("button[data-verb]")?.dataset ?? {};
  if (!verb || !confirm(ASKS[verb])) return;
  try {
    await ask(`/experiments/${experiment}/${verb}`, { method: "POST" });
    say(`Asked to ${verb}.`);
  } catch (error) {
    say(error.message);
  }
  refresh();
});

function drawFigures() {
  for (const element of document.querySelectorAll("[data-figure]")) {
    const { x, panels } = JSON.parse(document.getElementById(element.dataset.figure).textContent);
    while (element.children.length < panels.length) element.append(document.createElement("div"));
    panels.forEach(({ title, unit, ours, paper }, index) => {
      const place = element.children[index];
      place.setAttribute("role", "figure");
      place.setAttribute("aria-label", `${title} along ${x}; the numbers stand in the table`);
      const column = (rows, at) => rows.map((row) => row[at]);
      const line = (name, rows, stroke, more) => ({
        name, x: column(rows, 0), y: column(rows, 1), mode: "lines+markers", type: "scatter", line: { color: stroke }, ...more,
      });
      const spread = { error_y: { type: "data", array: column(ours, 2), color: color(0) } };
      const traces = [line("ours", ours, color(0), spread), line("paper", paper, color(1), { marker: { symbol: "square" } })];
      draw(place, traces, { title, x: { title: { text: x } }, y: { title: { text: unit } } });
    });
  }
}

document.addEventListener("exchanged", (event) => {
  if (event.target.id.startsWith("figure-")) drawFigures();
});
onScheme(drawFigures);
drawFigures();
watch(mark);
