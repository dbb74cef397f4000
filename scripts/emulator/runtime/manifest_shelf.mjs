/**
 * The last good manifests on this machine's disk: a node that is started while the origin is away still renders.
 *
 * It mirrors what the node remembers, which bounds it (`origin_manifests.mjs`), and is read once, when the node starts.
 */

import { DurableObject } from "cloudflare:workers";

/** @typedef {{ clip: string, text: string, tag: string, usableUntilMs: number }} Shelved */

export class ManifestShelf extends DurableObject {
  #sql;

  /**
   * @param {DurableObjectState} ctx
   * @param {any} env
   */
  constructor(ctx, env) {
    super(ctx, env);
    this.#sql = ctx.storage.sql;
    this.#sql.exec(
      "CREATE TABLE IF NOT EXISTS manifests (clip TEXT PRIMARY KEY, text TEXT NOT NULL, tag TEXT NOT NULL, usable_until_ms INTEGER NOT NULL)",
    );
  }

  /** @returns {Shelved[]} the longest usable last */
  all() {
    const rows = this.#sql.exec("SELECT clip, text, tag, usable_until_ms FROM manifests ORDER BY usable_until_ms");
    return [...rows].map(({ clip, text, tag, usable_until_ms }) => ({
      clip: String(clip),
      text: String(text),
      tag: String(tag),
      usableUntilMs: Number(usable_until_ms),
    }));
  }

  /** @param {Shelved} manifest */
  put({ clip, text, tag, usableUntilMs }) {
    this.#sql.exec("INSERT OR REPLACE INTO manifests VALUES (?, ?, ?, ?)", clip, text, tag, usableUntilMs);
  }

  /** @param {string[]} clips */
  remove(clips) {
    for (const clip of clips) this.#sql.exec("DELETE FROM manifests WHERE clip = ?", clip);
  }
}
