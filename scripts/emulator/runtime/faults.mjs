/**
 * What is wrong with one node and with the services around it, as somebody who tests has set it; and what it asks of them.
 *
 * Bindings keep the class names of the platform's own, by which the SDK knows them.
 */

import { count } from "./measuring.mjs";
import { Ratelimit } from "./rate_limiter.mjs";

/**
 * @typedef {object} Faults
 * @property {number} latency_ms how much later each answer of the node is
 * @property {"" | "wedged"} isolate wedged: no request is answered until it is released, or `HELD_MOST_MS` are over
 * @property {"" | "dead" | "broken" | "empty"} store dead: it does not answer; broken: with what nobody can read
 * @property {number} store_latency_ms
 * @property {"" | "dead"} origin as this node sees it
 * @property {number} origin_latency_ms
 * @property {"" | "frozen"} stock frozen: the origin tells this node the same stock, with the same date, as before
 * @property {"" | "dead"} queue dead: nothing can be put into it
 * @property {number} clock_shift_ms how far the node's clock is ahead
 * @property {number | null} clock_ms an instant at which the node's clock stands still
 */

/** @type {Readonly<Faults>} */
const NONE = {
  latency_ms: 0,
  isolate: "",
  store: "",
  store_latency_ms: 0,
  origin: "",
  origin_latency_ms: 0,
  stock: "",
  queue: "",
  clock_shift_ms: 0,
  clock_ms: null,
};
/** So that a forgotten fault hangs nothing for ever. */
const HELD_MOST_MS = 30_000;
const LOOK_AGAIN_MS = 20;
const STOCK_PATH = "/v1/stock";
const STOCKS_MOST = 64;
const CHUNK_BYTES = 64_000;

const machineNow = Date.now.bind(Date);
const machineFetch = fetch.bind(globalThis);
const machineCache = caches.default;

/** @type {Faults} */
let faults = { ...NONE };
let originUrl = "";
/** What the origin told of its stock the last time, by address. @type {Map<string, string>} */
const stocks = new Map();

Date.now = () => faults.clock_ms ?? machineNow() + faults.clock_shift_ms;

/**
 * Have these faults from now on, and no others.
 *
 * @param {Partial<Faults>} chosen
 * @returns {Faults}
 */
export function setFaults(chosen) {
  faults = { ...NONE, ...chosen };
  return faults;
}

/** Whether requests must wait for `hold`. */
export const isHeld = () => faults.isolate === "wedged" || faults.latency_ms > 0;

/**
 * Wait for as long as the faults say.
 *
 * @returns {Promise<Response | undefined>} what to answer instead, when it took too long
 */
export async function hold() {
  if (faults.latency_ms) await scheduler.wait(faults.latency_ms);
  const until = machineNow() + HELD_MOST_MS;
  while (faults.isolate === "wedged") {
    if (machineNow() > until) return new Response("the isolate is wedged, as it was set\n", { status: 504 });
    await scheduler.wait(LOOK_AGAIN_MS);
  }
  return undefined;
}

class KvNamespace {
  #store;

  /** @param {any} store */
  constructor(store) {
    this.#store = store;
  }

  /** @param {unknown[]} parameters */
  get(...parameters) {
    count("kv_reads");
    if (faults.store_latency_ms) return this.#getLate(parameters);
    return this.#getNow(parameters);
  }

  /** @param {unknown[]} parameters */
  async #getLate(parameters) {
    await scheduler.wait(faults.store_latency_ms);
    return this.#getNow(parameters);
  }

  /** @param {unknown[]} parameters */
  #getNow(parameters) {
    if (faults.store === "dead") return Promise.reject(new Error("the store is dead, as it was set"));
    if (faults.store === "empty") return Promise.resolve(null);
    return faults.store === "broken" ? Promise.resolve(1) : this.#store.get(...parameters);
  }

  /** @param {unknown[]} parameters */
  put(...parameters) {
    return this.#store.put(...parameters);
  }

  /** @param {unknown[]} parameters */
  delete(...parameters) {
    return this.#store.delete(...parameters);
  }
}

class WorkerQueue {
  #queue;

  /** @param {any} queue */
  constructor(queue) {
    this.#queue = queue;
  }

  /**
   * @param {unknown} body
   * @param {unknown[]} options
   */
  send(body, ...options) {
    if (faults.queue === "dead") {
      count("queue_refused");
      return Promise.reject(new Error("the queue is dead, as it was set"));
    }
    count("queue_messages");
    const bytes = typeof body === "string" ? new TextEncoder().encode(body).length : 0;
    count("queue_writes", Math.max(1, Math.ceil(bytes / CHUNK_BYTES)));
    return this.#queue.send(body, ...options);
  }
}

class CountedRatelimit extends Ratelimit {
  /** @param {{ key: string }} asked */
  limit(asked) {
    count("limit_checks");
    return super.limit(asked);
  }
}

/** The location's cache, counted. */
const countedCache = {
  /** @param {any} key */
  async match(key) {
    count("cache_reads");
    const found = await machineCache.match(key);
    if (found) count("cache_hits");
    return found;
  },
  /** @param {any} key @param {Response} response */
  put(key, response) {
    count("cache_writes");
    return machineCache.put(key, response);
  },
  /** @param {any} key */
  delete: (key) => machineCache.delete(key),
};

/**
 * Keep what the origin tells of its stock, or repeat what it told before.
 *
 * @param {string} url
 * @param {() => Promise<Response>} ask
 */
async function askForStock(url, ask) {
  const headers = { "content-type": "application/json" };
  if (faults.stock === "frozen" && stocks.has(url)) return new Response(stocks.get(url), { headers });
  const response = await ask();
  if (response.status !== 200) return response;
  const text = await response.text();
  if (stocks.size >= STOCKS_MOST) stocks.clear();
  stocks.set(url, text);
  return new Response(text, { headers });
}

/**
 * Ask the origin as it is for this node; others are asked as always.
 *
 * @param {any} input
 * @param {any} init
 * @returns {Promise<Response>}
 */
async function troubledFetch(input, init) {
  const url = input instanceof Request ? input.url : String(input);
  if (!originUrl || !url.startsWith(`${originUrl}/`)) return machineFetch(input, init);
  count("origin_requests");
  if (faults.origin_latency_ms) await scheduler.wait(faults.origin_latency_ms, { signal: init?.signal });
  if (faults.origin === "dead") throw new TypeError("the origin is dead, as it was set");
  const ask = () => machineFetch(input, init);
  return url.startsWith(originUrl + STOCK_PATH) ? askForStock(url, ask) : ask();
}

/**
 * @param {any} env
 * @returns {any} the same bindings, counted, and with faults where they were set
 */
export function withFaults(env) {
  originUrl = env.EMULATOR.origin_url ?? "";
  Object.assign(globalThis, { fetch: troubledFetch });
  Object.defineProperty(globalThis, "caches", { value: { default: countedCache }, configurable: true });
  return {
    ...env,
    ...(env.MANIFESTS && { MANIFESTS: new KvNamespace(env.MANIFESTS) }),
    ...(env.EVENTS && { EVENTS: new WorkerQueue(env.EVENTS) }),
    ...Object.fromEntries(
      Object.entries(env.EMULATOR.rate_limits ?? {}).map(([name, simple]) => [name, new CountedRatelimit(simple)]),
    ),
  };
}
