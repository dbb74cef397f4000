/**
 * This browser's taps and claims: one wallet a page, shared by every overlay on it, and outliving it.
 *
 * A tap is written down before the edge is asked, a claim before the origin is: a page that closes, crashes or loses
 * its network takes up where it was, with no second tap.
 */

import { passing } from "./cliptill-overlay.js";
import { nonce } from "./keys.js";
import { askClaim, askPass, settle } from "./settling.js";
import { transact } from "./store.js";

/** @typedef {import("./types.js").Listener} Listener */
/** @typedef {import("./types.js").Offer} Offer */
/** @typedef {import("./types.js").Outcome} Outcome */
/** @typedef {import("./types.js").Saved} Saved */
/** @typedef {import("./types.js").Stock} Stock */

/** A tap without an answer is taken up again for this long; later it would surprise its viewer. */
const TAP_LIFE_MS = 120_000;
/** A claim that the origin never answered for is let go after this long. */
const CLAIM_LIFE_MS = 7 * 86_400_000;

/** @type {Map<string, Saved>} */
const all = new Map();
/** @type {Set<Listener>} */
const listeners = new Set();
/** Who tapped: outcomes are told to the page once, by that overlay. @type {Map<string, Listener>} */
const owners = new Map();
let life = new AbortController();

/** Who is at work on what: a worker whose life has ended no longer counts. @type {Map<string, AbortSignal>} */
const workers = new Map();

/** @param {Saved} saved */
export const busy = ({ id }) => workers.get(id) === life.signal;

/** @param {Saved} saved */
const keep = (saved) =>
  transact(
    "claims",
    (store) => /** @type {IDBRequest} */ (saved.state === "refused" ? store.delete(saved.id) : store.put(saved)),
  );

/**
 * @param {Saved} saved
 * @param {Outcome} [outcome]
 * @param {Stock} [stock]
 */
const tell = (saved, outcome, stock) => {
  const owner = owners.get(saved.id);
  const first = owner && listeners.has(owner) ? owner : listeners.values().next().value;
  for (const listener of listeners) listener.changed(saved, listener === first ? outcome : undefined, stock);
};

/**
 * @param {Saved} saved
 * @param {any} problem
 */
const refuse = async (saved, problem) => {
  saved.state = "refused";
  saved.code = problem.code;
  await keep(saved);
  tell(saved, "refused", problem.stock);
};

/**
 * @param {Saved} saved
 * @param {string} [code] why it is asked for again
 */
const retry = (saved, code) => {
  saved.code = code === "not_admitted_yet" ? code : "retrying";
  tell(saved);
};

/**
 * @param {Saved} saved
 * @param {AbortSignal} signal
 */
const claim = async (saved, signal) => {
  const answer = await askClaim(saved, signal, (code) => retry(saved, code));
  const { claim, claim_id, expires_at_ms, settle_url, settles, total_minor, currency, code } = answer.body;
  if (signal.aborted) return;
  if (passing(answer)) {
    saved.code = code ?? "failed";
    tell(saved, "error");
  } else if (!claim) {
    await refuse(saved, answer.body);
  } else if (currency !== saved.price.currency || total_minor !== saved.price.amount_minor) {
    // Not what the viewer tapped on: an unsettled claim lapses by itself.
    await refuse(saved, { code: "price_changed" });
  } else {
    Object.assign(saved, { state: "claimed", code: undefined, claim, claim_id, expires_at_ms, settle_url, settles });
    await keep(saved);
    tell(saved, "claim");
  }
};

/**
 * @param {Saved} saved
 * @param {AbortSignal} signal
 * @param {boolean} first right after the tap
 */
const finish = async (saved, signal, first) => {
  const { status, body } = await settle(
    saved,
    signal,
    first,
    () => retry(saved),
    (pay) => {
      const before = saved.pay?.pay_at;
      saved.pay = pay;
      saved.code = undefined;
      tell(saved, before === pay.pay_at ? undefined : "pay");
    },
  );
  if (signal.aborted) return;
  saved.pay = undefined;
  if (status !== 200) return refuse(saved, body);
  const { settled_at_ms, run, run_numbers, total_minor, currency, payment, receipt } = body;
  saved.state = "settled";
  saved.settled = { settled_at_ms, run, run_numbers, total_minor, currency, payment, receipt };
  saved.code = undefined;
  // A claim is forgotten once nothing is asked with it any more.
  if (!body.pass) saved.claim = undefined;
  await keep(saved);
  tell(saved, "settled", body.stock);
};

