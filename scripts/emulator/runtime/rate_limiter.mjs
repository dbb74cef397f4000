/**
 * A rate-limit binding: calls of a key in a period, counted by this node alone, as the CDN's locations each count theirs.
 *
 * The class has the name of the platform's own. What may be asked, and what is refused, is as
 * https://developers.cloudflare.com/workers/runtime-apis/bindings/rate-limit/ says; periods begin when a clock that counts
 * from 1970 says so, as in the platform's own emulation.
 */

const PERIODS = [10, 60];

/** @typedef {{ limit: number, period: number }} Simple */

export class Ratelimit {
  #simple;
  #period = 0;
  /** @type {Map<string, number>} */
  #calls = new Map();

  /** @param {Simple} simple */
  constructor(simple) {
    if (!PERIODS.includes(simple.period) || !(simple.limit >= 0)) throw new Error("a rate limit is not as documented");
    this.#simple = simple;
  }

  /**
   * @param {{ key: string }} asked
   * @returns {Promise<{ success: boolean }>}
   */
  async limit({ key }) {
    if (typeof key !== "string") throw new TypeError("a rate limit's key must be a text");
    const period = Math.floor(Date.now() / (this.#simple.period * 1000));
    if (period !== this.#period) this.#calls.clear();
    this.#period = period;
    const number = (this.#calls.get(key) ?? 0) + 1;
    const success = number <= this.#simple.limit;
    if (success) this.#calls.set(key, number);
    return { success };
  }
}

/**
 * @param {Record<string, Simple>} limits by the name of their binding
 * @returns {Record<string, Ratelimit>}
 */
export const rateLimits = (limits) =>
  Object.fromEntries(Object.entries(limits).map(([name, simple]) => [name, new Ratelimit(simple)]));
