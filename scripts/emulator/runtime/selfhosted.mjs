/**
 * The edge worker of a machine of one's own, under plain `workerd serve`. The app in it is the one that deploys to the CDN:
 * what the CDN's services are to it, is here made of the origin's HTTP interface, this isolate's memory and the disk.
 *
 * Settings come from the environment of the process, see `cliptill-edge.env`.
 */

import { env as settings } from "cloudflare:workers";
import { assets } from "./assets.mjs"; // written by the build: static files, with their headers
import bundlePack from "./bundle.bin"; // Data: the staged bundle, which the snapshot must be of
import { serveFront } from "./front.mjs";
import { Host } from "./host.mjs";
import { MemoryCache } from "./memory_cache.mjs";
import { KvNamespace } from "./origin_manifests.mjs";
import { WorkerQueue } from "./outbox.mjs";
import { rateLimits } from "./rate_limiter.mjs";
import { limits } from "./rate_limits.mjs"; // written by the build: those of wrangler.toml
import { problemOf } from "./unpack.mjs";

export { ManifestShelf } from "./manifest_shelf.mjs";
export { Spool } from "./spool.mjs";

/** Read by the app. */
const PASSED_ON = ["ORIGIN_URL", "ISSUER", "CLAIM_KEYS", "PUBLIC_URL", "STOCK_TIMEOUT_MS"];

/** How long an answer waits for its report to be on disk. */
const KEPT_MOST_MS = 1500;

/** Where the platform tells a client's address. */
const ADDRESS = "cf-connecting-ip";

const cache = new MemoryCache();
Object.defineProperty(globalThis, "caches", { value: { default: cache } });

/**
 * Where a request comes from. One accessor for all: a property on each would keep the engine from freeing them soon (see
 * `identities.mjs`), and would be made for those, too, that nobody asks.
 */
Object.defineProperty(Request.prototype, "cf", {
  /** @this {Request} */
  get() {
    const country = settings.COUNTRY_HEADER ? this.headers.get(settings.COUNTRY_HEADER) : null;
    return { colo: settings.COLO ?? "", country: country ?? settings.COUNTRY ?? "" };
  },
});

/** @type {{ manifests?: KvNamespace, events?: WorkerQueue }} */
const bound = {};

/** @param {any} env */
const spoolOf = (env) => env.SPOOL.get(env.SPOOL.idFromName("spool"));

/** @param {any} env */
const shelfOf = (env) => env.SHELF.get(env.SHELF.idFromName("shelf"));

/** @param {any} env */
function bindings(env) {
  // An interpreter that is booted anew finds what the one before has left: no event that waits is forgotten.
  bound.manifests ??= new KvNamespace(env.ORIGIN_URL, () => shelfOf(env));
  bound.events ??= new WorkerQueue(() => spoolOf(env));
  const settings = Object.fromEntries(PASSED_ON.map((name) => [name, env[name]]).filter(([, value]) => value));
  return { ...settings, MANIFESTS: bound.manifests, EVENTS: bound.events, ...rateLimits(limits) };
}

/**
 * Read the memory snapshot. One that is gone, cut short, damaged or of another build is done without.
 *
 * @param {any} env
 */
async function readSnapshot(env) {
  const response = await env.FILES.fetch("http://files/snapshot.pack");
  const pack = response.ok ? await response.arrayBuffer() : undefined;
  const problem = pack ? await problemOf(pack, bundlePack) : "it is gone";
  if (!problem) return pack;
  console.error(`the memory snapshot is not used, and each start is slower: ${problem}`);
  return undefined;
}

const host = new Host({ bindings, readSnapshot });

/**
 * The request as the app may believe it: a client's address is what a proxy in front says, or unknown.
 *
 * @param {Request} request
 * @param {any} env
 */
function withAddress(request, env) {
  if (request.method !== "POST" || !(env.ADDRESS_HEADER || request.headers.has(ADDRESS))) return request;
  const told = env.ADDRESS_HEADER ? request.headers.get(env.ADDRESS_HEADER) : null;
  const known = new Request(request);
  if (told) known.headers.set(ADDRESS, told);
  else known.headers.delete(ADDRESS);
  return known;
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

/** What requests are still busy with after their answers: reports on their way to the disk, above all. @type {Set<Promise<unknown>>} */
const unfinished = new Set();

/**
 * Answer what reports something once that is on disk: what is acknowledged outlives a kill. The app sends what several
 * requests report as one message, so all that is under way is waited for. A spool that takes nothing holds nobody up for
 * long; what waits and what is lost shows in the node's status, and as gaps at the origin.
 *
 * @param {Request} request
 * @param {any} env
 * @param {ExecutionContext} ctx
 */
async function answerOnceKept(request, env, ctx) {
  const waitUntil = (/** @type {Promise<unknown>} */ work) => {
    const finished = work.finally(() => unfinished.delete(finished));
    unfinished.add(finished);
    ctx.waitUntil(finished);
  };
  const response = await host.answer(request, env, { waitUntil, props: ctx.props });
  if (unfinished.size) await finishAll([...unfinished]);
  return response;
}

/** @param {Promise<unknown>[]} works */
async function finishAll(works) {
  /** @type {PromiseWithResolvers<void>} */
  const { promise: late, resolve } = Promise.withResolvers();
  const timer = setTimeout(resolve, KEPT_MOST_MS);
  await Promise.race([Promise.all(works), late]);
  clearTimeout(timer);
  // What a request that was cut off has left is waited for once.
  for (const work of works) unfinished.delete(work);
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
    const known = withAddress(request, env);
    return request.method === "POST" ? answerOnceKept(known, env, ctx) : host.answer(known, env, ctx);
  },
};

/** @param {any} env */
async function tellSpool(env) {
  try {
    return await spoolOf(env).status();
  } catch (error) {
    return { problem: `the spool does not answer: ${/** @type {Error} */ (error).message}` };
  }
}

/** What the operator's own socket leads to: how the node is. */
export const status = {
  /**
   * @param {Request} _request
   * @param {any} env
   */
  async fetch(_request, env) {
    const outbox = bound.events?.size ?? { waiting: 0, lost: 0 };
    const manifests = bound.manifests?.size ?? { entries: 0, bytes: 0 };
    return Response.json({ spool: await tellSpool(env), outbox, cache: cache.size, manifests });
  },
};
