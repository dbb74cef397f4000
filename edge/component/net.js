/**
 * Requests that end: each has a time limit, stops with its owner, and never throws.
 *
 * An answer that is not JSON is not ours (a captive portal, a proxy's error page) and counts as no answer.
 */

import { learn, now } from "./clock.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {RequestInit & {signal: AbortSignal, timeoutMs?: number}} Options */

/**
 * Run `work` under a time limit and its owner's signal.
 *
 * @template T
 * @param {Options} options
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T | undefined>} undefined when it failed, timed out or was stopped
 */
export const bounded = async ({ signal, timeoutMs = 8000 }, work) => {
  const inner = new AbortController();
  const stop = () => inner.abort();
  const timer = setTimeout(stop, timeoutMs);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  try {
    return await work(inner.signal);
  } catch {
    return undefined;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stop);
  }
};

/**
 * @param {string} url
 * @param {Options} options as of fetch, and a time limit
 * @returns {Promise<Answer>}
 */
export const ask = async (url, options) => {
  const sentMs = Date.now();
  const answer = await bounded(options, async (signal) => {
    const response = await fetch(url, { credentials: "omit", ...options, signal });
    const date = Date.parse(response.headers.get("date") ?? "");
    // A proof was refused, perhaps for its time. Whole seconds are told, so small differences mean nothing.
    if (response.status === 401 && Math.abs(date - now()) > 3000) learn(date + 500, sentMs);
    const after = response.headers.get("retry-after");
    const waitMs = after ? Number(after) * 1000 || Date.parse(after) - now() || 0 : 0;
    const body = await response.json();
    return { status: response.status, body, waitMs: waitMs || body.retry_after_s * 1000 || 0 };
  });
  return answer ?? { status: 0, body: {}, waitMs: 0 };
};

/**
 * @param {Answer} answer
 * @returns {boolean} whether asking again makes sense
 */
export const passing = ({ status, waitMs }) =>
  !status || status >= 500 || status === 408 || status === 429 || waitMs > 0;

/**
 * Wait. Coming back online or into view ends it early, unless the server asked for the time.
 *
 * @param {number} ms
 * @param {AbortSignal} signal
 * @param {number} [askedMs] the least time, asked for by the server
 * @returns {Promise<void>}
 */
export const pause = (ms, signal, askedMs = 0) =>
  new Promise((resolve) => {
    const over = new AbortController();
    const done = () => {
      clearTimeout(timer);
      over.abort();
      resolve();
    };
    const timer = setTimeout(done, askedMs + ms);
    signal.addEventListener("abort", done, over);
    if (signal.aborted) done();
    if (askedMs) return;
    addEventListener("online", done, over);
    document.addEventListener("visibilitychange", () => document.hidden || done(), over);
  });

/**
 * Exponential backoff with full jitter.
 *
 * @param {number} attempt from 0
 * @param {number} capMs
 * @returns {number} milliseconds
 */
export const backoff = (attempt, capMs) => 50 + Math.random() * Math.min(capMs, 400 * 2 ** attempt);

/**
 * A period that keeps thousands of viewers out of step, and hidden pages quiet.
 *
 * @param {number} ms
 * @returns {number} milliseconds
 */
export const spread = (ms) => ms * (0.75 + Math.random() / 2) * (document.hidden ? 15 : 1);
