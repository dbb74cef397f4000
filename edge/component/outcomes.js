/** What became of a viewer's taps, in words: beside the offer, and in the list of all claims. */

import { list, make, put, say, webAddress } from "./cliptill-overlay.js";
import { buildPass } from "./pass.js";
import { kept } from "./store.js";
import { busy, claims } from "./wallet.js";

/** @typedef {import("./types.js").Saved} Saved */
/** @typedef {import("./types.js").View} View */

/** For claims that are shown without an overlay, and for edges that have no words for a code. @type {Record<string, string>} */
const ENGLISH = {
  your_claims: "Your claims",
  not_kept: "This browser keeps nothing: your claim lasts until you close this page.",
  claiming: "One moment…",
  settling: "Your claim is in. We are confirming it…",
  retrying: "Still trying…",
  offline: "You are offline. We keep your claim and go on by ourselves.",
  settled: "It is yours.",
  number: "No. {n}",
  pay_at_pickup: "Pay {price} when you pick it up.",
  held: "Held for you: pay {price} to keep it.",
  pay: "Pay {price}",
  credit_too_low: "You have not enough credit for this.",
  hold_lapsed: "The time to pay is over.",
  pass: "Show this at pickup",
  failed: "That did not work.",
  not_admitted_yet: "Many people tapped at once. We keep trying for you.",
  missed: "Somebody was a moment faster: none are left. You were not charged.",
  cap_reached: "You already have as many as one person may have.",
  drop_not_open: "It has not opened yet.",
  drop_closed: "It has closed.",
  claim_expired: "This took too long. You were not charged; please tap again.",
  price_changed: "The price has changed. Have a look, and tap again.",
  no_key: "Claims need a secure page (https).",
};

/**
 * @param {View | undefined} view
 * @param {string} key
 * @param {unknown} [value]
 */
const tell = (view, key, value) => {
  const english = !view || view.locale.startsWith("en");
  return say(view, key, value, (english && ENGLISH[key]) || say(view, "failed", "", ENGLISH.failed));
};

/**
 * @param {View | undefined} view
 * @param {Saved} saved
 * @returns {string} the receipt in short: run numbers, and what is due at pickup
 */
const receipt = (view, { settled, price }) => {
  const numbers = settled?.run_numbers.map((number) => tell(view, "number", number)) ?? [];
  const due = settled?.payment === "at_pickup" ? [tell(view, "pay_at_pickup", price.text)] : [];
  return [...numbers, ...due].join(" · ");
};

/**
 * @param {View | undefined} view
 * @param {Saved} saved
 * @param {boolean} [beside] beside an offer whose button says already that it is settled
 * @returns {string}
 */
export const outcome = (view, saved, beside) => {
  const { state, code } = saved;
  if (state === "settled") return beside ? receipt(view, saved) : `${tell(view, "settled")} ${receipt(view, saved)}`;
  if (state === "refused") return tell(view, code === "sold_out" ? "missed" : `${code}`);
  if (!navigator.onLine) return tell(view, "offline");
  // The words for a crowd say that we go on trying: no longer, once it is the viewer's turn again.
  if (code === "not_admitted_yet" && !busy(saved)) return tell(view, "failed");
  if (state === "tapped") return tell(view, code ?? "claiming");
  if (saved.pay) return tell(view, "held", saved.price.text);
  return tell(view, code ?? "settling");
};

/**
 * Build the list of all claims, which is there even when no overlay is.
 *
 * @param {HTMLElement} place
 * @returns {(view: View | undefined) => void} draws it
 */
export const buildShelf = (place) => {
  const summary = make("summary");
  const items = make("ul");
  const note = make("p");
  /** @type {Map<string, import("./dom.js").Row<Saved>>} */
  const rows = new Map();
  /** @type {View | undefined} */
  let shown;
  const shelf = make("details", {}, summary, items, note);
  place.append(shelf);
  return (view) => {
    const all = claims();
    const create = () => {
      const text = make("p");
      const link = make("a", { target: "_blank", rel: "noopener" });
      const node = make("li", {}, text, link);
      /** @param {Saved} saved */
      const render = (saved) => {
        put(text, `${saved.title}: ${outcome(shown, saved)}`);
        const page = saved.pay ? webAddress(saved.pay.pay_at, saved.edge) : "";
        if (page && link.href !== page) {
          link.href = page;
          shelf.open = true;
        }
        put(link, page && tell(shown, "pay", saved.price.text));
        if (saved.pass && !link.nextSibling) node.append(buildPass(saved.pass, tell(shown, "pass"), shown?.locale));
      };
      return { node, render };
    };
    shown = view;
    place.hidden = !all.length;
    put(summary, `${tell(view, "your_claims")} (${all.length})`);
    put(note, kept() ? "" : tell(view, "not_kept"));
    list(items, rows, all, ({ id }) => id, create);
  };
};
