/**
 * Emulates the edge: `node edge.mjs FILE`, or the same JSON document as the first line on the standard input.
 *
 *     {"nodes": [{"name": "fra", "port": 0, "country": "DE", "colo": "FRA"}],
 *      "vars": {}, "secrets": {}, "origin_url": "http://...", "provider_url": "http://...", "queue": "cliptill-events",
 *      "bundle": "build/bundle", "python_modules": "python_modules", "assets": "build/assets", "cache_dir": "...",
 *      "control_port": 0}
 *
 * It prints one JSON document a line: {"boot": ...}, {"log": ...}, {"ready": true, "nodes": ..., "control": ...}, or one
 * {"error": code, ...} before it ends: with 3 for a busy port, 2 for a configuration or bundle that cannot be run, 4 when
 * workerd ended by itself. It ends on SIGTERM, SIGINT, and when a pipe on its standard input closes: its parent is gone.
 */

import { fstatSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { Cache } from "./cache.mjs";
import { readConfig } from "./config.mjs";
import { serveControl } from "./control.mjs";
import { EmulatorError } from "./image.mjs";
import { EdgeNode } from "./node.mjs";
import { prepare } from "./prepare.mjs";
import { useWorkspace } from "./workspace.mjs";

const EXIT_UNEXPECTED = 1;
const EXIT_REFUSED = 2;
const EXIT_PORT_BUSY = 3;
const EXIT_DIED = 4;
/** @type {NodeJS.Signals[]} */
const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"];

/** @param {Record<string, unknown>} fact */
const tell = (fact) => process.stdout.write(`${JSON.stringify(fact)}\n`);

/**
 * Print one error and end with it.
 *
 * @param {number} code
 * @param {Record<string, unknown>} fact
 * @returns {never}
 */
function fail(code, fact) {
  tell(fact);
  process.exit(code);
}

/** @param {number} port */
async function ensureFree(port) {
  if (!port) return;
  const probe = createServer();
  try {
    await new Promise((resolve, reject) =>
      probe.once("error", reject).listen(port, "127.0.0.1", () => resolve(undefined)),
    );
    await new Promise((resolve) => probe.close(resolve));
  } catch {
    fail(EXIT_PORT_BUSY, { error: "port_busy", port });
  }
}

/** @returns {Promise<string>} the first line of the standard input, which stays open */
function firstLine() {
  return new Promise((resolve, reject) => {
    let text = "";
    process.stdin.setEncoding("utf8").on("data", (/** @type {string} */ part) => {
      text += part;
      const end = text.indexOf("\n");
      if (end >= 0) resolve(text.slice(0, end));
    });
    process.stdin.once("end", () =>
      text ? resolve(text) : reject(new EmulatorError("config_invalid", "no configuration")),
    );
  });
}

class Edge {
  /** @param {import("./config.mjs").Config} config */
  constructor(config) {
    this.config = config;
    this.cache = new Cache(config.cache_dir, tell);
    useWorkspace(config.cache_dir);
    this.nodes = config.nodes.map((node) => new EdgeNode(node, config, tell, () => this.#died(node.name)));
    this.reloads = 0;
    /** @type {import("./prepare.mjs").Prepared | undefined} */
    this.prepared = undefined;
    /** @type {Promise<unknown>} */
    this.turn = Promise.resolve();
  }

  async start() {
    await this.#run(await this.#prepare());
  }

  /** @param {import("./prepare.mjs").Prepared} prepared */
  async #run(prepared) {
    // One after another: a boot wants a processor of its own.
    for (const node of this.nodes) await node.start(prepared);
    this.prepared = prepared;
  }

  /** Run what is staged now, one reload after another. */
  reload() {
    const next = this.turn.then(() => this.#reload());
    this.turn = next.catch(() => {});
    return next;
  }

  async #reload() {
    const started = performance.now();
    const former = this.prepared;
    const prepared = await this.#prepare(former);
    if (prepared.snapshotProblem) throw new EmulatorError("bundle_refused", prepared.snapshotProblem);
    try {
      await this.#run(prepared);
    } catch (error) {
      if (former) await this.#run(former);
      throw new EmulatorError("bundle_refused", /** @type {Error} */ (error).message);
    }
    this.reloads += 1;
    const changed = prepared.image.key !== former?.image.key;
    return { changed, reload_ms: Math.round(performance.now() - started) };
  }

  /** @param {import("./prepare.mjs").Prepared} [former] */
  #prepare(former) {
    const { vars, secrets } = this.config;
    return prepare({ former, folders: this.config, cache: this.cache, bindings: { ...vars, ...secrets }, tell });
  }

  stats() {
    const nodes = this.nodes.map(({ name, url, boot }) => ({ name, url, boot }));
    return { nodes, bundle: this.prepared?.image.key, reloads: this.reloads, memory_bytes: process.memoryUsage.rss() };
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
  }

  /** @param {string} node */
  #died(node) {
    fail(EXIT_DIED, { error: "runtime_ended", node });
  }
}

/**
 * Do something when the pipe on the standard input closes. A terminal or /dev/null says nothing about a parent.
 *
 * @param {() => void} then
 */
function whenParentIsGone(then) {
  const input = fstatSync(process.stdin.fd);
  if (!input.isFIFO() && !input.isSocket()) return;
  if (process.stdin.readableEnded) then();
  else process.stdin.on("end", then).resume();
}

/**
 * End everything, once, whatever asks for it.
 *
 * @param {Edge} edge
 * @param {() => void} closeControl
 */
function endWith(edge, closeControl) {
  let ending = false;
  const end = async () => {
    if (ending) return;
    ending = true;
    closeControl();
    await edge.stop();
    process.exit(0);
  };
  // Miniflare has listeners of its own by now, which would end with another code.
  for (const signal of SIGNALS) process.removeAllListeners(signal).on(signal, end);
  process.stdin.removeAllListeners("end");
  whenParentIsGone(end);
}

async function main() {
  const [file] = process.argv.slice(2);
  const config = readConfig(file ? readFileSync(file, "utf8") : await firstLine());
  for (const { port } of [...config.nodes, { port: config.control_port }]) await ensureFree(port);
  const edge = new Edge(config);
  whenParentIsGone(() => process.exit(0));
  await edge.start();
  const control = await serveControl(config.control_port, edge);
  endWith(edge, control.close);
  tell({ ready: true, nodes: edge.nodes.map(({ name, url }) => ({ name, url })), control: control.url });
}

try {
  await main();
} catch (error) {
  const { code, message } = /** @type {EmulatorError} */ (error);
  if (code === "ERR_ADDRESS_IN_USE" || code === "EADDRINUSE")
    fail(EXIT_PORT_BUSY, { error: "port_busy", detail: message });
  if (error instanceof EmulatorError) fail(EXIT_REFUSED, { error: code, detail: message });
  fail(EXIT_UNEXPECTED, { error: "unexpected", detail: String(/** @type {Error} */ (error).stack) });
}
