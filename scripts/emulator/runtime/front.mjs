/**
 * Stands in for the provider's network in front of a Worker: static assets, the shared overlays out of the cache, the
 * address and place of the client. Only what is left reaches Python.
 */

import { lifetime } from "./freshness.mjs";

const SHARED_PREFIX = "/shared/";
/** How long the origin is waited for: shorter when there is a copy to serve instead. */
const ORIGIN_TIMEOUT_MS = 5000;
const RENEWAL_TIMEOUT_MS = 1000;
/** How long an origin that failed is left alone by those who have a copy. */
const LEFT_ALONE_MS = 1000;

let originFailedAtMs = Number.NEGATIVE_INFINITY;

/**
 * @param {Response} response
 * @param {string} status as the provider's header calls it
 * @param {number} ageMs
 */
function fromCache(response, status, ageMs) {
  const headers = new Headers(response.headers);
  headers.set("cache-control", headers.get("origin-cache-control") ?? "");
  headers.delete("origin-cache-control");
  headers.delete("stored-at-ms");
  headers.set("age", String(Math.max(0, Math.floor(ageMs / 1000))));
  headers.set("cf-cache-status", status);
  return new Response(response.body, { status: response.status, headers });
}

/**
 * Keep a good answer. The cache holds it for as long as it may be served stale; freshness is judged here.
 *
 * @param {Request} key
 * @param {Response} response
 * @param {{ freshS: number, staleIfErrorS: number }} life
 */
function store(key, response, life) {
  const headers = new Headers(response.headers);
  headers.set("origin-cache-control", headers.get("cache-control") ?? "");
  headers.set("cache-control", `max-age=${life.freshS + life.staleIfErrorS}`);
  headers.set("stored-at-ms", String(Date.now()));
  return caches.default.put(key, new Response(response.body, { status: response.status, headers }));
}

function originUnavailable() {
  const body = { type: "about:blank", title: "Service Unavailable", status: 503, code: "origin_unavailable" };
  const headers = {
    "content-type": "application/problem+json",
    "access-control-allow-origin": "*",
    "cache-control": "no-store",
    "retry-after": "1",
  };
  return new Response(JSON.stringify(body), { status: 503, headers });
}

/**
 * @typedef {object} Network
 * @property {string} origin_url
 * @property {(path: string) => Response | Promise<Response> | undefined} asset gives the static file of this path
 */

/**
 * Ask the origin for the same path; nothing when it does not answer in time and whole, or answers that it failed.
 *
 * @param {Request} request
 * @param {URL} url
 * @param {Network} network
 * @param {boolean} isRenewal whether there is a copy
 */
async function askOrigin(request, url, network, isRenewal) {
  try {
    const accept = request.headers.get("accept");
    const response = await fetch(`${network.origin_url}${url.pathname}${url.search}`, {
      headers: accept ? { accept } : {},
      redirect: "manual",
      signal: AbortSignal.timeout(isRenewal ? RENEWAL_TIMEOUT_MS : ORIGIN_TIMEOUT_MS),
    });
    const body = await response.arrayBuffer();
    if (response.status < 500) return new Response(body.byteLength ? body : null, response);
  } catch {
    // It is away, or too slow.
  }
  originFailedAtMs = Date.now();
  return undefined;
}

/**
 * Serve a shared overlay: fresh from the cache, else from the origin, else the last good copy.
 *
 * @param {Request} request
 * @param {URL} url
 * @param {any} ctx
 * @param {Network} network
 */
async function serveShared(request, url, ctx, network) {
  const key = new Request(`http://cache${url.pathname}${url.search}`);
  const kept = await caches.default.match(key);
  const ageMs = kept ? Date.now() - Number(kept.headers.get("stored-at-ms")) : 0;
  const life = kept && lifetime(kept.headers.get("origin-cache-control") ?? "");
  if (kept && life && ageMs < life.freshS * 1000) return fromCache(kept, "HIT", ageMs);
  const isLeftAlone = kept && Math.abs(Date.now() - originFailedAtMs) < LEFT_ALONE_MS;
  const response = isLeftAlone ? undefined : await askOrigin(request, url, network, kept !== undefined);
  if (!response) return kept ? fromCache(kept, "STALE", ageMs) : originUnavailable();
  const newLife = response.status === 200 ? lifetime(response.headers.get("cache-control") ?? "") : undefined;
  if (newLife) ctx.waitUntil(store(key, response.clone(), newLife));
  const headers = new Headers(response.headers);
  headers.set("cf-cache-status", kept ? "EXPIRED" : newLife ? "MISS" : "DYNAMIC");
  return new Response(response.body, { status: response.status, headers });
}

/** @param {string} url absolute, as the runtime gives it */
function pathOf(url) {
  const path = url.slice(url.indexOf("/", url.indexOf("://") + 3));
  const query = path.indexOf("?");
  return query < 0 ? path : path.slice(0, query);
}

/**
 * Answer what the network answers by itself, without waking Python; nothing for what is Python's.
 *
 * It shares Python's isolate, because a service binding between two workers costs 45 us a request: an eighth of what the
 * whole request takes.
 *
 * @param {Request} request
 * @param {ExecutionContext} ctx
 * @param {Network} network
 * @returns {Response | Promise<Response> | undefined}
 */
export function serveFront(request, ctx, network) {
  if (request.method !== "GET" && request.method !== "HEAD") return undefined;
  // Most requests are neither: their address is taken apart by whoever answers them.
  const path = pathOf(request.url);
  return (
    network.asset(path) ??
    (path.startsWith(SHARED_PREFIX) ? serveShared(request, new URL(request.url), ctx, network) : undefined)
  );
}
