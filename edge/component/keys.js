/**
 * The viewer key: a P-256 pair that never leaves this browser; its RFC 7638 thumbprint is the viewer's only identity.
 *
 * It is made when a viewer first reaches for an offer, not when a page merely shows one.
 */

import { now } from "./cliptill-overlay.js";
import { transact } from "./store.js";

/** @typedef {{sign: (method: string, url: string, claim: string) => Promise<string>, thumbprint: string}} Viewer */

const P256 = { name: "ECDSA", namedCurve: "P-256" };

/** @param {string} text */
const bytes = (text) => new TextEncoder().encode(text);

/** @param {ArrayBuffer | Uint8Array} raw */
const base64url = (raw) =>
  btoa(String.fromCharCode(...new Uint8Array(raw)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

/** @param {string} text */
const hash = async (text) => base64url(await crypto.subtle.digest("SHA-256", bytes(text)));

/** @returns {string} 128 random bits, base64url */
export const nonce = () => base64url(crypto.getRandomValues(new Uint8Array(16)));

/** @returns {Promise<Viewer>} */
const load = async () => {
  const made = await crypto.subtle.generateKey(P256, false, ["sign"]);
  // What is stored wins, by an earlier page or by another tab right now.
  const stored = await transact("keys", (store) => {
    const request = store.get("viewer");
    request.onsuccess = () => request.result ?? store.put(made, "viewer");
    return request;
  });
  const { publicKey, privateKey } = /** @type {CryptoKeyPair} */ (stored ?? made);
  const { x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  const jwk = { crv: "P-256", kty: "EC", x, y }; // RFC 7638, section 3: these members, in this order
  return {
    thumbprint: await hash(JSON.stringify(jwk)),
    /** A proof of possession for one request: RFC 9449, section 4.2. */
    sign: async (method, url, claim) => {
      const header = { typ: "dpop+jwt", alg: "ES256", jwk };
      const payload = { jti: nonce(), htm: method, htu: url, iat: Math.floor(now() / 1000), ath: await hash(claim) };
      const signed = [header, payload].map((part) => base64url(bytes(JSON.stringify(part)))).join(".");
      const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, privateKey, bytes(signed));
      return `${signed}.${base64url(signature)}`;
    },
  };
};

/** @type {Promise<Viewer> | undefined} */
let loading;

/**
 * @returns {Promise<Viewer>} the one viewer of this browser and site
 * @throws where there is no WebCrypto: pages that are not served over https
 */
export const viewer = () => {
  loading ??= load();
  return loading;
};
