/**
 * Answers requests with the bundle's `Default` entry point, run by CPython in this isolate. It knows neither which bindings
 * there are nor what stands in front of it: the emulator and the self-hosted edge each bring their own.
 */

import { boot } from "./boot.mjs";

/**
 * @typedef {Awaited<ReturnType<typeof boot>>} Booted
 * @typedef {object} Surroundings
 * @property {(env: any) => any} bindings makes what the app gets as its environment, once
 * @property {(env: any) => Promise<ArrayBuffer | undefined>} readSnapshot reads the memory snapshot, if there is one
 */

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

/** @param {any} error with Python's traceback, as text, for the operator's log only */
function log(error) {
  console.error(String(error?.message ?? error));
}

/** @param {any} proxy a Python awaitable, already copied so that it outlives the call that handed it over */
async function settle(proxy) {
  try {
    await proxy;
  } catch (error) {
    log(error);
  } finally {
    proxy.destroy();
  }
}

/** The context that an entry point gets: `waitUntil` takes Python's coroutines as well as promises. */
class EntryContext {
  #ctx;

  /** @param {any} ctx */
  constructor(ctx) {
    this.#ctx = ctx;
  }

  /** @param {any} work */
  waitUntil(work) {
    this.#ctx.waitUntil(work instanceof Promise ? work.catch(log) : settle(work.copy()));
  }

  passThroughOnException() {}

  get props() {
    return this.#ctx.props;
  }
}

/** @param {any} pending a Python task */
async function finished(pending) {
  try {
    return await pending;
  } catch (error) {
    return failed(error);
  } finally {
    pending.destroy();
  }
}

/** @param {any} error */
function failed(error) {
  log(error);
  return problem("internal_error");
}

export class Host {
  /** @type {Promise<Booted> | undefined} */
  #booting;
  /** @type {Booted["call"] | undefined} */
  #call;
  #surroundings;

  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    this.#surroundings = surroundings;
  }

  /**
   * Boot once, however many first requests there are. A boot that failed stays failed: the bundle must change.
   *
   * @param {any} env
   * @returns {Promise<Booted["timings"]>}
   */
  async boot(env) {
    const { bindings, readSnapshot } = this.#surroundings;
    // Within the request that asks: another request's reading may be given up half way.
    const snapshot = this.#booting ? undefined : await readSnapshot(env);
    this.#booting ??= boot(bindings(env), snapshot, () => this.#forget());
    const { call, timings } = await this.#booting;
    this.#call = call;
    return timings;
  }

  /** An interpreter that ran into the engine's own limits stays dead: the next request boots another one. */
  #forget() {
    this.#booting = this.#call = undefined;
  }

  /**
   * @param {Request} request
   * @param {any} env
   * @param {any} ctx
   * @returns {Response | Promise<Response>}
   */
  answer(request, env, ctx) {
    return this.#call ? this.#answerWith(this.#call, request, ctx) : this.#answerFirst(request, env, ctx);
  }

  /**
   * @param {Booted["call"]} call
   * @param {Request} request
   * @param {any} ctx
   */
  #answerWith(call, request, ctx) {
    try {
      const response = call(request, new EntryContext(ctx));
      if (response instanceof Response) return response;
      return response instanceof Promise ? response.catch(failed) : finished(response);
    } catch (error) {
      return failed(error);
    }
  }

  /**
   * @param {Request} request
   * @param {any} env
   * @param {any} ctx
   */
  async #answerFirst(request, env, ctx) {
    try {
      await this.boot(env);
    } catch (error) {
      log(error);
      return problem("boot_failed");
    }
    return this.answer(request, env, ctx);
  }
}
