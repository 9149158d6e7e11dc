// Asks for the page again until its state has changed for good; the live region around it reads the change out.
"use strict";

const watch = async () => {
  const shown = document.getElementById("state");
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("state");
    if (fresh && fresh.dataset.state !== shown.dataset.state) {
      shown.replaceWith(fresh);
    }
  } catch {
    // the network is gone for a moment: ask again
  }
  if (["waiting", "unknown"].includes(document.getElementById("state").dataset.state)) {
    setTimeout(watch, 1000);
  }
};

setTimeout(watch, 1000);
