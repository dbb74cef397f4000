/**
 * The edge as a hand-written JavaScript worker: what the product is compared with.
 *
 * It gives the same bytes for the same requests, from the same manifests and stock, in the same surroundings (a self-hosted
 * node: manifests and stock from the origin over HTTP, events through a spool). It does what a request needs and no more: no
 * framework, no API description, and of the routes only the two that are measured.
 */

import { MemoryCache } from "../../emulator/runtime/memory_cache.mjs";
import { KvNamespace } from "../../emulator/runtime/origin_manifests.mjs";
import { WorkerQueue } from "../../emulator/runtime/outbox.mjs";
import { Caches } from "./caches.mjs";
import { Claims } from "./claims.mjs";
import { Overlays } from "./overlays.mjs";

export { ManifestShelf } from "../../emulator/runtime/manifest_shelf.mjs";
export { Spool } from "../../emulator/runtime/spool.mjs";

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
  const manifests = new KvNamespace(env.ORIGIN_URL, () => env.SHELF.get(env.SHELF.idFromName("shelf")));
  const caches = new Caches(manifests, new MemoryCache(), env.ORIGIN_URL);
  const queue = new WorkerQueue(() => env.SPOOL.get(env.SPOOL.idFromName("spool")));
  return { overlays: new Overlays(caches, env.ORIGIN_URL), claims: new Claims(caches, queue, env) };
}

/**
 * @param {Request} request
 * @param {any} env
 * @returns {Place}
 */
function placeOf(request, env) {
  const country = env.COUNTRY_HEADER ? request.headers.get(env.COUNTRY_HEADER) : null;
  return { colo: env.COLO ?? "", country: country ?? env.COUNTRY ?? "" };
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
