// Pictures and particles on a canvas. Positions: -1 and 1 are the centres of the first and last pixel.

export const ON = 0.5;
const HANDLE = 7;
const small = document.createElement("canvas");

export function colour(i) {
  return `hsl(${(i * 137.5 + 200) % 360} 95% 65%)`;
}

export class Board {
  constructor(canvas) {
    this.canvas = canvas;
    this.side = 1;
  }

  // Canvas pixels are screen pixels, so that lines and letters are sharp.
  clear(image) {
    this.canvas.dataset.side = this.side = image.width;
    const wide = Math.round(this.canvas.clientWidth * devicePixelRatio);
    if (this.canvas.width !== wide) this.canvas.width = this.canvas.height = wide;
    small.width = small.height = image.width;
    small.getContext("2d").putImageData(image, 0, 0);
    const ink = this.canvas.getContext("2d");
    ink.imageSmoothingEnabled = false;
    ink.drawImage(small, 0, 0, wide, wide);
    return ink;
  }

  get scale() {
    return this.canvas.width / this.side;
  }

  toCanvas(x) {
    return (((x + 1) / 2) * (this.side - 1) + 0.5) * this.scale;
  }

  // Where the pointer is, in positions.
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const position = (pixels, length) => (((pixels / length) * this.side - 0.5) / (this.side - 1)) * 2 - 1;
    return { x: position(event.clientX - box.left, box.width), y: position(event.clientY - box.top, box.height) };
  }

  // How far one pixel of the image is.
  get pixel() {
    return 2 / (this.side - 1);
  }

  marks(ink, particles, chosen, withHandle) {
    const unit = devicePixelRatio;
    particles.forEach((p, i) => {
      const on = p.transparency > ON;
      if (!on && i !== chosen) return;
      const [x, y] = [this.toCanvas(p.x), this.toCanvas(p.y)];
      const [w, h] = [p.width * this.canvas.width, p.height * this.canvas.height];
      ink.font = `600 ${12 * unit}px system-ui, sans-serif`;
      // Dark and wide, then coloured: seen on any picture, and cheaper than a shadow.
      const line = (i === chosen ? 2.5 : 1.25) * unit;
      for (const [style, extra] of [["#000a", 2 * unit], [colour(i), 0]]) {
        ink.strokeStyle = ink.fillStyle = style;
        ink.lineWidth = line + extra;
        ink.setLineDash(on ? [] : [4 * unit, 4 * unit]);
        ink.strokeRect(x - w / 2, y - h / 2, w, h);
        ink.setLineDash([]);
        cross(ink, x, y, 4 * unit + extra / 2);
        const [left, top] = [x - w / 2 + 5 * unit, y - h / 2 + 14 * unit];
        if (extra) ink.strokeText(i, left, top);
        else ink.fillText(i, left, top);
      }
      if (i === chosen && withHandle) {
        const side = HANDLE * unit;
        ink.fillRect(x + w / 2 - side / 2, y + h / 2 - side / 2, side, side);
      }
    });
  }

  // Paths of the particles up to a step, older parts fainter. positions: [step][particle][x, y].
  trails(ink, positions, transparency, step) {
    ink.lineWidth = 1.5 * devicePixelRatio;
    for (let i = 0; i < positions[0].length; i++) {
      ink.strokeStyle = colour(i);
      for (let k = Math.max(1, step - 20); k <= step; k++) {
        if (transparency[k][i] <= ON || transparency[k - 1][i] <= ON) continue;
        ink.globalAlpha = 1 - (step - k) / 21;
        ink.beginPath();
        ink.moveTo(...positions[k - 1][i].map((x) => this.toCanvas(x)));
        ink.lineTo(...positions[k][i].map((x) => this.toCanvas(x)));
        ink.stroke();
      }
    }
    ink.globalAlpha = 1;
  }

  // The visible particle whose box holds a point, the one whose centre is nearest to it; -1 for none.
  hit(particles, at) {
    let [best, nearest] = [-1, Infinity];
    particles.forEach((p, i) => {
      const [dx, dy] = [Math.abs(p.x - at.x), Math.abs(p.y - at.y)];
      const distance = Math.hypot(dx, dy);
      if (p.transparency > ON && dx <= p.width && dy <= p.height && distance < nearest) {
        [best, nearest] = [i, distance];
      }
    });
    return best;
  }

  // Whether a point is on the corner by which a particle is resized.
  onHandle(p, at) {
    const reach = ((HANDLE + 3) / this.canvas.clientWidth) * 2;
    return Math.abs(at.x - p.x - p.width) < reach && Math.abs(at.y - p.y - p.height) < reach;
  }
}

function cross(ink, x, y, reach) {
  ink.beginPath();
  ink.moveTo(x - reach, y);
  ink.lineTo(x + reach, y);
  ink.moveTo(x, y - reach);
  ink.lineTo(x, y + reach);
  ink.stroke();
}
