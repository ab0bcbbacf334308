// What the pages do with a script and could do without: dialogs, copying, the viewer's own time zone.
const all = (what, where = document) => [...where.querySelectorAll(what)];
const one = (what, where = document) => where.querySelector(what);

// Times: the words of src/pages/moment.rs, kept fresh, and exact in the viewer's own zone.
const UNITS = [[31536000, "year"], [2592000, "month"], [86400, "day"], [3600, "hour"], [60, "minute"]];
function ago(seconds) {
  if (seconds < 45) return "just now";
  for (const [size, unit] of UNITS) {
    if (seconds >= size || unit === "minute") {
      const count = Math.max(1, Math.floor(seconds / size));
      return `${count} ${unit}${count === 1 ? "" : "s"} ago`;
    }
  }
}
const part = (at, option) => at.toLocaleDateString("en-GB", option);
const day = (at) => `${at.getDate()} ${part(at, { month: "short" }).slice(0, 3)} ${at.getFullYear()}`;
const exactly = (at) => `${day(at)}, ${at.toLocaleTimeString("en-GB", { hour12: false })}`;
function tellTimes() {
  for (const time of all("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.title = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
    if ("exact" in time.dataset) time.textContent = exactly(at);
    if ("ago" in time.dataset) time.textContent = ago((Date.now() - at) / 1000);
    if ("day" in time.dataset) time.textContent = day(at);
    if ("clock" in time.dataset) time.textContent = exactly(at);
  }
}
tellTimes();
setInterval(tellTimes, 30000);
const zone = one("#zone");
if (zone) zone.textContent = `Times are in ${Intl.DateTimeFormat().resolvedOptions().timeZone}.`;

// Dialogs, where the page has one for what a link leads to.
for (const link of all("a[data-dialog]")) {
  const dialog = document.getElementById(link.dataset.dialog);
  if (!dialog?.showModal) continue;
  link.setAttribute("role", "button");
  link.setAttribute("aria-haspopup", "dialog");
  link.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); link.click(); }
  });
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const row = link.closest("tr");
    if (row) {
      one("form", dialog).action = link.href;
      one("[data-fill=name]", dialog).textContent = one(".name", row).textContent;
      one("[data-fill=preview]", dialog).textContent = one("code", row).textContent;
    }
    dialog.showModal();
    dialog.addEventListener("close", () => link.focus(), { once: true });
  });
}
for (const button of all("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());

// A name is changed where it stands.
for (const link of all("a[data-rename]")) {
  link.addEventListener("click", (event) => {
    const cell = one("th", link.closest("tr"));
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (one("form", cell)) return;
    const form = one("#rename-in-place").content.cloneNode(true).firstElementChild;
    form.action = link.href;
    const field = one("[name=name]", form);
    field.value = link.dataset.rename;
    const name = one(".name", cell);
    const back = () => { form.remove(); name.hidden = false; link.focus(); };
    one("[data-cancel]", form).addEventListener("click", back);
    form.addEventListener("keydown", (event) => { if (event.key === "Escape") back(); });
    name.hidden = true;
    cell.prepend(form);
    field.select();
  });
}

// Copying; where a browser does not allow it, the text is selected for the person to copy.
let stored = true;
for (const button of all("[data-copy]")) {
  button.hidden = false;
  const source = document.getElementById(button.dataset.copy);
  button.addEventListener("click", async () => {
    const text = source.value ?? source.textContent;
    try {
      await navigator.clipboard.writeText(text);
      stored = true;
      tell(button, "Copied");
    } catch {
      if (source.select) source.select(); else getSelection().selectAllChildren(source);
      const copied = document.execCommand("copy");
      if (copied) stored = true;
      tell(button, copied ? "Copied" : "Press Ctrl+C");
    }
  });
}
function tell(button, words) {
  button.textContent = words;
  const place = one("#copied");
  if (place) place.textContent = words === "Copied" ? "Copied. Store it before you leave this page." : "The key is selected: press Ctrl+C or ⌘C.";
}

// A key is shown once: leaving before it was copied asks first.
const secret = one("[data-guard]") && one("#secret");
if (secret) {
  stored = false;
  secret.addEventListener("focus", () => secret.select());
  secret.addEventListener("copy", () => { stored = true; });
  one("#stored").addEventListener("click", () => { stored = true; });
  addEventListener("beforeunload", (event) => { if (!stored) event.preventDefault(); });
  one("#copy").focus();
}

// What was done is said once, not again on each reload.
const here = new URL(location.href);
if (here.searchParams.has("done") || here.searchParams.has("after")) {
  here.searchParams.delete("done");
  here.searchParams.delete("after");
  history.replaceState(null, "", here);
}
