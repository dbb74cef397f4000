/**
 * Events on their way to the origin, on this machine's disk: they outlive a restart, and wait while the origin is away.
 *
 * They are posted in their order, and removed once the origin has accepted them: each arrives at least once. The spool is
 * bounded. What is dropped, because it is full or because the origin will never take it, is counted and shown.
 */

import { DurableObject } from "cloudflare:workers";

const PATH = "/v1/edge/events";
const MESSAGES_MOST = 100; // what the origin takes in one request
const POSTED_BYTES_MOST = 512 * 1024;
const TIMEOUT_MS = 20_000;
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 30_000;
/** An alarm that is later than this does not come any more: it is given up after failures, as on a full disk. */
const OVERDUE_MS = 5_000;
const DEFAULT_SPOOL_BYTES = 256 * 1024 ** 2;
const ACCEPTED = 202;
const TOO_LARGE = 413;
/** The request itself is at fault, not the key (401, 403), the moment (408, 429) or the address (404). */
const NEVER_TAKEN = new Set([400, 415, 422]);

/** The machine's own clock, by which alarms go off, whatever a test makes of the app's. */
const machineNow = Date.now.bind(Date);

const encoder = new TextEncoder();

/** @typedef {{ id: number, body: string, bytes: number }} Row */
/** @typedef {"delivered" | "dropped"} Count */

export class Spool extends DurableObject {
  #sql;
  #bytes;
  #pauseMs = FIRST_PAUSE_MS;
  #postedMost = MESSAGES_MOST;
  #problem = "";
  #isPosting = false;
  #isFull = false;
  #bytesMost;

  /**
   * @param {DurableObjectState} ctx
   * @param {any} env
   */
  constructor(ctx, env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS messages (id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, bytes INTEGER NOT NULL, at_ms INTEGER NOT NULL)",
    );
    this.#sql.exec("CREATE TABLE IF NOT EXISTS counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL)");
    this.#bytes = Number(this.#sql.exec("SELECT coalesce(sum(bytes), 0) AS bytes FROM messages").one().bytes);
    this.#bytesMost = Number(env.SPOOL_BYTES) || DEFAULT_SPOOL_BYTES;
    ctx.blockConcurrencyWhile(() => this.#schedule(0));
  }

  /**
   * Keep messages until the origin has them.
   *
   * @param {string[]} messages
   * @param {number} lost how many more were lost before they came here
   */
  async add(messages, lost) {
    let dropped = 0;
    for (const body of messages) {
      const bytes = encoder.encode(body).length;
      if (this.#bytes + bytes > this.#bytesMost) {
        dropped += 1;
        continue;
      }
      this.#sql.exec("INSERT INTO messages (body, bytes, at_ms) VALUES (?, ?, ?)", body, bytes, machineNow());
      this.#bytes += bytes;
    }
    this.#isFull = dropped > 0;
    if (dropped) this.#drop(dropped, "the spool is full");
    if (lost) this.#drop(lost, "the spool did not take them in time");
    if (!this.#isPosting) await this.#schedule(this.#problem ? this.#pauseMs : 0);
  }

  /** Tell what waits and since when, what was delivered and dropped, and what is in the way; see that it is posted. */
  async status() {
    if (!this.#isPosting) await this.#schedule(this.#pauseMs).catch(() => {});
    const { waiting, oldest_ms } = this.#sql
      .exec("SELECT count(*) AS waiting, coalesce(min(at_ms), 0) AS oldest_ms FROM messages")
      .one();
    return {
      waiting: Number(waiting),
      waiting_bytes: this.#bytes,
      bytes_most: this.#bytesMost,
      full: this.#isFull,
      waiting_since_ms: Number(oldest_ms),
      delivered: this.#counted("delivered"),
      dropped: this.#counted("dropped"),
      problem: this.#problem,
    };
  }

  /** Post what waits, until nothing does or the origin does not take it. */
  async alarm() {
    this.#isPosting = true;
    try {
      await this.#empty();
    } catch (error) {
      await this.#pause(`the spool fails: ${/** @type {Error} */ (error).message}`);
    } finally {
      this.#isPosting = false;
    }
  }

  async #empty() {
    for (let rows = this.#next(); rows.length; rows = this.#next()) {
      const status = await this.#post(rows);
      if (status === ACCEPTED) this.#finish(rows, "delivered");
      else if (status === TOO_LARGE && rows.length > 1) this.#postedMost = Math.ceil(rows.length / 2);
      else if (status === TOO_LARGE || (NEVER_TAKEN.has(status) && rows.length === 1)) this.#refuse(rows, status);
      else if (NEVER_TAKEN.has(status)) this.#postedMost = 1;
      else return this.#pause(status ? `the origin answers ${status}` : "the origin does not answer");
    }
    this.#pauseMs = FIRST_PAUSE_MS;
    this.#problem = "";
  }

  /** @returns {Row[]} the oldest messages that one request may carry */
  #next() {
    const rows = /** @type {Row[]} */ (
      /** @type {unknown} */ (
        this.#sql.exec("SELECT id, body, bytes FROM messages ORDER BY id LIMIT ?", this.#postedMost).toArray()
      )
    );
    let bytes = 0;
    const beyond = rows.findIndex((row, index) => {
      bytes += row.bytes;
      return bytes > POSTED_BYTES_MOST && index > 0;
    });
    return beyond < 0 ? rows : rows.slice(0, beyond);
  }

