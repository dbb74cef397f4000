/**
 * What the overlay reports: views, clicks, errors and timings, in batches that never hold anything up.
 *
 * Nothing in them tells one viewer from another. What could not be sent is kept within limits, and counted beyond.
 */

import { now } from "./clock.js";

/** The edge takes 50 events in a batch; one place is for telling what was lost. */
const MAX_KEPT = 49;
const EVERY_MS = 5000;

/**
 * @param {string} edge
 * @param {string} clip
 * @param {AbortSignal} signal
 * @returns {(type: "view" | "click" | "error" | "timing", fields?: {offer?: string, name?: string, duration_ms?: number, detail?: string}) => void}
 */
export const reporter = (edge, clip, signal) => {
  /** @type {object[]} */
  let events = [];
  let lost = 0;
  const flush = () => {
    if (!events[0] || !navigator.onLine) return;
    const last = lost ? [{ type: "error", at_ms: now(), name: "beacon_lost", detail: `${lost}` }] : [];
    if (navigator.sendBeacon?.(`${edge}/v1/events`, JSON.stringify({ clip, events: [...events, ...last] }))) {
      events = [];
      lost = 0;
    }
  };
  const timer = setInterval(flush, EVERY_MS);
  // Also when the page is left: it is hidden first.
  document.addEventListener("visibilitychange", flush, { signal });
  signal.addEventListener("abort", () => {
    clearInterval(timer);
    flush();
  });
  return (type, fields) => {
    if (events.length < MAX_KEPT) events.push({ type, at_ms: now(), ...fields });
    else lost++;
  };
};
