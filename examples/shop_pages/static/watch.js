// Looks again until the order's state has changed for good; the live region around it has the change read out.
"use strict";

async function look() {
  const shown = document.getElementById("state");
  try {
    const answer = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("state");
    if (fresh && fresh.dataset.state !== shown.dataset.state) shown.replaceWith(fresh);
  } catch {
    // the network is gone for a moment
  }
  if (["waiting", "unknown"].includes(document.getElementById("state").dataset.state)) setTimeout(look, 1000);
}

setTimeout(look, 1000);
