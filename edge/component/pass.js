/** A pass on the screen: its QR code, what to type where there is no camera, and where and when. */

import { make } from "./cliptill-overlay.js";

/** @typedef {import("./types.js").Pass} Pass */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, unknown>} attributes
 * @param {Node[]} children
 */
const draw = (tag, attributes, ...children) => {
  const node = document.createElementNS(SVG, tag);
  for (const name in attributes) node.setAttribute(name, `${attributes[name]}`);
  node.append(...children);
  return node;
};

/**
 * @param {Pass} pass
 * @param {string} title what to do with it
 * @param {string | undefined} locale
 */
export const buildPass = ({ code, place, nbf, exp, side, path }, title, locale) => {
  const format = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  // Dark on light whatever the page's colours are: that is what scanners read.
  const picture = draw(
    "svg",
    {
      viewBox: `0 0 ${side} ${side}`,
      width: "100%",
      "shape-rendering": "crispEdges",
      role: "img",
      "aria-label": title,
    },
    draw("path", { fill: "#fff", d: `M0 0h${side}v${side}H0z` }),
    draw("path", { fill: "#000", d: path }),
  );
  const facts = make("p", { class: "facts" });
  facts.append(make("b", {}, new Text(code)), new Text(`${place} · ${format.formatRange(nbf * 1000, exp * 1000)}`));
  return make("details", { class: "pass" }, make("summary", {}, new Text(title)), picture, facts);
};
