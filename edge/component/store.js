/**
 * What stays in this browser: the viewer key and the claims, in IndexedDB.
 *
 * Where that is refused (private mode, blocked site data, a full disk) everything goes on in memory, and `kept()` says so.
 */

let working = true;

/** @type {Promise<IDBDatabase | undefined> | undefined} */
let database;

/** @returns {Promise<IDBDatabase | undefined>} */
const open = () =>
  new Promise((resolve) => {
    const none = () => resolve(undefined);
    // Some browsers neither open nor refuse in private mode.
    setTimeout(none, 3000);
    try {
      const request = indexedDB.open("cliptill", 1);
      request.onupgradeneeded = () => {
        request.result.createObjectStore("keys");
        request.result.createObjectStore("claims", { keyPath: "id" });
      };
      request.onsuccess = () => {
        request.result.onversionchange = () => request.result.close();
        resolve(request.result);
      };
      request.onerror = none;
    } catch {
      none();
    }
  });

/** @returns {boolean} whether what is saved outlives this page */
export const kept = () => working;

/**
 * Run one request in a transaction of its own.
 *
 * @template T
 * @param {"keys" | "claims"} name
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T | undefined>} undefined when there is no store, too
 */
export const transact = async (name, act) => {
  database ??= open();
  const opened = await database;
  const result = await new Promise((resolve) => {
    try {
      const transaction = /** @type {IDBDatabase} */ (opened).transaction(name, "readwrite");
      const request = act(transaction.objectStore(name));
      transaction.oncomplete = () => resolve({ value: request.result });
      transaction.onabort = () => resolve(undefined);
    } catch {
      resolve(undefined);
    }
  });
  working = Boolean(result);
  return result?.value;
};
