/**
 * The edge worker: answers each request with the bundle's `Default` entry point, run by CPython in this isolate, unless
 * the network in front of it answers already.
 */

import { boot, recorded } from "./boot.mjs";
import { serveFront } from "./front.mjs";

/** A request that carries it, with this start's token, is answered with how the boot went. */
const BOOT_HEADER = "emulator";

/** @typedef {{ waitUntil: (work: any) => void, passThroughOnException: () => void, props: unknown }} EntryContext */

/** @type {Promise<Awaited<ReturnType<typeof boot>>> | undefined} */
let booting;
/** @type {((request: Request, ctx: EntryContext) => any) | undefined} */
let call;

/** @param {"boot_failed" | "internal_error"} code */
function problem(code) {
  const body = { type: "about:blank", title: "Internal Server Error", status: 500, code };
  const headers = {
    "content-type": "application/problem+json",
    "access-control-allow-origin": "*",
    "cache-control": "no-store",
  };
  return new Response(JSON.stringify(body), { status: 500, headers });
}

/** @param {any} proxy a Python awaitable, already copied so that it outlives the call that handed it over */
async function settle(proxy) {
  try {
    await proxy;
  } catch (error) {
    console.error(String(/** @type {Error} */ (error)?.message ?? error));
  } finally {
    proxy.destroy?.();
  }
}

/**
 * The context that an entry point gets: `waitUntil` takes Python's coroutines as well as promises.
 *
 * @param {any} ctx
 * @returns {EntryContext}
 */
function entryContext(ctx) {
  return {
    waitUntil: (work) => ctx.waitUntil(settle(work.copy?.() ?? work)),
    passThroughOnException: () => {},
    props: ctx.props,
  };
}

/** @param {any} pending a Python task, or a promise */
async function finished(pending) {
  try {
    return await pending;
  } catch (error) {
    return failed(error);
  } finally {
    pending.destroy?.();
  }
}

/** @param {any} error with Python's traceback, as text, for the developer's console only */
function failed(error) {
  console.error(String(error?.message ?? error));
  return problem("internal_error");
}

/**
 * @param {Request} request
 * @param {any} ctx
 */
function answer(request, ctx) {
  try {
    const response = /** @type {NonNullable<typeof call>} */ (call)(request, entryContext(ctx));
    return response instanceof Response ? response : finished(response);
  } catch (error) {
    return failed(error);
  }
}

/**
 * Read the memory snapshot, within the request that asks: another request's reading may be given up half way.
 *
 * @param {any} env
 * @returns {Promise<ArrayBuffer | undefined>}
 */
async function readSnapshot(env) {
  if (!env.SNAPSHOT || booting) return undefined;
  const response = await env.SNAPSHOT.fetch(`http://snapshot/${env.EMULATOR.snapshot_name}`);
  if (!response.ok) throw new Error(`the memory snapshot is gone: status ${response.status}`);
  return response.arrayBuffer();
}

/**
 * Boot once, however many first requests there are. A boot that failed stays failed: the bundle must change.
 *
 * @param {Request} request
 * @param {any} env
 * @param {any} ctx
 */
async function firstAnswer(request, env, ctx) {
  const asked = request.headers.get(BOOT_HEADER) === env.EMULATOR.boot_token;
  try {
    const snapshot = await readSnapshot(env);
    booting ??= boot(env, snapshot);
    const { call: booted, timings } = await booting;
    call = booted;
    if (!asked) return answer(request, ctx);
    const modules = [...recorded].map(([name, bytes]) => [name, Array.from(bytes)]);
    return Response.json({ timings, modules });
  } catch (error) {
    const text = String(/** @type {Error} */ (error)?.message ?? error);
    console.error(text);
    return asked ? Response.json({ failed: text }) : problem("boot_failed");
  }
}

/**
 * @param {Request} request
 * @param {any} env
 * @param {ExecutionContext} ctx
 */
function python(request, env, ctx) {
  return call && !request.headers.has(BOOT_HEADER) ? answer(request, ctx) : firstAnswer(request, env, ctx);
}

/** What the node's own port leads to. */
export const network = {
  /**
   * @param {Request} request
   * @param {any} env
   * @param {ExecutionContext} ctx
   */
  fetch: (request, env, ctx) => serveFront(request, env, ctx, python),
};

export default { fetch: python };
