// The chosen particle's numbers as sliders, and all particles as a row of buttons.

import { ON, colour } from "./draw.js";

const byId = (id) => document.getElementById(id);
// How far a slider goes to either side; the server allows more.
const REACH = { x: 1.2, y: 1.2, depth: 6, motion_x: 0.2, motion_y: 0.2, transparency: 1 };

export class Panel {
  // choose(i); change(name, value, done): done says that the slider was let go.
  constructor(names, { predicts, choose, change }) {
    this.choose = choose;
    this.sliders = {};
    for (const name of names) {
      if (predicts || !name.startsWith("motion")) this.add(name, change);
    }
  }

  add(name, change) {
    const label = document.createElement("label");
    const slider = Object.assign(document.createElement("input"), { type: "range", id: `attribute-${name}`, step: "any" });
    const high = REACH[name] ?? (name === "width" || name === "height" ? 0.98 : 4);
    slider.min = name === "transparency" ? 0 : name === "width" || name === "height" ? 0.02 : -high;
    slider.max = high;
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
