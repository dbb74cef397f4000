/**
 * The edge as a hand-written JavaScript worker: what the product is compared with.
 *
 * It gives the same bytes for the same requests, from the same manifests and stock, in the same surroundings. It does what
 * a request needs and no more: no framework, no API description, no rate limits, and of the routes only the two that are
 * measured.
 */

import { MemoryCache } from "../../emulator/runtime/memory_cache.mjs";
import { Caches } from "./caches.mjs";
import { Claims } from "./claims.mjs";
import { Overlays } from "./overlays.mjs";
import { KvNamespace, placeOf, WorkerQueue } from "./surroundings.mjs";

const OVERLAY = /^\/v1\/clips\/([^/]+)\/overlay$/;
const CLAIMS = "/v1/claims";
const NOT_FOUND = { status: 404, code: "not_found" };
const PUBLIC = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": "date, retry-after, server-timing",
  "timing-allow-origin": "*",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
};

/** @typedef {{ country: string, colo: string }} Place */
/** @typedef {{ status: number, code: string }} Refusal */

/** @param {Refusal} refusal */
function problem({ status, code }) {
  const headers = { ...PUBLIC, "content-type": "application/problem+json" };
  return new Response(JSON.stringify({ type: `urn:cliptill:problem:${code}`, status, code }), { status, headers });
}

/** @type {{ overlays: Overlays, claims: Claims } | undefined} */
let isolate;

/** @param {any} env */
function start(env) {
  const caches = new Caches(new KvNamespace(env.ORIGIN_URL), new MemoryCache(), env.ORIGIN_URL);
  return { overlays: new Overlays(caches, env.ORIGIN_URL), claims: new Claims(caches, new WorkerQueue(), env) };
}

/**
 * @param {Request} request
 * @param {any} env
 * @param {ExecutionContext} ctx
 */
async function answer(request, env, ctx) {
  isolate ??= start(env);
  const startedMs = Date.now();
  const url = new URL(request.url);
  const place = placeOf(request, env);
  if (request.method === "POST" && url.pathname === CLAIMS) {
    const claim = await isolate.claims.give(
      await request.text(),
      request.headers.get("content-type") ?? "",
      place,
      ctx,
    );
    if (typeof claim !== "string") return problem(claim);
    const headers = { ...PUBLIC, "content-type": "application/json", "server-timing": timing(startedMs) };
    return new Response(claim, { status: 201, headers });
  }
  const clip = OVERLAY.exec(url.pathname)?.[1];
  if (!clip || request.method !== "GET") return problem(NOT_FOUND);
  const overlay = await isolate.overlays.render(clip, url, request.headers, place.country);
  if ("code" in overlay) return problem(overlay);
  const headers = {
    ...PUBLIC,
    vary: "accept, accept-language",
    "server-timing": timing(startedMs),
    "content-type": overlay.type,
    ...(overlay.policy && { "content-security-policy": overlay.policy }),
  };
  return new Response(overlay.body, { headers });
}

/** @param {number} startedMs */
const timing = (startedMs) => `edge;dur=${Date.now() - startedMs}`;

export default { fetch: answer };
