// A spec by form or as JSON, checked and estimated by the service itself before it is sent.

import { fields, showAll } from "./form.js";
import { askJson } from "./request.js";

const page = document.getElementById("submit");
const { schema, start } = JSON.parse(page.dataset.form);
const form = document.getElementById("fields");
const area = document.getElementById("spec");
const trouble = document.getElementById("spec-trouble");
const answer = document.getElementById("answer");
let spec = start;
let key = crypto.getRandomValues(new Uint32Array(4)).join("-"); // kept over tries of the same spec

const read = (path) => path.reduce((value, name) => value?.[name], spec);

function write(path, value) {
  const inside = path.slice(0, -1).reduce((object, name) => (object[name] ??= {}), spec);
  if (value === undefined) delete inside[path.at(-1)];
  else inside[path.at(-1)] = value;
  // An object that says nothing any more goes too.
  for (let length = path.length - 1; length > 0; length--) {
    const parent = read(path.slice(0, length - 1)) ?? spec;
    const object = parent[path[length - 1]];
    if (object && typeof object === "object" && !Object.keys(object).length) delete parent[path[length - 1]];
  }
  show();
}

function show() {
  area.value = JSON.stringify(spec, null, 2);
  trouble.textContent = "";
  key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const line = JSON.stringify(spec).replaceAll("'", "'\\''");
  document.getElementById("as-cmac").textContent = `echo '${line}' | cmac submit - --wait`;
  document.getElementById("as-curl").textContent = [
    `curl ${page.dataset.origin}/jobs -H "Authorization: Bearer $CMAC_API_KEY"`,
    `-H "Content-Type: application/json" -d '${line}'`,
  ].join(" \\\n  ");
}

area.addEventListener("change", () => {
  try {
    spec = JSON.parse(area.value);
    showAll(form);
    show();
  } catch (error) {
    trouble.textContent = `This is no JSON: ${error.message}`;
  }
});

async function send(query, headers = {}) {
  mark([]);
  answer.replaceChildren(text("p", "Asking…", "quiet"));
  try {
    return await askJson(`/jobs${query}`, { method: "POST", body: spec, headers });
  } catch (error) {
    const errors = error.problem?.errors ?? [];
    mark(errors);
    const rows = errors.map(({ pointer, message, hint }) => text("li", `${pointer || "the spec"}: ${message}${hint ? ` (${hint})` : ""}`));
    const list = document.createElement("ul");
    list.append(...rows);
    answer.replaceChildren(text("p", errors.length ? "Refused:" : error.message, "trouble"), list);
    return null;
  }
}

// Puts the service's word to the field that it is about.
function mark(errors) {
  for (const old of form.querySelectorAll(".field .trouble")) old.remove();
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const { pointer, message } of errors) {
    const field = form.querySelector(`[data-pointer="${CSS.escape(pointer)}"]`);
    if (!field) continue;
    field.append(text("p", message, "trouble"));
    field.querySelector("input, select").setAttribute("aria-invalid", "true");
    field.closest("details")?.setAttribute("open", "");
  }
}

function text(tag, content, className = "") {
  return Object.assign(document.createElement(tag), { textContent: content, className });
}

document.getElementById("check").addEventListener("click", async () => {
  const told = await send("?dry_run=true");
  if (!told) return;
  const list = document.createElement("dl");
  const facts = { ...told.estimate, position: told.position, "expected start": told.expected_start, jobs: told.job_count, "fits on": told.feasible_nodes };
  for (const [name, value] of Object.entries(facts)) {
    if (value !== null && value !== undefined) list.append(text("dt", name.replaceAll("_", " ")), text("dd", plain(value)));
  }
  const warnings = (told.warnings ?? []).map((one) => text("p", one.message ? `${one.pointer}: ${one.message}` : String(one), "warm"));
  answer.replaceChildren(text("p", "It can run."), list, ...warnings);
});

function plain(value) {
  if (typeof value === "number") return value.toLocaleString(undefined, { maximumSignificantDigits: 4 });
  if (Array.isArray(value)) return value.map(plain).join(", ");
  return value && typeof value === "object" ? Object.entries(value).map(([name, one]) => `${name} ${plain(one)}`).join(", ") : String(value);
}

document.getElementById("send")?.addEventListener("click", async (event) => {
  event.target.disabled = true;
  const made = await send("", { "Idempotency-Key": key });
  if (made) location.href = made.kind === "experiment" ? `/ui/experiments/${made.id}` : `/ui/jobs/${made.id}`;
  else event.target.disabled = false;
});

form.addEventListener("submit", (event) => event.preventDefault());
form.append(...fields(schema, read, write));
show();
