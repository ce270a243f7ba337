// What HTML and htmx do not do by themselves. The pages work without this file; all words come from the page.
(() => {
  "use strict";
  const on = (name, act) => document.addEventListener(name, act);
  const byId = (id) => document.getElementById(id);

  // --- Copy buttons: <button data-copy="text"> -------------------------------------------------------------------

  // Consoles are often reached by plain HTTP, where browsers have no clipboard object.
  const copyByHand = (text) => {
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copy refused");
  };
  const copy = async (button) => {
    const said = byId("said");
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(button.dataset.copy);
      else copyByHand(button.dataset.copy);
      said.textContent = said.dataset.copied;
      button.classList.add("is-copied");
    } catch {
      said.textContent = said.dataset.failed;
      button.classList.add("is-failed");
    }
    button.focus();
    button.dataset.said = said.textContent;
    setTimeout(() => {
      button.classList.remove("is-copied", "is-failed");
      delete button.dataset.said;
      said.textContent = "";
    }, 1800);
  };

  // --- Menus: <details class="menu"> closes on a click elsewhere and on Escape ------------------------------------

  const closeMenus = (except) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu.contains(except)) continue;
      const held = menu.contains(document.activeElement);
      menu.open = false;
      if (held && !except) menu.querySelector("summary").focus();
    }
  };
  on("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button);
    closeMenus(event.target);
  });
  on("keydown", (event) => { if (event.key === "Escape") closeMenus(null); });

  // --- The switcher: a link to a page that drops down as a menu --------------------------------------------------------

  const opener = byId("switch-open");
  const sheet = byId("switch-sheet");
  const entries = () => [...sheet.querySelectorAll("[role=menuitem]:not([disabled])")];
  const closeSwitch = (refocus) => {
    if (!sheet || sheet.hidden) return;
    sheet.hidden = true;
    opener.setAttribute("aria-expanded", false);
    if (refocus) opener.focus();
  };
  const openSwitch = async () => {
    const base = document.querySelector("form[data-base]").dataset.base;
    const back = encodeURIComponent(location.pathname.slice(base.length) + location.search);
    await htmx.ajax("GET", `${opener.dataset.switch}?back=${back}`, { target: sheet, swap: "innerHTML" });
    sheet.hidden = false;
    opener.setAttribute("aria-expanded", true);
    (sheet.querySelector("input[type=search]") ?? entries()[0])?.focus();
  };
  on("click", (event) => {
    if (!sheet || sheet.contains(event.target)) return;
    const isOpener = opener.contains(event.target) && !event.ctrlKey && !event.metaKey;
    if (isOpener && window.htmx && !document.querySelector("main #switch")) {
      event.preventDefault();
      if (sheet.hidden) openSwitch(); else closeSwitch(true);
    } else closeSwitch(false);
  });
  on("keydown", (event) => {
    if (sheet?.hidden && event.target === opener && [" ", "ArrowDown", "ArrowUp"].includes(event.key)) {
      event.preventDefault();
      opener.click();
    }
    if (!sheet || sheet.hidden) return;
    const all = entries();
    const at = all.indexOf(document.activeElement);
    const inField = event.target.matches("input");
    const go = (to) => { event.preventDefault(); all[(to + all.length) % all.length]?.focus(); };
    if (event.key === "Escape" || event.key === "Tab" && !inField) closeSwitch(event.key === "Escape");
    else if (event.key === "ArrowDown") go(at + 1);
    else if (event.key === "ArrowUp") go(at < 0 ? -1 : at - 1);
    else if (event.key === "Home" && !inField) go(0);
    else if (event.key === "End" && !inField) go(-1);
    else if (event.key.length === 1 && !inField && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const begins = (entry) => entry.textContent.trim().toLowerCase().startsWith(event.key.toLowerCase());
      const next = [...all.slice(at + 1), ...all.slice(0, at + 1)].find(begins);
      if (next) go(all.indexOf(next));
    }
  });

  window.addEventListener("pageshow", () => closeSwitch(false));

  // --- Filters ---------------------------------------------------------------------------------------------------

  // Half-typed pinyin is not a filter yet: wait until the characters are chosen.
  document.addEventListener("input", (event) => { if (event.isComposing) event.stopPropagation(); }, true);
  on("compositionend", (event) => event.target.dispatchEvent(new Event("input", { bubbles: true })));
  // Empty fields would only lengthen the address.
  on("htmx:configRequest", ({ detail }) => {
    if (detail.verb !== "get") return;
    for (const [name, value] of [...detail.formData]) if (value === "") detail.formData.delete(name);
  });
  // Changing language or theme returns to what is shown now.
  on("htmx:pushedIntoHistory", ({ detail }) => {
    const form = document.querySelector("form[data-base]");
    if (form) form.elements.back.value = detail.path.slice(form.dataset.base.length);
  });

  // <input data-filter="id"> shows only those entries of a list that contain what is typed.
  on("input", ({ target }) => {
    const list = target.dataset?.filter && byId(target.dataset.filter);
    if (!list) return;
    const part = target.value.trim().toLowerCase();
    for (const entry of list.children) entry.hidden = !entry.textContent.toLowerCase().includes(part);
  });

  // <input type=checkbox data-all="name"> ticks all of that name in its form.
  on("change", ({ target }) => {
    if (!target.dataset?.all) return;
    for (const box of target.form.querySelectorAll(`[name="${target.dataset.all}"]`)) box.checked = target.checked;
  });

  // --- Forms -----------------------------------------------------------------------------------------------------

  // What came in place of a form goes on where the reader must: at what is wrong, or at what is asked for next.
  on("htmx:afterSettle", ({ detail }) => {
    const { elt, requestConfig } = detail;
    if (requestConfig?.verb !== "post") return;
    const next = elt.querySelector("[aria-invalid=true]:not([value='']), [aria-invalid=true], [autofocus]") ?? elt.querySelector("h1, [role=alert], [role=status]");
    if (!next) return;
    if (!next.matches("input, select, button, a")) next.tabIndex = -1;
    next.focus();
  });

  // <form data-unsaved>: what was typed into its text is not left behind without a question.
  let leaving = null;
  const unsaved = (except) => [...document.querySelectorAll("form[data-unsaved]")].some((form) =>
    form !== except && [...form.querySelectorAll("textarea")].some((area) => area.hidden || area.value !== area.defaultValue));
  on("submit", ({ target }) => { leaving = target; });
  window.addEventListener("beforeunload", (event) => { if (unsaved(leaving)) event.preventDefault(); });
  on("htmx:confirm", (event) => {
    const form = event.target.closest("form");
    if (!form?.dataset.asks || !unsaved(form) || window.confirm(form.dataset.asks)) return;
    event.preventDefault();
  });
  // The door asks for a new sign-in: the browser asks before it goes there.
  on("htmx:beforeOnLoad", ({ detail }) => {
    if (detail.xhr.getResponseHeader("HX-Redirect")?.includes("/sign-in")) leaving = null;
  });
  on("htmx:afterSwap", () => { leaving = null; });

  // --- Refreshing ------------------------------------------------------------------------------------------------

  const callbacks = window.Idiomorph?.defaults.callbacks;
  if (callbacks) {
    // What the reader opened stays open, and what is being typed stays typed.
    callbacks.beforeAttributeUpdated = (name, node) =>
      !(name === "open" && node.localName === "details") && !(name === "value" && node === document.activeElement);
    // A button that says "copied" may say so until its time is over, and a form opened inside a list stays.
    callbacks.beforeNodeMorphed = ({ dataset }) => !(dataset && ("said" in dataset || "held" in dataset));
  }
  // <div data-calm> does not refresh itself under somebody who has ticked or opened something in it.
  on("htmx:beforeRequest", (event) => {
    const { elt } = event.detail;
    if (elt.hasAttribute("data-calm") && elt.querySelector("[type=checkbox]:checked, details[open]")) event.preventDefault();
  });
  // Nobody reads a hidden page.
  on("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.requestConfig.verb === "get") event.preventDefault();
  });

  // --- A server that does not answer, or answers with an error of its own -----------------------------------------

  // An error page that passes by itself asks again in the background and gives way to the page once there is one.
  const waiting = document.querySelector("[data-retry]");
  if (waiting) setInterval(async () => {
    if (await fetch(location.href).then((answer) => answer.ok, () => false)) location.reload();
  }, waiting.dataset.retry * 1000);

  let seen = new Date();
  const away = () => {
    const band = byId("away");
    if (!band || !band.hidden) return;
    band.textContent = band.dataset.text.replace("%{time}", seen.toLocaleTimeString("en-GB"));
    band.hidden = false;
  };
  on("htmx:sendError", away);
  on("htmx:timeout", away);
  on("htmx:afterSwap", ({ detail }) => {
    if (detail.xhr?.status >= 500) byId("flash")?.setAttribute("data-passing", "");
  });
  on("htmx:afterRequest", ({ detail }) => {
    if (detail.xhr?.status > 0 && byId("away")) byId("away").hidden = true;
    if (!detail.successful) return;
    seen = new Date();
    const flash = byId("flash");
    if (!flash?.hasAttribute("data-passing")) return;
    flash.replaceChildren();
    for (const name of ["data-passing", "class"]) flash.removeAttribute(name);
  });
})();
