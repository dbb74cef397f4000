/**
 * Boots stock CPython-in-WebAssembly (npm `pyodide`) inside workerd.
 *
 * The boot waits for nothing outside: all that it needs is in modules of this worker, so it runs in one go within the
 * first request, and no other request can see it half done.
 */

import * as workersModule from "cloudflare:workers";
import bundlePack from "./bundle.bin"; // Data: the staged bundle, with the host's Python files
import { bridgeCodeGeneration, nameOf } from "./codegen.mjs";
import { known } from "./generated.mjs"; // written at start: the compiled modules that were recorded
import { keepIdentitiesOfTheYoung } from "./identities.mjs";
import createPyodideModule from "./pyodide.asm.mjs";
import asmWasm from "./pyodide.asm.wasm"; // CompiledWasm
import { loadPyodide } from "./pyodide.mjs";
import lock from "./pyodide-lock.json"; // Text
import stdlib from "./python_stdlib.zip"; // Data
import { unpack } from "./unpack.mjs";

const BASE = "http://pyodide.local/";
const MAIN_MODULE = "worker";
const PAGE_BYTES = 65536;

/** Modules compiled with the development-only binding, by name: what a recording run is for. */
export const recorded = new Map();

/** @param {any} env */
function moduleSource(env) {
  return (/** @type {Uint8Array} */ bytes) => {
    const name = nameOf(bytes);
    const module = known.get(name);
    if (module) return module;
    if (!env.UNSAFE_EVAL) throw new WebAssembly.CompileError(`module ${name} was not recorded`);
    recorded.set(name, bytes.slice());
    return env.UNSAFE_EVAL.newWasmModule(bytes);
  };
}

/**
 * Write the bundle into the interpreter's file system before it starts. Contents stay views into the pack.
 *
 * @param {any} FS
 */
function mountBundle(FS) {
  const made = new Set();
  for (const [name, contents] of unpack(bundlePack)) {
    const directory = name.slice(0, name.lastIndexOf("/"));
    if (!made.has(directory)) {
      FS.mkdirTree(directory);
      made.add(directory);
    }
    FS.writeFile(name, contents, { canOwn: true });
  }
}

/**
 * Put a memory snapshot together: the pack holds only what is not zero, each run named by its offset.
 *
 * @param {ArrayBuffer} pack
 */
function wholeSnapshot(pack) {
  const runs = unpack(pack);
  const { size } = JSON.parse(new TextDecoder().decode(runs.get("size.json")));
  const memory = new Uint8Array(size);
  for (const [name, run] of runs) if (name !== "size.json") memory.set(run, Number(name));
  return memory;
}

/**
 * @param {any} settings
 * @param {number} memoryBytes the least that the memory must hold
 */
function createModule(settings, memoryBytes) {
  settings.instantiateWasm = (/** @type {any} */ imports, /** @type {any} */ done) => {
    const marker = Symbol("js error"); // `env` is a proxy that invents stubs: assign, never `??=`
    imports.env.Jsv_GetError_import = () => marker;
    imports.env.JsvError_Check = (/** @type {unknown} */ value) => value === marker;
    keepIdentitiesOfTheYoung(imports.env);
    const instance = new WebAssembly.Instance(asmWasm, imports);
    const memory = /** @type {WebAssembly.Memory} */ (instance.exports.memory);
    const missing = memoryBytes - memory.buffer.byteLength;
    if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES));
    return done(instance, asmWasm);
  };
  return createPyodideModule(settings);
}

/**
 * Where CPython keeps the address of the WebAssembly function by which it calls C functions of fewer parameters than the
 * caller passes. At 0 it calls each of them through JavaScript, at several times the cost.
 *
 * @param {any} module
 */
function trampolineSlot(module) {
  const offset = module.HEAP32[module.__PyEM_EMSCRIPTEN_TRAMPOLINE_OFFSET >>> 2];
  return (module.__PyRuntime + offset) >>> 2;
}

/**
 * What Pyodide fetches while it boots. The compiled module is not read from here, see `createModule`.
 *
 * @param {string | URL} url
 */
async function localFetch(url) {
  const name = String(url).slice(BASE.length);
  if (name !== "python_stdlib.zip" && name !== "pyodide.asm.wasm") throw new Error(`no network while booting: ${url}`);
  return { ok: true, arrayBuffer: async () => stdlib };
}

/**
 * @param {any} env
 * @param {Uint8Array | undefined} snapshot
 */
async function load(env, snapshot) {
  bridgeCodeGeneration(moduleSource(env));
  const { fetch, addEventListener } = globalThis;
  let trampoline = 0;
  // Pyodide resolves addresses against `location`, and registers a listener with an option that workerd refuses.
  Object.assign(globalThis, { location: BASE, fetch: localFetch, addEventListener: () => {} });
  try {
    const python = await loadPyodide({
      indexURL: BASE,
      packageBaseUrl: BASE,
      lockFileContents: JSON.parse(lock),
      env: { HOME: "/session", PYTHONHASHSEED: "0" },
      stdout: (line) => console.log(line),
      stderr: (line) => console.error(line),
      fsInit: async (FS) => mountBundle(FS),
      createPyodideModule: async (settings) => {
        const module = /** @type {any} */ (await createModule(settings, snapshot?.length ?? 0));
        trampoline = module.HEAP32[trampolineSlot(module)];
        // Of what is ASCII, Pyodide would make text as of latin1, which takes the runtime several times as long.
        module._asciiTextDecoder = new TextDecoder();
        return module;
      },
      ...(snapshot && { _loadSnapshot: snapshot }),
    });
    // A snapshot brings the address of the process that made it, where the engine may not even have such a function.
    const { _module: module } = python;
    module.HEAP32[trampolineSlot(module)] = trampoline;
    return python;
  } finally {
    Object.assign(globalThis, { fetch, addEventListener });
  }
}

/**
 * Boot CPython and import the app.
 *
 * @param {any} env
 * @param {ArrayBuffer | undefined} snapshotPack
 * @param {() => void} died called when the interpreter can do nothing any more
 * @returns {Promise<{ call: (request: Request, ctx: any) => any, timings: Record<string, number | boolean> }>}
 */
export async function boot(env, snapshotPack, died) {
  const started = performance.now();
  const python = await load(env, snapshotPack && wholeSnapshot(snapshotPack));
  python._api.on_fatal = died;
  const loaded = performance.now();
  python.registerJsModule("_emulator_js", {
    cloudflareWorkersModule: { ...workersModule, env },
    cloudflareSocketsModule: {},
    doAnImport: (/** @type {string} */ name) => Promise.reject(new Error(`${name} is not available here`)),
  });
  const host = python.pyimport("_emulator_host");
  if (!snapshotPack) host.mount();
  const call = host.start(MAIN_MODULE, env, queueMicrotask.bind(globalThis));
  const imported = performance.now();
  return {
    call,
    timings: {
      python_ms: Math.round(loaded - started),
      import_ms: Math.round(imported - loaded),
      snapshot: snapshotPack !== undefined,
      trampoline: python._module.HEAP32[trampolineSlot(python._module)] !== 0,
    },
  };
}
