// Two futures side by side: play, pause, step.

import { Board, ON } from "./draw.js";
import { pictures } from "./server.js";

const byId = (id) => document.getElementById(id);
const STEP_MS = 80;

export class Futures {
  constructor() {
    this.sides = ["unedited", "edited"].map((name) => ({ name, board: new Board(byId(name)) }));
    this.step = this.last = 0;
    this.timer = null;
    byId("play").addEventListener("click", () => this.play(this.timer === null));
    byId("step").addEventListener("input", () => {
      this.play(false);
      this.go(byId("step").valueAsNumber);
    });
    window.addEventListener("resize", () => this.known && this.go(this.step));
  }

  get known() {
    return this.last > 0;
  }

  show(answer, side) {
    for (const one of this.sides) Object.assign(one, answer[one.name], { images: pictures(answer[one.name].pictures, side) });
    this.last = this.sides[0].images.length - 1;
    byId("future-pair").hidden = byId("step").disabled = byId("play").disabled = false;
    byId("future-pair").classList.remove("stale");
    byId("step").max = this.last;
    this.go(0);
    this.play(true);
  }

  // The scene has changed since.
  outdate(why) {
    if (!this.known) return;
    this.play(false);
    byId("future-pair").classList.add("stale");
    byId("futures-note").textContent = `${why}: roll out again.`;
  }

  play(on) {
    clearInterval(this.timer);
    this.timer = on ? setInterval(() => this.tick(), STEP_MS) : null;
    byId("play").setAttribute("aria-pressed", String(on));
    byId("play").firstChild.textContent = on ? "Pause " : "Play ";
    if (on && this.step === this.last) this.go(0);
  }

  tick() {
    if (this.step === this.last) this.play(false);
    else this.go(this.step + 1);
  }

  go(step) {
    this.step = step;
    for (const { board, images, positions, transparency } of this.sides) {
      const ink = board.clear(images[step]);
      board.trails(ink, positions, transparency, step);
    }
    byId("step").value = step;
    byId("step-value").textContent = `${step} / ${this.last}`;
    if (!byId("future-pair").classList.contains("stale")) byId("futures-note").textContent = this.difference(step);
  }

  // How far particles that both futures show have come apart.
  difference(step) {
    const [a, b] = this.sides;
    let farthest = 0;
    a.positions[step].forEach((from, i) => {
      const to = b.positions[step][i];
      if (a.transparency[step][i] <= ON || b.transparency[step][i] <= ON) return;
      farthest = Math.max(farthest, Math.hypot(from[0] - to[0], from[1] - to[1]) / a.board.pixel);
    });
    return `Step ${step}: the same particle is at most ${farthest.toFixed(1)} pixels away from itself in the other future.`;
  }
}
