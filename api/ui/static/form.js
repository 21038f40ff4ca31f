// Fields made from a JSON schema. A field that is empty says nothing, so that the default of the schema counts.

const FIRST = ["name", "dataset", "source", "checkpoint", "recipe", "preset", "scale", "seed", "seeds", "modality", "split"];
const OFFERED = { dataset: "known-datasets", checkpoint: "known-checkpoints" };

// `read(path)` gives the value at a path or undefined; `write(path, value)` takes undefined for none.
export function fields(schema, read, write) {
  const resolve = (node) => (node.$ref ? { ...schema.$defs[node.$ref.split("/").at(-1)], ...node } : node);

  function part(node, path) {
    const required = new Set(node.required ?? []);
    const names = Object.keys(node.properties).filter((name) => name !== "kind");
    const rank = (name) => (required.has(name) ? 0 : 1) * 100 + (FIRST.indexOf(name) + 1 || 99);
    names.sort((a, b) => rank(a) - rank(b));
    return names.map((name) => field(resolve(node.properties[name]), [...path, name], required.has(name)));
  }

  function field(node, path, required) {
    if (node.properties) return group(node, path);
    const made = document.createElement("div");
    made.className = "field";
    made.dataset.pointer = `/${path.join("/")}`;
    const label = document.createElement("label");
    label.htmlFor = `field-${path.join("-")}`;
    label.textContent = path.at(-1) + (required ? " (needed)" : "");
    const input = control(node, path);
    input.id = label.htmlFor;
    input.dataset.path = JSON.stringify(path);
    if (required) input.setAttribute("aria-required", "true");
    made.append(label, input);
    if (node.description) {
      const help = document.createElement("p");
      help.className = "quiet help";
      help.id = `${input.id}-help`;
      help.textContent = node.description;
      input.setAttribute("aria-describedby", help.id);
      made.append(help);
    }
    return made;
  }

  function group(node, path) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = path.at(-1);
    details.append(summary);
    if (node.description) details.append(Object.assign(document.createElement("p"), { className: "quiet help", textContent: node.description }));
    details.append(...part(node, path));
    details.open = read(path) !== undefined;
    return details;
  }

  function control(node, path) {
    const options = choices(node);
    const usual = node.default === undefined ? "" : text(node.default);
    let input;
    if (options) {
      input = document.createElement("select");
      input.append(new Option(usual === "" ? "" : `default: ${usual}`, ""), ...options.map((value) => new Option(String(value), JSON.stringify(value))));
    } else {
      input = document.createElement("input");
      input.placeholder = usual;
      input.autocomplete = "off";
      if (OFFERED[path.at(-1)]) input.setAttribute("list", OFFERED[path.at(-1)]);
      if (isNumber(node)) input.inputMode = "decimal";
    }
    input.show = () => {
      const value = read(path);
      input.value = value === undefined ? "" : options ? JSON.stringify(value) : text(value);
    };
    input.addEventListener("change", () => write(path, input.value === "" ? undefined : options ? JSON.parse(input.value) : parsed(input.value, node)));
    input.show();
    return input;
  }

  return part(schema, []);
}

// Shows again what the spec says, after it was edited as text.
export function showAll(form) {
  for (const input of form.querySelectorAll("[data-path]")) input.show();
}

function choices(node) {
  const one = node.anyOf?.length === 2 && node.anyOf.some(({ type }) => type === "null") ? node.anyOf.find(({ type }) => type !== "null") : node;
  if (one.type === "boolean") return [true, false];
  return one.enum ?? (one.const !== undefined ? [one.const] : null);
}

const types = (node) => [node.type, ...(node.anyOf ?? []).map(({ type }) => type)];
const isNumber = (node) => types(node).some((type) => type === "number" || type === "integer");
const text = (value) => (value === null ? "" : typeof value === "string" ? value : JSON.stringify(value));

// As JSON where it is some; a name stays a name.
function parsed(given, node) {
  if (node.type === "string") return given;
  try {
    return JSON.parse(given);
  } catch {
    return given;
  }
}
