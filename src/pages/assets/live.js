
// The balance and the last use of keys, told by the server while the page is looked at.
const balance = one("#balance[data-live-at]");
if (balance && globalThis.EventSource) {
  const PAUSE_MIN = 3000, PAUSE_MAX = 300000;
  let source, timer, pause = PAUSE_MIN;
  const rows = all("tr[id^=key_]");
  const say = (node, text) => { if (node && node.textContent !== text) node.textContent = text; };
  const show = ({ available, held, keys }) => {
    for (const node of all("[data-live=available]")) say(node, available);
    for (const node of all("[data-live=held]")) {
      say(node, held);
      node.parentNode.hidden = held === "0";
    }
    for (const key of keys) {
      const row = document.getElementById(key.id);
      if (!row) continue;
      const cell = one("[data-label='Last used']", row);
      if (!key.last_used || !cell || one("time", cell)?.dateTime === key.last_used) continue;
      const time = document.createElement("time");
      time.dateTime = key.last_used;
      time.dataset.ago = "";
      cell.replaceChildren(time);
    }
    tellTimes();
  };
  const stop = () => { clearTimeout(timer); source?.close(); source = undefined; };
  const again = () => {
    stop();
    if (!document.hidden) timer = setTimeout(listen, pause * (0.75 + Math.random() / 2));
    pause = Math.min(pause * 2, PAUSE_MAX);
  };
  const listen = () => {
    stop();
    const keys = rows.map((row) => row.id).join(",");
    source = new EventSource(`${balance.dataset.liveAt}?keys=${keys}`);
    source.addEventListener("message", (event) => { pause = PAUSE_MIN; show(JSON.parse(event.data)); });
    source.addEventListener("end", () => { stop(); document.removeEventListener("visibilitychange", look); });
    source.addEventListener("error", again);
  };
  const look = () => { if (document.hidden) stop(); else listen(); };
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", stop);
  addEventListener("pageshow", (event) => { if (event.persisted) look(); });
  look();
}
