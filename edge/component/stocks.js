/** Live stock: a drop that runs out is looked at about once a second while its viewer can see it, others less often. */

import { now } from "./clock.js";
import { ask, backoff, pause, spread } from "./net.js";
import { isOpen } from "./offers.js";

/** @typedef {import("./types.js").Offer} Offer */
/** @typedef {import("./types.js").Stock} Stock */

const EVERY_MS = 1000;
/** Plenty, or nothing, seldom changes before the viewer's eyes; still soon enough that what is shown is never called old. */
const SELDOM_MS = 2000;

export class Stocks {
  /** @type {Map<string, Stock>} */
  #byDrop = new Map();
  /** When each drop was last asked for. @type {Map<string, number>} */
  #askedAt = new Map();

  /** @param {Offer} offer */
  of({ drop, stock }) {
    return this.#byDrop.get(drop) ?? stock;
  }

  /**
   * Take in what was told: the higher version counts; of the same version, the younger.
   *
   * @param {string} drop
   * @param {Stock} told
   */
  take(drop, told) {
    const known = this.#byDrop.get(drop);
    if (!known || (told.version - known.version || told.as_of_ms - known.as_of_ms) >= 0) this.#byDrop.set(drop, told);
  }

  /**
   * Take a refusal's word for it, until a snapshot says otherwise.
   *
   * @param {string} drop
   */
  empty(drop) {
    const known = this.#byDrop.get(drop);
    if (known) this.#byDrop.set(drop, { ...known, state: "sold_out", remaining: 0 });
  }

  /**
   * @param {string} edge
   * @param {AbortSignal} signal
   * @param {() => Offer[]} offers what is shown now
   */
  async follow(edge, signal, offers) {
    for (let failures = 0, askedMs = 0; !signal.aborted; ) {
      await pause(spread(EVERY_MS) + (failures && backoff(failures, 30_000)), signal, askedMs);
      const drops = new Set(offers().flatMap((offer) => (this.#isDue(offer) ? [offer.drop] : [])));
      const answers = await Promise.all([...drops].map((drop) => ask(`${edge}/v1/drops/${drop}/stock`, { signal })));
      const failed = answers.filter(({ status }) => status !== 200);
      failures = failed.length && failures + 1;
      askedMs = Math.max(0, ...failed.map(({ waitMs }) => waitMs));
      for (const { status, body } of answers) if (status === 200) this.take(body.drop, body);
    }
  }

  /** @param {Offer} offer */
  #isDue(offer) {
    const at = performance.now();
    const scarce = /low|last|unknown/.test(this.of(offer).state);
    const due = isOpen(offer, now()) && (scarce || at - (this.#askedAt.get(offer.drop) ?? -SELDOM_MS) >= SELDOM_MS);
    if (due) this.#askedAt.set(offer.drop, at);
    return due;
  }
}
