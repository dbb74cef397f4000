/**
 * One tap's way to its end: a claim from the edge, then a decision from the origin.
 *
 * Every step may be repeated: the tap's idempotency key makes it one claim, and the origin decides a claim once. So
 * whatever is unclear (no answer, a lost answer, a page that was closed) is simply asked for again.
 */

import { ask, backoff, bounded, now, passing, pause } from "./cliptill-overlay.js";
import { viewer } from "./keys.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Pay} Pay */
/** @typedef {import("./types.js").Saved} Saved */

/** How long a tap waits for its claim before the viewer is asked to tap again (with the same key). */
const CLAIM_BUDGET_MS = 30_000;
/** How long a claim that settles by itself is waited for, before the browser settles it. */
const EVENT_WAIT_MS = 4000;

/**
 * Ask the edge for the tap's claim.
 *
 * @param {Saved} saved
 * @param {AbortSignal} signal
 * @param {(code?: string) => void} waiting told before the edge is asked again, with the code of its last answer
 * @returns {Promise<Answer>} the last one; status 0 when the edge is out of reach
 */
export const askClaim = async (saved, signal, waiting) => {
  const until = Date.now() + CLAIM_BUDGET_MS;
  const { thumbprint } = await viewer();
  // As text/plain the request needs no preflight: one round trip a tap.
  const body = JSON.stringify({
    clip: saved.clip,
    offer: saved.offer,
    viewer: thumbprint,
    idempotency_key: saved.id,
    currency: saved.price.currency,
  });
  for (let attempt = 0; ; attempt++) {
    const answer = await ask(`${saved.edge}/v1/claims`, { method: "POST", body, signal });
    const restMs = backoff(attempt, 8000);
    if (!passing(answer) || signal.aborted || Date.now() + answer.waitMs + restMs > until) return answer;
    waiting(answer.body.code);
    await pause(restMs, signal, answer.waitMs);
  }
};

/** @param {Saved} saved */
const settlements = (saved) => `${saved.settle_url}/v1/settlements`;

/**
 * Headers that prove possession of the viewer key; a fresh proof for each attempt.
 *
 * @param {Saved} saved
 * @param {string} method
 * @param {string} url
 */
const proven = async ({ claim = "" }, method, url) => ({
  Authorization: `DPoP ${claim}`,
  DPoP: await (await viewer()).sign(method, url, claim),
});

/**
 * @param {Saved} saved
 * @param {AbortSignal} signal
 * @param {"GET" | "POST"} method POST decides, GET looks up what was decided
 * @param {string} [part] of the claim
 */
const askOrigin = async (saved, signal, method, part = "") => {
  const url = settlements(saved) + (part || method === "GET" ? `/${saved.claim_id}${part}` : "");
  return ask(url, { method, headers: await proven(saved, method, url), signal });
};

/**
 * Read server-sent events until the first one with data; comments keep the connection alive.
 *
 * @param {string} url
 * @param {Parameters<typeof ask>[1]} options
 * @returns {Promise<any>} the data, or undefined
 */
const hear = (url, options) =>
  bounded(options, async (signal) => {
    const { ok, body } = await fetch(url, { credentials: "omit", ...options, signal });
    const reader = ok && body?.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; reader; ) {
      const { done, value } = await reader.read();
      text += value ?? "";
      const [, data] = /^data: ?(.+)[\r\n]/m.exec(text) ?? [];
      if (data) return JSON.parse(data);
      if (done) return;
    }
  });

/**
 * Wait for a claim that settles by itself: listen, and when that fails, ask.
 *
 * @param {Saved} saved
 * @param {AbortSignal} signal
 * @returns {Promise<Answer | undefined>} undefined when it takes too long
 */
const awaitEvent = async (saved, signal) => {
  const timeoutMs = EVENT_WAIT_MS * (1 + Math.random() / 4);
  const until = Date.now() + timeoutMs;
  const url = `${settlements(saved)}/${saved.claim_id}/stream`;
  const headers = await proven(saved, "GET", url);
  const body = await hear(url, { headers, signal, timeoutMs });
  if (body) return { status: body.code ? 409 : 200, body, waitMs: 0 };
  while (Date.now() < until && !signal.aborted) {
    await pause(500 + backoff(1, 1000), signal);
    const answer = await askOrigin(saved, signal, "GET");
    if (!passing(answer) && answer.body.code !== "settlement_unknown") return answer;
  }
};

