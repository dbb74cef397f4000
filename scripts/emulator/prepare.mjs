/**
 * Gets ready what an edge worker boots from, making what is not kept yet: the generated modules by recording one boot,
 * the memory snapshot in a program of its own.
 */

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { Miniflare } from "miniflare";
import { EmulatorError, pyodideFile, readImage, runtimeFile } from "./image.mjs";
import { writePack } from "./pack.mjs";

/** What the newest workerd that runs on Node 20 knows. */
export const COMPATIBILITY_DATE = "2026-04-26";
const SNAPSHOT_TIMEOUT_MS = 60_000;

/**
 * @typedef {import("./image.mjs").Image} Image
 * @typedef {import("./pack.mjs").Files} Files
 * @typedef {{ type: "ESModule" | "CompiledWasm" | "Data" | "Text", path: string, contents: string | Uint8Array }} Module
 * @typedef {{ image: Image, generated: Files, snapshot: string | undefined, snapshotProblem: string | undefined }} Prepared
 */

const ENTRY_MODULE = "emulated.mjs";
const IMPORTED = /\bfrom "\.\/([\w.-]+\.mjs)"/g;
/** @type {[Module["type"], string][]} */
const STOCK_MODULES = [
  ["ESModule", "pyodide.mjs"],
  ["ESModule", "pyodide.asm.mjs"],
  ["CompiledWasm", "pyodide.asm.wasm"],
  ["Data", "python_stdlib.zip"],
  ["Text", "pyodide-lock.json"],
];

/** @param {Files} generated */
function registry(generated) {
  const names = [...generated.keys()];
  const imports = names.map((name, index) => `import m${index} from "./generated/${name}.wasm";`);
  const pairs = names.map((name, index) => `["${name}", m${index}]`);
  return `${imports.join("\n")}\nexport const known = new Map([${pairs.join(", ")}]);\n`;
}

/**
 * @param {Module["type"]} type
 * @param {string} name
 * @param {Uint8Array} contents
 * @returns {Module}
 */
function moduleOf(type, name, contents) {
  const isText = type === "ESModule" || type === "Text";
  return { type, path: name, contents: isText ? Buffer.from(contents).toString("utf8") : contents };
}

/**
 * The host's own modules that one of them needs, itself first.
 *
 * @param {string} name
 * @param {Map<string, string>} found
 */
function ownModules(name, found = new Map()) {
  // What is imported from here and lies elsewhere is stock, or generated.
  if (found.has(name) || !existsSync(runtimeFile(name))) return found;
  const source = readFileSync(runtimeFile(name), "utf8");
  found.set(name, source);
  for (const [, imported] of source.matchAll(IMPORTED)) ownModules(imported, found);
  return found;
}

/**
 * List the modules of the edge worker, its entry first.
 *
 * @param {{ image: Image, generated: Files }} parts
 * @param {string} entry the host's module that makes it what it is
 * @returns {Module[]}
 */
export function edgeModules({ image, generated }, entry = ENTRY_MODULE) {
  return [
    ...[...ownModules(entry)].map(([name, source]) => moduleOf("ESModule", name, Buffer.from(source))),
    ...STOCK_MODULES.map(([type, name]) => moduleOf(type, name, readFileSync(pyodideFile(name)))),
    moduleOf("ESModule", "generated.mjs", Buffer.from(registry(generated))),
    moduleOf("Data", "bundle.bin", image.pack),
    ...[...generated].map(([name, contents]) => moduleOf("CompiledWasm", `generated/${name}.wasm`, contents)),
  ];
}

/**
 * Boot once with the development-only binding that compiles modules, and keep those that were compiled.
 *
 * @param {Image} image
 * @param {Record<string, unknown>} bindings
 * @returns {Promise<Files>}
 */
async function record(image, bindings) {
  const miniflare = new Miniflare({
    compatibilityDate: COMPATIBILITY_DATE,
    unsafeEvalBinding: "UNSAFE_EVAL",
    modules: edgeModules({ image, generated: new Map() }),
    bindings: { ...bindings, EMULATOR: { token: "record" } },
  });
  try {
    const response = await miniflare.dispatchFetch("http://edge/", { headers: { emulator: "record" } });
    const answer = /** @type {{ failed?: string, modules: [string, number[]][] }} */ (await response.json());
    if (answer.failed) throw new EmulatorError("boot_failed", answer.failed);
    // In the order in which a pack keeps them: what is made from them has the same bytes the first time and later.
    return new Map(answer.modules.sort().map(([name, bytes]) => [name, Uint8Array.from(bytes)]));
  } finally {
    await miniflare.dispose();
  }
}

