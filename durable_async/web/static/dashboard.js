// Looks again every few seconds, and sends what a button says. Text from the store never becomes markup here: pages are
// escaped by the server, messages are set as text.
"use strict";

const base = document.body.dataset.base;
const toast = document.getElementById("toast");
let isBusy = false;
let hiding = 0;

function say(text, isBad) {
  toast.textContent = text;
  toast.classList.toggle("bad", isBad);
  toast.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(() => { toast.hidden = true; }, isBad ? 8000 : 3000);
}

async function post(path, body) {
  const response = await fetch(base + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(said.error || `the server answered ${response.status}`);
  return said.done;
}

async function attempt(button, path, body, after) {
  isBusy = true;
  if (button) button.disabled = true;
  try {
    const done = await post(path, body);
    say([body.name || body.id, done].filter(Boolean).join(" "), false);
    await after();
  } catch (error) {
    say(error.message, true);
  } finally {
    isBusy = false;
    if (button) button.disabled = false;
  }
}

async function look() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (response.redirected) return location.reload();
  if (!response.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  document.querySelector("main").replaceWith(page.querySelector("main"));
}

// Not while somebody types, opens something or marks text, and not in a tab that nobody sees.
function isInUse() {
  const active = document.activeElement;
  return isBusy || document.hidden || document.querySelector("main details[open]") !== null
    || !getSelection().isCollapsed || (active !== null && ["INPUT", "SELECT"].includes(active.tagName));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button === null) return;
  const { action, confirm: question, post: path, id, name, value } = button.dataset;
  if (path !== undefined) {
    attempt(button, path, {}, async () => location.assign(base + "/login"));
  } else if (action !== undefined && (question === undefined || confirm(question))) {
    const body = { id, name };
    if (value !== undefined) body.value = JSON.parse(value);
    attempt(button, "/actions/" + action, body, look);
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  const given = form.elements.value;
  if (form.dataset.login !== undefined) {
    event.preventDefault();
    attempt(null, "/login", { token: form.elements.token.value }, async () => location.assign(base + "/"));
  } else if (form.dataset.answer !== undefined) {
    event.preventDefault();
    let value = given.value;
    if (form.dataset.kind !== "text") {
      try {
        value = JSON.parse(value);
      } catch {
        say("that is no JSON", true);
        return;
      }
    }
    given.blur();
    attempt(null, "/actions/answer", { id: form.dataset.id, name: form.dataset.name, value }, look);
  }
});

if (document.querySelector("form[data-login]") === null) {
  setInterval(() => { if (!isInUse()) look().catch(() => {}); }, 5000);
}
