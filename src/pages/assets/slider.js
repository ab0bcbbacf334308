// The slider of the page "As it was": says the moment while it is moved, and goes there when it is let go.
const slider = document.querySelector("#part");
const said = document.querySelector("#slid");
const [from, to] = [slider.dataset.from, slider.dataset.to].map((at) => new Date(at).getTime());
const say = () => {
  const at = new Date(from + ((to - from) * slider.value) / slider.max);
  said.textContent = at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
  slider.setAttribute("aria-valuetext", said.textContent);
};
slider.addEventListener("input", say);
slider.addEventListener("change", () => slider.form.requestSubmit());
