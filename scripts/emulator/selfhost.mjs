/**
 * Writes what a self-hosted edge node runs, into a folder: `node selfhost.mjs`, with one JSON document on standard input.
 *
 *     {"bundle": "build/bundle", "python_modules": "python_modules", "assets": "build/assets", "cache_dir": "...",
 *      "rate_limits": {"VIEWER_LIMIT": {"limit": 20, "period": 10}}, "directory": "..."}
 *
 * The folder gets `modules/`, `snapshot.pack`, `config.capnp` and `bin/workerd`. Each line that it prints says what it does.
 * What the node needs of Node and Miniflare happens here: nothing of them is in the folder.
 */

import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { Cache } from "./cache.mjs";
import { EmulatorError } from "./image.mjs";
import { sha256 } from "./pack.mjs";
import { COMPATIBILITY_DATE, edgeModules, prepare } from "./prepare.mjs";
import { useWorkspace } from "./workspace.mjs";

const ENTRY_MODULE = "selfhosted.mjs";
const SETTINGS = [
  ...["ORIGIN_URL", "ISSUER", "CLAIM_KEYS", "EDGE_KEY", "PUBLIC_URL", "STOCK_TIMEOUT_MS"],
  ...["COLO", "COUNTRY", "COUNTRY_HEADER", "ADDRESS_HEADER", "SPOOL_BYTES"],
];
/** @type {Record<string, string>} */
const MEDIA_TYPES = { ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8" };
const KINDS = { ESModule: "esModule", CompiledWasm: "wasm", Data: "data", Text: "text" };

/** @typedef {import("./prepare.mjs").Module} Module */

/**
 * Read the headers that every asset gets: the file has one rule, for all paths.
 *
 * @param {string} source as the platform's `_headers` file
 * @returns {Record<string, string>}
 */
function readHeaders(source) {
  const [rule, ...lines] = source.trim().split("\n");
  if (rule !== "/*") throw new EmulatorError("assets_invalid", "_headers must have one rule, for /*");
  const pairs = lines.map((line) => line.trim().split(": ", 2));
  return Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), value]));
}

/**
 * Make the assets modules of the worker: it answers for them itself, and needs no other service.
 *
 * @param {string} directory
 * @returns {Module[]}
 */
function assetModules(directory) {
  const headers = readHeaders(readFileSync(path.join(directory, "_headers"), "utf8"));
  const names = readdirSync(directory)
    .filter((name) => !name.startsWith("_"))
    .sort();
  const entries = names.map((name, index) => {
    const etag = `"${sha256(readFileSync(path.join(directory, name))).slice(0, 32)}"`;
    const own = { ...headers, "content-type": MEDIA_TYPES[path.extname(name)] ?? "application/octet-stream", etag };
    return `["/${name}", { body: a${index}, headers: ${JSON.stringify(own)} }]`;
  });
  const imports = names.map((name, index) => `import a${index} from "./assets/${name}.bin";\n`);
  return [
    {
      type: "ESModule",
      path: "assets.mjs",
      contents: `${imports.join("")}export const assets = new Map([\n${entries.join(",\n")}\n]);\n`,
    },
    ...names.map((name) => ({
      type: /** @type {const} */ ("Data"),
      path: `assets/${name}.bin`,
      contents: readFileSync(path.join(directory, name)),
    })),
  ];
}

/** @param {unknown} rateLimits */
const limitsModule = (rateLimits) => `export const limits = ${JSON.stringify(rateLimits)};\n`;

/** @param {Module} module */
const moduleLine = ({ type, path: name }) => `    (name = "${name}", ${KINDS[type]} = embed "modules/${name}"),`;

/** @param {string} name */
const settingLine = (name) => `    (name = "${name}", fromEnvironment = "${name}"),`;

/** @param {Module[]} modules its entry first */
const configuration = (
  modules,
) => `# A self-hosted edge node, for \`workerd serve\`. Its settings come from the environment of the process; what the command
# line gives (addresses, folders) takes the place of what is written here. See cliptill-edge and cliptill-edge.env.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "edge", worker = .edge),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
    (name = "files", disk = (path = ".")),
    (name = "state", disk = (path = "state", writable = true)),
  ],
  sockets = [
    (name = "http", address = "127.0.0.1:8787", service = "edge", http = (forwardedProtoHeader = "X-Forwarded-Proto")),
    (name = "status", address = "127.0.0.1:8788", service = (name = "edge", entrypoint = "status"), http = ()),
  ],
);

const edge :Workerd.Worker = (
  compatibilityDate = "${COMPATIBILITY_DATE}",
  modules = [
${modules.map(moduleLine).join("\n")}
  ],
  bindings = [
${SETTINGS.map(settingLine).join("\n")}
    (name = "FILES", service = "files"),
    (name = "SPOOL", durableObjectNamespace = "Spool"),
    (name = "SHELF", durableObjectNamespace = "ManifestShelf"),
  ],
  globalOutbound = "internet",
  durableObjectNamespaces = [
    (className = "Spool", uniqueKey = "spool", enableSql = true, preventEviction = true),
    (className = "ManifestShelf", uniqueKey = "shelf", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "state"),
);
`;

/** The program itself: npm has one package for each platform. */
function workerdBinary() {
  const here = createRequire(import.meta.url);
  const from = createRequire(createRequire(here.resolve("miniflare")).resolve("workerd"));
  const name = `@cloudflare/workerd-${process.platform}-${process.arch === "x64" ? "64" : process.arch}`;
  return from.resolve(`${name}/bin/workerd`);
}

/**
 * @param {string} directory
 * @param {Module[]} modules
 */
function writeModules(directory, modules) {
  for (const { path: name, contents } of modules) {
    const file = path.join(directory, "modules", name);
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, contents);
  }
}

async function main() {
  const { directory, assets, cache_dir, rate_limits, ...folders } = JSON.parse(readFileSync(0, "utf8"));
  const tell = (/** @type {Record<string, unknown>} */ fact) => process.stdout.write(`${fact.log}\n`);
  const cache = new Cache(cache_dir, tell);
  useWorkspace(cache_dir);
  const prepared = await prepare({ folders, cache, bindings: {}, tell });
  if (!prepared.snapshot) throw new EmulatorError("bundle_refused", prepared.snapshotProblem ?? "no snapshot");
  const [entry, ...others] = edgeModules(prepared, ENTRY_MODULE);
  const limits = {
    type: /** @type {const} */ ("ESModule"),
    path: "rate_limits.mjs",
    contents: limitsModule(rate_limits),
  };
  const modules = [entry, limits, ...assetModules(assets), ...others];
  writeModules(directory, modules);
  writeFileSync(path.join(directory, "config.capnp"), configuration(modules));
  copyFileSync(prepared.snapshot, path.join(directory, "snapshot.pack"));
  mkdirSync(path.join(directory, "bin"));
  copyFileSync(workerdBinary(), path.join(directory, "bin", "workerd"));
}

try {
  await main();
} catch (error) {
  const { code, message, stack } = /** @type {EmulatorError & Error} */ (error);
  process.stderr.write(`${error instanceof EmulatorError ? `${code}: ${message}` : stack}\n`);
  process.exitCode = 1;
}
