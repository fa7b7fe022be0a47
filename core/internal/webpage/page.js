// What the pages share. A page works without scripts; with them it follows what
// changes.
"use strict";
const webpage = (() => {
  // The id of a node. A form's own property may be a field of that name.
  const idOf = (node) => node.getAttribute?.("id") ?? "";

  // Makes one element like another, and touches only what differs, so that the
  // focus, a selection and what was typed stay.
  const morph = (old, fresh) => {
    if (old.isEqualNode(fresh)) return;
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || idOf(old) !== idOf(fresh)) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      old.data = fresh.data;
      return;
    }
    for (const { name } of [...old.attributes]) {
      // What a person has opened stays open.
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      // A row that is already there moves up to its place.
      const known = idOf(child) ? [...old.children].find((one) => idOf(one) === idOf(child)) : null;
      if (known) {
        if (known === next) next = next.nextSibling;
        else old.insertBefore(known, next);
        morph(known, child);
      } else if (next && !idOf(child) && !idOf(next) && next.nodeName === child.nodeName) {
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

  // Replaces what differs in the parts marked data-live by those of another document.
  const update = (fresh) => {
    const focused = document.activeElement?.id;
    for (const part of document.querySelectorAll("[data-live]")) {
      const replacement = fresh.getElementById(part.id);
      if (replacement) morph(part, replacement);
    }
    // A button that had the focus and was replaced gets it back.
    if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
  };

  // Fetches the page that an address names; null if there is none.
  const load = async (address) => {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  };

  // Says beside the time of the page how up to date it is.
  const say = (state, text) => {
    const freshness = document.getElementById("freshness");
    freshness.dataset.state = state;
    let label = freshness.querySelector(".live");
    if (!label) {
      label = document.createElement("span");
      label.className = "live";
      freshness.prepend(label, " ");
    }
    if (label.textContent !== text) label.textContent = text;
  };

  const two = (number) => String(number).padStart(2, "0");
  const clock = (time, seconds) => two(time.getHours()) + ":" + two(time.getMinutes()) + (seconds ? ":" + two(time.getSeconds()) : "");
  const zone = (time) => new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(time).find((part) => part.type === "timeZoneName").value;

  // Shows the times of a document in the zone of who looks at it.
  const localize = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const time = new Date(element.dateTime);
      const full = time.getFullYear() + "-" + two(time.getMonth() + 1) + "-" + two(time.getDate()) + " " + clock(time, true) + " " + zone(time);
      if (element.title) element.title = full;
      if (element.dataset.form === "full") element.textContent = full;
      if (element.dataset.form === "clock") element.textContent = clock(time, true) + " " + zone(time);
    }
    for (const bar of root.querySelectorAll("[data-minute]")) {
      const title = bar.querySelector("title");
      title.textContent = title.textContent.replace(/^\d\d:\d\d/, clock(new Date(bar.dataset.minute), false));
    }
  };

  return { update, load, say, localize };
})();
