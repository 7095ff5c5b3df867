// The page: what is shown, what the buttons, the pointer and the keys do.

import { Board, ON } from "./draw.js";
import { Futures } from "./futures.js";
import { Panel } from "./panel.js";
import { ask, newestOnly, pictures, Refused } from "./server.js";

const FAR = 1.5; // how far out of the image a particle can be dragged
const MOST_BLOCKS = 30; // of a plan
const byId = (id) => document.getElementById(id);
const frame = new Board(byId("frame"));
const scene = new Board(byId("scene"));
const futures = new Futures();
const shown = { particles: [], found: [], chosen: -1 };
let model = null;
let panel = null;
let drag = null; // {kind: "move" | "resize", i, dx, dy}
let ahead = null; // a change that is shown as numbers and not yet drawn: {particle, values, gesture}
let recolouring = false;
let gesture = 0;
let isNew = false; // a drawn scene came that was not painted yet
const painted = []; // times of drawn scenes shown, the last second's

// --- what is shown

function take(answer) {
  Object.assign(shown, answer);
  if (answer.picture) {
    shown.image = pictures(answer.picture, model.side)[0];
    isNew = true;
  }
  if (answer.frame) shown.frameImage = pictures(answer.frame, model.side)[0];
  if (shown.chosen >= shown.particles.length) shown.chosen = -1;
  if (ahead && shown.particles[ahead.particle]) Object.assign(shown.particles[ahead.particle], ahead.values);
  repaint();
}

let due = false;
function repaint() {
  if (due) return;
  due = true;
  requestAnimationFrame((now) => {
    due = false;
    paint(now);
  });
}

function paint(now) {
  if (!shown.image) return;
  const marks = byId("marks").checked;
  paintFrame(marks);
  const ink = scene.clear(shown.image);
  if (marks) scene.marks(ink, shown.particles, shown.chosen, true);
  panel.show(shown.particles, shown.chosen);
  showButtons();
  if (isNew) count(now);
}

// The recorded frame stays as it is while the scene is edited.
let framed = [];
function paintFrame(marks) {
  const asked = [shown.frameImage, marks && shown.chosen, frame.canvas.clientWidth];
  if (asked.every((value, i) => value === framed[i])) return;
  framed = asked;
  const ink = frame.clear(shown.frameImage);
  if (marks) frame.marks(ink, shown.found, shown.chosen, false);
}

function count(now) {
  isNew = false;
  painted.push(now);
  byId("rate").dataset.frames = Number(byId("rate").dataset.frames) + 1;
}

function showRate() {
  const now = performance.now();
  while (painted.length && painted[0] < now - 1000) painted.shift();
  byId("rate").textContent = painted.length > 1 ? `${painted.length} fps` : "– fps";
}

let buttoned = "";
function showButtons() {
  const p = shown.particles[shown.chosen];
  const asked = [p?.transparency > ON, !p, shown.can_undo, shown.edited, recolouring, shown.episode, shown.time].join();
  if (asked === buttoned) return;
  buttoned = asked;
  for (const id of ["hide", "copy", "recolour", "forward", "back"]) byId(id).disabled = !p;
  byId("hide").firstChild.textContent = p && p.transparency <= ON ? "Show " : "Hide ";
  byId("undo").disabled = !shown.can_undo;
  byId("reset").disabled = !shown.edited;
  byId("recolour").setAttribute("aria-pressed", String(recolouring));
  byId("episode-value").textContent = `${shown.episode} / ${model.lengths.length - 1}`;
  byId("time-value").textContent = `${shown.time} / ${model.lengths[shown.episode] - 1}`;
}

function say(text) {
  byId("message").hidden = !text;
  byId("message").textContent = text ?? "";
}

// --- asking

async function attempt(work) {
  document.body.dataset.state = "busy";
  try {
    await work();
    document.body.dataset.state = "ready";
  } catch (error) {
    ahead = null;
    if (!(error instanceof Refused)) throw error;
    say(error.message);
    document.body.dataset.state = "refused";
  }
}

function edit(verb, asked = {}) {
  return attempt(async () => {
    say();
    const answer = await ask(verb, { particle: shown.chosen, ...asked });
    if (ahead === asked) ahead = null;
    take(answer);
    futures.outdate("The scene has changed");
  });
}

const offer = newestOnly((asked) => edit("change", asked));

function change(values) {
  Object.assign(shown.particles[shown.chosen], values);
  repaint();
  const earlier = ahead?.particle === shown.chosen ? ahead.values : {};
  ahead = { particle: shown.chosen, values: { ...earlier, ...values }, gesture: String(gesture) };
  offer(ahead);
}

const seek = newestOnly((asked) =>
  attempt(async () => {
    say();
    recolouring = false;
    ahead = null;
    take(await ask("seek", asked));
    fitHorizon();
    futures.outdate("Another frame is shown");
  }),
);

function fitHorizon() {
  const longest = Math.min(shown.longest_horizon || 1, 100);
  byId("horizon").max = Math.max(longest, 1);
  byId("horizon-value").textContent = byId("horizon").value;
}

function choose(i) {
  if (recolouring && i >= 0 && i !== shown.chosen) {
    recolouring = false;
    edit("recolour", { other: i });
    return;
  }
  recolouring = recolouring && i < 0;
  shown.chosen = i;
  repaint();
}

function rollOut() {
  return attempt(async () => {
    say();
    byId("roll").disabled = true;
    try {
      futures.show(await ask("futures", { horizon: byId("horizon").valueAsNumber }), model.side);
    } finally {
      byId("roll").disabled = false;
    }
  });
}

