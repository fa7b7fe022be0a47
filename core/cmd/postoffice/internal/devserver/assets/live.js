// Keeps the page up to date: when the server tells of a change, the page is
// fetched again, and what differs in its parts marked data-live is replaced.
// Without this script the page works by reloading.
(() => {
  const freshness = document.getElementById("freshness");
  let source = null;
  let busy = false; // a fetch is under way
  let again = false; // something has changed meanwhile

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
      // The server is away; the event source notices, and waits for it.
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
      webpage.say("away", "The server is away.");
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
