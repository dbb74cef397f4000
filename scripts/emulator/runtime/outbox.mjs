/**
 * The queue binding `EVENTS` of a node that stands alone: what several requests report at one moment goes into the spool
 * together, and each is told when its own is there. What the spool does not take waits here, bounded, and goes with what
 * comes next; what is lost is counted, and told to the spool as soon as it takes something again.
 *
 * The class has the name by which the SDK knows such a binding.
 */

const TAKEN_AT_ONCE = 500;
const WAITING_MOST = 20_000;
/** How long a spool is waited for. */
const ROUND_MOST_MS = 1000;
/** A request that hands over may be cut off: after this long the next one sees to what it left. */
const GIVEN_UP_MS = 5000;

/** @typedef {{ message: string, tried: boolean, kept: boolean }} Entry */
/** @typedef {{ promise: Promise<void>, resolve: () => void, beganMs: number }} Round */

export class WorkerQueue {
  #spool;
  /** @type {Entry[]} */
  #waiting = [];
  #lost = 0;
  /** @type {Round | undefined} the handing over that is under way */
  #round;

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
   * @returns {Promise<void>} settles once the spool has the message, or has failed to take it
   */
  async send(message) {
    if (this.#waiting.length >= WAITING_MOST) {
      this.#lost += 1;
      return;
    }
    const entry = { message, tried: false, kept: false };
    this.#waiting.push(entry);
    // One that is under way may have left without it; then one of those that waited sees to the next.
    while (!entry.tried) await (this.#underWay() ?? this.#lead());
  }

  #underWay() {
    const round = this.#round;
    if (!round || performance.now() - round.beganMs < GIVEN_UP_MS) return round?.promise;
    this.#end(round);
    return undefined;
  }

  async #lead() {
    /** @type {PromiseWithResolvers<void>} */
    const { promise, resolve } = Promise.withResolvers();
    const round = { promise, resolve, beganMs: performance.now() };
    this.#round = round;
    await this.#hand();
    this.#end(round);
  }

  /** @param {Round} round */
  #end(round) {
    if (this.#round === round) this.#round = undefined;
    round.resolve();
  }

  /** What is handed over leaves only when the spool has it: twice is once to the origin, which knows each by its number. */
  async #hand() {
    const taken = this.#waiting.slice(0, TAKEN_AT_ONCE);
    const lost = this.#lost;
    const messages = taken.map(({ message }) => message);
    try {
      const late = scheduler.wait(ROUND_MOST_MS).then(() => Promise.reject(new Error("it does not answer")));
      await Promise.race([this.#spool().add(messages, lost), late]);
      for (const entry of taken) entry.kept = true;
      this.#waiting = this.#waiting.filter(({ kept }) => !kept);
      this.#lost = Math.max(0, this.#lost - lost);
      for (const entry of taken) entry.tried = true;
    } catch (error) {
      console.error(`the spool does not take events: ${/** @type {Error} */ (error).message}`);
      // Nobody waits for a spool that takes nothing, also not those whose turn would have come later.
      for (const entry of this.#waiting) entry.tried = true;
    }
  }
}
