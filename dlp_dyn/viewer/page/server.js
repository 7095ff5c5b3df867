// Asking the server: one request at a time, in order.

let session = null;
let last = Promise.resolve();

export class Refused extends Error {}

export function ask(verb, asked = {}) {
  const answer = last.then(() => post(verb, asked));
  last = answer.catch(() => {});
  return answer;
}

// While one request is on its way only the newest of those that come after it is kept: a drag never falls behind.
export function newestOnly(send) {
  let busy = false;
  let waiting = null;
  return async function offer(asked) {
    waiting = asked;
    if (busy) return;
    busy = true;
    try {
      while (waiting) {
        const next = waiting;
        waiting = null;
        await send(next);
      }
    } finally {
      busy = false;
    }
  };
}

async function post(verb, asked) {
  let response;
  try {
    response = await fetch(`/api/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ session, ...asked }),
    });
  } catch {
    throw new Refused("the server does not answer: is dlp-dyn view still running?");
  }
  const answer = await response.json();
  if (!response.ok) throw new Refused(answer.error);
  session = answer.session ?? session;
  return answer;
}

// RGB bytes of one or more square pictures -> ImageData each.
export function pictures(base64, side) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const pixels = side * side;
  const images = [];
  for (let begin = 0; begin < bytes.length; begin += 3 * pixels) {
    const image = new ImageData(side, side);
    for (let i = 0; i < pixels; i++) {
      for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[begin + 3 * i + c];
      image.data[4 * i + 3] = 255;
    }
    images.push(image);
  }
  return images;
}
