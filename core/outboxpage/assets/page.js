// Refreshes the list every ten seconds: the script fetches the page and replaces what
// has changed in the elements marked data-live. The viewer can pause it. It also pauses
// while messages are selected, so that no row moves under the pointer. Times are shown
// in the viewer's time zone.
(() => {
  const every = 10_000;
  const key = "postoffice-paused";
  webpage.localize(document);
  const freshness = document.getElementById("freshness");
  const self = document.body.dataset.live;
  if (!self) return;

  // The choice is kept in the browser, if it allows storage.
  const recall = () => {
    try { return localStorage.getItem(key) === "yes"; } catch { return false; }
  };
  const remember = (paused) => {
    try { localStorage.setItem(key, paused ? "yes" : "no"); } catch { /* not kept */ }
  };

  let paused = recall();
  const button = document.createElement("button");
  button.id = "pause";
  button.type = "button";
  freshness.querySelector("#refresh")?.replaceWith(button);

  const selecting = () => document.querySelector("tbody input:checked") !== null;
  const show = () => {
    button.textContent = paused ? "Resume" : "Pause";
    if (paused) webpage.say("paused", "Paused.");
    else if (selecting()) webpage.say("paused", "Paused while messages are selected.");
    else webpage.say("live", "Live.");
  };

  let loading = false;
  const update = async () => {
    if (loading || paused || document.hidden || selecting()) return;
    loading = true;
    try {
      const fresh = await webpage.load(self);
      if (paused || selecting()) return;
      if (!fresh?.getElementById("messages")) throw new Error("no list");
      webpage.localize(fresh);
      webpage.update(fresh);
      freshness.querySelector("time").replaceWith(fresh.querySelector("#freshness time"));
      show();
    } catch {
      webpage.say("away", "Refresh failed.");
    } finally {
      loading = false;
    }
  };

  button.addEventListener("click", () => {
    paused = !paused;
    remember(paused);
    show();
    update();
  });
  document.addEventListener("change", show);
  document.addEventListener("visibilitychange", update);
  setInterval(update, every);
  show();
})();
