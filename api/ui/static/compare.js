// Curves of several jobs over each other.

import { Curves } from "./curves.js";
import { say } from "./frame.js";

const element = document.getElementById("curves");
if (element) {
  const { jobs, names } = element.dataset;
  const curves = new Curves(JSON.parse(jobs), element, document.getElementById("curve-controls"), JSON.parse(names));
  curves.load().catch((error) => say(error.message));
}
