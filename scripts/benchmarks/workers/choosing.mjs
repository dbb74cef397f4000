/** Language, currency and media type of a viewer, and how prices are written: the product's rules, in JavaScript. */

const WEIGHT = /^\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*$/;
const RIGHT_TO_LEFT = new Set(["ar", "dv", "fa", "he", "ps", "ur", "yi"]);
const EURO = "AT BE BG CY DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK".split(" ");
/** @type {Record<string, string>} */
const COUNTRY_CURRENCY = {
  ...Object.fromEntries(EURO.map((country) => [country, "EUR"])),
  ...{ AU: "AUD", BR: "BRL", CA: "CAD", CH: "CHF", CN: "CNY", GB: "GBP", IN: "INR", JP: "JPY", KR: "KRW" },
  ...{ MX: "MXN", PL: "PLN", SA: "SAR", SE: "SEK", US: "USD" },
};
/** @type {Record<string, string>} */
const SYMBOLS = { EUR: "€", USD: "$", GBP: "£", JPY: "¥", KRW: "₩", INR: "₹", PLN: "zł" };
/** @type {Record<string, number>} */
const DIGITS = { JPY: 0, KRW: 0, BHD: 3, KWD: 3, TND: 3 };
/** @type {Record<string, [string, string, boolean, string]>} point, group, symbol first, space */
const NOTATIONS = {
  ar: [".", ",", false, "\u00a0"],
  de: [",", ".", false, "\u00a0"],
  en: [".", ",", true, ""],
  es: [",", ".", false, "\u00a0"],
  fr: [",", "\u202f", false, "\u00a0"],
  ja: [".", ",", true, ""],
};

/** @param {string} tag */
export const languageOf = (tag) => tag.split("-", 1)[0].toLowerCase();

/** @param {string} tag */
export const directionOf = (tag) => (RIGHT_TO_LEFT.has(languageOf(tag)) ? "rtl" : "ltr");

/** @param {string} header @returns {[string, number][]} */
function parseWeighted(header) {
  const items = header.toLowerCase().split(",").slice(0, 16);
  return items
    .map((item) => {
      const [name, ...parameters] = item.split(";");
      const weight = parameters.map((parameter) => WEIGHT.exec(parameter)).find(Boolean);
      return /** @type {[string, number]} */ ([name.trim(), weight ? Number(weight[1]) : 1]);
    })
    .filter(([name]) => name)
    .sort((a, b) => b[1] - a[1]);
}

/**
 * @param {string} accept
 * @param {string[]} offered the first choice first
 */
export function chooseMediaType(accept, offered) {
  if (!accept.trim()) return offered[0];
  const weights = new Map(parseWeighted(accept).reverse());
  /** @type {[string | undefined, number]} */
  let best = [undefined, 0];
  for (const type of offered) {
    const ranges = [type, `${type.split("/")[0]}/*`, "*/*"];
    const weight = weights.get(ranges.find((range) => weights.has(range)) ?? "") ?? 0;
    if (weight > best[1]) best = [type, weight];
  }
  return best[0];
}

/**
 * @param {string} wish
 * @param {string} acceptLanguage
 * @param {string[]} available
 * @param {string} fallback
 */
export function chooseLocale(wish, acceptLanguage, available, fallback) {
  const folded = new Map(available.map((tag) => [tag.toLowerCase(), tag]));
  for (const [range, weight] of [[wish.toLowerCase(), 1], ...parseWeighted(acceptLanguage)]) {
    if (!range || !weight || range === "*") continue;
    const subtags = String(range).split("-");
    for (let length = subtags.length; length; length -= 1) {
      const found = folded.get(subtags.slice(0, length).join("-"));
      if (found) return found;
    }
    const related = [...folded.keys()].sort().find((tag) => languageOf(tag) === subtags[0]);
    if (related) return /** @type {string} */ (folded.get(related));
  }
  return fallback;
}

/**
 * @param {string} wish
 * @param {string} country
 * @param {{ currency: string }[]} prices
 */
export function chooseCurrency(wish, country, prices) {
  const wanted = [wish.toUpperCase(), COUNTRY_CURRENCY[country.toUpperCase()] ?? ""];
  const found = wanted.find((currency) => prices.some((price) => price.currency === currency));
  return found ?? prices[0].currency;
}

/**
 * @param {Record<string, string>} texts
 * @param {string} locale
 * @param {string} fallback
 */
export function chooseText(texts, locale, fallback) {
  for (const tag of [locale, languageOf(locale), fallback]) if (tag in texts) return texts[tag];
  return Object.values(texts)[0] ?? "";
}

/**
 * @param {number} amountMinor
 * @param {string} currency
 * @param {string} language
 */
export function formatPrice(amountMinor, currency, language) {
  const [point, group, symbolFirst, space] = NOTATIONS[language] ?? NOTATIONS.en;
  const digits = DIGITS[currency] ?? 2;
  const whole = Math.floor(amountMinor / 10 ** digits);
  let number = String(whole).replace(/\B(?=(\d{3})+$)/g, group);
  if (digits) number += point + String(amountMinor % 10 ** digits).padStart(digits, "0");
  const symbol = SYMBOLS[currency] ?? currency;
  const gap = /^\p{L}+$/u.test(symbol) ? "\u00a0" : space;
  return symbolFirst ? `${symbol}${gap}${number}` : `${number}${gap}${symbol}`;
}
