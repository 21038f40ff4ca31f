// A dataset's histograms, from the report that its pack has left.

import { say } from "./frame.js";
import { color, draw, onScheme } from "./plots.js";
import { askJson } from "./request.js";

const element = document.getElementById("spread");
const TITLES = {
  duration_s: "Duration, s",
  fps: "Frames per second",
  short_side_px: "Short side, pixels",
  bytes: "Size of a clip, bytes",
  peak_dbfs: "Peak of the sound, dBFS",
};
const CLASSES = 60; // bars that a phone can still tell apart

function histogram({ edges, counts, median }) {
  const middles = counts.map((_, i) => (edges[i] + edges[i + 1]) / 2);
  const widths = counts.map((_, i) => edges[i + 1] - edges[i]);
  const trace = { type: "bar", x: middles, y: counts, width: widths, marker: { color: color(0) }, name: "clips" };
  const line = { type: "line", x0: median, x1: median, yref: "paper", y0: 0, y1: 1, line: { color: color(1), dash: "dash" } };
  return [trace, { shapes: [line], x: { title: { text: `median ${Number(median.toPrecision(4))}` } } }];
}

function classes(found) {
  const shown = Object.entries(found).slice(0, CLASSES);
  const [names, counts] = [shown.map(([name]) => name), shown.map(([, count]) => count)];
  const left = Object.keys(found).length - shown.length;
  const trace = { type: "bar", x: names, y: counts, marker: { color: color(0) }, name: "clips" };
  return [trace, { x: { type: "category", title: { text: left > 0 ? `and ${left} more` : "" } } }];
}

function panels({ histograms, clips_of }) {
  const spreads = Object.entries(histograms).map(([name, found]) => [TITLES[name] ?? name, ...histogram(found)]);
  return [...spreads, ...Object.entries(clips_of).map(([name, found]) => [`Clips by ${name}`, ...classes(found)])];
}

async function show() {
  const all = panels(await askJson(element.dataset.report));
  while (element.children.length < all.length) element.append(document.createElement("div"));
  await Promise.all(
    all.map(([title, trace, layout], i) => {
      const place = element.children[i];
      place.setAttribute("role", "figure");
      place.setAttribute("aria-label", `${title}: a histogram; its numbers stand in the report`);
      return draw(place, [trace], { title, y: { title: { text: "clips" } }, ...layout });
    }),
  );
  element.dataset.ready = "1";
}

const drawn = () => show().catch((error) => say(error.message));
onScheme(drawn);
drawn();
