/**
 * What is wrong with the services around one node, and with its clock, as somebody who tests has set it.
 *
 * The manifest store keeps the class name of the platform's own, by which the SDK knows it.
 */

/**
 * @typedef {object} Faults
 * @property {"" | "away" | "broken"} store away: it does not answer; broken: it answers with what nobody can read
 * @property {number} clock_shift_ms how far the node's clock is ahead
 * @property {number | null} clock_ms an instant at which the node's clock stands still
 */

/** @type {Readonly<Faults>} */
const NONE = { store: "", clock_shift_ms: 0, clock_ms: null };
const machineNow = Date.now.bind(Date);

/** @type {Faults} */
let faults = { ...NONE };

Date.now = () => faults.clock_ms ?? machineNow() + faults.clock_shift_ms;

/**
 * Have these faults from now on, and no others.
 *
 * @param {Partial<Faults>} chosen
 * @returns {Faults}
 */
export function setFaults(chosen) {
  faults = { ...NONE, ...chosen };
  return faults;
}

class KvNamespace {
  #store;

  /** @param {any} store */
  constructor(store) {
    this.#store = store;
  }

  /** @param {unknown[]} parameters */
  get(...parameters) {
    if (faults.store === "away") return Promise.reject(new Error("the store is away, as it was set"));
    return faults.store === "broken" ? 0 : this.#store.get(...parameters);
  }

  /** @param {unknown[]} parameters */
  put(...parameters) {
    return this.#store.put(...parameters);
  }

  /** @param {unknown[]} parameters */
  delete(...parameters) {
    return this.#store.delete(...parameters);
  }
}

/**
 * @param {any} env
 * @returns {any} the same bindings, with faults where they were set
 */
export const withFaults = (env) => (env.MANIFESTS ? { ...env, MANIFESTS: new KvNamespace(env.MANIFESTS) } : env);
