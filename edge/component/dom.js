/** Building and changing elements without markup strings: nothing here needs a Trusted Types policy. */

/**
 * @template T
 * @typedef {{node: HTMLElement, render: (item: T) => void}} Row
 */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, string>} [attributes]
 * @param {Node[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const name in attributes) node.setAttribute(name, attributes[name]);
  node.append(...children);
  return node;
};

/**
 * Set a text where it differs, so that nothing is drawn or announced twice; an empty one hides its element.
 *
 * @param {HTMLElement} node
 * @param {string | undefined} text
 */
export const put = (node, text = "") => {
  if (node.textContent !== text) node.textContent = text;
  node.hidden = !text;
};

/**
 * Make `parent` hold one child for each item: same key, same element, so focus and scrolling stay.
 *
 * @template T
 * @param {HTMLElement} parent
 * @param {Map<string, Row<T>>} rows kept between calls
 * @param {T[]} items
 * @param {(item: T) => string} keyOf
 * @param {(item: T) => Row<T>} create
 */
export const list = (parent, rows, items, keyOf, create) => {
  const wanted = new Map(items.map((item) => [keyOf(item), item]));
  for (const [key, { node }] of rows) if (!wanted.has(key) && rows.delete(key)) node.remove();
  let place = parent.firstElementChild;
  for (const [key, item] of wanted) {
    const row = rows.get(key) ?? create(item);
    rows.set(key, row);
    // Moving an element would take its focus: only what is out of place moves.
    if (row.node === place) place = place.nextElementSibling;
    else parent.insertBefore(row.node, place);
    row.render(item);
  }
};

/**
 * @param {string} url
 * @param {string} base
 * @returns {string} absolute, and of the web; else empty
 */
export const webAddress = (url, base) => {
  try {
    const { href } = new URL(url, base);
    return /^https?:/.test(href) ? href : "";
  } catch {
    return "";
  }
};
