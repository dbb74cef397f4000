/** Where the overlay comes from: the personal one from the edge; the shared one from the CDN's cache while that is not there. */

import { learn } from "./clock.js";
import { ask, backoff, passing, pause, spread } from "./net.js";

/** @typedef {import("./types.js").View} View */

/**
 * @typedef {object} Follower
 * @property {(view: View) => void} show
 * @property {(code?: string) => void} doubt what is shown may be out of date; with a code when asking just failed
 */

/** When the personal overlay takes longer, the shared one is shown. */
const SHARED_AFTER_MS = 100;
/** A shared overlay that stays longer than this is called not fresh. */
const DOUBT_AFTER_MS = 3000;
const REFRESH_MS = 60_000;

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @param {Follower} follower
 */
export const loadView = async (url, signal, follower) => {
  const sentMs = Date.now();
  const answer = await ask(url, { headers: { Accept: "application/json" }, signal });
  if (answer.status === 200 && !signal.aborted) {
    learn(answer.body.server_time_ms, sentMs);
    follower.show(answer.body);
  }
  return answer;
};

/**
 * @param {string} url
 * @param {AbortSignal} signal
 * @param {Follower} follower
 */
const loadShared = async (url, signal, follower) => {
  const { status, body } = await ask(url, { signal });
  if (status === 200 && !signal.aborted) follower.show(body);
};

/**
 * Fetch the overlay now and from time to time; for ever, because clips go live late and networks return.
 *
 * @param {string} personalUrl
 * @param {string} sharedUrl
 * @param {AbortSignal} signal
 * @param {Follower} follower
 */
export const followView = async (personalUrl, sharedUrl, signal, follower) => {
  let there = false;
  pause(SHARED_AFTER_MS, signal).then(() => {
    if (!there) loadShared(sharedUrl, signal, follower);
  });
  pause(DOUBT_AFTER_MS, signal).then(() => {
    if (!there) follower.doubt();
  });
  for (let failures = 0; ; ) {
    const answer = await loadView(personalUrl, signal, follower);
    if (signal.aborted) return;
    if (answer.status === 200) {
      there = true;
      failures = 0;
    } else {
      if (!there && failures) loadShared(sharedUrl, signal, follower);
      follower.doubt(failures++ ? undefined : (answer.body.code ?? "unreachable"));
    }
    await pause(passing(answer) ? backoff(failures, 30_000) : spread(REFRESH_MS), signal, answer.waitMs);
  }
};
