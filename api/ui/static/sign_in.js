// A key for a cookie. The key is sent in the body, and is in no address.

import { ask } from "./request.js";

const form = document.getElementById("sign-in");
const trouble = document.getElementById("trouble");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  trouble.textContent = "";
  try {
    await ask("/session", { method: "POST", body: { key: form.key.value } });
    location.href = form.dataset.next;
  } catch (error) {
    const unknown = error.problem?.status === 401;
    trouble.textContent = unknown ? "This key opens nothing: it is unknown, expired or revoked." : error.message;
    form.key.select();
  }
});

form.key.focus();
