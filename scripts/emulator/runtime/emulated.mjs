/**
 * The edge worker as the emulator runs it: the network in front, Python behind, faults in between.
 *
 * Its default entry point is for the emulator itself, which knows this start's token; viewers come in by `network`.
 */

import { recorded } from "./boot.mjs";
import { hold, isHeld, setFaults, withFaults } from "./faults.mjs";
import { serveFront } from "./front.mjs";
import { Host } from "./host.mjs";
import { measured, observe } from "./measuring.mjs";

const TOKEN_HEADER = "emulator";

/** @param {any} env */
async function readSnapshot(env) {
  if (!env.SNAPSHOT) return undefined;
  const response = await env.SNAPSHOT.fetch(`http://snapshot/${env.EMULATOR.snapshot_name}`);
  if (!response.ok) throw new Error(`the memory snapshot is gone: status ${response.status}`);
  return response.arrayBuffer();
}

const host = new Host({ bindings: withFaults, readSnapshot });

/**
 * @param {Request} request
 * @param {any} env
 * @param {any} ctx
 */
const python = (request, env, ctx) => host.answer(request, env, ctx);

/** @param {any} env */
async function bootAndTell(env) {
  try {
    const timings = await host.boot(env);
    const modules = [...recorded].map(([name, bytes]) => [name, Array.from(bytes)]);
    return Response.json({ timings, modules });
  } catch (error) {
    return Response.json({ failed: String(/** @type {Error} */ (error)?.message ?? error) });
  }
}

/**
 * What the network knows of a client: the node's place, but for the country that a developer's request claims.
 *
 * @param {Request} request
 * @param {any} env
 */
function comingFrom(request, env) {
  const { place } = env.EMULATOR;
  const country = request.headers.get("cf-ipcountry");
  const forwarded = new Request(request, { cf: country === null ? place : { ...place, country } });
  if (!request.headers.has("cf-connecting-ip")) forwarded.headers.set("cf-connecting-ip", "127.0.0.1");
  return forwarded;
}

/**
 * @param {Request} request
 * @param {any} env
 * @param {ExecutionContext} ctx
 */
function answer(request, env, ctx) {
  const { origin_url, asset_paths } = env.EMULATOR;
  return (
    serveFront(request, ctx, {
      origin_url,
      asset: (path) => (asset_paths.includes(path) ? env.ASSETS.fetch(request) : undefined),
    }) ?? python(comingFrom(request, env), env, ctx)
  );
}

/**
 * @param {Request} request
 * @param {any} env
 * @param {ExecutionContext} ctx
 */
const heldAnswer = async (request, env, ctx) => (await hold()) ?? answer(request, env, ctx);

/** What the node's own port leads to. */
export const network = {
  /**
   * @param {Request} request
   * @param {any} env
   * @param {ExecutionContext} ctx
   */
  fetch(request, env, ctx) {
    const started = performance.now();
    const response = isHeld() ? heldAnswer(request, env, ctx) : answer(request, env, ctx);
    return response instanceof Response
      ? observe(request, response, started)
      : response.then((settled) => observe(request, settled, started));
  },
};

export default {
  /**
   * @param {Request} request
   * @param {any} env
   */
  async fetch(request, env) {
    if (request.headers.get(TOKEN_HEADER) !== env.EMULATOR.token) return new Response(null, { status: 403 });
    if (request.method === "PUT") return Response.json(setFaults(await request.json()));
    if (new URL(request.url).pathname === "/measured") return Response.json(measured());
    return bootAndTell(env);
  },
};
