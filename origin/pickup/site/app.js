/**
 * The scanner's page: look at a pass, say what to do, hand out, go on. It never waits for the network: what it knows
 * counts, and what it did is told later.
 */

import { watch } from "./camera.js";
import { hashCode, hashText, judgePass, readCode, readPass } from "./passes.js";
import { countWaiting, findCode, findPass, handOut, loadDevice, loadKnown, noteRefusal } from "./store.js";
import { enrol, sync } from "./syncing.js";

/** @typedef {import("./passes.js").Pass} Pass */
/** @typedef {import("./store.js").Look} Look */
/** @typedef {{verdict: string, said?: Pass, look: Look}} Finding */

const SYNC_EVERY_MS = 20_000;
/** A network that is there may tell what other scanners did just now; one that is slow is not waited for. */
const NEWS_WITHIN_MS = 1500;

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id */
const input = (id) => /** @type {HTMLInputElement} */ (element(id));
/** @param {string} id @param {string} text */
const say = (id, text) => {
  element(id).textContent = text;
};
/** @param {string} id @param {boolean} shown */
const show = (id, shown) => {
  element(id).hidden = !shown;
};

/** @type {Record<string, [kind: "good" | "wait" | "bad", title: string]>} */
const VERDICTS = {
  good: ["good", "Good"],
  used: ["bad", "Already picked up"],
  revoked: ["bad", "Revoked"],
  expired: ["bad", "Too late"],
  too_early: ["wait", "Too early"],
  other_place: ["wait", "For another place"],
  unknown: ["bad", "Not known here"],
  foreign: ["bad", "Not one of ours"],
  forged: ["bad", "Forged"],
  malformed: ["bad", "Not a pass"],
};

/** What is on the screen, until somebody goes on. @type {Finding | undefined} */
let shown;
let looking = false;

/** @param {number} seconds */
const instant = (seconds) =>
  new Intl.DateTimeFormat(undefined, {
    weekday: "short",
    day: "numeric",
    month: "short",
    hour: "2-digit",
    minute: "2-digit",
  }).format(seconds * 1000);

/** @param {number} minor @param {string} currency */
const money = (minor, currency) => {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  return format.format(minor / 10 ** (format.resolvedOptions().maximumFractionDigits ?? 0));
};

/** @param {Pass} said */
const goods = ({ drop, units, first }) =>
  `${units} × ${drop} · No. ${units > 1 ? `${first}–${first + units - 1}` : first}`;

/** @param {string} verdict @param {Pass | undefined} said */
const more = (verdict, said) => {
  if (verdict === "unknown") return "A new pass may not have reached this device: scan its QR code, or sync.";
  if (!said) return "";
  if (verdict === "other_place") return `Place: ${said.place}`;
  return { too_early: `From ${instant(said.nbf)}`, expired: `Until ${instant(said.exp)}` }[verdict] ?? "";
};

/** @param {Finding | undefined} finding undefined for the next look */
const draw = (finding) => {
  shown = finding;
  show("look", !finding);
  show("verdict", Boolean(finding));
  if (!finding) {
    // With a camera, the keyboard of a phone would only be in its way.
    if (!element("no-camera").hidden) input("code").focus();
    return;
  }
  const { verdict, said } = finding;
  const [kind, title] = VERDICTS[verdict];
  element("verdict").dataset.kind = kind;
  say("verdict-title", title);
  say("verdict-goods", said ? goods(said) : "");
  say(
    "verdict-due",
    verdict === "good" && said?.due_minor && said.currency ? `Collect ${money(said.due_minor, said.currency)}` : "",
  );
  say("verdict-more", more(verdict, said));
  show("hand-out", verdict === "good");
  say("next", verdict === "good" ? "Not now" : "Next");
  element("verdict").focus();
};

const drawKept = async () => {
  if (!(await loadDevice())) return;
  const waiting = await countWaiting();
  const ready = Boolean(navigator.serviceWorker?.controller) && Boolean(await loadKnown());
  say("kept", `${ready ? "Ready without network. " : ""}${waiting ? `${waiting} to send` : "All sent"}`);
};

