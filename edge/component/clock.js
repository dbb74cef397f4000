/** The server's clock, estimated: viewers' devices are often minutes off. */

let offsetMs = 0;

/** @returns {number} the server's time now, in milliseconds since 1970 */
export const now = () => Date.now() + offsetMs;

/**
 * Learn from an answer that tells the server's time.
 *
 * @param {number} serverMs
 * @param {number} sentMs by this device's clock, when the request left
 */
export const learn = (serverMs, sentMs) => {
  offsetMs = Math.round(serverMs - (sentMs + Date.now()) / 2);
};
