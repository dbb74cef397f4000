/** The part that only claims need: fetched once the overlay is drawn, so that it never delays it. One for all overlays of a page. */

export { viewer } from "./keys.js";
export { buildShelf, outcome } from "./outcomes.js";
export { warm } from "./settling.js";
export { attach, busy, claims, tap } from "./wallet.js";
