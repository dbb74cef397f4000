/**
 * The edge worker of a machine of one's own, under plain `workerd serve`. The app in it is the one that deploys to the CDN:
 * what the CDN's services are to it, is here made of the origin's HTTP interface, this isolate's memory and the disk.
 *
 * Settings come from the environment of the process, see `cliptill-edge.env`.
 */

import { assets } from "./assets.mjs"; // written by the build: static files, with their headers
import { serveFront } from "./front.mjs";
import { Host } from "./host.mjs";
import { MemoryCache } from "./memory_cache.mjs";
import { KvNamespace } from "./origin_manifests.mjs";
import { WorkerQueue } from "./outbox.mjs";

export { Spool } from "./spool.mjs";

/** Read by the app. */
const PASSED_ON = ["ORIGIN_URL", "ISSUER", "CLAIM_KEYS", "PUBLIC_URL", "STOCK_TIMEOUT_MS"];

const cache = new MemoryCache();
Object.defineProperty(globalThis, "caches", { value: { default: cache } });

/** @type {{ manifests?: KvNamespace, events?: WorkerQueue }} */
const bound = {};

/** @param {any} env */
const spoolOf = (env) => env.SPOOL.get(env.SPOOL.idFromName("spool"));

/** @param {any} env */
function bindings(env) {
  bound.manifests = new KvNamespace(env.ORIGIN_URL);
  bound.events = new WorkerQueue(() => spoolOf(env));
  const settings = Object.fromEntries(PASSED_ON.map((name) => [name, env[name]]).filter(([, value]) => value));
  return { ...settings, MANIFESTS: bound.manifests, EVENTS: bound.events };
}

/** @param {any} env */
async function readSnapshot(env) {
  const response = await env.FILES.fetch("http://files/snapshot.pack");
  if (!response.ok) throw new Error(`the memory snapshot is gone: status ${response.status}`);
  return response.arrayBuffer();
}

const host = new Host({ bindings, readSnapshot });

/**
 * @param {Request} request
 * @param {any} env
 */
function placeOf(request, env) {
  const country = env.COUNTRY_HEADER ? request.headers.get(env.COUNTRY_HEADER) : null;
  return { colo: env.COLO ?? "", country: country ?? env.COUNTRY ?? "" };
}

/** @param {Request} request */
function serveAsset(request) {
  return (/** @type {string} */ path) => {
    const asset = assets.get(path);
    if (!asset) return undefined;
    const known = request.headers.get("if-none-match") === asset.headers.etag;
    return new Response(known ? null : asset.body, { status: known ? 304 : 200, headers: asset.headers });
  };
}

export default {
  /**
   * @param {Request} request
   * @param {any} env
   * @param {ExecutionContext} ctx
   */
  fetch(request, env, ctx) {
    const answered = serveFront(request, ctx, { origin_url: env.ORIGIN_URL, asset: serveAsset(request) });
    if (answered) return answered;
    Object.defineProperty(request, "cf", { value: placeOf(request, env) });
    return host.answer(request, env, ctx);
  },
};

/** What the operator's own socket leads to: how the node is. */
export const status = {
  /**
   * @param {Request} _request
   * @param {any} env
   */
  async fetch(_request, env) {
    const spool = await spoolOf(env).status();
    const outbox = bound.events?.size ?? { waiting: 0, lost: 0 };
    return Response.json({ spool, outbox, cache: cache.size, manifests: bound.manifests?.size ?? 0 });
  },
};
