/** Claims in JavaScript: the same inputs checked, the same token, signed with WebCrypto. */

import { chooseCurrency } from "./choosing.mjs";
import { Reports } from "./reports.mjs";

const BODY_BYTES_MOST = 4096;
const CLAIMS_MOST = 2048;
const LATE_MS = 5000;
const IDENTIFIER = /^[a-z0-9][a-z0-9-]{0,62}$/;
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;
const TAP = /^[A-Za-z0-9_-]{22,64}$/;
const CURRENCY = /^[A-Z]{3}$/;
const FIELDS = new Set(["clip", "offer", "viewer", "idempotency_key", "quantity", "currency"]);
const TYPES = new Set(["application/json", "text/plain"]);
const ENCODER = new TextEncoder();

/** @typedef {import("./javascript.mjs").Place} Place */
/** @typedef {import("./javascript.mjs").Refusal} Refusal */
/** @typedef {{ clip: string, offer: string, viewer: string, idempotency_key: string, quantity: number, currency: string | null }} Tap */

/** @param {number} status @param {string} code @returns {Refusal} */
const refuse = (status, code) => ({ status, code });

/** @param {ArrayBuffer | Uint8Array} bytes */
const base64url = (bytes) => Buffer.from(/** @type {any} */ (bytes)).toString("base64url");

/** @param {string} text */
function read(text) {
  if (text.length > BODY_BYTES_MOST) return refuse(413, "body_too_large");
  let tap;
  try {
    tap = JSON.parse(text);
  } catch {
    return refuse(400, "malformed_json");
  }
  if (typeof tap !== "object" || tap === null) return refuse(422, "invalid_field");
  for (const name in tap) if (!FIELDS.has(name)) return refuse(422, "unknown_field");
  const { clip, offer, viewer, idempotency_key, quantity = 1, currency = null } = tap;
  const good =
    matches(IDENTIFIER, clip) &&
    matches(IDENTIFIER, offer) &&
    matches(THUMBPRINT, viewer) &&
    matches(TAP, idempotency_key) &&
    Number.isInteger(quantity) &&
    quantity >= 1 &&
    quantity <= 100 &&
    (currency === null || matches(CURRENCY, currency));
  return good ? { clip, offer, viewer, idempotency_key, quantity, currency } : refuse(422, "invalid_field");
}

/** @param {RegExp} pattern @param {unknown} value */
const matches = (pattern, value) => typeof value === "string" && pattern.test(value);

/** @param {string[]} fields */
function framed(fields) {
  const parts = fields.flatMap((field) => {
    const bytes = Buffer.from(field);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  });
  return Buffer.concat(parts);
}

export class Claims {
  #caches;
  #env;
  #header;
  #key;
  #reports;
  /** @type {Map<string, { body: string, asked: string, expiresAtMs: number }>} */
  #given = new Map();

  /**
   * @param {import("./caches.mjs").Caches} caches
   * @param {{ send: (message: string) => Promise<void> }} queue
   * @param {any} env
   */
  constructor(caches, queue, env) {
    this.#caches = caches;
    this.#reports = new Reports(queue);
    this.#env = env;
    const [kid, secret] = env.CLAIM_KEYS.split(",")[0].split(":");
    this.#header = base64url(ENCODER.encode(JSON.stringify({ alg: "HS256", typ: "claim+jwt", kid })));
    const raw = Buffer.from(secret, "base64url");
    this.#key = crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  }

  /**
   * @param {string} text
   * @param {string} type
   * @param {Place} place
   * @param {ExecutionContext} ctx
   * @returns {Promise<string | Refusal>} the answer's body
   */
  async give(text, type, place, ctx) {
    if (!TYPES.has(type.split(";", 1)[0].trim().toLowerCase())) return refuse(415, "unsupported_media_type");
    const tap = read(text);
    if ("code" in tap) return tap;
    const found = this.#caches.manifest(tap.clip);
    const manifest = found instanceof Promise ? await found : found;
    if (!manifest) return refuse(404, "clip_unknown");
    const offer = manifest.offers.find((/** @type {any} */ one) => one.offer === tap.offer);
    if (!offer) return refuse(404, "offer_unknown");
    const stock = await this.#caches.stock(manifest.offers.map((/** @type {any} */ one) => one.terms.drop));
    if (tap.currency && !offer.prices.some((/** @type {any} */ price) => price.currency === tap.currency))
      return refuse(422, "currency_not_offered");
    const id = await this.#idOf(offer.terms.drop, tap);
    const currency = chooseCurrency(tap.currency ?? "", place.country, offer.prices);
    const asked = `${tap.clip}/${tap.offer}/${tap.quantity}/${currency}`;
    const nowMs = Date.now();
    const repeated = this.#given.get(id);
    if (repeated && repeated.expiresAtMs > nowMs)
      return repeated.asked === asked ? repeated.body : refuse(409, "idempotency_conflict");
    const snapshot = stock.get(offer.terms.drop)?.value;
    const refusal = admit(offer.terms, snapshot, tap.quantity, nowMs);
    if (refusal) return refusal;
    return this.#sign(
      { id, tap, manifest, offer, currency, asked, place, nowMs, version: snapshot?.version ?? 0 },
      ctx,
    );
  }

