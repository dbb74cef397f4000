/** Reports in JavaScript: put together and numbered as the product does it, in as few messages. */

const EVERY_MS = 10;
const EVENTS_MOST = 50;

/** @typedef {import("./javascript.mjs").Place} Place */
/** @typedef {{ seq: number, at_ms: number, colo: string, country: string, events: object[] }} Window */

export class Reports {
  #queue;
  #node = Buffer.from(crypto.getRandomValues(new Uint8Array(12))).toString("base64url");
  #seq = 0;
  #sentAtMs = 0;
  /** @type {Window | undefined} */
  #window;

  /** @param {{ send: (message: string) => Promise<void> }} queue */
  constructor(queue) {
    this.#queue = queue;
  }

  /** @param {object} event @param {Place} place @param {ExecutionContext} ctx */
  add(event, { colo, country }, ctx) {
    const window = this.#window;
    if (window && window.events.length < EVENTS_MOST) {
      window.events.push(country === window.country ? event : { ...event, country });
      return;
    }
    if (window) ctx.waitUntil(this.#send(window));
    this.#seq += 1;
    const nowMs = Date.now();
    const opened = { seq: this.#seq, at_ms: nowMs, colo, country, events: [event] };
    const inMs = this.#sentAtMs + EVERY_MS - nowMs;
    if (inMs <= 0) {
      ctx.waitUntil(this.#send(opened));
      return;
    }
    this.#window = opened;
    ctx.waitUntil(scheduler.wait(inMs).then(() => (this.#window === opened ? this.#send(opened) : undefined)));
  }

  /** @param {Window} window */
  #send(window) {
    this.#window = undefined;
    this.#sentAtMs = Date.now();
    return this.#queue.send(JSON.stringify({ v: 1, node: this.#node, ...window }));
  }
}
