/** The one JSON document that says what to emulate. It is checked as a whole before anything is started. */

import path from "node:path";
import { EmulatorError } from "./image.mjs";

/**
 * @typedef {{ name: string, port: number, country: string, colo: string }} NodeConfig
 * @typedef {object} Config
 * @property {NodeConfig[]} nodes
 * @property {Record<string, string>} vars
 * @property {Record<string, string>} secrets
 * @property {string} origin_url
 * @property {string} provider_url
 * @property {string} queue
 * @property {Record<string, import("./runtime/rate_limiter.mjs").Simple>} rate_limits by the name of their binding
 * @property {string} bundle the folder of the staged bundle
 * @property {string} python_modules the folder of the vendored wheels
 * @property {string} assets the folder of the static assets
 * @property {string} cache_dir
 * @property {number} control_port
 */

/** @param {string} message */
const refuse = (message) => new EmulatorError("config_invalid", message);

/** @param {unknown} value */
const isPort = (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65_535;

/**
 * @param {Record<string, unknown>} document
 * @param {string} name
 * @returns {string}
 */
function text(document, name) {
  const value = document[name];
  if (typeof value !== "string" || !value) throw refuse(`${name} must be a text`);
  return value;
}

/**
 * @param {Record<string, unknown>} document
 * @param {string} name
 * @returns {Record<string, string>}
 */
function texts(document, name) {
  const value = document[name] ?? {};
  if (typeof value !== "object" || value === null || Object.values(value).some((item) => typeof item !== "string")) {
    throw refuse(`${name} must map names to texts`);
  }
  return /** @type {Record<string, string>} */ (value);
}

/**
 * @param {unknown} value
 * @returns {NodeConfig}
 */
function node(value) {
  const { name, port = 0, country = "DE", colo = "FRA" } = /** @type {Record<string, any>} */ (value ?? {});
  if (typeof name !== "string" || !/^[a-z0-9-]{1,32}$/.test(name))
    throw refuse("a node's name must be 1 to 32 of a-z, 0-9 and -");
  if (!isPort(port)) throw refuse(`the port of node ${name} must be 0 to 65535`);
  if (typeof country !== "string" || typeof colo !== "string")
    throw refuse(`country and colo of node ${name} must be texts`);
  return { name, port, country, colo };
}

/**
 * @param {unknown} value
 * @returns {Record<string, import("./runtime/rate_limiter.mjs").Simple>}
 */
function limits(value) {
  const chosen = /** @type {Record<string, any>} */ (value);
  const good = Object.values(chosen).every(
    (simple) => Number.isInteger(simple?.limit) && simple.limit >= 0 && [10, 60].includes(simple.period),
  );
  if (!good) throw refuse("rate_limits must map names to a limit and a period of 10 or 60 seconds");
  return chosen;
}

/**
 * Check a configuration.
 *
 * @param {string} source JSON
 * @returns {Config}
 */
export function readConfig(source) {
  /** @type {Record<string, any>} */
  let document;
  try {
    document = JSON.parse(source);
  } catch {
    throw refuse("the configuration is not JSON");
  }
  if (typeof document !== "object" || document === null || !Array.isArray(document.nodes) || !document.nodes.length) {
    throw refuse("nodes must be a list of at least one");
  }
  const nodes = document.nodes.map(node);
  if (nodes.some(({ name }) => name === "all")) throw refuse("no node is called all: that means every node");
  if (new Set(nodes.map(({ name }) => name)).size !== nodes.length) throw refuse("two nodes have one name");
  const bundle = text(document, "bundle");
  const control_port = document.control_port ?? 0;
  if (!isPort(control_port)) throw refuse("control_port must be 0 to 65535");
  return {
    nodes,
    vars: texts(document, "vars"),
    secrets: texts(document, "secrets"),
    origin_url: text(document, "origin_url").replace(/\/+$/, ""),
    provider_url: text(document, "provider_url").replace(/\/+$/, ""),
    rate_limits: limits(document.rate_limits ?? {}),
    queue: text({ queue: "cliptill-events", ...document }, "queue"),
    bundle,
    python_modules: text(
      { python_modules: path.resolve(bundle, "../../python_modules"), ...document },
      "python_modules",
    ),
    assets: text(document, "assets"),
    cache_dir: text(document, "cache_dir"),
    control_port,
  };
}
