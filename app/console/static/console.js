// Keeps the overview fresh: fetches the page again while somebody can see it, and puts the new parts in place.
// A part that the reader points at, has the focus in or has selected stays as it is.
"use strict";

const PERIOD = 2000; // milliseconds
const LONGEST_PERIOD = 30000;
const TIMEOUT = 5000;

const live = document.getElementById("live");
const note = live.querySelector("[role=status]");
const button = document.createElement("button");
let paused = false;
let period = PERIOD;
let timer;

function say(text, state) {
  live.dataset.state = state;
  document.body.classList.toggle("stale", state === "lost");
  if (note.textContent !== text) note.textContent = text;
}

function held(part) {
  const selection = getSelection();
  const selected = !selection.isCollapsed && selection.containsNode(part, true);
  return selected || part.contains(document.activeElement) || part.matches("tbody:hover");
}

function show(page) {
  document.title = page.title;
  for (const fresh of page.querySelectorAll("[data-live]")) {
    const shown = document.getElementById(fresh.id);
    if (!held(shown)) shown.replaceWith(fresh);
  }
}

async function refresh() {
  try {
    const answer = await fetch(location.pathname, { signal: AbortSignal.timeout(TIMEOUT) });
    if (!answer.ok) throw new Error(answer.statusText);
    show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    period = PERIOD;
    say("Live", "live");
  } catch {
    period = Math.min(2 * period, LONGEST_PERIOD);
    say("The server does not answer: this is old", "lost");
  }
  schedule(period);
}

function schedule(delay) {
  clearTimeout(timer);
  if (!paused && !document.hidden) timer = setTimeout(refresh, delay);
}

button.type = "button";
button.textContent = "Pause";
button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Resume" : "Pause";
  if (paused) say("Paused", "paused");
  schedule(0);
});
live.append(button);
document.addEventListener("visibilitychange", () => schedule(0));
say("Live", "live");
schedule(PERIOD);
