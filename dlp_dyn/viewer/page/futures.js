// Two futures side by side, or a plan and what comes of it: play, pause, step.

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
    this.note = (step) => this.difference(step);
    this.begin({ unedited: "As found", edited: "As edited" }, answer, side);
  }

  // What a plan is imagined to lead to, beside what really comes of it or what was asked for.
  showPlan(answer, side) {
    this.note = (step) => this.remaining(step, answer.places);
    const names = { unedited: "As planned", edited: answer.is_real ? "What really happens" : "As it shall be" };
    this.begin(names, { unedited: answer.imagined, edited: answer.beside }, side);
  }

  begin(names, answer, side) {
    for (const one of this.sides) {
      Object.assign(one, { positions: null }, answer[one.name], { images: pictures(answer[one.name].pictures, side) });
      byId(`${one.name}-name`).firstChild.textContent = names[one.name];
    }
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
    byId("futures-note").textContent = `${why}: roll out or plan again.`;
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
      if (positions) board.trails(ink, positions, transparency, step);
    }
    byId("step").value = step;
    byId("step-value").textContent = `${step} / ${this.last}`;
    if (!byId("future-pair").classList.contains("stale")) byId("futures-note").textContent = this.note(step);
  }

  // How far the particles that were dragged still are from where they shall be, as it is imagined.
  remaining(step, places) {
    const { positions, board } = this.sides[0];
    const left = Object.entries(places).map(([i, to]) => {
      const from = positions[step][Number(i)];
      return `particle ${i} is ${(Math.hypot(from[0] - to[0], from[1] - to[1]) / board.pixel).toFixed(1)} pixels`;
    });
    return `Step ${step}: ${left.join(", ")} from where it shall be, as it is imagined.`;
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
