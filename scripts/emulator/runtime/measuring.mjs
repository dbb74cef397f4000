/** Counts what a node is asked for and what it asks for itself, and how long its answers take: for the emulator's page. */

const SAMPLE = 512;

/** @type {Record<string, number>} */
const counts = {};
/** @type {Record<string, number>} */
const routes = {};
/** @type {Record<string, number>} */
const statuses = {};
/** @type {Record<string, number>} */
const network = {};
const sample = new Float64Array(SAMPLE);
let requests = 0;

/** @type {[RegExp, string][]} */
const ROUTES = [
  [/^\/v1\/clips\/[^/]*\/overlay$/, "overlay"],
  [/^\/v1\/claims$/, "claim"],
  [/^\/v1\/events$/, "beacon"],
  [/^\/v1\/drops\/[^/]*\/stock$/, "stock"],
  [/^\/shared\//, "shared"],
  [/^\/[^/]+\.(?:js|css)$/, "asset"],
];

/** @param {Record<string, number>} table @param {string} name */
const add = (table, name, number = 1) => {
  table[name] = (table[name] ?? 0) + number;
};

/**
 * Count something that the node's app asked for.
 *
 * @param {string} name
 */
export const count = (name, number = 1) => add(counts, name, number);

/** @param {string} url absolute */
function routeOf(url) {
  const path = url.slice(url.indexOf("/", 8)).split("?", 1)[0];
  return ROUTES.find(([pattern]) => pattern.test(path))?.[1] ?? "other";
}

/**
 * Count an answer.
 *
 * @param {Request} request
 * @param {Response} response
 * @param {number} startedMs by `performance.now`
 */
export function observe(request, response, startedMs) {
  sample[requests % SAMPLE] = performance.now() - startedMs;
  requests += 1;
  add(routes, routeOf(request.url));
  add(statuses, String(response.status));
  const status = response.headers.get("cf-cache-status");
  if (status) add(network, status);
  return response;
}

/** @returns {object} all counts since this isolate began, and percentiles of its last answers */
export function measured() {
  const sorted = sample.slice(0, Math.min(requests, SAMPLE)).sort();
  const at = (/** @type {number} */ share) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? null;
  return { requests, routes, statuses, network, counts, latency_ms: { p50: at(0.5), p95: at(0.95), p99: at(0.99) } };
}