/** @param {Awaited<ReturnType<typeof sync>>} state */
const drawNetwork = (state) => {
  element("network").dataset.state = state === "done" ? "online" : "offline";
  say("network", { done: "Online", offline: "No network", "shut out": "This scanner was shut out" }[state]);
};

const syncNow = async () => {
  const state = await sync();
  drawNetwork(state);
  await drawKept();
  return state;
};

/**
 * @param {string} typed
 * @returns {Promise<[said: Pass | string, evidence: Partial<Look>]>} a pass that is genuine, or a verdict
 */
const findTyped = async (typed) => {
  const code = readCode(typed);
  if (!code) return ["malformed", {}];
  const known = await findCode(await hashCode(code));
  return known ? [known.said, { code }] : ["unknown", {}];
};

/**
 * @param {string} text of a QR code
 * @returns {ReturnType<typeof findTyped>}
 */
const findScanned = async (text) => [
  await readPass(text, (await loadKnown())?.keys ?? []),
  { pass_hash: await hashText(text) },
];

/** @param {() => ReturnType<typeof findTyped>} find */
const look = async (find) => {
  if (shown || looking) return;
  looking = true;
  try {
    if (navigator.onLine)
      await Promise.race([syncNow(), new Promise((resolve) => setTimeout(resolve, NEWS_WITHIN_MS))]);
    const known = await loadKnown();
    // It is never earlier than when the origin was last heard: a clock that is put back makes no old pass good again.
    const at_ms = Math.max(Date.now() + (known?.ahead_ms ?? 0), known?.as_of_ms ?? 0);
    const [said, evidence] = await find();
    const genuine = typeof said === "string" ? undefined : said;
    const gate = { issuer: known?.issuer ?? "", place: (await loadDevice())?.place ?? "" };
    const state = genuine && (await findPass(genuine.jti))?.state;
    const verdict =
      typeof said === "string" ? said : (judgePass(said, gate, state, Math.floor(at_ms / 1000)) ?? "good");
    const finding = { verdict, said: genuine, look: { verdict, at_ms, claim_id: genuine?.jti, ...evidence } };
    draw(finding);
    if (verdict !== "good") await refuse(finding);
  } finally {
    looking = false;
  }
};

/** @param {Finding} finding */
const refuse = async ({ verdict, look }) => {
  // The origin has one word for what is not its own.
  await noteRefusal({ ...look, verdict: verdict === "unknown" ? "foreign" : verdict });
  await drawKept();
};

const handOutShown = async () => {
  if (!shown?.said) return;
  const { said, look } = shown;
  try {
    const state = await handOut(said, look);
    if (state === "good") draw(undefined);
    else draw({ verdict: state, said, look });
  } catch {
    say("verdict-more", "This device could not write it down. Hand nothing out: make room on it, and try again.");
    return;
  }
  syncNow();
};

const start = async () => {
  const device = await loadDevice();
  show("enrol", !device);
  show("sync", Boolean(device));
  if (!device) return;
  say("place", `${device.place} · ${device.scanner}`);
  draw(undefined);
  await syncNow();
  setInterval(syncNow, SYNC_EVERY_MS);
  for (const type of ["online", "offline"]) addEventListener(type, syncNow);
  const video = /** @type {HTMLVideoElement} */ (element("video"));
  const fault = await watch(
    video,
    () => !shown && !looking,
    (text) => look(() => findScanned(text)),
  );
  show("camera", !fault);
  show("no-camera", Boolean(fault));
  say("no-camera", fault ?? "");
};

element("enrol").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const refused = await enrol(input("enrol-code").value);
    say("enrol-fault", refused ?? "");
    if (!refused) await start();
  } catch {
    say("enrol-fault", "There is no network. Setting a device up needs one.");
  }
});
element("typed").addEventListener("submit", async (event) => {
  event.preventDefault();
  const typed = input("code").value;
  await look(() => findTyped(typed));
  input("code").value = "";
});
element("hand-out").addEventListener("click", handOutShown);
element("next").addEventListener("click", () => draw(undefined));
element("sync").addEventListener("click", syncNow);
navigator.serviceWorker?.register("/scanner/worker.js", { scope: "/scanner" });
navigator.serviceWorker?.addEventListener("controllerchange", drawKept);
start();
