/**
 * A load generator for one HTTP server on the loopback interface, in a process of its own: `node load.mjs`.
 *
 * Each line of standard input is a job, each line of standard output the figures of one; it ends with its input. Requests
 * are bytes that were made beforehand, over raw sockets that stay open, because a client that costs more than the server
 * measures itself. Two ways to send:
 *
 * - `rate: 0`: each connection sends its next request when it has its answer (how much the server can do);
 * - `rate: n`: a request is due each 1/n s, whatever became of those before, and its latency counts from that moment. When
 *   all connections are busy it waits here, and that counts too (open loop, without coordinated omission).
 */

import { readFileSync } from "node:fs";
import net from "node:net";
import { createInterface } from "node:readline";
import { percentiles } from "./percentiles.mjs";

const HEAD_END = Buffer.from("\r\n\r\n");
const LENGTH = /\r\ncontent-length: *(\d+)/i;
const STATUS_AT = 9;
const PATIENCE_MS = 5000;
const SHOWN_BYTES = 1000;
/** Overwritten with a number of its own in each request that has it. */
const UNIQUE = Buffer.from("0".repeat(22));

/**
 * @typedef {{ bytes: Buffer, uniqueAt: number }} Prepared
 * @typedef {object} Job
 * @property {number} port
 * @property {string} requests the file with a JSON list of whole requests, as text
 * @property {number} connections
 * @property {number} duration_ms
 * @property {number} rate requests a second; 0 for as many as are answered
 * @property {number} [warm_ms] at a rate: how long it is asked before what is measured, over the same connections
 * @property {number} status that each answer must have
 */

/** @type {Map<string, Prepared[]>} */
const prepared = new Map();
let number = Date.now() * 1000;

/** @param {string} file */
function prepare(file) {
  const known = prepared.get(file);
  if (known) return known;
  const texts = /** @type {string[]} */ (JSON.parse(readFileSync(file, "utf8")));
  const made = texts.map((text) => {
    const bytes = Buffer.from(text);
    return { bytes, uniqueAt: bytes.indexOf(UNIQUE) };
  });
  prepared.set(file, made);
  return made;
}

/** @param {Prepared} request */
function bytesOf({ bytes, uniqueAt }) {
  if (uniqueAt < 0) return bytes;
  const own = Buffer.from(bytes);
  number += 1;
  own.write(String(number).padStart(UNIQUE.length, "0"), uniqueAt, "latin1");
  return own;
}

/** @param {Connection[]} connections */
const problemOf = (connections) => connections.find(({ problem }) => problem)?.problem ?? "";

/** One connection: a request at a time, and what its answers were. */
class Connection {
  /** @type {net.Socket} */
  #socket;
  /** @type {Buffer | undefined} */
  #kept;
  #missing = 0;
  #expected;
  /** @type {(good: boolean, connection: Connection) => void} */
  #done;

