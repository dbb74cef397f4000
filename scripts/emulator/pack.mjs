/**
 * One file that holds several: what is made ahead for the edge worker and kept between runs.
 *
 * Layout: a line of JSON, padded with spaces so that the contents begin at a multiple of 16 bytes, a newline, then the
 * contents one after another, each padded to 16. The line names the key under which the pack was made and the SHA-256
 * of all that follows it, so that a pack that was cut short, damaged, or made for something else is never used.
 */

import { createHash } from "node:crypto";

const FORMAT = "cliptill-pack/1";
const ALIGNMENT = 16;

/**
 * @typedef {{ name: string, offset: number, size: number }} PackEntry
 * @typedef {{ format: string, key: string, sha256: string, size: number, files: PackEntry[] }} PackHeader
 * @typedef {Map<string, Uint8Array>} Files
 */

/** @param {number} size */
const aligned = (size) => Math.ceil(size / ALIGNMENT) * ALIGNMENT;

/** @param {...(string | Uint8Array)} parts */
export function sha256(...parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/**
 * Put files into one pack, in the order of their names.
 *
 * @param {string} key what the pack was made from
 * @param {Files} files
 * @returns {Buffer}
 */
export function writePack(key, files) {
  /** @type {PackEntry[]} */
  const entries = [];
  let size = 0;
  for (const name of [...files.keys()].sort()) {
    const { length } = /** @type {Uint8Array} */ (files.get(name));
    entries.push({ name, offset: size, size: length });
    size += aligned(length);
  }
  const body = Buffer.alloc(size);
  for (const { name, offset } of entries) body.set(/** @type {Uint8Array} */ (files.get(name)), offset);
  const line = JSON.stringify({ format: FORMAT, key, sha256: sha256(body), size, files: entries });
  const header = Buffer.from(line);
  const padding = aligned(header.length + 1) - header.length - 1;
  return Buffer.concat([header, Buffer.from(" ".repeat(padding)), Buffer.from("\n"), body]);
}

/**
 * Read a pack, or tell why it cannot be used.
 *
 * @param {Buffer} bytes
 * @param {string} key what the pack must have been made from
 * @returns {{ files: Files } | { problem: string }}
 */
export function readPack(bytes, key) {
  const end = bytes.indexOf(10);
  if (end < 0) return { problem: "it has no header" };
  /** @type {PackHeader} */
  let header;
  try {
    header = JSON.parse(bytes.toString("utf8", 0, end));
  } catch {
    return { problem: "its header is damaged" };
  }
  if (header.format !== FORMAT) return { problem: "its format is another one" };
  if (header.key !== key) return { problem: "it was made from something else" };
  const body = bytes.subarray(end + 1);
  if (body.length !== header.size) return { problem: `it has ${body.length} bytes of ${header.size}` };
  if (sha256(body) !== header.sha256) return { problem: "its checksum is wrong" };
  return { files: new Map(header.files.map(({ name, offset, size }) => [name, body.subarray(offset, offset + size)])) };
}