  /** @param {string} drop @param {Tap} tap */
  async #idOf(drop, { viewer, idempotency_key }) {
    const digest = await crypto.subtle.digest(
      "SHA-256",
      framed(["cliptill claim id 1", drop, viewer, idempotency_key]),
    );
    return base64url(new Uint8Array(digest, 0, 16));
  }

  /** @param {any} decided @param {ExecutionContext} ctx */
  async #sign({ id, tap, manifest, offer, currency, asked, place, nowMs, version }, ctx) {
    const nowS = Math.floor(nowMs / 1000);
    const { drop, run, sku, mode } = offer.terms;
    const unit = offer.prices.find((/** @type {any} */ price) => price.currency === currency).amount_minor;
    const line = { sku, quantity: tap.quantity, unit_minor: unit };
    const expiresS = nowS + (manifest.claim_ttl_s ?? 300);
    const claim = {
      iss: this.#env.ISSUER,
      aud: this.#env.ORIGIN_URL,
      cnf: { jkt: tap.viewer },
      jti: id,
      iat: nowS,
      nbf: nowS,
      exp: expiresS,
      drop,
      run,
      lines: [line],
      currency,
      creator: manifest.creator,
      clip: manifest.clip,
      offer: offer.offer,
      ...(mode && mode !== "open" && { mode }),
      ...(version && { stock_version: version }),
      ...(place.colo && { colo: place.colo }),
    };
    const signed = `${this.#header}.${base64url(ENCODER.encode(JSON.stringify(claim)))}`;
    const token = `${signed}.${base64url(await crypto.subtle.sign("HMAC", await this.#key, ENCODER.encode(signed)))}`;
    const total = line.quantity * unit;
    const expiresAtMs = expiresS * 1000;
    const body = JSON.stringify({
      claim: token,
      claim_id: id,
      expires_at_ms: expiresAtMs,
      settles: total ? "request" : "event",
      settle_url: this.#env.ORIGIN_URL,
      lines: [line],
      total_minor: total,
      currency,
    });
    this.#given.set(id, { body, asked, expiresAtMs });
    if (this.#given.size > CLAIMS_MOST) this.#given.delete(/** @type {string} */ (this.#given.keys().next().value));
    const event = { type: "claim_issued", claim_id: id, drop, clip: manifest.clip, offer: offer.offer, token };
    this.#reports.add({ ...event, expires_at_ms: expiresAtMs }, place, ctx);
    return body;
  }
}

/** @param {any} terms @param {any} snapshot @param {number} quantity @param {number} nowMs */
function admit(terms, snapshot, quantity, nowMs) {
  if (nowMs < terms.opens_at_ms) return refuse(409, "drop_not_open");
  if (nowMs >= terms.closes_at_ms) return refuse(410, "drop_closed");
  if (quantity > (terms.max_quantity ?? 1)) return refuse(422, "quantity_not_offered");
  if (!snapshot || nowMs - snapshot.as_of_ms > LATE_MS)
    return terms.when_origin_away === "close" ? refuse(503, "stock_unknown") : undefined;
  return snapshot.remaining < quantity ? refuse(409, "sold_out") : undefined;
}
