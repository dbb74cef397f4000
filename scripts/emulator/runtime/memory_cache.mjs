/**
 * The Cache API where there is no network of caches: in this isolate's memory, bounded, the least used goes first.
 *
 * Only what the edge uses: GET by address, whole answers, a freshness given by `Cache-Control`.
 */

import { lifetime } from "./freshness.mjs";

const BYTES_MOST = 64 * 1024 ** 2;
const OVERHEAD_BYTES = 1024; // an answer's headers, and the objects around it

/** @typedef {{ body: ArrayBuffer, status: number, headers: [string, string][], untilMs: number }} Kept */

/**
 * @param {string} key
 * @param {Kept} kept
 */
const weigh = (key, { body }) => body.byteLength + 2 * key.length + OVERHEAD_BYTES;

export class MemoryCache {
  /** @type {Map<string, Kept>} */
  #kept = new Map();
  #bytes = 0;

  /** How many answers it holds, and what they weigh. */
  get size() {
    return { entries: this.#kept.size, bytes: this.#bytes };
  }

  /**
   * @param {string | Request} asked
   * @returns {Promise<Response | undefined>}
   */
  async match(asked) {
    const key = keyOf(asked);
    const found = this.#kept.get(key);
    if (!found) return undefined;
    this.#remove(key, found);
    if (Date.now() >= found.untilMs) return undefined;
    this.#add(key, found);
    return new Response(found.body, { status: found.status, headers: found.headers });
  }

  /**
   * @param {string | Request} asked
   * @param {Response} response is consumed
   */
  async put(asked, response) {
    const life = lifetime(response.headers.get("cache-control") ?? "");
    const body = await response.arrayBuffer();
    const key = keyOf(asked);
    const former = this.#kept.get(key);
    if (former) this.#remove(key, former);
    if (!life?.freshS || body.byteLength > BYTES_MOST) return;
    const untilMs = Date.now() + life.freshS * 1000;
    this.#add(key, { body, status: response.status, headers: [...response.headers], untilMs });
    for (const [oldest, kept] of this.#kept) {
      if (this.#bytes <= BYTES_MOST) break;
      this.#remove(oldest, kept);
    }
  }

  /**
   * @param {string} key
   * @param {Kept} kept
   */
  #add(key, kept) {
    this.#kept.set(key, kept);
    this.#bytes += weigh(key, kept);
  }

  /**
   * @param {string} key
   * @param {Kept} kept
   */
  #remove(key, kept) {
    this.#kept.delete(key);
    this.#bytes -= weigh(key, kept);
  }
}

/** @param {string | Request} asked */
const keyOf = (asked) => (typeof asked === "string" ? asked : asked.url);
