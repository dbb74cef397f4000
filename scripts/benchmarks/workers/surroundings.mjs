/**
 * What stands for the CDN's services, the same for every measured edge: a key-value store that reads the origin and keeps
 * what it got for a few seconds, and a queue that takes what it is given. Nothing here waits for a disk.
 *
 * The classes have the names by which the SDK knows such bindings.
 */

const PREFIX = "manifest/";
const KEPT_MS = 5000;

export class KvNamespace {
  #originUrl;
  /** @type {Map<string, { text: string | null, untilMs: number }>} */
  #kept = new Map();

  /** @param {string} originUrl */
  constructor(originUrl) {
    this.#originUrl = originUrl;
  }

  /**
   * @param {string} key
   * @returns {Promise<string | null>}
   */
  async get(key) {
    const kept = this.#kept.get(key);
    if (kept && Date.now() < kept.untilMs) return kept.text;
    const response = await fetch(`${this.#originUrl}/v1/edge/manifests/${key.slice(PREFIX.length)}`);
    const text = await response.text();
    const found = response.ok ? text : null;
    this.#kept.set(key, { text: found, untilMs: Date.now() + KEPT_MS });
    return found;
  }
}

export class WorkerQueue {
  /** @param {string} _message */
  async send(_message) {}
}

/**
 * Where a request comes from, as the CDN tells it.
 *
 * @param {Request} request
 * @param {any} env
 */
export function placeOf(request, env) {
  return { colo: env.COLO, country: request.headers.get(env.COUNTRY_HEADER) ?? "" };
}
