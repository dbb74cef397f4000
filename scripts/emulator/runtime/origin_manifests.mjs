/**
 * The key-value binding `MANIFESTS` of a node that stands alone: manifests are read from the origin over HTTP.
 *
 * An answer is fresh for as long as it says, is asked for again by its entity tag, and stands in for a failing origin for
 * as long as it may (RFC 5861): after a restart too, for what is good is also on the shelf. An answer that is no JSON
 * document is a failing origin. The class has the name by which the SDK knows such a binding.
 */

import { lifetime } from "./freshness.mjs";

const KEY_PREFIX = "manifest/";
const PATH = "/v1/edge/manifests/";
const TIMEOUT_MS = 1000;
const KEPT_BYTES_MOST = 16 * 1024 ** 2;
const OVERHEAD_BYTES = 512;
/** How far what the shelf knows of a manifest that has not changed may be behind. */
const SHELVED_FOR_MS = 600_000;
const CUT_OFF = Symbol("cut off");

/** @typedef {{ text: string, tag: string, freshUntilMs: number, usableUntilMs: number, shelvedUntilMs: number }} Kept */
/** @typedef {import("./manifest_shelf.mjs").Shelved} Shelved */
/** @typedef {{ all: () => Promise<Shelved[]>, put: (manifest: Shelved) => Promise<unknown>, remove: (clips: string[]) => Promise<unknown> }} Shelf */

/** @param {Kept} kept */
const weigh = ({ text }) => 2 * text.length + OVERHEAD_BYTES;

/** @param {string} text */
function isDocument(text) {
  try {
    return typeof JSON.parse(text) === "object";
  } catch {
    return false;
  }
}

export class KvNamespace {
  #originUrl;
  #shelf;
  /** @type {Map<string, Kept>} the longest not asked about first */
  #kept = new Map();
  #bytes = 0;
  /** @type {Map<string, { told: Promise<string | null | undefined>, beganMs: number }>} by clip */
  #asking = new Map();
  #isRestored = false;

  /**
   * @param {string} originUrl
   * @param {() => Shelf} shelf gives a stub for this request
   */
  constructor(originUrl, shelf) {
    this.#originUrl = originUrl.replace(/\/+$/, "");
    this.#shelf = shelf;
  }

  /** How many clips it remembers, and what they weigh. */
  get size() {
    return { entries: this.#kept.size, bytes: this.#bytes };
  }

  /**
   * @param {string} key
   * @returns {Promise<string | null>} the manifest, nothing when the origin knows none
   */
  async get(key) {
    const clip = key.slice(KEY_PREFIX.length);
    if (!this.#isRestored) await this.#restore();
    const kept = this.#kept.get(clip);
    if (kept && Date.now() < kept.freshUntilMs) return kept.text;
    const told = await this.#askOnce(clip, kept);
    if (told !== undefined) return told;
    if (kept && Date.now() < kept.usableUntilMs) return kept.text;
    throw new Error("the origin does not answer");
  }

  /**
   * A clip that many want at once is asked for once; by another one if the request that asks is cut off.
   *
   * @param {string} clip
   * @param {Kept | undefined} kept
   */
  async #askOnce(clip, kept) {
    const asked = this.#asking.get(clip);
    if (asked && performance.now() - asked.beganMs < TIMEOUT_MS) {
      const told = await Promise.race([asked.told, scheduler.wait(TIMEOUT_MS).then(() => CUT_OFF)]);
      if (told !== CUT_OFF) return /** @type {string | null | undefined} */ (told);
    }
    const mine = { told: this.#ask(clip, kept), beganMs: performance.now() };
    this.#asking.set(clip, mine);
    try {
      return await mine.told;
    } finally {
      if (this.#asking.get(clip) === mine) this.#asking.delete(clip);
    }
  }

  /**
   * @param {string} clip
   * @param {Kept | undefined} kept
   * @returns {Promise<string | null | undefined>} nothing at all when the origin is away
   */
  async #ask(clip, kept) {
    const { response, text } = (await this.#fetch(clip, kept?.tag)) ?? {};
    if (response?.status === 200 && isDocument(text ?? "")) return this.#keep(clip, text ?? "", response);
    if (response?.status === 304 && kept) return this.#keep(clip, kept.text, response);
    if (response?.status !== 404) return undefined;
    if (kept) await this.#forget([clip]);
    return null;
  }

  /**
   * @param {string} clip
   * @param {string | undefined} tag
   */
  async #fetch(clip, tag) {
    try {
      const response = await fetch(`${this.#originUrl}${PATH}${encodeURIComponent(clip)}`, {
        headers: { accept: "application/json", ...(tag && { "if-none-match": tag }) },
        redirect: "manual",
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      return { response, text: await response.text() };
    } catch {
      return undefined; // It is away, or too slow: what is kept has to do.
    }
  }

  /**
   * @param {string} clip
   * @param {string} text
   * @param {Response} response
   */
  async #keep(clip, text, response) {
    const life = lifetime(response.headers.get("cache-control") ?? "") ?? { freshS: 0, staleIfErrorS: 0 };
    const nowMs = Date.now();
    const freshUntilMs = nowMs + life.freshS * 1000;
    const usableUntilMs = freshUntilMs + life.staleIfErrorS * 1000;
    const former = this.#kept.get(clip);
    const tag = response.headers.get("etag") ?? "";
    const isShelved = former?.text === text && nowMs < former.shelvedUntilMs;
    const shelvedUntilMs = isShelved ? former.shelvedUntilMs : nowMs + SHELVED_FOR_MS;
    this.#remember(clip, { text, tag, freshUntilMs, usableUntilMs, shelvedUntilMs });
    if (!isShelved) await this.#tell((shelf) => shelf.put({ clip, text, tag, usableUntilMs }));
    await this.#forget(this.#tooMany());
    return text;
  }

  /** Which are to be forgotten, so that the others weigh little enough. */
  #tooMany() {
    const clips = [];
    let bytes = this.#bytes;
    for (const [clip, kept] of this.#kept) {
      if (bytes <= KEPT_BYTES_MOST) break;
      bytes -= weigh(kept);
      clips.push(clip);
    }
    return clips;
  }

  /** @param {string[]} clips */
  async #forget(clips) {
    for (const clip of clips) this.#drop(clip);
    if (clips.length) await this.#tell((shelf) => shelf.remove(clips));
  }

  /** What the shelf has is known from now on, and asked about before it is used. */
  async #restore() {
    await this.#tell(async (shelf) => {
      for (const { clip, ...shelved } of await shelf.all())
        if (!this.#kept.has(clip)) this.#remember(clip, { ...shelved, freshUntilMs: 0, shelvedUntilMs: 0 });
      this.#isRestored = true;
    });
  }

  /** @param {(shelf: Shelf) => Promise<unknown>} work without which the node goes on, until it is started again */
  async #tell(work) {
    try {
      await work(this.#shelf());
    } catch (error) {
      console.error(`the shelf of manifests does not answer: ${/** @type {Error} */ (error).message}`);
    }
  }

  /**
   * @param {string} clip
   * @param {Kept} kept
   */
  #remember(clip, kept) {
    this.#drop(clip);
    this.#kept.set(clip, kept);
    this.#bytes += weigh(kept);
  }

  /** @param {string} clip */
  #drop(clip) {
    const kept = this.#kept.get(clip);
    if (!kept) return;
    this.#kept.delete(clip);
    this.#bytes -= weigh(kept);
  }
}
