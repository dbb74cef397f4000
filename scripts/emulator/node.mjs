/**
 * One edge node: a workerd of its own, with its own key-value store, queue and cache, so that nodes share nothing.
 */

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { Miniflare } from "miniflare";
import { EmulatorError, runtimeFile } from "./image.mjs";
import { COMPATIBILITY_DATE, edgeModules } from "./prepare.mjs";

const HOST = "127.0.0.1";
/** Files that configure the assets instead of being one. */
const NOT_SERVED = new Set(["_headers", "_redirects"]);
const TOKEN_HEADER = "emulator";
const ENTRYPOINT = "network";
/** A first call is slower than those after it: let it be one for a clip that does not exist, not a viewer's. */
const WARM_PATHS = ["/health", "/v1/clips/none/overlay"];
/** Where the bundle lies inside the interpreter: its files have the same names in the repository. */
const BUNDLE_ROOT = /\/session\/metadata\//g;
const LINES_KEPT = 60;

/**
 * @typedef {import("./config.mjs").Config} Config
 * @typedef {import("./config.mjs").NodeConfig} NodeConfig
 * @typedef {import("./prepare.mjs").Prepared} Prepared
 * @typedef {(fact: Record<string, unknown>) => void} Tell
 */

/** @param {string} name */
const script = (name) => [
  { type: /** @type {const} */ ("ESModule"), path: name, contents: readFileSync(runtimeFile(name), "utf8") },
];

/** @param {string} directory */
function assetPaths(directory) {
  const entries = readdirSync(directory, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile() && !NOT_SERVED.has(entry.name))
    .map(
      (entry) =>
        `/${path
          .relative(directory, path.join(entry.parentPath ?? entry.path, entry.name))
          .split(path.sep)
          .join("/")}`,
    );
}

/** What the provider's network knows of a client: the fields of `request.cf` that an app may read. @param {NodeConfig} node */
const placeOf = ({ country, colo }) => ({ country, colo, asn: 64_512, httpProtocol: "HTTP/1.1", tlsVersion: "" });

export class EdgeNode {
  /** @type {Miniflare | undefined} */
  #miniflare;
  #expectedToEnd = false;
  #token = randomBytes(16).toString("hex");

  /**
   * @param {NodeConfig} node
   * @param {Config} config
   * @param {Tell} tell
   * @param {() => void} died called when workerd ended by itself
   */
  constructor(node, config, tell, died) {
    this.name = node.name;
    this.node = node;
    this.config = config;
    this.tell = tell;
    this.died = died;
    this.url = "";
    /** @type {Record<string, unknown>} */
    this.boot = {};
    /** @type {Record<string, unknown>} */
    this.faults = {};
    /** The last that it said, oldest first. @type {{ at_ms: number, text: string }[]} */
    this.lines = [];
  }

