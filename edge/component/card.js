/** The card over the video: built once, changed in place, so that a swap of views keeps focus and scrolling. */

import { list, make, put, webAddress } from "./dom.js";
import { ageText, standing } from "./offers.js";
import { sheet } from "./styles.js";

/** @typedef {import("./types.js").Offer} Offer */
/** @typedef {import("./types.js").Saved} Saved */
/** @typedef {import("./types.js").Stock} Stock */
/** @typedef {import("./types.js").View} View */

/**
 * @typedef {object} Scene All that the card shows.
 * @property {string} edge
 * @property {View | undefined} view
 * @property {boolean} fresh
 * @property {Saved[]} claims the newest first
 * @property {(offer: Offer, claims: Saved[]) => boolean} busy
 * @property {(saved: Saved) => string | undefined} outcome
 * @property {(offer: Offer) => Stock} stockOf
 * @property {number} at
 */

const LOW_EM = 21;

let rows = 0;

/**
 * @param {() => Scene} scene
 * @param {(offer: Offer) => void} tap
 * @returns {import("./dom.js").Row<Offer>}
 */
const offerRow = (scene, tap) => {
  const id = `o${rows++}`;
  const image = make("img", { alt: "", loading: "lazy" });
  const title = make("h3", { id });
  const description = make("p");
  const facts = [make("b"), make("span"), make("span"), make("span")];
  const button = make("button", { id: `${id}b`, "aria-labelledby": `${id}b ${id}` });
  const note = make("p");
  /** @type {Offer} */
  let shown;
  let enabled = false;
  image.onerror = () => image.remove();
  button.onclick = () => enabled && tap(shown);
  return {
    node: make(
      "li",
      {},
      image,
      make("div", {}, title, description, make("p", { class: "facts" }, ...facts)),
      button,
      note,
    ),
    render: (offer) => {
      const { edge, view, claims, busy, outcome, stockOf, at } = scene();
      const mine = claims.filter((saved) => saved.drop === offer.drop && saved.offer === offer.offer);
      const stock = stockOf(offer);
      const waits = busy(offer, mine);
      const now = standing(/** @type {View} */ (view), offer, stock, mine, waits, at);
      shown = offer;
      enabled = now.enabled;
      const source = offer.image ? webAddress(offer.image, edge) : "";
      image.hidden = !source;
      if (image.src !== source) image.src = source;
      put(title, offer.title);
      put(description, offer.description);
      for (const [index, fact] of facts.entries()) put(fact, now.facts[index]);
      facts[1].dataset.version = `${stock.version}`;
      put(button, now.label);
      button.ariaDisabled = `${!enabled}`;
      button.ariaBusy = `${waits}`;
      put(note, mine[0] && outcome(mine[0]));
      note.className = mine[0]?.state;
    },
  };
};

/**
 * Build the card into a shadow root.
 *
 * @param {ShadowRoot} root
 * @param {() => Scene} scene what is to be shown, asked for at each `render`
 * @param {(offer: Offer) => void} tap
 */
export const buildCard = (root, scene, tap) => {
  const slot = make("slot");
  const fold = make("button", { "aria-expanded": "true" });
  const stale = make("p");
  const offers = make("ul");
  const shelf = make("div");
  const links = make("nav");
  const body = make("div", {}, stale, offers, shelf, links);
  const status = make("p", { role: "status" });
  const card = make("section", { part: "card" }, make("h2", {}, fold), body, status);
  card.hidden = true;
  root.adoptedStyleSheets = [sheet()];
  root.replaceChildren(slot, card);
  fold.onclick = () => {
    body.hidden = !body.hidden;
    fold.ariaExpanded = `${!body.hidden}`;
  };
  // A video that is low, for the size of its viewer's text, would vanish behind the card: there it goes below.
  const place = () => {
    const [video] = slot.assignedElements();
    const low = video?.clientHeight < LOW_EM * Number.parseFloat(getComputedStyle(card).fontSize);
    card.classList.toggle("below", low);
  };
  const size = new ResizeObserver(place);
  slot.onslotchange = () => {
    for (const node of slot.assignedElements()) size.observe(node);
  };
  const offerRows = new Map();
  const linkRows = new Map();
  return {
    card,
    shelf,
    /** @param {string} text */
    announce: (text) => {
      status.textContent = text;
    },
    /** Have what became of a tap seen where the card scrolls; the page around stays. @param {string} offer */
    reveal: (offer) => {
      const bottom = offerRows.get(offer)?.node.getBoundingClientRect().bottom;
      card.scrollBy(0, Math.max(0, bottom - card.getBoundingClientRect().bottom) || 0);
    },
    render: () => {
      const { edge, view, fresh, claims, at } = scene();
      const focused = root.activeElement;
      place();
      card.hidden = !view?.offers.length && !claims.length;
      card.lang = view?.locale ?? "en";
      card.dir = view?.dir ?? "";
      put(fold, view?.title ?? "Cliptill");
      card.ariaLabel = fold.textContent;
      put(stale, fresh || !view ? "" : ageText(view, view.server_time_ms, at));
      slot.className = card.hidden ? "" : "over";
      list(
        offers,
        offerRows,
        view?.offers ?? [],
        ({ offer }) => offer,
        () => offerRow(scene, tap),
      );
      list(
        links,
        linkRows,
        view?.links ?? [],
        ({ href }) => href,
        ({ href }) => {
          const node = make("a", { href: webAddress(href, edge), target: "_blank" });
          return { node, render: ({ text }) => put(node, text) };
        },
      );
      if (focused && !focused.isConnected) fold.focus();
    },
  };
};