/** @param {Saved} saved */
const lacksPass = ({ state, claim }) => state === "settled" && Boolean(claim);

/** Who fetches which pass; as with `workers`. @type {Map<string, AbortSignal>} */
const fetchers = new Map();

/**
 * Fetch a pass that is not here yet, for as long as it takes; the viewer may tap on meanwhile.
 *
 * @param {Saved} saved
 */
const fetchPass = async (saved) => {
  const { signal } = life;
  if (!lacksPass(saved) || fetchers.get(saved.id) === signal) return;
  fetchers.set(saved.id, signal);
  const { status, body } = await askPass(saved, signal);
  if (signal.aborted) return;
  if (status === 200) saved.pass = { code: body.code, ...body.said, ...body.picture };
  saved.claim = undefined;
  fetchers.delete(saved.id);
  await keep(saved);
  tell(saved);
};

/** @param {Saved} saved */
const work = async (saved) => {
  const { signal } = life;
  if (busy(saved) || signal.aborted) return;
  workers.set(saved.id, signal);
  saved.code = undefined;
  const first = saved.state === "tapped";
  tell(saved);
  try {
    if (first) await claim(saved, signal);
    if (saved.state === "claimed" && !signal.aborted) await finish(saved, signal, first);
  } catch {
    // No WebCrypto: a page that is not served over https.
    await refuse(saved, { code: "no_key" });
  }
  if (signal.aborted) return;
  workers.delete(saved.id);
  tell(saved);
  fetchPass(saved);
};

/** Take up whatever has no end yet. */
const resume = () => {
  for (const saved of all.values()) {
    const ageMs = Date.now() - saved.tapped_at_ms;
    if (saved.state === "claimed" || (saved.state === "tapped" && ageMs < TAP_LIFE_MS)) work(saved);
    fetchPass(saved);
  }
};

/** @type {Promise<void> | undefined} */
let loading;

const load = async () => {
  for (const saved of (await transact("claims", (store) => /** @type {IDBRequest<Saved[]>} */ (store.getAll()))) ??
    []) {
    const ageMs = Date.now() - saved.tapped_at_ms;
    const over =
      (saved.state === "tapped" && ageMs > TAP_LIFE_MS) || (saved.state === "claimed" && ageMs > CLAIM_LIFE_MS);
    if (over) transact("claims", (store) => store.delete(saved.id));
    else if (!all.has(saved.id)) all.set(saved.id, saved);
  }
};

/** @returns {Saved[]} the newest first */
export const claims = () => [...all.values()].sort((one, other) => other.tapped_at_ms - one.tapped_at_ms);

/**
 * @param {Listener} listener
 * @param {AbortSignal} signal when the last one leaves, work rests
 */
export const attach = async (listener, signal) => {
  if (!listeners.size) {
    life = new AbortController();
    addEventListener("online", resume, life);
  }
  listeners.add(listener);
  signal.addEventListener("abort", () => {
    listeners.delete(listener);
    if (!listeners.size) life.abort();
  });
  loading ??= load();
  await loading;
  resume();
};

/**
 * Take a tap. An earlier tap on the same offer that came to nothing certain lends its idempotency key.
 *
 * @param {Listener} owner
 * @param {Omit<Saved, "id" | "state" | "tapped_at_ms">} wish
 * @returns {boolean} false when one is under way already
 */
export const tap = (owner, wish) => {
  const before = claims().filter(({ drop, offer }) => drop === wish.drop && offer === wish.offer);
  const open = before.find(({ state, code }) => state === "tapped" || code === "claim_expired");
  if (before.some(busy)) return false;
  for (const { id, state } of before) if (state === "refused") all.delete(id);
  /** @type {Saved} */
  const saved = { id: open?.id ?? nonce(), ...wish, state: "tapped", tapped_at_ms: Date.now() };
  all.set(saved.id, saved);
  owners.set(saved.id, owner);
  keep(saved);
  work(saved);
  return true;
};