  /**
   * Start workerd, or replace it: the key-value store and the port are kept.
   *
   * @param {Prepared} prepared
   */
  async start(prepared) {
    const started = performance.now();
    this.#expectedToEnd = true;
    if (this.#miniflare) await this.#miniflare.setOptions(this.#options(prepared));
    else this.#miniflare = new Miniflare(this.#options(prepared));
    await this.#miniflare.ready;
    this.#expectedToEnd = false;
    this.url = (await this.#miniflare.unsafeGetDirectURL("edge", ENTRYPOINT)).origin;
    const runtime_ms = Math.round(performance.now() - started);
    this.boot = { node: this.name, runtime_ms, ...(await this.#warm()) };
    // A new isolate knows of no faults; and only a sound one can be warmed.
    if (Object.keys(this.faults).length) await this.setFaults(this.faults);
    this.tell({ boot: this.boot });
  }

  /** Boot Python now, so that no viewer waits for it. */
  async #warm() {
    const started = performance.now();
    const answer = /** @type {{ failed?: string, timings: Record<string, unknown> }} */ (await this.#tellWorker({}));
    if (answer.failed) throw new EmulatorError("boot_failed", answer.failed.replace(BUNDLE_ROOT, ""));
    const cold_ms = await this.#timedRequest(WARM_PATHS[0], started);
    for (const path of WARM_PATHS) await this.#timedRequest(path, started);
    const warm_ms = await this.#timedRequest(WARM_PATHS[0], performance.now());
    return { ...answer.timings, cold_ms, warm_ms };
  }

  /**
   * Speak to the worker itself, not as a viewer.
   *
   * @param {{ method?: string, body?: string }} request
   * @param {string} path
   */
  async #tellWorker(request, path = "/") {
    const edge = await /** @type {Miniflare} */ (this.#miniflare).getWorker("edge");
    const response = await edge.fetch(`http://edge${path}`, { ...request, headers: { [TOKEN_HEADER]: this.#token } });
    return response.json();
  }

  /**
   * Have these faults from now on, and no others; they outlive a reload.
   *
   * @param {Record<string, unknown>} faults as in `runtime/faults.mjs`
   */
  async setFaults(faults) {
    this.faults = faults;
    return /** @type {object} */ (await this.#tellWorker({ method: "PUT", body: JSON.stringify(faults) }));
  }

  /** Tell what the node is, what is wrong with it, and what it has done. */
  async state() {
    const { name, url, boot, faults, lines } = this;
    const { country, colo } = this.node;
    return { name, url, country, colo, boot, faults, lines, measured: await this.#tellWorker({}, "/measured") };
  }

  /**
   * @param {string} path
   * @param {number} since
   */
  async #timedRequest(path, since) {
    const response = await fetch(`${this.url}${path}`);
    await response.arrayBuffer();
    return Math.round((performance.now() - since) * 10) / 10;
  }

  /**
   * @param {Prepared} prepared
   * @returns {import("miniflare").MiniflareOptions}
   */
  #options(prepared) {
    const { config } = this;
    const consumer = {
      name: "consumer",
      compatibilityDate: COMPATIBILITY_DATE,
      modules: script("consumer.mjs"),
      bindings: { PROVIDER_URL: config.provider_url },
      queueConsumers: { [config.queue]: { maxBatchSize: 100, maxBatchTimeout: 0, maxRetries: 100, retryDelay: 1 } },
      stripCfConnectingIp: false,
    };
    return {
      host: HOST,
      port: 0,
      cf: false,
      handleRuntimeStdio: this.#listen.bind(this),
      workers: [this.#edgeWorker(prepared), consumer],
    };
  }

  /** @param {Prepared} prepared */
  #edgeWorker(prepared) {
    const { vars, secrets, queue, assets, origin_url, rate_limits } = this.config;
    const { snapshot } = prepared;
    const EMULATOR = {
      origin_url,
      place: placeOf(this.node),
      rate_limits,
      asset_paths: assetPaths(assets),
      token: this.#token,
      snapshot_name: snapshot ? path.basename(snapshot) : "",
    };
    return {
      name: "edge",
      compatibilityDate: COMPATIBILITY_DATE,
      modules: edgeModules(prepared),
      bindings: { ...vars, ...secrets, EMULATOR },
      assets: { directory: assets, binding: "ASSETS" },
      unsafeDirectSockets: [{ host: HOST, port: this.node.port, entrypoint: ENTRYPOINT }],
      kvNamespaces: { MANIFESTS: `manifests-${this.name}` },
      queueProducers: { EVENTS: queue },
      ...(snapshot && { serviceBindings: { SNAPSHOT: { disk: { path: path.dirname(snapshot), writable: false } } } }),
      stripCfConnectingIp: false,
    };
  }

  /**
   * Pass on what workerd and the app print, and notice when workerd ends by itself.
   *
   * @param {import("node:stream").Readable} stdout
   * @param {import("node:stream").Readable} stderr
   */
  #listen(stdout, stderr) {
    for (const stream of [stdout, stderr]) {
      createInterface({ input: stream }).on("line", (line) => line.trim() && this.#log(line));
    }
    stdout.on("close", () => {
      if (!this.#expectedToEnd) this.died();
    });
  }

  /** @param {string} line */
  #log(line) {
    const text = line.replace(BUNDLE_ROOT, "");
    this.lines = [...this.lines.slice(1 - LINES_KEPT), { at_ms: Date.now(), text }];
    this.tell({ log: text, node: this.name });
  }

  async manifests() {
    return /** @type {Miniflare} */ (this.#miniflare).getKVNamespace("MANIFESTS", "edge");
  }

  async stop() {
    this.#expectedToEnd = true;
    await this.#miniflare?.dispose();
  }
}
