/**
 * Stands in for `new WebAssembly.Module(bytes)`.
 *
 * Workerd forbids code generation while it answers a request. Pyodide generates one tiny module for each signature of a
 * function that it puts into the wasm table, and compiles the shared library of each compiled wheel. Recorded once, with
 * the development-only binding, they are ordinary compiled modules from then on.
 */

/**
 * Name a module by its bytes: length and 53 bits of FNV-1a in two halves.
 *
 * @param {Uint8Array} bytes
 */
export function nameOf(bytes) {
  let low = 0x811c9dc5;
  let high = 0x1b873593;
  for (let i = 0; i < bytes.length; i++) {
    low = Math.imul(low ^ bytes[i], 0x01000193);
    high = Math.imul(high ^ bytes[i], 0x85ebca6b);
  }
  return `${bytes.length}-${(low >>> 0).toString(16)}${(high >>> 0).toString(16)}`;
}

/**
 * Replace the constructor for the isolate's whole life: compiled wheels and functions put into the table need it later.
 *
 * @param {(bytes: Uint8Array) => WebAssembly.Module} moduleFor
 */
export function bridgeCodeGeneration(moduleFor) {
  const Real = WebAssembly.Module;
  /** @param {BufferSource} source */
  function Bridged(source) {
    return moduleFor(
      ArrayBuffer.isView(source)
        ? new Uint8Array(source.buffer, source.byteOffset, source.byteLength)
        : new Uint8Array(source),
    );
  }
  Bridged.prototype = Real.prototype;
  Object.assign(Bridged, { customSections: Real.customSections, exports: Real.exports, imports: Real.imports });
  Object.defineProperty(Bridged, Symbol.hasInstance, {
    value: (/** @type {unknown} */ value) => value instanceof Real,
  });
  WebAssembly.Module = /** @type {typeof WebAssembly.Module} */ (/** @type {unknown} */ (Bridged));
}
