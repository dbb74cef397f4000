/** What an offer looks like now: pure decisions over the view, the stock, this viewer's claims and the time. */

import { countdown, say } from "./texts.js";

/** @typedef {import("./types.js").Offer} Offer */
/** @typedef {import("./types.js").Saved} Saved */
/** @typedef {import("./types.js").Stock} Stock */
/** @typedef {import("./types.js").View} View */

/** From this age on, a count is shown with its age. */
const OLD_MS = 5000;

const STOCK_KEYS = { available: "left", low: "left", last: "last_one", sold_out: "sold_out", unknown: "stock_unknown" };

/**
 * @param {Offer} offer
 * @param {number} at the server's time, ms
 */
export const isOpen = ({ opens_at_ms, closes_at_ms }, at) => at >= opens_at_ms && at < closes_at_ms;

/**
 * @param {View} view
 * @param {number} sinceMs
 * @param {number} at
 */
export const ageText = (view, sinceMs, at) => say(view, "not_fresh", Math.round((at - sinceMs) / 1000));

/**
 * @param {View} view
 * @param {Offer} offer
 * @param {Stock} stock
 * @param {Saved[]} mine this viewer's claims of this offer, the newest first
 * @param {boolean} busy whether one of them is on its way
 * @param {number} at
 * @returns {{label: string, enabled: boolean, facts: string[]}}
 */
export const standing = (view, offer, stock, mine, busy, at) => {
  const open = isOpen(offer, at);
  const left = say(view, STOCK_KEYS[stock.state], stock.remaining);
  const soldOut = stock.state === "sold_out";
  const full = mine.filter(({ settled }) => settled).length >= offer.max_quantity;
  const ends = open && !soldOut && view.messages.closes;
  const label = () => {
    if (busy) return say(view, "claiming");
    if (full) return say(view, "settled");
    if (at < offer.opens_at_ms) return say(view, "opens", countdown(offer.opens_at_ms - at));
    if (!open) return say(view, "closed");
    if (soldOut) return left;
    return mine[0]?.state === "tapped" ? say(view, "try_again") : offer.action;
  };
  const said = label();
  return {
    label: said,
    enabled: open && !(soldOut || busy || full),
    facts: [
      offer.price.text,
      said === left ? "" : left,
      stock.remaining && at - stock.as_of_ms > OLD_MS ? ageText(view, stock.as_of_ms, at) : "",
      ends ? say(view, "closes", countdown(offer.closes_at_ms - at)) : "",
    ],
  };
};
