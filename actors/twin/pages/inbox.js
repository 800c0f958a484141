// Says when newer mail has come. The list itself works without this script.
"use strict";
const count = document.getElementById("count");
const fresh = document.getElementById("fresh");
const newest = Number(count.dataset.newest);

async function look() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/api/newest", { cache: "no-store" });
    const now = (await answer.json()).newest;
    if (now > newest) {
      fresh.textContent = now - newest === 1 ? "1 new mail, show it" : `${now - newest} new mails, show them`;
      fresh.hidden = false;
    }
  } catch {
    // The inbox was stopped; the page that is open stays readable.
  }
}

setInterval(look, 3000);
