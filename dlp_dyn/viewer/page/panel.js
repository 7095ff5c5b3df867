// The chosen particle's numbers as sliders, and all particles as a row of buttons.

import { ON, colour } from "./draw.js";

const byId = (id) => document.getElementById(id);
// How far a slider goes to either side where the server allows more than is handy.
const REACH = { x: 1.2, y: 1.2, depth: 6, motion_x: 0.2, motion_y: 0.2 };
const FEATURE_REACH = 4;

export class Panel {
  // limits: {name: [low, high]}. choose(i); change(name, value, done): done says that the slider was let go.
  constructor(limits, { predicts, choose, change }) {
    this.choose = choose;
    this.sliders = {};
    for (const [name, range] of Object.entries(limits)) {
      if (predicts || !name.startsWith("motion")) this.add(name, range, change);
    }
  }

  add(name, range, change) {
    const label = document.createElement("label");
    const slider = Object.assign(document.createElement("input"), { type: "range", id: `attribute-${name}`, step: "any", disabled: true });
    const reach = REACH[name] ?? (name.startsWith("feature") ? FEATURE_REACH : Infinity);
    slider.min = Math.max(range[0], -reach);
    slider.max = Math.min(range[1], reach);
    const value = document.createElement("output");
    value.htmlFor = slider.id;
    label.append(name.replace("_", " "), slider, value);
    slider.addEventListener("input", () => change(name, slider.valueAsNumber, false));
    slider.addEventListener("change", () => change(name, slider.valueAsNumber, true));
    byId("attributes").append(label);
    this.sliders[name] = { slider, value };
  }

  show(particles, chosen) {
    this.showChips(particles, chosen);
    const p = particles[chosen];
    const title = p ? `Particle ${chosen}` : "No particle is chosen";
    if (byId("chosen").textContent !== title) byId("chosen").textContent = title;
    for (const [name, { slider, value }] of Object.entries(this.sliders)) {
      const text = p ? p[name].toFixed(3) : "";
      if (value.textContent === text) continue; // what has not changed need not be laid out again
      slider.disabled = !p;
      value.textContent = text;
      if (p) slider.value = p[name];
    }
  }

  showChips(particles, chosen) {
    const row = byId("chips");
    while (row.childElementCount > particles.length) row.lastElementChild.remove();
    while (row.childElementCount < particles.length) {
      const i = row.childElementCount;
      const chip = document.createElement("button");
      const dot = document.createElement("i");
      dot.style.background = colour(i);
      chip.append(dot, String(i));
      chip.addEventListener("click", () => this.choose(i));
      row.append(chip);
    }
    particles.forEach((p, i) => {
      const [chip, on] = [row.children[i], p.transparency > ON];
      const label = `Particle ${i}${on ? "" : ", off"}`;
      if (chip.getAttribute("aria-label") !== label) chip.setAttribute("aria-label", label);
      if (chip.getAttribute("aria-pressed") !== String(i === chosen)) chip.setAttribute("aria-pressed", String(i === chosen));
      chip.classList.toggle("off", !on);
    });
  }
}
