// Keeps the page up to date: when the server tells of a change, the page is
// fetched again, and what differs in its parts marked data-live is replaced.
// Without this script the page works by reloading.
"use strict";
(() => {
  const freshness = document.getElementById("freshness");
  let source = null;
  let busy = false; // a fetch is under way
  let again = false; // something has changed meanwhile

  // Makes one element like another, and touches only what differs, so that
  // the focus, a selection and what was typed stay.
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.id !== fresh.id) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      // A row that is already there moves up to its place.
      const known = child.id ? [...old.children].find((one) => one.id === child.id) : null;
      if (known) {
        if (known === next) next = next.nextSibling;
        else old.insertBefore(known, next);
        morph(known, child);
      } else if (next && !child.id && !next.id && next.nodeName === child.nodeName) {
        const matching = next;
        next = next.nextSibling;
        morph(matching, child);
      } else {
        old.insertBefore(child, next);
      }
    }
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
  };

  const update = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const response = await fetch(document.body.dataset.self, { headers: { Accept: "text/html" } });
      if (!response.ok) return;
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
      const focused = document.activeElement?.id;
      for (const part of document.querySelectorAll("[data-live]")) {
        const replacement = fresh.getElementById(part.id);
        if (replacement) morph(part, replacement);
      }
      const time = fresh.querySelector("#freshness time");
      if (time) freshness.querySelector("time")?.replaceWith(time);
      // A button that had the focus and was replaced gets it back.
      if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
    } catch {
      // The server is away; the event source notices, and waits for it.
    } finally {
      busy = false;
      if (again) {
        again = false;
        update();
      }
    }
  };

  const say = (state, text) => {
    freshness.dataset.state = state;
    let label = freshness.querySelector(".live");
    if (!label) {
      label = document.createElement("span");
      label.className = "live";
      freshness.prepend(label, " ");
    }
    label.textContent = text;
  };

  const listen = () => {
    if (source) return;
    source = new EventSource("/dev/events");
    source.onopen = () => say("live", "Live.");
    source.onmessage = update;
    source.onerror = () => {
      say("away", "The server is away.");
      // A server that was away for long makes a browser give up.
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(listen, 1000);
      }
    };
  };

  // A browser has few connections to a server: pages that nobody sees let go
  // of theirs.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      source?.close();
      source = null;
    } else {
      listen();
    }
  });
  if (!document.hidden && document.querySelector("[data-live]")) listen();
})();
