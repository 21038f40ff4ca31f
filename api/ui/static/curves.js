// Curves of one or more jobs: read thinned, grouped, smoothed, and drawn; new points are added as they come.

import { color, draw, onScheme } from "./plots.js";
import { askJson } from "./request.js";

const GROUPS = [
  ["Loss and its parts", /^loss$|^(contrast|partner|attention)(\/[a-z])?$/],
  ["Contrastive accuracy", /^(contrast\/)?(accuracy|acc|top)/],
  ["Contrast", /^contrast\//],
  ["Attention", /^(attention|cosine|map)\//],
  ["Clips a second", /^clips_per_s$/],
  ["Share of time waiting for data", /^data_wait$/],
  ["Learning rate", /^lr$/],
  ["Queue", /^queue\//],
  ["Steps skipped", /^skipped$/],
  ["Norm of the gradient", /^grad_norm/],
  ["Lambda", /^lambda/],
  ["Machine, %", /^sys\//],
  ["Data", /^data\//],
];
const POINTS = 400;
const DRAW_MS = 1000;

const groupOf = (name) => GROUPS.find(([, pattern]) => pattern.test(name))?.[0] ?? "Other";
const order = (title) => GROUPS.findIndex(([other]) => other === title) + (title === "Other" ? 99 : 0);

export class Curves {
  // `jobs`: {id, label}; `controls`: a form with smooth, x, logx, logy, which stand in the page's address too.
  constructor(jobs, element, controls, names = []) {
    this.jobs = jobs;
    this.element = element;
    this.controls = controls;
    this.names = names;
    this.series = new Map(); // "job name" -> {job, name, x, y, min, max}
    this.waiting = null;
    controls.addEventListener("input", (event) => {
      this.writeAddress();
      if (event.target.name === "x") this.load();
      else this.draw();
    });
    onScheme(() => this.draw());
  }

  async load() {
    const { x } = this.controls;
    const named = this.names.length ? `&names=${this.names.map(encodeURIComponent).join(",")}` : "";
    const answers = await Promise.all(
      this.jobs.map(({ id }) => askJson(`/jobs/${id}/metrics?points=${POINTS}&x=${x.value}${named}`)),
    );
    this.series.clear();
    answers.forEach(({ series }, index) => {
      for (const one of series) {
        if (one.x.length) this.series.set(`${index} ${one.name}`, { ...one, job: index });
      }
    });
    this.draw();
  }

  // The last step that is shown, so that a stream can go on from there.
  get step() {
    let last = -1;
    for (const one of this.series.values()) last = Math.max(last, one.x.at(-1) ?? -1);
    return last;
  }

  // Points of one step, as the stream tells them.
  add(told) {
    const along = this.controls.x.value;
    const x = along === "step" ? told.step : along === "time" ? new Date().toISOString() : told.train_epoch;
    for (const [name, value] of Object.entries(told.values)) {
      const key = `0 ${name}`;
      const one = this.series.get(key) ?? { job: 0, name, x: [], y: [], min: [], max: [] };
      this.series.set(key, one);
      if (one.x.at(-1) === x) for (const list of [one.x, one.y, one.min, one.max]) list.pop();
      one.x.push(x);
      for (const list of [one.y, one.min, one.max]) list.push(value);
    }
    this.waiting ??= setTimeout(() => {
      this.waiting = null;
      this.draw();
    }, DRAW_MS);
  }

  draw() {
    const { smooth, logx, logy, x } = this.controls;
    const groups = new Map();
    for (const one of this.series.values()) {
      const title = groupOf(one.name);
      groups.set(title, [...(groups.get(title) ?? []), one]);
    }
    const titles = [...groups.keys()].sort((a, b) => order(a) - order(b));
    const plots = titles.map((title) => this.plot(title));
    this.element.replaceChildren(...plots);
    titles.forEach((title, index) => {
      const names = [...new Set(groups.get(title).map(({ name }) => name))];
      const traces = groups.get(title).flatMap((one) => this.traces(one, names.indexOf(one.name), Number(smooth.value)));
      const many = x.value !== "time" && logx.checked;
      draw(plots[index], traces, {
        title,
        x: { type: x.value === "time" ? "date" : many ? "log" : "linear" },
        y: { type: logy.checked ? "log" : "linear" },
      });
    });
  }

  // The element of one group, made once.
  plot(title) {
    const known = this.element.querySelector(`[data-title="${CSS.escape(title)}"]`);
    if (known) return known;
    const made = document.createElement("div");
    made.dataset.title = title;
    made.setAttribute("role", "figure");
    made.setAttribute("aria-label", `Curves: ${title}`);
    return made;
  }

  traces(one, place, weight) {
    const many = this.jobs.length > 1;
    const stroke = many ? color(one.job) : color(place);
    const name = many ? `${this.jobs[one.job].label} ${one.name}` : one.name;
    const line = { color: stroke, width: 1.6, dash: many ? ["solid", "dot", "dash", "dashdot"][place % 4] : "solid" };
    const shown = { x: one.x, y: weight ? smoothed(one.y, weight) : one.y, name, line, mode: "lines", type: "scatter" };
    if (!one.thinned && !weight) return [shown];
    // What thinning or smoothing hides stays visible behind the line.
    const behind = { x: [...one.x, ...one.x.toReversed()], y: [...one.max, ...one.min.toReversed()] };
    const band = { ...behind, fill: "toself", fillcolor: `${stroke}26`, line: { width: 0 }, mode: "lines", type: "scatter" };
    return [{ ...band, hoverinfo: "skip", showlegend: false, name }, shown];
  }

  writeAddress() {
    const address = new URL(location.href);
    for (const field of this.controls.elements) {
      if (!field.name) continue;
      const value = field.type === "checkbox" ? (field.checked ? "true" : "") : field.value;
      if (value && value !== "0" && value !== "step") address.searchParams.set(field.name, value);
      else address.searchParams.delete(field.name);
    }
    history.replaceState(null, "", address);
  }
}

// Exponential mean that starts at the first value rather than at zero; gaps stay gaps.
function smoothed(values, weight) {
  let mean = 0;
  let seen = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    seen = weight * seen + (1 - weight);
    return mean / seen;
  });
}
