/**
 * Which object of the engine has which reference in the interpreter: what makes the same object the same to Python.
 *
 * Stock Pyodide asks a `Map`. An object that was ever a key there has a hash of its own from then on, which tells the
 * engine that it is not as it was made: a small collection no longer frees an object of the runtime like that (a
 * `Request`, a `Response`, its `Headers`), and thousands of them wait for a large one, which then holds everybody up for
 * a quarter of a second. Nearly all references last no longer than a request, so the youngest are searched one by one,
 * and only what outlives them becomes a key.
 */

const YOUNG_MOST = 128;

/**
 * Replace what the interpreter imports for this.
 *
 * @param {Record<string, (...values: any[]) => any>} env the imports of the interpreter
 */
export function keepIdentitiesOfTheYoung(env) {
  /** @type {unknown[]} */
  const values = [];
  /** @type {number[]} */
  const references = [];

  Object.assign(env, {
    /** @param {Map<unknown, number>} old @param {unknown} value */
    __hiwire_deduplicate_get(old, value) {
      const at = values.lastIndexOf(value);
      return at < 0 ? old.get(value) : references[at];
    },

    /** @param {Map<unknown, number>} old @param {unknown} value @param {number} reference */
    __hiwire_deduplicate_set(old, value, reference) {
      if (values.length >= YOUNG_MOST) old.set(values.shift(), /** @type {number} */ (references.shift()));
      values.push(value);
      references.push(reference);
    },

    /** @param {Map<unknown, number>} old @param {unknown} value */
    __hiwire_deduplicate_delete(old, value) {
      const at = values.lastIndexOf(value);
      if (at < 0) {
        old.delete(value);
        return;
      }
      values.splice(at, 1);
      references.splice(at, 1);
    },
  });
}
