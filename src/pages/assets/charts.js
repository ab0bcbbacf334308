
// Charts: one stop for the keyboard, arrows from day to day.
for (const chart of all("[data-bars]")) {
  const bars = all("g", chart);
  chart.setAttribute("aria-label", `${chart.getAttribute("aria-label")}: arrow keys go from day to day`);
  chart.addEventListener("keydown", (event) => {
    const at = bars.indexOf(document.activeElement);
    const to = bars[{ ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: bars.length - 1 }[event.key]];
    if (at < 0 || !to) return;
    event.preventDefault();
    bars[at].setAttribute("tabindex", -1);
    to.setAttribute("tabindex", 0);
    to.focus();
  });
}
