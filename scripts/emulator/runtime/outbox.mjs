/**
 * The queue binding `EVENTS` of a node that stands alone: what several requests report at one moment goes into the spool
 * together, and each is told when its own is there. What cannot be put there waits here, bounded; what is lost is counted,
 * and told to the spool as soon as it takes something again.
 *
 * The class has the name by which the SDK knows such a binding.
 */

const TAKEN_AT_ONCE = 500;
/** Writing to the disk holds the whole node up: when much is reported, it happens this often, for all at once. */
const ROUND_EVERY_MS = 10;
const WAITING_MOST = 20_000;
const PAUSE_MS = 200;
/** A request that hands over may be given up half way: after this long another one does it again. */
const GIVEN_UP_MS = 5000;

/** @typedef {{ message: string, kept: boolean }} Entry */

export class WorkerQueue {
  #spool;
  /** @type {Entry[]} */
  #waiting = [];
  #lost = 0;
  /** @type {Promise<unknown> | undefined} ends when the handing over that is under way does, well or not */
  #round;
  #ledAtMs = 0;

  /** @param {() => { add: (messages: string[], lost: number) => Promise<unknown> }} spool gives a stub for this request */
  constructor(spool) {
    this.#spool = spool;
  }

  /** What has not reached the spool: messages that wait, and messages that are lost. */
  get size() {
    return { waiting: this.#waiting.length, lost: this.#lost };
  }

  /**
   * @param {string} message
   * @returns {Promise<void>} settles once the message is in the spool; at once if it is lost
   */
  async send(message) {
    if (this.#waiting.length >= WAITING_MOST) {
      this.#lost += 1;
      return;
    }
    const entry = { message, kept: false };
    this.#waiting.push(entry);
    while (!entry.kept) await (this.#round ? this.#follow(this.#round) : this.#lead());
  }

  /** @param {Promise<unknown>} round */
  async #follow(round) {
    const isOver = await Promise.race([round.then(() => true), scheduler.wait(GIVEN_UP_MS)]);
    if (!isOver && this.#round === round) this.#round = undefined;
  }

  /** Each request leads once at most, and within its own time: no other's end can cut it off. */
  async #lead() {
    const { promise, resolve } = Promise.withResolvers();
    this.#round = promise;
    try {
      const inMs = this.#ledAtMs + ROUND_EVERY_MS - Date.now();
      if (inMs > 0) await scheduler.wait(Math.min(inMs, ROUND_EVERY_MS));
      this.#ledAtMs = Date.now();
      await this.#hand();
    } finally {
      if (this.#round === promise) this.#round = undefined;
      resolve(undefined);
    }
  }

  /** What is handed over leaves only when the spool has it: twice is once to the origin, which knows each by its number. */
  async #hand() {
    const taken = this.#waiting.slice(0, TAKEN_AT_ONCE);
    const lost = this.#lost;
    const messages = taken.map(({ message }) => message);
    try {
      await this.#spool().add(messages, lost);
      for (const entry of taken) entry.kept = true;
      this.#waiting = this.#waiting.filter(({ kept }) => !kept);
      this.#lost = Math.max(0, this.#lost - lost);
    } catch (error) {
      console.error(`the spool does not take events: ${/** @type {Error} */ (error).message}`);
      await scheduler.wait(PAUSE_MS);
    }
  }
}
