// Asks this service's own API with the cookie of whoever is signed in.

export class Refused extends Error {
  constructor(problem) {
    super(problem.detail ?? problem.title ?? "The service does not answer.");
    this.problem = problem;
  }
}

// The answer; throws Refused with the problem that the service told.
export async function ask(path, { method = "GET", body, headers = {} } = {}) {
  const csrf = document.querySelector('meta[name="csrf"]');
  const sent = { ...headers };
  if (method !== "GET" && csrf) sent["X-CSRF-Token"] = csrf.content;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const answer = await fetch(path, {
    method,
    headers: sent,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
  });
  if (answer.ok) return answer;
  throw new Refused(await answer.json().catch(() => ({ status: answer.status, title: answer.statusText })));
}

export async function askJson(path, options) {
  return (await ask(path, options)).json();
}
