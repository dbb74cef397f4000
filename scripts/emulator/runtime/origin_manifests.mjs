/**
 * The key-value binding `MANIFESTS` of a node that stands alone: manifests are read from the origin over HTTP.
 *
 * An answer is fresh for as long as it says, is asked for again by its entity tag, and stands in for a failing origin for
 * as long as it may (RFC 5861). The class has the name by which the SDK knows such a binding.
 */

import { lifetime } from "./freshness.mjs";

const KEY_PREFIX = "manifest/";
const PATH = "/v1/edge/manifests/";
const TIMEOUT_MS = 1000;
const KEPT_MOST = 2048;

/** @typedef {{ text: string | null, tag: string, freshUntilMs: number, usableUntilMs: number }} Kept */

export class KvNamespace {
  #originUrl;
  /** @type {Map<string, Kept>} */
  #kept = new Map();

  /** @param {string} originUrl */
  constructor(originUrl) {
    this.#originUrl = originUrl.replace(/\/+$/, "");
  }

  /** How many clips it remembers. */
  get size() {
    return this.#kept.size;
  }

  /**
   * @param {string} key
   * @returns {Promise<string | null>} the manifest, nothing when the origin knows none
   */
  async get(key) {
    const clip = key.slice(KEY_PREFIX.length);
    const kept = this.#kept.get(clip);
    const nowMs = Date.now();
    if (kept && nowMs < kept.freshUntilMs) return kept.text;
    const fresh = await this.#ask(clip, kept);
    if (fresh) return fresh.text;
    if (kept && nowMs < kept.usableUntilMs) return kept.text;
    throw new Error("the origin does not answer");
  }

  /**
   * @param {string} clip
   * @param {Kept | undefined} kept
   * @returns {Promise<Kept | undefined>} nothing when the origin is away
   */
  async #ask(clip, kept) {
    try {
      const response = await fetch(`${this.#originUrl}${PATH}${encodeURIComponent(clip)}`, {
        headers: kept?.tag ? { accept: "application/json", "if-none-match": kept.tag } : { accept: "application/json" },
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      const text = await response.text();
      if (response.status === 200) return this.#keep(clip, text, response);
      if (response.status === 304 && kept) return this.#keep(clip, kept.text, response);
      if (response.status === 404) return this.#keep(clip, null, response);
    } catch {
      // It is away, or too slow: what is kept has to do.
    }
    return undefined;
  }

  /**
   * @param {string} clip
   * @param {string | null} text
   * @param {Response} response
   */
  #keep(clip, text, response) {
    const life = lifetime(response.headers.get("cache-control") ?? "") ?? { freshS: 0, staleIfErrorS: 0 };
    const freshUntilMs = Date.now() + life.freshS * 1000;
    const usableUntilMs = freshUntilMs + life.staleIfErrorS * 1000;
    const fresh = { text, tag: response.headers.get("etag") ?? "", freshUntilMs, usableUntilMs };
    this.#kept.delete(clip);
    this.#kept.set(clip, fresh);
    if (this.#kept.size > KEPT_MOST) this.#kept.delete(/** @type {string} */ (this.#kept.keys().next().value));
    return fresh;
  }
}
