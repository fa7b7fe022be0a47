// Keeps the page up to date: after each event of the server, the script fetches the page
// again and replaces what has changed in the elements marked data-live. Without this
// script, the page shows changes after a reload.
(() => {
  const freshness = document.getElementById("freshness");
  let source = null;
  let busy = false; // a fetch is in progress
  let again = false; // another change came during the fetch

  const update = async () => {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const fresh = await webpage.load(document.body.dataset.self);
      if (!fresh) return;
      webpage.update(fresh);
      const time = fresh.querySelector("#freshness time");
      if (time) freshness.querySelector("time")?.replaceWith(time);
    } catch {
      // The server cannot be reached; the event source reconnects.
    } finally {
      busy = false;
      if (again) {
        again = false;
        update();
      }
    }
  };

  const listen = () => {
    if (source) return;
    source = new EventSource("/dev/events");
    source.onopen = () => webpage.say("live", "Live.");
    source.onmessage = update;
    source.onerror = () => {
      webpage.say("away", "The server cannot be reached.");
      // After a long outage a browser stops reconnecting.
      if (source?.readyState === EventSource.CLOSED) {
        source = null;
        setTimeout(listen, 1000);
      }
    };
  };

  // A browser limits the connections to a server, so hidden pages close theirs.
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
