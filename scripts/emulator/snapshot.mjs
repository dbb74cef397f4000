/**
 * Makes a memory snapshot of CPython with all imported that can be: the standard library's modules and the pure-Python
 * packages that the app uses, and the compiled code of the bundle. A loaded compiled wheel cannot be restored, so what
 * needs one is imported after the restore.
 *
 * Runs as a program of its own, so that the interpreter's memory is given back: `node snapshot.mjs FOLDER KEY` reads
 * `image.pack` in that folder, and `wanted.json` (the modules that the app loads) if it is there, else it finds them out
 * and writes it; it writes `memory.pack`, under the key, with all of the memory that is not zero.
 */

import { existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { loadPyodide } from "pyodide";
import { writePack } from "./pack.mjs";
import { unpack } from "./runtime/unpack.mjs";

const MAIN_MODULE = "worker";
const BLOCK_BYTES = 16384;
const OPTIONS = { env: { HOME: "/session", PYTHONHASHSEED: "0" } };

/** @param {Map<string, Uint8Array>} files */
function mounting(files) {
  return async (/** @type {any} */ FS) => {
    for (const [name, contents] of files) {
      FS.mkdirTree(path.posix.dirname(name));
      FS.writeFile(name, contents);
    }
  };
}

/** @param {import("pyodide").PyodideInterface} python */
function registerRuntime(python) {
  python.registerJsModule("_emulator_js", { cloudflareWorkersModule: {}, cloudflareSocketsModule: {} });
}

/**
 * @param {Map<string, Uint8Array>} files
 * @returns {Promise<string[]>} the modules that importing the app loads, in their order
 */
async function wantedModules(files) {
  const python = await loadPyodide({ ...OPTIONS, fsInit: mounting(files) });
  registerRuntime(python);
  const host = python.pyimport("_emulator_host");
  host.mount();
  return host.wanted_modules(MAIN_MODULE).toJs();
}

/**
 * @param {Map<string, Uint8Array>} files
 * @param {string[]} wanted
 */
async function makeSnapshot(files, wanted) {
  const python = await loadPyodide({ ...OPTIONS, fsInit: mounting(files), _makeSnapshot: true });
  python.globals.set("wanted", wanted.join(" "));
  python.runPython(`
import _emulator_host
_emulator_host.mount()
_emulator_host.import_pure(wanted.split())
_emulator_host.compile_rest(wanted.split())
del wanted, _emulator_host
`);
  return python.makeMemorySnapshot();
}

/**
 * Split the memory into runs that are not all zero, each named by its offset: a third of it is room to grow.
 *
 * @param {Uint8Array} memory
 * @returns {import("./pack.mjs").Files}
 */
function sparse(memory) {
  const zeros = Buffer.alloc(BLOCK_BYTES);
  /** @type {import("./pack.mjs").Files} */
  const runs = new Map([["size.json", Buffer.from(JSON.stringify({ size: memory.length }))]]);
  let start = -1;
  for (let offset = 0; offset <= memory.length; offset += BLOCK_BYTES) {
    const block = memory.subarray(offset, offset + BLOCK_BYTES);
    const empty = zeros.compare(block, 0, block.length, 0, block.length) === 0;
    if (!empty && start < 0) start = offset;
    if (empty && start >= 0) {
      runs.set(String(start), memory.subarray(start, offset));
      start = -1;
    }
  }
  if (start >= 0) runs.set(String(start), memory.subarray(start));
  return runs;
}

async function main() {
  const [folder, key] = process.argv.slice(2);
  const pack = readFileSync(path.join(folder, "image.pack"));
  const files = unpack(pack.buffer.slice(pack.byteOffset, pack.byteOffset + pack.length));
  const list = path.join(folder, "wanted.json");
  const wanted = existsSync(list) ? JSON.parse(readFileSync(list, "utf8")) : await wantedModules(files);
  const memory = await makeSnapshot(files, wanted);
  writeFileSync(list, JSON.stringify(wanted));
  writeFileSync(path.join(folder, "memory.pack"), writePack(key, sparse(memory)));
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${/** @type {Error} */ (error).message}\n`);
  process.exitCode = 1;
}
