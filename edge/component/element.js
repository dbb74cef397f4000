/**
 * `<cliptill-overlay clip="…" edge="…">`: an overlay over the video that it wraps.
 *
 * Whatever happens here, the video plays on: the worst case is an overlay that is not there.
 *
 * Attributes: `clip` (its id), `edge` (default: where this script comes from), `locale` and `currency` (default: the viewer's).
 * Events: `cliptill:claim`, `cliptill:pay`, `cliptill:settled`, `cliptill:refused`, `cliptill:error`. They bubble; a receipt is no secret,
 * a claim is, and stays inside.
 */

import { reporter } from "./beacons.js";
import { buildCard } from "./card.js";
import { now } from "./clock.js";
import { backoff, pause } from "./net.js";
import { Stocks } from "./stocks.js";
import { say } from "./texts.js";
import { followView, loadView } from "./views.js";

/** @typedef {import("./types.js").Offer} Offer */
/** @typedef {import("./types.js").View} View */
/** @typedef {typeof import("./cliptill-claims.js")} Wallet */

const SEEN_AFTER_MS = 1000;

/**
 * Fetch what claims need.
 *
 * @param {AbortSignal} signal
 * @returns {Promise<Wallet | undefined>} undefined when stopped
 */
const fetchWallet = async (signal) => {
  const url = new URL("cliptill-claims.js", import.meta.url);
  for (let attempt = 0; !signal.aborted; ) {
    try {
      return await import(url.href);
    } catch {
      // Some browsers remember that an address failed.
      url.search = `${++attempt}`;
      await pause(backoff(attempt, 30_000), signal);
    }
  }
};

/** One clip's overlay at work, until its signal is aborted. */
class Overlay {
  /** @type {View | undefined} */
  #view;
  #fresh = true;
  /** @type {Wallet | undefined} */
  #wallet;
  /** @type {((view: View | undefined) => void) | undefined} */
  #drawShelf;
  /** @type {Promise<void> | undefined} */
  #opening;
  #stocks = new Stocks();
  /** When this overlay's taps were made, by offer. @type {Map<string, number>} */
  #taps = new Map();
  /** Offers tapped before the wallet was open. @type {Set<string>} */
  #waiting = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #ticking;
  #startedMs = performance.now();
  #host;
  #edge;
  #clip;
  #signal;
  #report;
  #card;
  #personalUrl;

  /**
   * @param {HTMLElement} host
   * @param {ShadowRoot} root
   * @param {string} clip
   * @param {string} edge
   * @param {AbortSignal} signal
   */
  constructor(host, root, clip, edge, signal) {
    this.#host = host;
    this.#clip = clip;
    this.#edge = edge;
    this.#signal = signal;
    this.#report = reporter(edge, clip, signal);
    this.#card = buildCard(
      root,
      () => this.#scene(),
      (offer) => this.#tap(offer),
    );
    for (const type of ["pointerover", "focusin"]) this.#card.card.addEventListener(type, () => this.#prepare());
    const wishes = ["locale", "currency"].flatMap((name) =>
      host.getAttribute(name) ? [[name, `${host.getAttribute(name)}`]] : [],
    );
    const path = `/clips/${encodeURIComponent(clip)}/overlay`;
    this.#personalUrl = `${edge}/v1${path}${wishes.length ? `?${new URLSearchParams(wishes)}` : ""}`;
    followView(this.#personalUrl, `${edge}/shared${path}.json`, signal, this);
    this.#stocks.follow(edge, signal, () => this.#view?.offers ?? []);
    this.#awaitSeen();
  }

  /** @returns {import("./card.js").Scene} */
  #scene() {
    const wallet = this.#wallet;
    return {
      edge: this.#edge,
      view: this.#view,
      fresh: this.#fresh,
      claims: wallet?.claims() ?? [],
      busy: (offer, claims) => this.#waiting.has(offer.offer) || claims.some((saved) => wallet?.busy(saved)),
      outcome: (saved) => wallet?.outcome(this.#view, saved, true),
      stockOf: (offer) => this.#stocks.of(offer),
      at: now(),
    };
  }

