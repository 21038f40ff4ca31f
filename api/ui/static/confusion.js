// Confusion matrices: who is taken for whom, as a picture, and the pairs that are confused most in words.

import { say } from "./frame.js";
import { draw, onScheme } from "./plots.js";
import { ask } from "./request.js";

const PAIRS = 8;
// Dark to bright in even steps of lightness, as maps of attention.
const SCALE = [[0, "#000004"], [0.25, "#51127c"], [0.5, "#b73779"], [0.75, "#fc8961"], [1, "#fcfdbf"]];

// Rows of a file of comma separated values, quoted fields among them.
function rowsOf(text) {
  const rows = [[""]];
  let quoted = false;
  for (const piece of text.match(/""|"|,|\r?\n|[^",\r\n]+/g) ?? []) {
    const row = rows.at(-1);
    if (piece === '"') quoted = !quoted;
    else if (piece === '""') row[row.length - 1] += quoted ? '"' : "";
    else if (quoted || !/^(,|\r?\n)$/.test(piece)) row[row.length - 1] += piece;
    else if (piece === ",") row.push("");
    else rows.push([""]);
  }
  return rows.filter((row) => row.length > 1);
}

async function tableOf(address) {
  const rows = rowsOf(await (await ask(address)).text()).slice(1);
  return { classes: rows.map((row) => row[0]), counts: rows.map((row) => row.slice(3).map(Number)) };
}

function matrix(element, title, { classes, counts }) {
  const sums = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
  const shares = counts.map((row, i) => row.map((count) => (sums[i] ? (100 * count) / sums[i] : 0)));
  const trace = {
    type: "heatmap", x: classes, y: classes, z: shares, customdata: counts, colorscale: SCALE, zmin: 0, zmax: 100,
    hovertemplate: "%{y} taken for %{x}: %{customdata} (%{z:.1f} %)<extra></extra>", colorbar: { ticksuffix: " %", thickness: 12 },
  };
  const side = Math.max(320, Math.min(element.clientWidth, 640, 140 + 22 * classes.length));
  const axis = { type: "category", showgrid: false };
  return draw(element, [trace], {
    title, height: side, hovermode: "closest", x: { ...axis, title: { text: "taken for" } },
    y: { ...axis, autorange: "reversed", title: { text: "truth" } },
  });
}

function pairs(list, { classes, counts }) {
  const found = counts.flatMap((row, i) => row.map((count, j) => ({ count, i, j })));
  const wrong = found.filter(({ count, i, j }) => count && i !== j).sort((one, other) => other.count - one.count);
  list.replaceChildren(
    ...wrong.slice(0, PAIRS).map(({ count, i, j }) => {
      const item = document.createElement("li");
      const of = counts[i].reduce((sum, one) => sum + one, 0);
      item.textContent = `${classes[i]} taken for ${classes[j]}: ${count} of ${of}`;
      return item;
    }),
  );
  if (!wrong.length) list.textContent = "Nothing is confused.";
}

async function showAll() {
  for (const figure of document.querySelectorAll("figure[data-confusion]")) {
    const table = await tableOf(figure.dataset.confusion);
    await matrix(figure.querySelector("div"), figure.dataset.title, table);
    pairs(figure.querySelector("ul"), table);
    figure.dataset.ready = "1";
  }
}

const show = () => showAll().catch((error) => say(error.message));
document.addEventListener("exchanged", (event) => {
  if (event.target.id === "confusions") show();
});
onScheme(show);
show();