/**
 * @param {Image} image
 * @param {import("./cache.mjs").Cache} cache
 */
async function makeSnapshot(image, cache) {
  const folder = mkdtempSync(path.join(tmpdir(), "cliptill-snapshot-"));
  const list = path.join(folder, "wanted.json");
  try {
    // Which modules the app loads is found out once for a set of wheels: it takes as long as the snapshot itself.
    const known = cache.read("wanted", image.generatedKey)?.get("wanted.json");
    if (known) writeFileSync(list, known);
    writeFileSync(path.join(folder, "image.pack"), image.pack);
    await run(process.execPath, [fileURLToPath(new URL("snapshot.mjs", import.meta.url)), folder, image.key]);
    if (!known)
      cache.write(
        "wanted",
        image.generatedKey,
        writePack(image.generatedKey, new Map([["wanted.json", readFileSync(list)]])),
      );
    cache.write("snapshot", image.key, readFileSync(path.join(folder, "memory.pack")));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} program
 * @param {string[]} parameters
 */
function run(program, parameters) {
  const child = spawn(program, parameters, { stdio: ["ignore", "ignore", "pipe"], timeout: SNAPSHOT_TIMEOUT_MS });
  const end = () => child.kill("SIGKILL");
  process.once("exit", end);
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    said = (said + text).slice(-4000);
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => process.removeListener("exit", end));
    child.on("close", (code) =>
      code === 0 ? resolve(undefined) : reject(new Error(said.trim() || `exit code ${code}`)),
    );
  });
}

/**
 * Read the bundle and get what it boots from, from the cache or anew. A changed bundle boots from the snapshot of the
 * former one, as long as the wheels are the same: making its own takes seconds, and is left to the next start.
 *
 * @param {{ former?: Prepared, folders: { bundle: string, python_modules: string }, cache: import("./cache.mjs").Cache, bindings: Record<string, unknown>, tell: (fact: Record<string, unknown>) => void }} options
 * @returns {Promise<Prepared>}
 */
export async function prepare({ former, folders, cache, bindings, tell }) {
  const image = readImage(folders);
  const [generated, kept] = await Promise.all([
    keptModules(image, cache, bindings, tell),
    keptSnapshot(image, cache, tell, former),
  ]);
  return { image, generated, ...kept };
}

/**
 * @param {Image} image
 * @param {import("./cache.mjs").Cache} cache
 * @param {Record<string, unknown>} bindings
 * @param {(fact: Record<string, unknown>) => void} tell
 */
async function keptModules(image, cache, bindings, tell) {
  const kept = cache.read("generated", image.generatedKey);
  if (kept) return kept;
  tell({ log: "recording the modules that the interpreter generates, once for this set of wheels" });
  const files = await record(image, bindings);
  cache.write("generated", image.generatedKey, writePack(image.generatedKey, files));
  return files;
}

/**
 * @param {Image} image
 * @param {import("./cache.mjs").Cache} cache
 * @param {(fact: Record<string, unknown>) => void} tell
 * @param {Prepared} [former]
 */
async function keptSnapshot(image, cache, tell, former) {
  const kept = cache.read("snapshot", image.key);
  if (!kept && former?.snapshot && former.image.baseKey === image.baseKey && existsSync(former.snapshot))
    return { snapshot: former.snapshot, snapshotProblem: undefined };
  if (!kept) {
    tell({ log: "making a memory snapshot, once for this bundle" });
    try {
      await makeSnapshot(image, cache);
    } catch (error) {
      const problem = /** @type {Error} */ (error).message;
      tell({ log: `no memory snapshot, so the first boot is slower: ${problem}` });
      return { snapshot: undefined, snapshotProblem: problem };
    }
  }
  return { snapshot: cache.file("snapshot", image.key), snapshotProblem: undefined };
}