  async #open() {
    const wallet = await fetchWallet(this.#signal);
    if (!wallet || this.#signal.aborted) return;
    this.#wallet = wallet;
    this.#drawShelf = wallet.buildShelf(this.#card.shelf);
    await wallet.attach(this, this.#signal);
    this.#draw();
  }

  /** Draw, and again within a second, or at the very instant when an offer opens or closes. */
  #draw() {
    clearTimeout(this.#ticking);
    if (this.#signal.aborted) return;
    this.#card.render();
    this.#drawShelf?.(this.#view);
    const instants = this.#view?.offers.flatMap(({ opens_at_ms, closes_at_ms }) => [opens_at_ms, closes_at_ms]) ?? [];
    const ahead = instants.map((instant) => instant - now()).filter((ms) => ms > 0);
    this.#ticking = setTimeout(() => this.#draw(), Math.min(1000, ...ahead));
  }

  /** @param {View} view */
  show(view) {
    if (view.shared && this.#view && !this.#view.shared) return;
    if (!this.#view) this.#time("overlay", this.#startedMs, { detail: view.shared ? "shared" : "personal" });
    if (!view.shared) this.#fresh = true;
    this.#view = view;
    for (const { drop, stock } of view.offers) this.#stocks.take(drop, stock);
    this.#draw();
    this.#opening ??= this.#open();
  }

  /** @param {string} [code] */
  doubt(code) {
    this.#fresh = false;
    if (code) this.#emit("error", { code });
    this.#draw();
    this.#opening ??= this.#open();
  }

  /** A view counts once at least half of the overlay was visible for a second. */
  #awaitSeen() {
    /** @type {ReturnType<typeof setTimeout>} */
    let timer;
    const observer = new IntersectionObserver(
      ([{ isIntersecting }]) => {
        clearTimeout(timer);
        if (isIntersecting) timer = setTimeout(seen, SEEN_AFTER_MS);
      },
      { threshold: 0.5 },
    );
    const seen = () => {
      observer.disconnect();
      if (!this.#signal.aborted) this.#report("view");
    };
    observer.observe(this.#host);
  }

  /** The viewer reaches for the card: make ready what a tap will need. */
  #prepare() {
    if (!this.#view?.offers.length) return;
    this.#wallet?.viewer().catch(() => {});
    this.#wallet?.warm(this.#view.settle_url, this.#signal);
  }

  /** @param {Offer} offer */
  async #tap({ offer, drop, title, price }) {
    this.#taps.set(offer, performance.now());
    this.#waiting.add(offer);
    this.#report("click", { offer });
    this.#card.announce(`${title}: ${say(this.#view, "claiming")}`);
    this.#draw();
    await this.#opening;
    this.#waiting.delete(offer);
    this.#wallet?.tap(this, { edge: this.#edge, clip: this.#clip, offer, drop, title, price });
  }

  /** @type {import("./types.js").Listener["changed"]} */
  changed(saved, what, stock) {
    const { clip, offer, drop, claim_id, code, settled, title, pay } = saved;
    const { run, run_numbers, total_minor, currency, payment, receipt } = settled ?? {};
    if (stock) this.#stocks.take(drop, stock);
    if (what === "refused" && code === "sold_out") this.#stocks.empty(drop);
    this.#draw();
    if (!what) return;
    this.#card.announce(`${title}: ${this.#wallet?.outcome(this.#view, saved)}`);
    if (this.#taps.has(offer)) this.#card.reveal(offer);
    this.#emit(what, {
      clip,
      offer,
      drop,
      claim_id,
      code,
      run,
      run_numbers,
      total_minor,
      currency,
      payment,
      receipt,
      ...pay,
    });
    if (!code) this.#time(`tap_to_${what}`, this.#taps.get(offer), { offer });
    // What was refused is often no longer as it was shown.
    if (what === "refused") loadView(this.#personalUrl, this.#signal, this);
  }

  /**
   * Tell the page around, and count what went wrong.
   *
   * @param {string} type
   * @param {{code?: string, offer?: string, [more: string]: unknown}} detail
   */
  #emit(type, detail) {
    const { code, offer } = detail;
    if (code) this.#report("error", { name: code, offer });
    this.#host.dispatchEvent(new CustomEvent(`cliptill:${type}`, { detail, bubbles: true, composed: true }));
  }

  /**
   * @param {string} name
   * @param {number | undefined} sinceMs undefined: it began on an earlier page
   * @param {object} more
   */
  #time(name, sinceMs, more) {
    if (sinceMs) this.#report("timing", { name, duration_ms: Math.round(performance.now() - sinceMs), ...more });
  }
}

export class CliptillOverlay extends HTMLElement {
  static observedAttributes = ["clip", "edge", "locale", "currency"];

  #root = this.attachShadow({ mode: "open" });
  #life = new AbortController();

  connectedCallback() {
    this.#life.abort();
    this.#life = new AbortController();
    const { signal } = this.#life;
    // Several attributes are often set at once: one start for all.
    queueMicrotask(() => {
      const clip = this.getAttribute("clip");
      const edge = this.getAttribute("edge") || new URL(import.meta.url).origin;
      if (clip && !signal.aborted) new Overlay(this, this.#root, clip, edge.replace(/\/$/, ""), signal);
    });
  }

  disconnectedCallback() {
    this.#life.abort();
  }

  attributeChangedCallback() {
    if (this.isConnected) this.connectedCallback();
  }
}
