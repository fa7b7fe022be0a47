// Functions shared by the pages. The pages work without JavaScript; with it, they
// update themselves.
"use strict";
const webpage = (() => {
  // The id of a node. The property "id" of a form may be a field with this name.
  const idOf = (node) => node.getAttribute?.("id") ?? "";

  // Makes an element equal to another. It changes only the differences, so that the
  // focus, a selection and typed text are kept.
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
      // Details that the viewer has opened stay open.
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS")) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    let next = old.firstChild;
    for (const child of [...fresh.childNodes]) {
      // An existing row is moved to its position.
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

  // Updates the elements marked data-live from another document.
  const update = (fresh) => {
    const focused = document.activeElement?.id;
    for (const part of document.querySelectorAll("[data-live]")) {
      const replacement = fresh.getElementById(part.id);
      if (replacement) morph(part, replacement);
    }
    // A replaced button gets the focus back.
    if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
  };

  // Fetches a page; null if the response is not successful.
  const load = async (address) => {
    const response = await fetch(address, { headers: { Accept: "text/html" } });
    return response.ok ? new DOMParser().parseFromString(await response.text(), "text/html") : null;
  };

  // Shows the state of the updates next to the time of the page.
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

  // Shows the times of a document in the viewer's time zone.
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
