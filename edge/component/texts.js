/**
 * The overlay's words are the view's `messages`, in the viewer's language, by key or problem code.
 */

/** @typedef {import("./types.js").View} View */

/**
 * @param {View | undefined} view
 * @param {string} key
 * @param {unknown} [value] fills in the placeholder
 * @param {string} [otherwise] what to say without a message; by itself a key reads almost as English
 */
export const say = (view, key, value, otherwise = key.replaceAll("_", " ")) =>
  (view?.messages[key] ?? otherwise).replace(/\{\w+\}/, `${value}`);

/**
 * @param {number} ms
 * @returns {string} hours, minutes and seconds: 00:04:59
 */
export const countdown = (ms) => {
  const s = Math.ceil(ms / 1000);
  return [s / 3600, (s / 60) % 60, s % 60].map((part) => `${Math.floor(part)}`.padStart(2, "0")).join(":");
};
