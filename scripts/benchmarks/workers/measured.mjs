/** A Python edge in the surroundings of the benchmark: the node's own host and interpreter, the bundle as it is staged. */

import { Host } from "../../emulator/runtime/host.mjs";
import { KvNamespace, WorkerQueue } from "./surroundings.mjs";

// The node's own entry brings the cache, the place of each request, and what its configuration names.
export * from "../../emulator/runtime/selfhosted.mjs";

const PASSED_ON = ["ORIGIN_URL", "ISSUER", "CLAIM_KEYS"];

/** @param {any} env */
function bindings(env) {
  const settings = Object.fromEntries(PASSED_ON.map((name) => [name, env[name]]));
  return { ...settings, MANIFESTS: new KvNamespace(env.ORIGIN_URL), EVENTS: new WorkerQueue() };
}

/** @param {any} env */
const readSnapshot = async (env) => (await env.FILES.fetch("http://files/snapshot.pack")).arrayBuffer();

const host = new Host({ bindings, readSnapshot });

export default {
  /**
   * @param {Request} request
   * @param {any} env
   * @param {ExecutionContext} ctx
   */
  fetch: (request, env, ctx) => host.answer(request, env, ctx),
};
