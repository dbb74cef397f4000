/**
 * The emulator's own small HTTP server, on the loopback interface only.
 *
 *     PUT    /kv/{node}/{key}   write a value to a node's key-value store, the body as it is
 *     DELETE /kv/{node}/{key}   remove it
 *     PUT    /faults/{node}     have the faults in the body (JSON, see runtime/faults.mjs) and no others; `all`: every node
 *     GET    /state             each node: where it is, its faults, what it has done, what it last said
 *     POST   /reload            run the bundle as it is staged now; refused, and the old one stays, when it does not boot
 *     GET    /stats             what runs, and how long it took to start
 *
 * Requests that a browser sent are refused: no web page may reach it.
 */

import { createServer } from "node:http";
import { EmulatorError } from "./image.mjs";

const HOST = "127.0.0.1";
const VALUE_BYTES_MOST = 25 * 1024 ** 2;

/**
 * @typedef {import("node:http").IncomingMessage} Incoming
 * @typedef {import("node:http").ServerResponse} Outgoing
 * @typedef {{ nodes: import("./node.mjs").EdgeNode[], reload: () => Promise<object>, stats: () => object }} Emulator
 */

/** @param {Incoming} request */
async function readBody(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > VALUE_BYTES_MOST) throw new EmulatorError("too_large", "the body is too long");
    parts.push(part);
  }
  return Buffer.concat(parts);
}

/**
 * @param {Incoming} request
 * @param {Emulator} emulator
 * @param {string[]} parts
 * @returns {Promise<[number, object]>}
 */
async function writeKey(request, emulator, [name, ...key]) {
  const node = emulator.nodes.find((candidate) => candidate.name === name);
  if (!node || !key.length) return [404, { code: "unknown_node" }];
  const store = await node.manifests();
  if (request.method === "DELETE") await store.delete(key.join("/"));
  else await store.put(key.join("/"), /** @type {ArrayBuffer} */ (new Uint8Array(await readBody(request)).buffer));
  return [200, {}];
}

const DELAY_MS_MOST = 60_000;
/** @param {string[]} values */
const oneOf =
  (...values) =>
  (/** @type {unknown} */ value) =>
    value === "" || values.includes(String(value));
/** @param {unknown} value */
const isDelay = (value) => Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= DELAY_MS_MOST;

/** @type {Record<string, (value: unknown) => boolean>} */
const FAULTS = {
  latency_ms: isDelay,
  isolate: oneOf("wedged"),
  store: oneOf("dead", "broken", "empty"),
  store_latency_ms: isDelay,
  origin: oneOf("dead"),
  origin_latency_ms: isDelay,
  stock: oneOf("frozen"),
  queue: oneOf("dead"),
  clock_shift_ms: Number.isSafeInteger,
  clock_ms: (value) => value === null || Number.isSafeInteger(value),
};

/** @param {string} source JSON */
function readFaults(source) {
  try {
    const chosen = Object.entries(JSON.parse(source));
    if (chosen.every(([name, value]) => FAULTS[name]?.(value))) return Object.fromEntries(chosen);
  } catch {
    // Refused below, as anything else that is no list of faults.
  }
  throw new EmulatorError("faults_invalid", "the body must be a JSON object of known faults");
}

/**
 * @param {Incoming} request
 * @param {Emulator} emulator
 * @param {string[]} parts
 * @returns {Promise<[number, object]>}
 */
async function setFaults(request, emulator, [name, ...more]) {
  const nodes = emulator.nodes.filter((node) => name === "all" || node.name === name);
  if (!nodes.length || more.length) return [404, { code: "unknown_node" }];
  const faults = readFaults((await readBody(request)).toString("utf8"));
  const [first] = await Promise.all(nodes.map((node) => node.setFaults(faults)));
  return [200, first];
}

/** @param {Emulator} emulator */
async function stateOf(emulator) {
  return { ...emulator.stats(), nodes: await Promise.all(emulator.nodes.map((node) => node.state())) };
}

/**
 * @param {Incoming} request
 * @param {Emulator} emulator
 * @returns {Promise<[number, object]>}
 */
async function answer(request, emulator) {
  const { host = "", origin, "sec-fetch-site": site } = request.headers;
  if (origin || site || !/^(127\.0\.0\.1|localhost)(:\d+)?$/.test(host)) return [403, { code: "not_for_browsers" }];
  const path = new URL(request.url ?? "/", "http://control").pathname;
  const [first, ...rest] = path.slice(1).split("/").map(decodeURIComponent);
  const route = `${request.method} ${first}`;
  if (route === "PUT kv" || route === "DELETE kv") return writeKey(request, emulator, rest);
  if (route === "PUT faults") return setFaults(request, emulator, rest);
  if (route === "POST reload" && !rest.length) return [200, await emulator.reload()];
  if (route === "GET stats" && !rest.length) return [200, emulator.stats()];
  if (route === "GET state" && !rest.length) return [200, await stateOf(emulator)];
  return [404, { code: "not_found" }];
}

/**
 * @param {Incoming} request
 * @param {Outgoing} response
 * @param {Emulator} emulator
 */
async function respond(request, response, emulator) {
  let [status, body] = /** @type {[number, object]} */ ([500, {}]);
  try {
    [status, body] = await answer(request, emulator);
  } catch (error) {
    const { message, code } = /** @type {EmulatorError} */ (error);
    [status, body] = [error instanceof EmulatorError ? 422 : 500, { code: code ?? "internal_error", detail: message }];
  }
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
}

/**
 * @param {number} port
 * @param {Emulator} emulator
 * @returns {Promise<{ url: string, close: () => void }>}
 */
export async function serveControl(port, emulator) {
  const server = createServer((request, response) => void respond(request, response, emulator));
  await new Promise((resolve, reject) => server.once("error", reject).listen(port, HOST, () => resolve(undefined)));
  const address = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://${HOST}:${address.port}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
