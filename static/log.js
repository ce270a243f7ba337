// The system log, line by line as it is written. Without this file the page shows what there was when it was opened.
(() => {
  "use strict";
  const MOST_LINES = 2000;
  const byId = (id) => document.getElementById(id);
  const state = byId("log-state");
  const button = byId("log-pause");
  let source = null;
  let paused = false;

  const box = () => document.querySelector("#log .log-lines");
  const say = (word) => { state.textContent = state.dataset[word]; };
  const isAtEnd = (list) => list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  const toEnd = (list) => { list.scrollTop = list.scrollHeight; };

  const add = (event) => {
    const list = box();
    const follow = isAtEnd(list);
    list.insertAdjacentHTML("beforeend", event.data);
    while (list.childElementCount > MOST_LINES) list.firstElementChild.remove();
    byId("log").querySelector(".log-empty").hidden = true;
    // Where the stream goes on after a pause.
    const address = new URL(byId("log").dataset.live, location.href);
    address.searchParams.set("after", event.lastEventId);
    byId("log").dataset.live = address.pathname + address.search;
    if (follow) toEnd(list);
  };

  const stop = () => { source?.close(); source = null; };
  const start = () => {
    stop();
    if (paused) return;
    source = new EventSource(byId("log").dataset.live);
    source.onmessage = add;
    source.onopen = () => say("live");
    source.onerror = () => {
      say("away");
      // A refusal ends a stream for good: try again, the session may be new by then.
      if (source?.readyState === EventSource.CLOSED) setTimeout(start, 5000);
    };
  };

  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", paused);
    button.textContent = paused ? button.dataset.goOn : button.dataset.pause;
    if (paused) { stop(); say("paused"); } else start();
  });
  document.addEventListener("htmx:afterSwap", () => { toEnd(box()); start(); });
  window.addEventListener("pagehide", stop);
  window.addEventListener("pageshow", (event) => { if (event.persisted) start(); });
  toEnd(box());
  start();
})();
