/** What goes over the network: setting the device up, telling scans, hearing of passes. Everything may be repeated. */

import { encodeBase64url } from "./passes.js";
import {
  dropScan,
  forgetPasses,
  loadDevice,
  loadKnown,
  saveDevice,
  saveKnown,
  savePasses,
  saveScan,
  waitingScans,
} from "./store.js";

/** @typedef {import("./store.js").Device} Device */
/** @typedef {import("./store.js").Scan} Scan */

const P256 = { name: "ECDSA", namedCurve: "P-256" };
const ES256 = { name: "ECDSA", hash: "SHA-256" };
const MOST_SCANS = 50;
const TIMEOUT_MS = 10_000;
/** Changes are asked for from before the last answer: what was decided then may have been stored only after it. */
const OVERLAP_MS = 60_000;
const encoder = new TextEncoder();

/**
 * @param {string} path
 * @param {string | undefined} apiKey
 * @param {object} [body]
 * @returns {Promise<{status: number, body: any}>}
 * @throws when there is no network
 */
const ask = async (path, apiKey, body) => {
  const answer = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: {
      ...(apiKey ? { Authorization: `Bearer ${apiKey}` } : {}),
      ...(body ? { "Content-Type": "application/json" } : {}),
    },
    body: body && JSON.stringify(body),
    cache: "no-store",
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  return { status: answer.status, body: await answer.json() };
};

/**
 * Set this device up: its key is made here and never leaves it.
 *
 * @param {string} code
 * @returns {Promise<string | undefined>} why it was refused
 */
export const enrol = async (code) => {
  try {
    await crypto.subtle.generateKey({ name: "Ed25519" }, false, ["sign", "verify"]);
  } catch {
    return "This browser cannot check passes (Ed25519). Use a newer one; the code is still good.";
  }
  const { privateKey, publicKey } = await crypto.subtle.generateKey(P256, false, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", publicKey);
  const { status, body } = await ask("/v1/enrolments", undefined, { code, key: { kty, crv, x, y } });
  if (status !== 201) return body.title;
  await saveDevice({ ...body, key: privateKey });
  // What is not told yet must not be what a full disk is cleared of.
  await navigator.storage.persist();
};

/**
 * @param {Device} device
 * @param {string} issuer
 * @param {Scan} scan
 */
const sign = async ({ scanner, key }, issuer, { seq, look }) => {
  const parts = [
    { alg: "ES256", typ: "scan+jwt" },
    { iss: scanner, aud: issuer, seq, ...look },
  ];
  const signed = parts.map((part) => encodeBase64url(encoder.encode(JSON.stringify(part)))).join(".");
  return `${signed}.${encodeBase64url(await crypto.subtle.sign(ES256, key, encoder.encode(signed)))}`;
};

/** @param {Device} device */
const tell = async (device) => {
  const issuer = (await loadKnown())?.issuer;
  if (!issuer) return 200;
  for (;;) {
    const scans = await waitingScans(MOST_SCANS);
    if (!scans.length) return 200;
    for (const scan of scans) {
      // Signed once, and told in the same words ever after.
      scan.text ??= await sign(device, issuer, scan);
      await saveScan(scan);
    }
    const { status, body } = await ask("/v1/scanner/scans", device.api_key, { scans: scans.map(({ text }) => text) });
    if (status !== 200) return status;
    for (const [at, { waiting, ...scan }] of scans.entries())
      await (body.outcomes[at] === "refused" ? saveScan(scan) : dropScan(scan.seq));
  }
};

/** @param {Device} device */
const hear = async (device) => {
  const known = await loadKnown();
  const since = Math.max(0, (known?.as_of_ms ?? 0) - OVERLAP_MS);
  /** @type {import("./store.js").Known | undefined} */
  let first;
  for (let after = ""; ; ) {
    const { status, body } = await ask(
      `/v1/scanner/passes?since_ms=${since}${after && `&after=${after}`}`,
      device.api_key,
    );
    if (status !== 200) return status;
    const { issuer, keys, as_of_ms, over_ms } = body;
    first ??= { issuer, keys, as_of_ms, ahead_ms: as_of_ms - Date.now() };
    await savePasses(body.passes);
    await forgetPasses(over_ms / 1000);
    if (!body.next) break;
    after = body.next;
  }
  await saveKnown(first);
  return 200;
};

/**
 * Tell what was scanned, then hear what changed.
 *
 * @returns {Promise<"done" | "offline" | "shut out">}
 */
export const sync = () =>
  navigator.locks.request("cliptill-scanner-sync", async () => {
    const device = await loadDevice();
    if (!device) return "offline";
    try {
      for (const step of [tell, hear]) {
        const status = await step(device);
        if (status === 401 || status === 403) return "shut out";
        if (status !== 200) return "offline";
      }
      return "done";
    } catch {
      return "offline";
    }
  });
