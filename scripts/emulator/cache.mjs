/**
 * What is made once and kept by its content's key: the modules that Pyodide generates, and the memory snapshot.
 *
 * A kept file whose header, length or checksum is wrong is made again; nothing that is half written is ever seen, for each
 * is written beside its place and then renamed.
 */

import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import path from "node:path";
import { readPack } from "./pack.mjs";

/** How many packs of one kind are kept: switching between two branches should not make them anew each time. */
const KEPT = 3;

export class Cache {
  /**
   * @param {string} directory
   * @param {(fact: Record<string, unknown>) => void} tell
   */
  constructor(directory, tell) {
    this.directory = directory;
    this.tell = tell;
    mkdirSync(directory, { recursive: true });
  }

  /**
   * @param {string} kind
   * @param {string} key
   */
  file(kind, key) {
    return path.join(this.directory, `${kind}-${key.slice(0, 24)}.pack`);
  }

  /**
   * @param {string} kind
   * @param {string} key
   * @returns {import("./pack.mjs").Files | undefined} nothing when it is not kept, or cannot be used
   */
  read(kind, key) {
    /** @type {Buffer} */
    let bytes;
    try {
      bytes = readFileSync(this.file(kind, key));
    } catch {
      return undefined;
    }
    const found = readPack(bytes, key);
    if ("files" in found) return found.files;
    this.tell({ log: `the kept ${kind} cannot be used, ${found.problem}: making it again` });
    return undefined;
  }

  /**
   * Keep a pack, and forget the oldest of its kind.
   *
   * @param {string} kind
   * @param {string} key
   * @param {Buffer} pack as `writePack` made it, under this key
   */
  write(kind, key, pack) {
    const target = this.file(kind, key);
    const beside = `${target}.${process.pid}`;
    try {
      writeFileSync(beside, pack);
      renameSync(beside, target);
    } finally {
      rmSync(beside, { force: true });
    }
    this.#forget(kind, target);
  }

  /**
   * @param {string} kind
   * @param {string} newest
   */
  #forget(kind, newest) {
    const others = readdirSync(this.directory)
      .filter((name) => name.startsWith(`${kind}-`) && name.endsWith(".pack"))
      .map((name) => path.join(this.directory, name))
      .filter((file) => file !== newest);
    const age = new Map(others.map((file) => [file, statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0]));
    others.sort((a, b) => (age.get(b) ?? 0) - (age.get(a) ?? 0));
    for (const file of others.slice(KEPT - 1)) rmSync(file, { force: true });
  }
}
