/**
 * What this device keeps: who it is, the passes of its place until long after their window, and every scan until the
 * origin has kept it.
 *
 * A pass is taken and its scan written down in one transaction, so that of two tabs, or two taps, one hands out.
 */

/**
 * @typedef {import("./passes.js").Pass} Pass
 * @typedef {import("./passes.js").PublicKey} PublicKey
 * @typedef {import("./passes.js").State} State
 * @typedef {{scanner: string, place: string, api_key: string, key: CryptoKey}} Device
 * @typedef {{issuer: string, keys: PublicKey[], as_of_ms: number, ahead_ms: number}} Known how far the origin's clock is
 *   ahead of ours is `ahead_ms`
 * @typedef {{claim_id: string, said: Pass, code: string, state: State}} KeptPass
 * @typedef {{verdict: string, at_ms: number, claim_id?: string, pass_hash?: string, code?: string}} Look
 * @typedef {{seq: number, look: Look, text?: string, waiting?: 1}} Scan `waiting` while it is not told; one that the
 *   origin refused to keep stays, and is not told again
 */

const NAME = "cliptill-scanner";

/** @type {Promise<IDBDatabase> | undefined} */
let opening;

const open = () => {
  opening ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 2);
    request.onupgradeneeded = ({ oldVersion }) => {
      const { result, transaction } = request;
      if (oldVersion < 1) {
        result.createObjectStore("settings");
        result.createObjectStore("passes", { keyPath: "claim_id" }).createIndex("code", "code");
        const scans = result.createObjectStore("scans", { keyPath: "seq", autoIncrement: true });
        scans.createIndex("waiting", "waiting");
      }
      transaction?.objectStore("passes").createIndex("exp", "said.exp");
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opening;
};

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
const done = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

/**
 * Do something in one transaction, and return once it is on disk.
 *
 * @template T
 * @param {("settings" | "passes" | "scans")[]} names
 * @param {(stores: Record<string, IDBObjectStore>) => Promise<T>} act awaits requests of these stores only
 * @returns {Promise<T>}
 */
const change = async (names, act) => {
  const transaction = (await open()).transaction(names, "readwrite", { durability: "strict" });
  /** @type {Promise<void>} */
  const ended = new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
  const acted = act(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
  // Both are awaited together: a transaction that is aborted fails its requests too.
  const [result] = await Promise.all([acted, ended]);
  return result;
};

/** @param {string} name */
const read = async (name) => (await open()).transaction(name).objectStore(name);

/** @returns {Promise<Device | undefined>} */
export const loadDevice = async () => done((await read("settings")).get("device"));
/** @param {Device} device */
export const saveDevice = (device) =>
  change(["settings"], async ({ settings }) => done(settings.put(device, "device")));

/** @returns {Promise<Known | undefined>} */
export const loadKnown = async () => done((await read("settings")).get("known"));
/** @param {Known} known */
export const saveKnown = (known) => change(["settings"], async ({ settings }) => done(settings.put(known, "known")));

/** @param {string} claimId @returns {Promise<KeptPass | undefined>} */
export const findPass = async (claimId) => done((await read("passes")).get(claimId));
/** @param {string} code its hash @returns {Promise<KeptPass | undefined>} */
export const findCode = async (code) => done((await read("passes")).index("code").get(code));

/**
 * Take over what the origin knows of passes. What was handed out here and is not told yet stays handed out.
 *
 * @param {{said: Pass, code: string, state: State}[]} listed
 */
export const savePasses = (listed) =>
  change(["passes"], async ({ passes }) => {
    for (const { said, code, state } of listed) {
      const known = await done(passes.get(said.jti));
      passes.put({ claim_id: said.jti, said, code, state: state === "good" ? (known?.state ?? state) : state });
    }
  });

/**
 * Forget passes whose window ended long ago: their own text says that they are expired.
 *
 * @param {number} beforeS
 */
export const forgetPasses = (beforeS) =>
  change(["passes"], async ({ passes }) => {
    const over = await done(passes.index("exp").getAllKeys(IDBKeyRange.upperBound(beforeS)));
    for (const claimId of over) passes.delete(claimId);
  });

/**
 * Hand out: once.
 *
 * @param {Pass} said
 * @param {Look} look
 * @returns {Promise<State>} `good` when it was, else why it was not
 */
export const handOut = (said, look) =>
  change(["passes", "scans"], async ({ passes, scans }) => {
    const known = await done(passes.get(said.jti));
    if (known && known.state !== "good") return known.state;
    // A pass that is newer than our list has no code here; the list brings it.
    passes.put({ code: "", ...known, claim_id: said.jti, said, state: "used" });
    scans.add({ look, waiting: 1 });
    return "good";
  });

/** @param {Look} look of a pass that was refused */
export const noteRefusal = (look) => change(["scans"], async ({ scans }) => done(scans.add({ look, waiting: 1 })));

/** @param {number} most @returns {Promise<Scan[]>} that the origin has not heard of, oldest first */
export const waitingScans = async (most) => done((await read("scans")).index("waiting").getAll(null, most));
/** @returns {Promise<number>} */
export const countWaiting = async () => done((await read("scans")).index("waiting").count());
/** @param {number} seq of a scan that the origin has kept */
export const dropScan = (seq) => change(["scans"], async ({ scans }) => done(scans.delete(seq)));
/** @param {Scan} scan */
export const saveScan = (scan) => change(["scans"], async ({ scans }) => done(scans.put(scan)));
