// Small conveniences. Every page can be read and used without this file.
"use strict";
document.documentElement.classList.add("js");

function showLocalTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = at.toLocaleString(undefined, { dateStyle: "full", timeStyle: "long" });
    const local = time.nextElementSibling;
    if (local && local.classList.contains("local")) {
      local.textContent = at.toLocaleTimeString(undefined, { timeStyle: "short", hourCycle: "h23" }) + " here,";
    }
  }
}

document.addEventListener("DOMContentLoaded", () => showLocalTimes(document));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1500);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const search = document.getElementById("q");
  if (!search) return;
  event.preventDefault();
  search.focus();
  search.select();
});
