// The table of devices again, as the server makes it, while somebody looks at it.
"use strict";

const EVERY_MILLISECONDS = 10000;
const live = document.getElementById("live");

async function refresh() {
  // Not while a question is open: it would close before it is answered.
  if (document.hidden || live.querySelector("details[open]")) {
    return;
  }
  try {
    const answer = await fetch(live.dataset.source);
    if (answer.ok) {
      live.innerHTML = await answer.text();
      live.classList.remove("stale");
    } else if (answer.status === 401) {
      location.reload();
    } else {
      live.classList.add("stale");
    }
  } catch {
    live.classList.add("stale");
  }
}

setInterval(refresh, EVERY_MILLISECONDS);
document.addEventListener("visibilitychange", refresh);
