/**
 * What the edge worker is made of: stock Pyodide, the host's own files, and the staged bundle as one pack.
 */

import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { sha256, writePack } from "./pack.mjs";

/** Where the platform puts the files of a Python Worker. */
const BUNDLE_ROOT = "/session/metadata";
const SITE_PACKAGES = "/lib/python3.14/site-packages";
const RUNTIME = fileURLToPath(new URL("runtime/", import.meta.url));
const PYODIDE = path.dirname(createRequire(import.meta.url).resolve("pyodide/package.json"));

/** A failure that a person can mend: its message says how. */
export class EmulatorError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/**
 * @typedef {import("./pack.mjs").Files} Files
 * @typedef {object} Image
 * @property {Files} files every file that the interpreter's file system gets, by its absolute name there
 * @property {Buffer} pack the same as one pack
 * @property {string} key the SHA-256 of the whole image, and of the interpreter that it runs in
 * @property {string} baseKey the same without the bundle's own files: what a memory snapshot holds of it
 * @property {string} generatedKey the same of what decides which modules Pyodide generates
 */

/**
 * @param {string} directory
 * @param {string} prefix
 * @param {Files} into
 */
function collect(directory, prefix, into) {
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const source = path.join(directory, entry.name);
    const name = `${prefix}/${entry.name}`;
    if (entry.name === "__pycache__" || entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) collect(source, name, into);
    else into.set(name, readFileSync(source));
  }
}

/** @param {string} name */
export const runtimeFile = (name) => path.join(RUNTIME, name);

/** @param {string} name */
export const pyodideFile = (name) => path.join(PYODIDE, name);

/** The exact interpreter: its version, and the sizes of the two files that make it. */
function interpreterKey() {
  const { version } = JSON.parse(readFileSync(pyodideFile("package.json"), "utf8"));
  const sizes = ["pyodide.asm.wasm", "python_stdlib.zip"].map((name) => statSync(pyodideFile(name)).size);
  return `${version} ${sizes.join(" ")}`;
}

/**
 * Read the staged bundle, and the vendored wheels that lie beside it.
 *
 * @param {{ bundle: string, python_modules: string }} folders as `scripts/bundle` staged them
 * @returns {Image}
 */
export function readImage({ bundle, python_modules }) {
  for (const needed of [path.join(bundle, "worker.py"), python_modules]) {
    if (!existsSync(needed)) throw new EmulatorError("bundle_missing", `there is no ${needed}: run scripts/bundle`);
  }
  /** @type {Files} */
  const files = new Map();
  collect(bundle, BUNDLE_ROOT, files);
  collect(python_modules, `${BUNDLE_ROOT}/python_modules`, files);
  collect(runtimeFile("python"), SITE_PACKAGES, files);
  const names = [...files.keys()].sort();
  const contents = (/** @type {string[]} */ chosen) =>
    chosen.flatMap((name) => [name, "\0", sha256(/** @type {Uint8Array} */ (files.get(name))), "\n"]);
  const interpreter = interpreterKey();
  const key = sha256(interpreter, ...contents(names));
  const wheels = `${BUNDLE_ROOT}/python_modules/`;
  const base = names.filter((name) => name.startsWith(wheels) || !name.startsWith(`${BUNDLE_ROOT}/`));
  const compiled = names.filter((name) => name.endsWith(".so"));
  const host = ["boot.mjs", "codegen.mjs"].map((name) => readFileSync(runtimeFile(name)));
  return {
    files,
    pack: writePack(key, files),
    key,
    baseKey: sha256(interpreter, ...contents(base)),
    generatedKey: sha256(interpreter, ...contents(compiled), ...host),
  };
}
