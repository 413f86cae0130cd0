// Pages that renew themselves: the region [data-live] is loaded again after news of facts, and every
// half minute for signs that no fact reports. Without this file a page shows the state of its load.
"use strict";
(() => {
  const SECONDS = 30; // between two loads without news
  const SILENCE = 45_000; // milliseconds after which a stream is taken for dead, such as after a sleep
  let stream, heard = 0, newest = 0, kept;

  const region = () => document.querySelector("[data-live]");
  const links = (part) => [...part.querySelectorAll("a[href]")];
  const places = (part) => links(part).map((link) => link.getAttribute("href")).join("\n");

  function say(words) {
    const line = document.getElementById("stale");
    line.hidden = !words;
    line.querySelector("span").textContent = words;
  }

  function renew() {
    const live = region();
    if (live && !document.hidden) live.dispatchEvent(new Event("news"));
  }

  function catchUp() {
    const shown = Number(region().dataset.position);
    if (shown && newest > shown) renew();
  }

  // A visible page holds one connection, a hidden one none: browsers allow six for each host.
  function listen() {
    const live = region();
    if (stream && (stream.readyState === EventSource.CLOSED || Date.now() - heard > SILENCE)) hush();
    if (stream || !live || document.hidden) return;
    heard = Date.now();
    stream = new EventSource(live.dataset.news);
    stream.onmessage = (event) => {
      heard = Date.now();
      newest = Number(event.data);
      catchUp();
    };
  }

  function hush() {
    if (stream) stream.close();
    stream = undefined;
  }

  function tick() {
    renew();
    listen();
    wait();
  }

  function wait() {
    const live = region();
    if (live) setTimeout(tick, 1000 * Number(live.dataset.every || SECONDS));
  }

  function wake() {
    if (document.hidden) return hush();
    renew();
    listen();
  }

  // True while a swap would take a link from under the pointer or the focus, or drop a selection.
  function inUse(live) {
    const chosen = getSelection();
    const selects = chosen && !chosen.isCollapsed && chosen.containsNode(live, true);
    return selects || live.contains(document.activeElement) || live.querySelector("a:hover, summary:hover");
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const old = event.detail.target;
    if (!old.matches("[data-live]")) return;
    const page = new DOMParser().parseFromString(event.detail.serverResponse, "text/html");
    const fresh = page.querySelector("[data-live]");
    if (!fresh) {
      event.detail.shouldSwap = false;
      say("This page cannot renew itself: the session has ended, or its object is gone.");
    } else if (places(old) !== places(fresh) && inUse(old)) {
      event.detail.shouldSwap = false;
      say("This page has changed.");
    } else {
      say("");
      const open = [...old.querySelectorAll("details")].map((one) => one.open);
      kept = { focus: links(old).indexOf(document.activeElement), open, same: places(old) === places(fresh) };
    }
  });

  document.addEventListener("htmx:afterSwap", () => {
    const live = region();
    if (!live || !kept) return;
    showLocalTimes(live);
    if (kept.same && kept.focus >= 0) links(live)[kept.focus].focus({ preventScroll: true });
    if (kept.same) live.querySelectorAll("details").forEach((one, at) => { one.open = kept.open[at] || one.open; });
    kept = undefined;
  });

  // News during a load are shown by another one.
  document.addEventListener("htmx:afterSettle", () => { if (region()) catchUp(); });

  const silent = () => say("The ledger does not answer: this page shows an earlier state.");
  document.addEventListener("htmx:sendError", silent);
  document.addEventListener("htmx:responseError", silent);
  document.addEventListener("visibilitychange", wake);
  addEventListener("pagehide", hush);
  addEventListener("pageshow", (event) => { if (event.persisted) wake(); });
  addEventListener("load", () => { listen(); wait(); });
})();
