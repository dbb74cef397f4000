/**
 * Overlays in JavaScript. What lasts of one is compiled once for each language, currency and country; what changes, the time
 * and each offer's stock and window, is put in between.
 */

import {
  chooseCurrency,
  chooseLocale,
  chooseMediaType,
  chooseText,
  directionOf,
  formatPrice,
  languageOf,
} from "./choosing.mjs";
import words from "./words.json";

const [JSON_TYPE, HTML_TYPE] = ["application/json", "text/html"];
const TEMPLATES_MOST = 4096;
const LATE_MS = 5000;
const UNKNOWN_CLIP = { status: 404, code: "clip_unknown" };
const NOT_ACCEPTABLE = { status: 406, code: "not_acceptable" };
/** @type {Record<string, string>} */
const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };

/** @typedef {Record<string, string>} Words */
/** @typedef {{ drop: string, opensAtMs: number, closesAtMs: number, takesBlindly: boolean, head: string }} OfferTemplate */
/** @typedef {{ head: string, offers: OfferTemplate[], foot: string, words: Words }} Template */
/** @typedef {import("./caches.mjs").Snapshot} Snapshot */
/** @typedef {{ locale: string, currency: string, country: string }} Context */

/** @param {string} text */
const escaped = (text) => text.replace(/[&<>"']/g, (character) => ESCAPES[character]);

export class Overlays {
  #caches;
  #settleUrl;
  /** @type {Map<string, Template>} */
  #templates = new Map();
  /** @type {Map<string, string>} */
  #locales = new Map();

  /**
   * @param {import("./caches.mjs").Caches} caches
   * @param {string} settleUrl
   */
  constructor(caches, settleUrl) {
    this.#caches = caches;
    this.#settleUrl = settleUrl;
  }

  /**
   * @param {string} clip
   * @param {URL} url
   * @param {Headers} headers
   * @param {string} country
   */
  async render(clip, url, headers, country) {
    const type = chooseMediaType(headers.get("accept") ?? "", [JSON_TYPE, HTML_TYPE]);
    if (!type) return NOT_ACCEPTABLE;
    const found = this.#caches.manifest(clip);
    const manifest = found instanceof Promise ? await found : found;
    if (!manifest) return UNKNOWN_CLIP;
    const edgeUrl = type === HTML_TYPE ? url.origin : "";
    const context = this.#contextOf(manifest, url.searchParams, headers.get("accept-language") ?? "", country);
    const template = this.#templateFor(manifest, context, edgeUrl);
    const read = this.#caches.stock(template.offers.map(({ drop }) => drop));
    const stock = read instanceof Promise ? await read : read;
    const nowMs = Date.now();
    const body = edgeUrl ? renderHtml(template, stock, nowMs) : renderJson(template, stock, nowMs);
    const policy = edgeUrl && framePolicy(edgeUrl, this.#settleUrl);
    return { body, type: edgeUrl ? `${type}; charset=utf-8` : type, policy };
  }

  /**
   * @param {any} manifest
   * @param {URLSearchParams} query
   * @param {string} acceptLanguage
   * @param {string} country
   * @returns {Context}
   */
  #contextOf(manifest, query, acceptLanguage, country) {
    const wish = query.get("locale") ?? "";
    const key = `${manifest.clip}|${manifest.version}|${wish}|${acceptLanguage}`;
    let locale = this.#locales.get(key);
    if (!locale) {
      const available = Object.keys(manifest.names).filter((tag) => languageOf(tag) in words);
      locale = chooseLocale(wish, acceptLanguage, available, manifest.default_locale);
      keep(this.#locales, key, locale);
    }
    return { locale, currency: query.get("currency") ?? "", country };
  }

  /**
   * @param {any} manifest
   * @param {Context} context
   * @param {string} edgeUrl
   */
  #templateFor(manifest, context, edgeUrl) {
    const { locale, currency, country } = context;
    const prices = manifest.offers.map((/** @type {any} */ offer) => chooseCurrency(currency, country, offer.prices));
    const links = manifest.links.filter((/** @type {any} */ { regions }) => regions?.includes(country)).length;
    const key = `${manifest.clip}|${manifest.version}|${locale}|${prices}|${links && country}|${edgeUrl}`;
    let template = this.#templates.get(key);
    if (!template) {
      template = edgeUrl ? compileHtml(manifest, context, edgeUrl) : compileJson(manifest, context, this.#settleUrl);
      keep(this.#templates, key, template);
    }
    return template;
  }
}

/** @template T @param {Map<string, T>} map @param {string} key @param {T} value */
function keep(map, key, value) {
  if (map.size >= TEMPLATES_MOST) map.delete(/** @type {string} */ (map.keys().next().value));
  map.set(key, value);
}

/** @param {any} manifest @param {Context} context */
function linksOf(manifest, { locale, country }) {
  return (manifest.links ?? [])
    .filter((/** @type {any} */ link) => !link.regions?.length || link.regions.includes(country))
    .map((/** @type {any} */ { rel, href, names }) => ({
      rel,
      href,
      text: chooseText(names, locale, manifest.default_locale),
    }));
}

/** @param {any} manifest @param {any} offer @param {Context} context @param {Words} own */
function cardOf(manifest, offer, { locale, currency, country }, own) {
  const chosen = chooseCurrency(currency, country, offer.prices);
  const amount = offer.prices.find((/** @type {any} */ price) => price.currency === chosen).amount_minor;
  return {
    offer: offer.offer,
    drop: offer.terms.drop,
    kind: offer.kind,
    title: chooseText(offer.names, locale, manifest.default_locale),
    description: chooseText(offer.descriptions ?? {}, locale, manifest.default_locale),
    image: offer.image ?? null,
    price: {
      amount_minor: amount,
      currency: chosen,
      text: amount ? formatPrice(amount, chosen, languageOf(locale)) : own.free,
    },
    payment: offer.payment ?? "none",
    opens_at_ms: offer.terms.opens_at_ms,
    closes_at_ms: offer.terms.closes_at_ms,
    action: (offer.payment ?? "none") === "none" ? own.claim : own.reserve,
    max_quantity: offer.terms.max_quantity ?? 1,
  };
}

/** @param {any} offer @param {string} head @returns {OfferTemplate} */
function offerTemplate({ terms }, head) {
  const takesBlindly = terms.when_origin_away !== "close";
  return { drop: terms.drop, opensAtMs: terms.opens_at_ms, closesAtMs: terms.closes_at_ms, takesBlindly, head };
}

/** @param {string} locale @returns {Words} */
const wordsFor = (locale) => words[languageOf(locale)] ?? words.en;

/** @param {any} manifest @param {Context} context @param {string} settleUrl @returns {Template} */
function compileJson(manifest, context, settleUrl) {
  const own = wordsFor(context.locale);
  const frame = {
    clip: manifest.clip,
    title: chooseText(manifest.names, context.locale, manifest.default_locale),
    manifest_version: manifest.version,
    locale: context.locale,
    dir: directionOf(context.locale),
    settle_url: settleUrl,
    shared: false,
    links: linksOf(manifest, context),
    messages: own,
  };
  const offers = manifest.offers.map((/** @type {any} */ offer) =>
    offerTemplate(offer, `${JSON.stringify(cardOf(manifest, offer, context, own)).slice(0, -1)},"stock":`),
  );
  return { head: `${JSON.stringify(frame).slice(0, -1)},"server_time_ms":`, offers, foot: "]}", words: own };
}

/** @param {any} manifest @param {Context} context @param {string} edgeUrl @returns {Template} */
function compileHtml(manifest, context, edgeUrl) {
  const own = wordsFor(context.locale);
  const title = escaped(chooseText(manifest.names, context.locale, manifest.default_locale));
  const edge = escaped(edgeUrl);
  const head =
    `<!doctype html><html lang="${escaped(context.locale)}" dir="${directionOf(context.locale)}"><head>` +
    `<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>` +
    `<link rel="stylesheet" href="${edge}/overlay.css"><script type="module" src="${edge}/cliptill-overlay.js">` +
    `</script></head><body><cliptill-overlay clip="${escaped(manifest.clip)}" edge="${edge}">` +
    `<section data-fallback aria-label="${escaped(own.offers)}"><h1>${title}</h1><ul>`;
  const links = linksOf(manifest, context)
    .map(
      (/** @type {any} */ { rel, href, text }) =>
        `<a rel="${escaped(rel)}" href="${escaped(href)}">${escaped(text)}</a>`,
    )
    .join("");
  const offers = manifest.offers.map((/** @type {any} */ offer) =>
    offerTemplate(offer, offerHtml(cardOf(manifest, offer, context, own))),
  );
  return { head, offers, foot: `</ul><nav>${links}</nav></section></cliptill-overlay></body></html>`, words: own };
}

/** @param {any} card */
function offerHtml({ offer, image, title, description, price }) {
  const picture = image ? `<img src="${escaped(image)}" alt="" loading="lazy">` : "";
  const about = description ? `<p>${escaped(description)}</p>` : "";
  return (
    `<li data-offer="${escaped(offer)}">${picture}<h2>${escaped(title)}</h2>${about}` +
    `<p><data value="${price.amount_minor}">${escaped(price.text)}</data>`
  );
}

/** @param {OfferTemplate} offer @param {number} nowMs */
function windowOf({ opensAtMs, closesAtMs }, nowMs) {
  if (nowMs < opensAtMs) return "upcoming";
  return nowMs < closesAtMs ? "open" : "closed";
}

/** @param {Snapshot} snapshot */
function bandOf({ remaining, total }) {
  if (remaining <= 0) return "sold_out";
  if (remaining === 1) return "last";
  return remaining <= 5 || remaining * 10_000 <= total * 2000 ? "low" : "available";
}

/** @param {Snapshot | undefined} snapshot @param {Words} own @param {number} nowMs */
function stockOf(snapshot, own, nowMs) {
  if (!snapshot)
    return { state: "unknown", remaining: null, version: 0, as_of_ms: 0, stale: true, text: own.stock_unknown };
  const { remaining, version, as_of_ms } = snapshot;
  const state = bandOf(snapshot);
  const text =
    state === "sold_out" ? own.sold_out : state === "last" ? own.last_one : own.left.replace("{n}", String(remaining));
  return { state, remaining, version, as_of_ms, stale: nowMs - as_of_ms > LATE_MS, text };
}

/** @param {Template} template @param {Map<string, { value: any }>} stock @param {number} nowMs */
function renderJson({ head, offers, foot, words: own }, stock, nowMs) {
  let text = `${head}${nowMs},"offers":[`;
  let comma = "";
  for (const offer of offers) {
    const view = stockOf(stock.get(offer.drop)?.value, own, nowMs);
    const opening = windowOf(offer, nowMs);
    const claimable = opening === "open" && view.state !== "sold_out" && (offer.takesBlindly || !view.stale);
    text += `${comma}${offer.head}${JSON.stringify(view)},"window":"${opening}","claimable":${claimable}}`;
    comma = ",";
  }
  return text + foot;
}

/** @param {Template} template @param {Map<string, { value: any }>} stock @param {number} nowMs */
function renderHtml({ head, offers, foot, words: own }, stock, nowMs) {
  let text = head;
  for (const offer of offers) {
    const view = stockOf(stock.get(offer.drop)?.value, own, nowMs);
    const opening = windowOf(offer, nowMs);
    const said = escaped(opening === "closed" ? own.closed : view.text);
    const stale = view.stale ? " data-stale" : "";
    text +=
      `${offer.head} <span data-window="${opening}" data-state="${view.state}" data-version="${view.version}"${stale}>` +
      `${said}</span>${ageOf(view, opening, own, nowMs)}</p></li>`;
  }
  return text + foot;
}

/** @param {any} view @param {string} opening @param {Words} own @param {number} nowMs */
function ageOf({ stale, remaining, as_of_ms }, opening, own, nowMs) {
  if (!stale || !remaining || opening === "closed") return "";
  const age = String(Math.floor(Math.max(0, nowMs - as_of_ms) / 1000));
  return ` <small>${escaped(own.not_fresh.replace("{age}", age))}</small>`;
}

/** @param {string} edge @param {string} origin */
const framePolicy = (edge, origin) =>
  `default-src 'none'; script-src ${edge}; style-src ${edge}; img-src https: data: ${edge}; ` +
  `media-src https: ${edge}; connect-src ${edge} ${origin}; base-uri 'none'; form-action 'none'`;
