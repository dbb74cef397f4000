/** The JavaScript worker's view of manifests (read again after five seconds) and of stock (after a quarter of one). */

const MANIFEST_FRESH_MS = 5000;
const STOCK_FRESH_MS = 250;
const LEASE_MS = 1000;
const STOCK_TIMEOUT_MS = 400;

/** @typedef {{ drop: string, version: number, as_of_ms: number, total: number, remaining: number, admit_per_s?: number | null }} Snapshot */
/** @typedef {{ value: any, readAtMs: number, leasedUntilMs: number }} Entry */

export class Caches {
  #store;
  #edgeCache;
  #originUrl;
  /** @type {Map<string, Entry>} */
  #manifests = new Map();
  /** @type {Map<string, Entry>} */
  #stock = new Map();

  /**
   * @param {{ get: (key: string) => Promise<string | null> }} store
   * @param {import("../../emulator/runtime/memory_cache.mjs").MemoryCache} edgeCache
   * @param {string} originUrl
   */
  constructor(store, edgeCache, originUrl) {
    this.#store = store;
    this.#edgeCache = edgeCache;
    this.#originUrl = originUrl;
  }

  /**
   * @param {string} clip
   * @returns {any} the manifest, or a promise of it when it must be read; nothing when there is none
   */
  manifest(clip) {
    const known = this.#manifests.get(clip);
    return known && !isDue(known, MANIFEST_FRESH_MS) ? known.value : this.#readManifest(clip, known);
  }

  /**
   * @param {string} clip
   * @param {Entry | undefined} known
   */
  async #readManifest(clip, known) {
    try {
      const text = await this.#store.get(`manifest/${clip}`);
      const value = text === null ? undefined : JSON.parse(text);
      this.#manifests.set(clip, { value, readAtMs: Date.now(), leasedUntilMs: 0 });
      return value;
    } catch {
      return known?.value;
    }
  }

  /**
   * @param {string[]} drops
   * @returns {Map<string, Entry> | Promise<Map<string, Entry>>} by drop; a promise when stock must be read
   */
  stock(drops) {
    let due = false;
    for (const drop of drops) {
      const known = this.#stock.get(drop);
      if (!known || isDue(known, STOCK_FRESH_MS)) due = true;
    }
    return due ? this.#readStock(drops) : this.#stock;
  }

  /** @param {string[]} drops */
  async #readStock(drops) {
    try {
      const told = await this.#askStock(`${this.#originUrl}/v1/stock?drops=${drops.join(",")}`);
      const nowMs = Date.now();
      const byDrop = new Map(told.drops.map((/** @type {Snapshot} */ snapshot) => [snapshot.drop, snapshot]));
      for (const drop of drops) this.#stock.set(drop, { value: byDrop.get(drop), readAtMs: nowMs, leasedUntilMs: 0 });
    } catch {
      // The origin is away: what is known is served.
    }
    return this.#stock;
  }

  /** @param {string} url */
  async #askStock(url) {
    const kept = await this.#edgeCache.match(url);
    if (kept) return kept.json();
    const response = await fetch(url, { signal: AbortSignal.timeout(STOCK_TIMEOUT_MS) });
    const text = await response.text();
    if (!response.ok) throw new Error(`the origin answers ${response.status}`);
    await this.#edgeCache.put(url, new Response(text, { headers: { "cache-control": "public, max-age=1" } }));
    return JSON.parse(text);
  }
}

/**
 * @param {Entry} entry
 * @param {number} freshMs
 */
function isDue(entry, freshMs) {
  const nowMs = Date.now();
  if (nowMs - entry.readAtMs < freshMs || nowMs < entry.leasedUntilMs) return false;
  entry.leasedUntilMs = nowMs + LEASE_MS;
  return true;
}
