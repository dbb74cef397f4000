/**
 * The queue binding `EVENTS` of a node that stands alone: messages are gathered for a moment, then put into the spool
 * together. What cannot be put there is counted, and told to the spool as soon as it takes something again.
 *
 * The class has the name by which the SDK knows such a binding.
 */

const GATHERED_MS = 10;
const TAKEN_AT_ONCE = 500;
const WAITING_MOST = 20_000;
const PAUSE_MS = 200;
/** A request that gathers may be given up half way: after this long another one takes over. */
const GIVEN_UP_MS = 5000;

export class WorkerQueue {
  #spool;
  /** @type {string[]} */
  #waiting = [];
  #lost = 0;
  #gatheringSinceMs = 0;

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
   * @returns {Promise<void>} settles once all that was gathered is in the spool; at once if another send sees to it
   */
  send(message) {
    if (this.#waiting.length < WAITING_MOST) this.#waiting.push(message);
    else this.#lost += 1;
    return Date.now() - this.#gatheringSinceMs < GIVEN_UP_MS ? Promise.resolve() : this.#gather();
  }

  async #gather() {
    this.#gatheringSinceMs = Date.now();
    try {
      await scheduler.wait(GATHERED_MS);
      while (this.#waiting.length) await this.#hand();
    } finally {
      this.#gatheringSinceMs = 0;
    }
  }

  async #hand() {
    const messages = this.#waiting.splice(0, TAKEN_AT_ONCE);
    const lost = this.#lost;
    this.#gatheringSinceMs = Date.now();
    try {
      await this.#spool().add(messages, lost);
      this.#lost -= lost;
    } catch (error) {
      this.#waiting.unshift(...messages);
      console.error(`the spool does not take events: ${/** @type {Error} */ (error).message}`);
      await scheduler.wait(PAUSE_MS);
    }
  }
}