function searchPlan() {
  return attempt(async () => {
    say();
    byId("plan").disabled = true;
    try {
      futures.showPlan(await ask("plan", { horizon: Math.min(byId("horizon").valueAsNumber, MOST_BLOCKS) }), model.side);
    } finally {
      byId("plan").disabled = false;
    }
  });
}

// --- the pointer

function press(board, particles, event) {
  const at = board.at(event);
  const p = shown.particles[shown.chosen];
  if (board === scene && p && !recolouring && byId("marks").checked && board.onHandle(p, at)) {
    drag = { kind: "resize", i: shown.chosen };
  } else {
    const i = board.hit(particles, at);
    const swaps = recolouring;
    choose(i);
    if (board !== scene || i < 0 || swaps) return;
    drag = { kind: "move", i, dx: shown.particles[i].x - at.x, dy: shown.particles[i].y - at.y };
  }
  gesture += 1;
  board.canvas.setPointerCapture(event.pointerId);
}

function pull(event) {
  if (!drag) return;
  const at = scene.at(event);
  const p = shown.particles[drag.i];
  if (drag.kind === "move") moveTo(at.x + drag.dx, at.y + drag.dy);
  else resizeTo(at.x - p.x, at.y - p.y);
}

function moveTo(x, y) {
  change({ x: clamp(x, -FAR, FAR), y: clamp(y, -FAR, FAR) });
}

function resizeTo(width, height) {
  change({ width: clamp(width, ...model.limits.width), height: clamp(height, ...model.limits.height) });
}

function resize(factor) {
  const p = shown.particles[shown.chosen];
  if (p) resizeTo(p.width * factor, p.height * factor);
}

const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
const release = () => (drag = null);
frame.canvas.addEventListener("pointerdown", (event) => press(frame, shown.found, event));
scene.canvas.addEventListener("pointerdown", (event) => press(scene, shown.particles, event));
scene.canvas.addEventListener("pointermove", pull);
scene.canvas.addEventListener("pointerup", release);
scene.canvas.addEventListener("pointercancel", release);
let turning = 0;
scene.canvas.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    if (!turning) gesture += 1;
    clearTimeout(turning);
    turning = setTimeout(() => (turning = 0), 400);
    resize(Math.exp(-event.deltaY / 800));
  },
  { passive: false },
);

// --- buttons, sliders, keys

const actions = {
  hide: () => edit(shown.particles[shown.chosen].transparency > ON ? "hide" : "show"),
  copy: () => edit("copy"),
  recolour: () => {
    recolouring = !recolouring;
    say(recolouring ? "Click the particle to swap looks with." : "");
    repaint();
  },
  forward: () => edit("forward"),
  back: () => edit("back"),
  undo: () => edit("undo"),
  reset: () => edit("reset"),
  roll: rollOut,
  plan: searchPlan,
};
for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", act);
byId("marks").addEventListener("change", repaint);
byId("horizon").addEventListener("input", fitHorizon);
byId("episode").addEventListener("input", () => {
  const episode = byId("episode").valueAsNumber;
  byId("time").max = model.lengths[episode] - 1;
  seek({ episode, time: byId("time").valueAsNumber });
});
byId("time").addEventListener("input", () => seek({ episode: byId("episode").valueAsNumber, time: byId("time").valueAsNumber }));
window.addEventListener("resize", repaint);

const buttonOf = { h: "hide", c: "copy", r: "recolour", f: "forward", b: "back", u: "undo", 0: "reset", Enter: "roll", p: "plan", " ": "play", o: "marks" };
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function pressKey(event) {
  if (!model) return;
  const key = (event.ctrlKey || event.metaKey) && event.key === "z" ? "u" : event.key;
  if (event.altKey || (key === event.key && (event.ctrlKey || event.metaKey))) return;
  if (event.target.tagName === "BUTTON" && (key === " " || key === "Enter")) return;
  if (event.target.type === "range" && arrows[key]) return;
  const p = shown.particles[shown.chosen];
  if (buttonOf[key]) byId(buttonOf[key]).click();
  else if (key === "Escape") choose(-1);
  else if (key === "]" || key === "[") choose((shown.chosen + (key === "]" ? 1 : -1) + shown.particles.length) % shown.particles.length);
  else if (p && (key === "+" || key === "-")) step(() => resize(key === "+" ? 1.05 : 1 / 1.05));
  else if (p && arrows[key]) {
    const far = scene.pixel * (event.shiftKey ? 5 : 1);
    step(() => moveTo(p.x + far * arrows[key][0], p.y + far * arrows[key][1]));
  } else return;
  event.preventDefault();
}

function step(act) {
  gesture += 1;
  act();
}
document.addEventListener("keydown", pressKey);

// --- begin

attempt(async () => {
  const answer = await ask("open");
  model = answer.model;
  byId("title").textContent = model.title;
  byId("data").textContent = model.data;
  document.title = `${model.title} – dlp_dyn viewer`;
  byId("episode").max = model.lengths.length - 1;
  byId("time").max = model.lengths[answer.episode] - 1;
  byId("time").value = answer.time;
  byId("plan").hidden = !model.plans;
  if (!model.predicts) byId("futures-note").textContent = "This is a model of single images: it draws, and knows no motion.";
  panel = new Panel(model.limits, {
    predicts: model.predicts,
    choose,
    change: (name, value, done) => {
      change({ [name]: value });
      if (done) gesture += 1;
    },
  });
  take(answer);
  fitHorizon();
  shown.chosen = shown.particles.findIndex((p) => p.transparency > ON);
  repaint();
});
setInterval(showRate, 200);