  /**
   * @param {net.Socket} socket that is connected
   * @param {number} status
   * @param {(good: boolean, connection: Connection) => void} done
   */
  constructor(socket, status, done) {
    this.#socket = socket;
    this.#expected = String(status);
    this.#done = done;
    this.dueMs = 0;
    /** The beginning of the answer that was not as it should be. */
    this.problem = "";
    socket.on("data", (chunk) => this.#take(chunk));
  }

  /**
   * @param {Buffer} bytes
   * @param {number} dueMs
   */
  send(bytes, dueMs) {
    this.dueMs = dueMs;
    this.#socket.write(bytes);
  }

  end() {
    this.#socket.destroy();
  }

  /** @param {Buffer} chunk */
  #take(chunk) {
    if (this.#missing > 0) {
      this.#missing -= chunk.length;
      if (this.#missing <= 0) this.#done(true, this);
      return;
    }
    const all = this.#kept ? Buffer.concat([this.#kept, chunk]) : chunk;
    const head = all.indexOf(HEAD_END);
    if (head < 0) {
      this.#kept = all;
      return;
    }
    this.#kept = undefined;
    const text = all.toString("latin1", 0, head);
    const length = LENGTH.exec(text);
    if (!length || text.slice(STATUS_AT, STATUS_AT + 3) !== this.#expected) {
      this.problem = all.toString("utf8", 0, SHOWN_BYTES);
      this.#done(false, this);
      return;
    }
    this.#missing = head + HEAD_END.length + Number(length[1]) - all.length;
    if (this.#missing <= 0) this.#done(true, this);
  }
}

/**
 * @param {Job} job
 * @param {(good: boolean, connection: Connection) => void} done
 * @returns {Promise<Connection[]>}
 */
async function connect({ port, connections, status }, done) {
  const sockets = Array.from({ length: connections }, () => net.connect({ port, host: "127.0.0.1", noDelay: true }));
  await Promise.all(sockets.map((socket) => new Promise((go, stop) => socket.once("connect", go).once("error", stop))));
  return sockets.map((socket) => new Connection(socket, status, done));
}

/**
 * Send on every connection as soon as it is free, for the job's time.
 *
 * @param {Job} job
 * @param {Prepared[]} requests
 */
async function saturate(job, requests) {
  let [sent, answered, failed] = [0, 0, 0];
  const next = () => bytesOf(requests[sent++ % requests.length]);
  /** @type {(value?: unknown) => void} */
  let finish = () => {};
  const finished = new Promise((resolve) => {
    finish = resolve;
  });
  const open = await connect(job, (good, connection) => {
    answered += 1;
    // After an answer that is not as it should be, its connection may be in any state.
    if (good) connection.send(next(), 0);
    else if (++failed >= job.connections) finish();
  });
  const began = performance.now();
  for (const connection of open) connection.send(next(), 0);
  // A round without a single answer has no figure: the first one is waited for.
  const until = began + job.duration_ms + PATIENCE_MS;
  const end = () => (answered || performance.now() > until ? finish() : setTimeout(end, 1));
  const timer = setTimeout(end, job.duration_ms);
  await finished;
  clearTimeout(timer);
  const seconds = (performance.now() - began) / 1000;
  for (const connection of open) connection.end();
  return { answered: answered - failed, failed, problem: problemOf(open), rps: (answered - failed) / seconds };
}

/**
 * Send at a fixed rate, for the job's time. It looks at the clock without pause: a timer's millisecond would be most of
 * what is to be measured.
 *
 * @param {Job} job
 * @param {Prepared[]} requests
 */
async function pace(job, requests) {
  const warm = Math.round((job.rate * (job.warm_ms ?? 0)) / 1000);
  const total = warm + Math.max(1, Math.round((job.rate * job.duration_ms) / 1000));
  /** @type {number[]} */
  const latencies = [];
  let [due, sent, answered, failed, counted] = [0, 0, 0, 0, 0];
  /** @type {Connection[]} */
  const free = [];
  const open = await connect(job, (good, connection) => {
    if (connection.dueMs >= counted) latencies.push(performance.now() - connection.dueMs);
    if (good) {
      answered += 1;
      free.push(connection);
    } else failed += 1;
  });
  free.push(...open);
  const began = performance.now();
  counted = began + (warm * 1000) / job.rate;
  const until = counted + job.duration_ms + PATIENCE_MS;
  await new Promise((resolve) => {
    const look = () => {
      const now = performance.now();
      while (due < total && began + (due * 1000) / job.rate <= now) due += 1;
      for (; sent < due && free.length; sent += 1) {
        // In turn: servers close connections that nobody uses for some seconds.
        const connection = /** @type {Connection} */ (free.shift());
        connection.send(bytesOf(requests[sent % requests.length]), began + (sent * 1000) / job.rate);
      }
      if (answered + failed === total || now > until) resolve(undefined);
      else setImmediate(look);
    };
    look();
  });
  for (const connection of open) connection.end();
  const unanswered = total - answered - failed;
  const measured = percentiles(Float64Array.from(latencies));
  return { answered, failed: failed + unanswered, problem: problemOf(open), ...measured };
}

for await (const line of createInterface({ input: process.stdin })) {
  const job = /** @type {Job} */ (JSON.parse(line));
  const requests = prepare(job.requests);
  const figures = job.rate ? await pace(job, requests) : await saturate(job, requests);
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}
