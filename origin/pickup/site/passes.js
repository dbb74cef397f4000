/**
 * What becomes of a pass at this gate: the same rules as `shared/claims/passes.py`, which says why. Both are held to the
 * same tokens and verdicts.
 */

/**
 * @typedef {{iss: string, jti: string, nbf: number, exp: number, place: string, drop: string, units: number,
 *   first: number, due_minor?: number, currency?: string}} Pass
 * @typedef {"malformed" | "foreign" | "forged" | "other_place" | "revoked" | "used" | "too_early" | "expired"} Fault
 * @typedef {"good" | "used" | "revoked"} State
 * @typedef {{kid: string, kty?: string, crv?: string, x?: string}} PublicKey
 */

const MAX_BYTES = 1024;
const CODE = /^[0-9A-HJKMNP-TV-Z]{16}$/;
const TEXT = /^[A-Za-z0-9_-]*$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;
const ED25519 = { name: "Ed25519" };
const encoder = new TextEncoder();

/** @param {ArrayBuffer | Uint8Array} raw */
export const encodeBase64url = (raw) =>
  btoa(String.fromCharCode(...new Uint8Array(raw)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer> | undefined} undefined unless it is the one encoding of something
 */
const decodeBase64url = (text) => {
  if (!TEXT.test(text) || text.length % 4 === 1) return;
  const raw = Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
  return encodeBase64url(raw) === text ? raw : undefined;
};

/** @param {string} text */
export const hashText = async (text) => encodeBase64url(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

/** @param {string} kid */
const header = (kid) => encodeBase64url(encoder.encode(`{"alg":"EdDSA","kid":"${kid}","typ":"pass+jwt"}`));

/** @param {unknown} value @param {number} most */
const isCount = (value, most) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most;
/** @param {RegExp} form */
const matches = (form) => (/** @type {unknown} */ value) => typeof value === "string" && form.test(value);
const isInstant = (/** @type {unknown} */ value) => isCount(value, 2 ** 41);
const isUnits = (/** @type {unknown} */ value) => isCount(value, 1e9);

/** @type {Record<string, (value: unknown) => boolean>} */
const FIELDS = {
  iss: (value) => typeof value === "string",
  jti: matches(/^[A-Za-z0-9_-]{22}$/),
  nbf: isInstant,
  exp: isInstant,
  place: matches(NAME),
  drop: matches(NAME),
  units: isUnits,
  first: isUnits,
};
/** @type {typeof FIELDS} */
const OPTIONAL = {
  due_minor: (value) => isCount(value, 1e12),
  currency: (value) => value === null || matches(/^[A-Z]{3}$/)(value),
};

/**
 * @param {unknown} said
 * @returns {said is Pass}
 */
const isPass = (said) => {
  if (typeof said !== "object" || said === null || Array.isArray(said)) return false;
  const given = new Map(Object.entries(said));
  return (
    Object.entries(FIELDS).every(([name, fits]) => fits(given.get(name))) &&
    [...given].every(([name, value]) => name in FIELDS || (name in OPTIONAL && OPTIONAL[name](value)))
  );
};

/**
 * Check a pass's form and signature alone.
 *
 * @param {string} token
 * @param {PublicKey[]} keys
 * @returns {Promise<Pass | Fault>}
 */
export const readPass = async (token, keys) => {
  const [head, payload, signature, ...more] = token.split(".");
  if (token.length > MAX_BYTES || signature === undefined || more.length) return "malformed";
  const key = keys.find(({ kid }) => header(kid) === head);
  if (!key) return "foreign";
  const signed = decodeBase64url(signature);
  const { kty, crv, x } = key;
  const trusted = await crypto.subtle.importKey("jwk", { kty, crv, x }, ED25519, false, ["verify"]);
  const message = encoder.encode(`${head}.${payload}`);
  if (!signed || !(await crypto.subtle.verify(ED25519, trusted, signed, message))) return "forged";
  try {
    const said = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(decodeBase64url(payload)));
    return isPass(said) ? said : "malformed";
  } catch {
    return "malformed";
  }
};

/**
 * @param {Pass} said a genuine pass
 * @param {{issuer: string, place: string}} gate
 * @param {State | undefined} state what is known of it here
 * @param {number} nowS
 * @returns {Fault | undefined} why it is refused
 */
export const judgePass = (said, gate, state, nowS) => {
  if (said.iss !== gate.issuer) return "foreign";
  if (said.place !== gate.place) return "other_place";
  if (state === "revoked" || state === "used") return state;
  if (nowS < said.nbf) return "too_early";
  return nowS >= said.exp ? "expired" : undefined;
};

/**
 * @param {string} typed
 * @returns {string | undefined} the code that was meant, in four groups
 */
export const readCode = (typed) => {
  const code = typed.toUpperCase().replace(/[- ]/g, "").replace(/[IL]/g, "1").replaceAll("O", "0");
  return CODE.test(code) ? code.replace(/(.{4})(?=.)/g, "$1-") : undefined;
};

/** @param {string} code as `readCode` gives it */
export const hashCode = (code) => hashText(code.replaceAll("-", ""));