  /**
   * @param {Row[]} rows
   * @returns {Promise<number>} the origin's status; 0 when it does not answer
   */
  async #post(rows) {
    try {
      const response = await fetch(`${this.env.ORIGIN_URL.replace(/\/+$/, "")}${PATH}`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${this.env.EDGE_KEY}` },
        body: JSON.stringify({ messages: rows.map(({ body }) => body) }),
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      await response.arrayBuffer();
      return response.status;
    } catch {
      return 0;
    }
  }

  /**
   * @param {Row[]} rows
   * @param {Count} count
   */
  #finish(rows, count) {
    this.#sql.exec("DELETE FROM messages WHERE id <= ?", rows[rows.length - 1].id);
    for (const { bytes } of rows) this.#bytes -= bytes;
    this.#isFull = false;
    this.#count(count, rows.length);
    this.#postedMost = Math.min(MESSAGES_MOST, this.#postedMost * 2);
    this.#pauseMs = FIRST_PAUSE_MS;
  }

  /**
   * @param {Row[]} rows
   * @param {number} status
   */
  #refuse(rows, status) {
    this.#finish(rows, "dropped");
    console.error(`the origin never takes an event batch: status ${status}; it is dropped`);
  }

  /** @param {string} problem */
  async #pause(problem) {
    if (problem !== this.#problem) console.error(`events wait: ${problem}`);
    this.#problem = problem;
    const pauseMs = this.#pauseMs;
    this.#pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    // Many nodes lose their origin at the same moment, and should not all come back at the same one.
    await this.#schedule(pauseMs * (0.5 + Math.random()));
  }

  /** @param {number} inMs when to post, unless that is settled already */
  async #schedule(inMs) {
    if (!this.#bytes) return;
    const dueMs = await this.ctx.storage.getAlarm();
    if (dueMs === null || dueMs + OVERDUE_MS < machineNow()) await this.ctx.storage.setAlarm(machineNow() + inMs);
  }

  /**
   * @param {number} messages
   * @param {string} reason
   */
  #drop(messages, reason) {
    this.#count("dropped", messages);
    console.error(`${messages} event batches are dropped: ${reason}`);
  }

  /**
   * @param {Count} name
   * @param {number} more
   */
  #count(name, more) {
    this.#sql.exec(
      "INSERT INTO counts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
      name,
      more,
    );
  }

  /** @param {Count} name */
  #counted(name) {
    const [row] = this.#sql.exec("SELECT value FROM counts WHERE name = ?", name).toArray();
    return Number(row?.value ?? 0);
  }
}