/**
 * See a held claim paid: take its payment on, tell where the viewer pays, and look whether it is decided.
 *
 * @param {Saved} saved
 * @param {AbortSignal} signal
 * @param {(pay: Pay) => void} paying told while the viewer is to pay
 * @returns {Promise<Answer>} a decision, or why it is not paid, unless stopped
 */
const awaitPayment = async (saved, signal, paying) => {
  for (let attempt = 0; ; attempt++) {
    const payment = await askOrigin(saved, signal, "POST", "/payment");
    const { state, pay_at, client_secret } = payment.body;
    if (state === "begun") paying({ pay_at, client_secret });
    const answer = payment.status === 402 ? payment : await askOrigin(saved, signal, "GET");
    if ((answer.status !== 202 && !passing(answer)) || signal.aborted) return answer;
    // The viewer pays on another page: back on this one, it is looked at again at once.
    await pause(500 + backoff(attempt, 10_000), signal, answer.waitMs);
  }
};

/**
 * Bring a claim to its decision, for as long as it takes.
 *
 * @param {Saved} saved with its claim
 * @param {AbortSignal} signal
 * @param {boolean} first true right after the tap, false when taken up again
 * @param {() => void} waiting told when the origin did not answer
 * @param {(pay: Pay) => void} paying told while the viewer is to pay
 * @returns {Promise<Answer>} a decision, unless stopped
 */
export const settle = async (saved, signal, first, waiting, paying) => {
  let answer = first && saved.settles === "event" ? await awaitEvent(saved, signal) : undefined;
  let refusedProofs = 0;
  for (let attempt = 0; ; attempt++) {
    answer ??= await askOrigin(saved, signal, "POST");
    if (["claim_expired", "idempotency_conflict"].includes(answer.body.code)) {
      // It may have been decided in time, and the answer lost on its way here.
      const decided = await askOrigin(saved, signal, "GET");
      if (decided.body.code !== "settlement_unknown") answer = decided;
    }
    // Pending is neither held nor decided: it is asked for again.
    if (answer.status === 202 && answer.body.status === "held") return awaitPayment(saved, signal, paying);
    // A 401 has corrected our clock: a fresh proof may pass.
    const again =
      passing(answer) || (answer.status === 401 && answer.body.code !== "claim_expired" && refusedProofs++ < 3);
    if (!again || signal.aborted) return answer;
    waiting();
    await pause(backoff(attempt, now() > (saved.expires_at_ms ?? 0) ? 60_000 : 10_000), signal, answer.waitMs);
    answer = undefined;
  }
};

/**
 * Fetch the pass of what is to be picked up, so that it can be shown where there is no network.
 *
 * @param {Saved} saved settled, with its claim
 * @param {AbortSignal} signal
 * @returns {Promise<Answer>} the last one: a pass or a refusal, unless stopped
 */
export const askPass = async (saved, signal) => {
  for (let attempt = 0; ; attempt++) {
    const answer = await askOrigin(saved, signal, "GET", "/pass");
    if (!passing(answer) || signal.aborted) return answer;
    await pause(backoff(attempt, 60_000), signal, answer.waitMs);
  }
};

/** @type {Set<string>} */
const warmed = new Set();

/**
 * Spare a later tap the connection's set-up and the preflight: both are remembered by the browser.
 *
 * @param {string} settleUrl
 * @param {AbortSignal} signal
 */
export const warm = (settleUrl, signal) => {
  if (warmed.has(settleUrl)) return;
  warmed.add(settleUrl);
  const url = `${settleUrl}/v1/settlements`;
  // There is nothing to get here: what counts is that the browser asked whether it may send these headers.
  ask(url, { headers: { Authorization: "DPoP", DPoP: "" }, signal });
};
